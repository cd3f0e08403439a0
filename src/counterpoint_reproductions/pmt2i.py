"""PMT2I: translations beside a description help whoever reads them, and make candidates worth choosing among."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from counterpoint.data.synthetic.emoji.world import Emoji
from counterpoint.generation import LANGUAGES, SETS, CandidatePictures, draw, in_languages, repeated
from counterpoint.losses import InfoNCELoss
from counterpoint.networks import BytePairTokenizer
from counterpoint.networks.heads import Linear, mlp
from counterpoint.networks.init import initialise
from counterpoint.networks.towers.transformer import TextTransformer
from counterpoint.registry import unknown

from .lab import Arrays, Lab, Result, Score, above, below, decides, effects, per_seed, secondary
from .lab.data_emoji import SIDE, SmallTwoTower, pairs_of, pixels, train, view, words
from .lab.descent import minimise

CLAIM = (
    "A reader of several languages finds the picture of a description better when translations stand beside "
    "it, more than when the description is repeated as often; and the best of several pictures made from sets "
    "of languages is liker what was described than the best of as many made from the description alone."
)
REFUTED = "repeating the description helps as much, or the best picture is no liker"
OWN = (
    "A reader of prompts of several lines is trained here, because no registered method takes the names of one picture "
    "in several languages. A draw from the emoji by its probabilities replaces a model that makes pictures."
)
SHARE = effects.convention("share")
COSINE = effects.convention("correlation")
"""Likeness is a cosine, which has the scale of a correlation."""


STEPS, BATCH, LR = 600, 192, 2e-3
WITHHELD = 0.3
"""Share of the names that are never read in training, whatever their language."""
MOST = 3
"""Translations beside the English name, at most; in training as in the test."""
DESCRIBED = 300
"""Emoji that pictures are made of."""
TEMPERATURE = 0.07
DRAWING = {"own": TEMPERATURE, "sharp": TEMPERATURE / 4}
"""Temperatures at which pictures are drawn: that of the reader's training, and one at which seeds differ less."""
CONTEXT, VOCABULARY, WIDTH = 96, 4096, 64


class EmojiNames(NamedTuple):
    """Emoji without tone variants, whose names differ in a tone alone.

    Attributes:
        names: in each of `LANGUAGES`, by its code.
        pictures: as they are drawn.
        seen: as the towers see them.
    """

    names: Mapping[str, Sequence[str]]
    pictures: UInt8[Tensor, "n 3 H W"]
    seen: Float[Tensor, "n p"]

    def __len__(self) -> int:
        return len(self.seen)


@lru_cache(maxsize=2)
def named(most: int | None) -> EmojiNames:
    """Load the emoji, or the first of them."""
    data = Emoji()
    rows = np.flatnonzero(data.subsets == "rest")[:most]
    names, pictures = data.table.to_dict()["names"], data.images(rows)
    return EmojiNames(
        {code: [names[row][code].lower() for row in rows] for code in LANGUAGES},
        pictures,
        torch.cat([pixels(part) for part in torch.split(pictures, 512)]),
    )


@final
class PromptEmbedder(nn.Module):
    """An embedder of pictures and of prompts of several lines: one transformer block over byte pairs.

    Args:
        texts: that the vocabulary is made of.
        seed: of the initial weights.
    """

    heads: tuple[str, ...] = ("global",)

    def __init__(self, texts: Sequence[str], seed: int) -> None:
        super().__init__()
        self.image = mlp(3 * SIDE * SIDE, 256, WIDTH, layers=2, norm=False)
        self.words = TextTransformer(BytePairTokenizer.train(texts, VOCABULARY, CONTEXT), WIDTH, depth=1)
        self.text = Linear(WIDTH, WIDTH)
        initialise(self, seed)

    def prompts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        return F.normalize(self.text(self.words(self.words.tokenizer(list(texts)))), dim=-1)

    @torch.no_grad()
    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        if modality == "image":
            return F.normalize(self.image(pixels(inputs)), dim=-1)
        if modality == "text":
            return torch.cat([self.prompts(inputs[k : k + 512]) for k in range(0, len(inputs), 512)])
        raise unknown("modality", modality, ("image", "text"))

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


def prompt_of(data: EmojiNames, row: int, languages: Sequence[str]) -> str:
    """Write a name in some languages, in the form of the method's prompts; one that lacks English has no such line."""
    lines = [f"{LANGUAGES[code]}: {data.names[code][row]}" for code in languages]
    return "\n".join(lines)


