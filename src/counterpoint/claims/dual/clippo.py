"""CLIPPO: texts drawn as pictures and read by the tower of pictures retrieve nearly as well as CLIP's of texts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ...data.worlds.emoji import Emoji
from ...methods.base import TowerMethod
from ..benches.towers import build, trained
from ..benches.towers import recipe as recipe_of
from ..lab import Arrays, Lab, Result, above, below, beside, decides

CLAIM = (
    "One tower for pictures and for texts that are drawn as pictures retrieves emoji by their names within ten points "
    "of R@1 of CLIP, whose tower of texts is as large as that of pictures, with about half the parameters; and names "
    "in a script that the vocabulary has never seen are retrieved better than by CLIP."
)
REFUTED = (
    "it is more than ten points worse, has over 0.6 of the parameters, or is no better in the other script"
)

TOWER = "image=vit-map"
ARMS = {
    "pixels": (f"clip,{TOWER},text=pixels", None),
    "words": (f"clip,{TOWER}", 7),
    "words, two layers": (f"clip,{TOWER}", None),
}
"""Arms, and the layers of the tower of texts: of seven it has about as many weights as the tower of pictures."""
LANGUAGES = {
    "English": ("en",),
    "with Russian": ("en", "ru"),
    "four of Latin letters": ("en", "es", "pt", "fr"),
}
"""Languages that are trained on, whose first one the vocabulary is of."""
ASKED = ("en", "ru", "it")
"""Languages of the held-out names: with Italian, which nobody is trained on."""
STEPS, BATCH, TESTED = 300, 64, 400
TENTH = 0.1


@torch.no_grad()
def found(method: TowerMethod, data: Emoji, rows: np.ndarray, language: str) -> np.ndarray:
    """Return for each of some emoji whether its name in a language finds its picture first among theirs."""
    names = [str(Emoji(languages=(language,)).captions(int(row))[0]) for row in rows]
    pictures: Tensor = data.sized(method.picture_size or 48).images(rows)
    z = [
        torch.cat([method.embed(c, raw[k : k + 128]) for k in range(0, len(rows), 128)])
        for c, raw in (("image", pictures), ("text", names))
    ]
    return (method.similarity(z[1], z[0]).argmax(1) == torch.arange(len(rows))).double().numpy()


def retrieved(arm: str, languages: str, seed: int, steps: int, tested: int, quick: bool) -> Arrays:
    """Train one arm on names in some languages, with the vocabulary of the first alone."""
    spec, layers = ARMS[arm]
    data, first = Emoji(languages=LANGUAGES[languages]), Emoji(languages=LANGUAGES[languages][:1])
    recipe = recipe_of(quick, steps=steps, batch_size=BATCH, towers__text_layers=layers, optimizer__lr=1e-3)
    method = build(spec, recipe, first, first.splits.train, seed)
    trained(method, data, data.splits.train, recipe, seed)
    held_out = data.splits.test["compositions"]
    rows = held_out[np.random.default_rng(3).permutation(len(held_out))[:tested]]
    arrays = {language: found(method, data, rows, language) for language in ASKED}
    arrays["parameters"] = np.array(float(sum(p.numel() for p in method.parameters())))
    return arrays


def run(lab: Lab) -> Iterator[Result]:
    grid = lab.grid(
        retrieved, {"arm": tuple(ARMS), "languages": tuple(LANGUAGES)}, steps=STEPS, tested=TESTED
    )
    metric = f"R@1 of {TESTED} held-out emoji by their names"
    recall = {language: grid.scores(language, f"{metric} ({language})") for language in ASKED}
    weights = grid.scores("parameters", "trained parameters")
    english, russian, latin = LANGUAGES
    yield from decides(
        above(
            recall["en"]["pixels", english] - recall["en"]["words", english],
            -TENTH,
            name="1: pixels − words, English names, within ten points",
        ),
        below(
            weights["pixels", english] / weights["words", english], 0.6, name="1: parameters, pixels / words"
        ),
        above(
            recall["ru"]["pixels", russian] - recall["ru"]["words", russian],
            name="2: pixels − words, Russian names under a vocabulary of English",
        ),
    )
    yield from beside(
        above(
            recall["en"]["pixels", english] - recall["en"]["words, two layers", english],
            -TENTH,
            name="1: pixels − words of two layers, English names",
        ),
        above(
            recall["en"]["pixels", russian] - recall["en"]["words", russian],
            -TENTH,
            name="2: pixels − words, English names, trained on Russian ones too",
        ),
        above(
            recall["it"]["pixels", latin] - recall["it"]["words", latin],
            name="2: pixels − words, Italian names, of which none was trained on",
        ),
    )
    lab.note(
        f"Emoji, {STEPS} steps of {BATCH}; a vision transformer with attention pooling on 48 pixels, so that letters",
        "are in rows of 8 pixels. The vocabulary is of bytes, and those of other scripts are its single bytes.",
        *(f"R@1, {language}: {scores.means()}." for language, scores in recall.items()),
        "Chinese, Japanese and Korean are not drawn, since no font of the package's dependencies has them. The gain of",
        "pairs of texts in similarity of texts was not measured.",
    )