def taught(
    data: EmojiNames, known: Bool[np.ndarray, "n l"], seed: int, steps: int, batch: int, english: bool
) -> PromptEmbedder:
    """Teach a reader by pairs of pictures and prompts of one to four lines, or of the bare name, of known names alone.

    Args:
        known: which names may be read, by the order of `LANGUAGES`.
        english: in English alone, repeated as often.
    """
    codes = tuple(LANGUAGES)
    reader = PromptEmbedder(
        sorted({name for own in data.names.values() for name in own} | set(LANGUAGES.values())), seed
    )
    objective = InfoNCELoss(TEMPERATURE)
    rows = np.flatnonzero(known[:, 0] if english else known.any(1))

    def text(row: int, rng: np.random.Generator) -> str:
        count = int(rng.integers(0, MOST + 2))
        if english:
            return repeated(data.names["en"][row], count - 1) if count else data.names["en"][row]
        own = np.flatnonzero(known[row])
        chosen = rng.permutation(own)[: max(count, 1)]
        if not count:
            return data.names[codes[chosen[0]]][row]
        # English comes first where it is there, as in the prompts of the test.
        return prompt_of(data, row, [codes[k] for k in sorted(chosen, key=lambda k: k != 0)])

    def step(rng: np.random.Generator) -> Tensor:
        chosen = rng.choice(rows, min(batch, len(rows)), replace=False)
        x = F.normalize(reader.image(view(data.seen[chosen], rng)), dim=-1)
        return objective(x, reader.prompts([text(int(row), rng) for row in chosen]))

    reader.train()
    minimise(step, reader.parameters(), steps=steps, lr=LR, seed=seed)
    return reader.eval()


def prompts(data: EmojiNames) -> dict[str, list[str]]:
    """Write the prompts of the test, by name: ``k`` translations, and the English name as often."""
    found = {}
    for k in range(MOST + 1):
        languages = SETS[k - 1] if k else ()
        found[f"{k} translations"] = [
            in_languages(
                data.names["en"][row], {code: data.names[code][row] for code in languages}, languages
            )
            for row in range(len(data))
        ]
        if k:
            found[f"{k} repetitions"] = [repeated(name, k) for name in data.names["en"]]
    return found


def understood(seed: int, steps: int, batch: int, english: bool, most: int | None, described: int) -> Arrays:
    """Teach a reader, find pictures by prompts, and choose among pictures that it would make.

    Returns:
        Of each emoji whether the picture nearest to its prompt is its own, by prompt, and ``withheld``: whether its
        English name was; of the reader of all languages, what came of choosing.
    """
    data = named(most)
    known = np.random.default_rng([seed, 29]).random((len(data), len(LANGUAGES))) >= WITHHELD
    reader = taught(data, known, seed, steps, batch, english)
    pictures = reader.embed("image", data.pictures)
    results: Arrays = {"withheld": ~known[:, 0]}
    for name, texts in prompts(data).items():
        nearest = (reader.embed("text", texts) @ pictures.T).argmax(1)
        results[name] = (nearest == torch.arange(len(data))).numpy().astype(float)
    return results if english else results | chosen(data, reader, pictures, seed, described, steps)


def chosen(
    data: EmojiNames,
    reader: PromptEmbedder,
    pictures: Float[Tensor, "n d"],
    seed: int,
    described: int,
    steps: int,
) -> Arrays:
    """Choose among candidates of a stand-in for a generator: emoji, drawn by how well the reader thinks they fit.

    One embedder of English names chooses; another one, and the truth, judge.
    """
    scorer, judge = SmallTwoTower(seed + 1000), SmallTwoTower(seed + 2000)
    pairs = pairs_of(data.seen, words(data.names["en"]), np.arange(len(data)), 256)
    for own, embedder in ((1000, scorer), (2000, judge)):
        towers = (embedder.image, embedder.text)
        train(towers, InfoNCELoss(TEMPERATURE), pairs, steps=steps, lr=1e-3, seed=seed + own)
    rng = np.random.default_rng([seed, 31])
    rows = rng.choice(len(data), min(described, len(data)), replace=False)
    made = prompts(data)
    texts = sorted({own[row] for own in made.values() for row in rows})
    fits = dict(zip(texts, reader.embed("text", texts) @ pictures.T, strict=True))
    results: dict[str, list[float]] = {}
    for sharpness, temperature in DRAWING.items():
        generate = Draws(data.pictures, fits, temperature)
        for number, row in enumerate(rows):
            text, true = data.names["en"][row], data.pictures[row]
            seeds = [(MOST + 1) * number + k for k in range(MOST + 1)]
            arms = {
                "several sets": [made[f"{k} translations"][row] for k in range(MOST + 1)],
                "English": [text] * (MOST + 1),
                "repetitions": [text, *(made[f"{k} repetitions"][row] for k in range(1, MOST + 1))],
            }
            for arm, asked in arms.items():
                for name, value in judged(draw(generate, text, asked, seeds), true, scorer, judge).items():
                    results.setdefault(f"{arm}, {sharpness}, {name}", []).append(value)
    return {name: np.array(values) for name, values in results.items()}


@final
class Draws:
    """A stand-in for a model that makes pictures: it draws one of those that there are by how well it fits a prompt.

    Args:
        shown: the pictures.
        fits: similarities of each prompt with all of them.
        temperature: of the drawing.
    """

    def __init__(
        self, shown: UInt8[Tensor, "n 3 H W"], fits: Mapping[str, Float[Tensor, " n"]], temperature: float
    ) -> None:
        self.shown, self.fits, self.temperature = shown, fits, temperature

    def __call__(self, prompt: str, seed: int) -> UInt8[Tensor, "3 H W"]:
        chances = (self.fits[prompt] / self.temperature).softmax(0)
        place = torch.multinomial(chances, 1, generator=torch.Generator().manual_seed(seed))
        return self.shown[int(place)]


def judged(
    candidates: CandidatePictures, true: UInt8[Tensor, "3 H W"], scorer: SmallTwoTower, judge: SmallTwoTower
) -> dict[str, float]:
    """Measure the chosen picture's likeness to the true one, the gain by choosing, hits, and how candidates differ."""
    best = candidates.best(scorer)
    with torch.no_grad():
        likeness = judge.embed("image", candidates.pictures) @ judge.embed("image", true[None])[0]
    return {
        "likeness": float(likeness[best]),
        "gain by choosing": float(likeness[best] - likeness.mean()),
        "right": float(torch.equal(candidates.pictures[best], true)),
        "diversity": candidates.diversity(judge),
    }


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.grid(
        understood, {"english": (False, True)}, steps=STEPS, batch=BATCH, most=None, described=DESCRIBED
    )
    pictures = len(runs.first(False)["withheld"])
    most, none, repeats = f"{MOST} translations", "0 translations", f"{MOST} repetitions"

    def recalls(prompt: str, withheld: bool, english: bool = False) -> list[float]:
        cells = runs[english].values()
        return [float(cell[prompt][cell["withheld"] == withheld].mean()) for cell in cells]

    def gain(prompt: str, other: str, withheld: bool = True, english: bool = False) -> Score:
        reader = "reader of English" if english else "reader of seven languages"
        metric = f"R@1 among {pictures} pictures"
        better = per_seed(f"A, {reader}: {prompt}", metric, recalls(prompt, withheld, english))
        worse = per_seed(other, metric, recalls(other, withheld, english))
        about = f"{'withheld' if withheld else 'known'} English names"
        return better.about(about) - worse.about(about)

    def choosing(name: str, sharpness: str = "own", other: str = "English") -> Score:
        scores = runs.scores("{}, {}, {}", f"{name}, {MOST + 1} candidates", by_seed=np.mean)
        difference = scores[False, "several sets", sharpness, name] - scores[False, other, sharpness, name]
        sharply = ", drawn sharply" if sharpness == "sharp" else ""
        return replace(difference, label=f"B: several sets − {other}, {name}{sharply}")

    yield from decides(
        above(gain(most, none), **SHARE),
        above(gain(most, repeats), **SHARE),
        above(choosing("likeness"), **COSINE),
    )
    yield from secondary(
        above(gain("1 translations", none)),
        above(gain(most, "1 translations")),
        above(gain(most, none, withheld=False)),
        below(gain(most, none, withheld=False, english=True)),
        above(choosing("right")),
        above(choosing("likeness", other="repetitions")),
        *(above(choosing(name, sharp)) for name in ("gain by choosing", "diversity") for sharp in DRAWING),
        above(choosing("likeness", "sharp")),
    )
    steps = ", ".join(
        f"{k} {np.mean(recalls(f'{k} translations', withheld=True)):.3f}" for k in range(MOST + 1)
    )
    lab.note(
        f"A: a transformer block over byte pairs and two layers on pixels, InfoNCE, {STEPS} steps",
        f"of {BATCH}, names of emoji without tone variants in {len(LANGUAGES)} languages,",
        f"three of ten names withheld from training, prompts of one to {MOST + 1} lines in training as in the test.",
        f"R@1 of withheld English names with so many translations: {steps}. The reader of English alone, taught by",
        "repeated English lines, is the negative control.",
        "B: what makes pictures is a stand-in that draws one of the emoji by the reader's own probabilities;",
        "candidates come from the plain name and one to three translations, or from as many seeds of the plain name;",
        "one two-tower model chooses by the English name, another one and the truth judge. No model that makes",
        "pictures was run, and how much seeds of such a model differ is not known: here they differ by as much as",
        "the reader is unsure, which translations lessen. So diversity, at two temperatures, decides nothing.",
    )
