"""Prediction of missing modalities: is it better to predict what is missing than to leave it empty?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...data.worlds.scenes.world import Scenes
from ...methods.fusion.late import Late, filled
from ...networks import BytePairTokenizer, TextTransformer, Tower, VisionTransformer, initialise, tune
from ...study.presets import Preset
from ...types import Batch, Embeddings, Target
from ..benches.descent import minimise
from ..benches.towers import recipe
from ..benches.vectors import train
from ..lab import UNSEEN, Arrays, Lab, Result, Score, above, below, beside, decides, exact

CLAIM = (
    "Of two encoders that were trained without pairs and of which biases alone move, what one sees predicts what the "
    "other would have said: with a column missing, late fusion with predicted features is more accurate than with "
    "zeros, with means and with the best linear map between features; not so where pairs were shuffled."
)
REFUTED = (
    "zeros, means or a linear map are as good, shuffled pairs do as well, or prompts change what they read"
)
PRESET = Preset(
    "missing-modality-prediction",
    "a classifier of columns with gaps: zeros in them, means, and what the other columns predict",
    {"arms": ("late", "late,fill=mean", "late,fill=predicted")},
    "late",
    {"missing_modality": ("withheld_accuracy",)},
)

TRAINED, TESTED = 4000, 1000
LABEL, WIDTH, BATCH = "group", 64, 64
DROPPED = 0.5
"""The share of the words that captions lack."""
PRETRAINING, STEPS = 600, 400
COLUMNS = ("image", "text")
ARMS = ("predicted", "zero", "mean", "linear map")


class _Inputs(NamedTuple):
    """Rows as the towers take them."""

    views: Mapping[str, Tensor]
    classes: Int[Tensor, " n"]
    target: Target
    train: Int[np.ndarray, " n"]
    test: Int[np.ndarray, " n"]
    tokenizer: BytePairTokenizer


@lru_cache(maxsize=1)
def _inputs(trained: int, tested: int) -> _Inputs:
    data = Scenes.parse(f"scenes:tiny,objects=1,pixels=32,train={trained},test={tested}")
    rows = np.concatenate([data.splits.train, data.splits.test["as trained"]])
    rng = np.random.default_rng(0)
    captions = [_without_words(caption, rng) for caption in data.read("text", rows)]
    tokenizer = BytePairTokenizer.train(captions[: len(data.splits.train)], 512, 24)
    pictures = torch.cat([data.images(part) for part in np.array_split(rows, max(len(rows) // 256, 1))])
    views = {"image": pictures.float() / 255, "text": tokenizer(captions)}
    labels = data.labels[LABEL]
    cut = len(data.splits.train)
    classes, places = torch.from_numpy(labels.values[rows]), np.arange(len(rows))
    return _Inputs(views, classes, Target(LABEL, labels.names), places[:cut], places[cut:], tokenizer)


def _without_words(caption: str, rng: np.random.Generator) -> str:
    """Drop words of a caption, so that it does not tell all by itself."""
    return " ".join(word for word in caption.split() if rng.random() >= DROPPED)


def _states(inputs: _Inputs, seed: int, steps: int) -> dict[str, dict[str, Tensor]]:
    """Train each tower alone to classify rows of its own half, and return its weights."""
    states = {}
    for column, rows in zip(COLUMNS, np.array_split(inputs.train, 2), strict=True):
        tower, view = _towers(inputs)[column], inputs.views[column]
        network = nn.ModuleDict({"tower": tower, "head": nn.Linear(WIDTH, len(inputs.target.classes))})
        initialise(network, seed)

        def loss(rng: np.random.Generator, parts: Any = (network, view, rows)) -> Tensor:
            network, view, rows = parts
            drawn = torch.from_numpy(rng.choice(rows, BATCH))
            return F.cross_entropy(network["head"](network["tower"](view[drawn])), inputs.classes[drawn])

        minimise(loss, network.parameters(), steps=steps, lr=1e-3, seed=seed)
        states[column] = tower.state_dict()
    return states


def _towers(inputs: _Inputs) -> dict[str, Tower]:
    return {
        "image": VisionTransformer(32, 8, WIDTH, 2, 4),
        "text": TextTransformer(inputs.tokenizer, WIDTH, 2, 4),
    }


def _method(arm: str, inputs: _Inputs, seed: int, pretraining: int) -> Late:
    """Build late fusion on the pretrained towers, of which biases alone move."""
    towers, states = _towers(inputs), _states(inputs, seed, pretraining)
    for column, tower in towers.items():
        tower.load_state_dict(states[column])
        tune(tower, "biases")
    options: dict[str, Any] = {"fill": "zero" if arm == "linear map" else arm, "hidden": 64}
    method = Late(towers, recipe(False, widths__embedding=WIDTH), target=inputs.target, **options)
    initialise(method, seed)
    return method


def fused(arm: str, pairs: str, seed: int, steps: int, pretraining: int, trained: int, tested: int) -> Arrays:
    """Train on complete pairs, or on shuffled ones; hits of the test with all columns and without each."""
    inputs = _inputs(trained, tested)
    method = _method(arm, inputs, seed, pretraining)
    texts = inputs.train if pairs == "true" else np.random.default_rng([seed, 7]).permutation(inputs.train)
    text_of = np.concatenate([texts, inputs.test])

    def batch_of(rows: Int[np.ndarray, " n"], lacking: str = "") -> Batch:
        ids = torch.from_numpy(rows)
        views = {
            "image": inputs.views["image"][ids],
            "text": inputs.views["text"][torch.from_numpy(text_of[rows])],
        }
        present = {lacking: torch.zeros(len(rows), dtype=torch.bool)} if lacking else {}
        return Batch(ids, views, {LABEL: inputs.classes[ids]}, present)

    train(method, lambda rng: batch_of(rng.choice(inputs.train, BATCH)), steps=steps, lr=1e-3, seed=seed)
    outcomes: Arrays = {}
    with torch.no_grad():
        maps = _linear_maps(method, batch_of(inputs.train)) if arm == "linear map" else None
        for lacking in ("", *COLUMNS):
            batch = batch_of(inputs.test, lacking)
            z = method.encode(batch)
            logits = method.logits(z, batch) if maps is None else _mapped(method, z, batch, maps)
            hits = logits.argmax(1) == inputs.classes[batch.ids]
            outcomes["complete" if not lacking else f"without {lacking}"] = hits.double().numpy()
        if method.prediction is not None:
            whole = batch_of(inputs.test)
            z = method.encode(whole)
            h, means = method.projected(z), method.projected(method.encode(batch_of(inputs.train)))
            for (a, b), predicted in method.prediction.of_pairs(z).items():
                near = F.cosine_similarity(predicted, h[b]) - F.cosine_similarity(
                    means[b].mean(0)[None], h[b]
                )
                outcomes[f"{b} from {a}"] = near.double().numpy()
    return outcomes


def _linear_maps(method: Late, batch: Batch) -> dict[str, Float[Tensor, "e d"]]:
    """Fit the least-squares map, with an intercept, from each column's features to the other's."""
    h = method.projected(method.encode(batch))
    return {b: torch.linalg.lstsq(_with_one(h[a]), h[b]).solution for a, b in (COLUMNS, COLUMNS[::-1])}


def _mapped(method: Late, z: Embeddings, batch: Batch, maps: Mapping[str, Tensor]) -> Tensor:
    h = method.projected(z)
    instead = {b: _with_one(h[a]) @ maps[b] for a, b in (COLUMNS, COLUMNS[::-1])}
    return method.decide(filled(h, instead, {column: batch.has(column) for column in COLUMNS}))


def _with_one(h: Float[Tensor, "n d"]) -> Float[Tensor, "n e"]:
    return torch.cat([h, torch.ones_like(h[:, :1])], 1)


def changed_by_prompts() -> float:
    """Return the largest change that read-only prompts make to the features of either tower."""
    inputs = _inputs(16, 16)
    largest = 0.0
    for column, tower in _towers(inputs).items():
        initialise(tower, 0)
        prompts = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(0))
        features, _ = tower.prompted(inputs.views[column], prompts)
        largest = max(largest, float((features - tower(inputs.views[column])).detach().abs().max()))
    return largest


def run(lab: Lab) -> Iterator[Result]:
    axes = {"arm": ARMS, "pairs": ("true", "shuffled")}
    sizes = {"pretraining": PRETRAINING, "trained": TRAINED, "tested": TESTED}
    runs = lab.grid(fused, axes, seeds=UNSEEN, steps=STEPS, **sizes)
    scores = {
        test: runs.scores(test, f"accuracy, {test}")
        for test in ("complete", *(f"without {c}" for c in COLUMNS))
    }

    def accuracy(arm: str, pairs: str = "true") -> Score:
        return (scores["without image"][arm, pairs] + scores["without text"][arm, pairs]) / 2

    def gain(other: str, pairs: str = "true") -> Score:
        return accuracy("predicted", pairs) - accuracy(other, pairs)

    yield from decides(
        *(above(gain(other), name=f"predicted − {other}, one column missing") for other in ARMS[1:]),
        below(
            gain("mean", "shuffled") - gain("mean"),
            name="gain over means with shuffled pairs less that with true ones",
        ),
        below(
            exact(changed_by_prompts(), "largest change"),
            1e-300,
            name="features with prompts against those without",
        ),
    )
    yield from beside(
        *(
            above(
                scores[f"without {c}"]["predicted", "true"] - scores[f"without {c}"][other, "true"],
                name=f"predicted − {other}, without {c}",
            )
            for c in COLUMNS
            for other in ARMS[1:]
        ),
        *(
            above(
                scores["complete"]["predicted", "true"] - scores["complete"][other, "true"],
                name=f"predicted − {other}, complete",
            )
            for other in ("zero", "mean")
        ),
        *(
            above(
                runs.scores(f"{b} from {a}", "cosine to the true features")["predicted", "true"],
                name=f"{b} predicted from {a}, less the mean feature's cosine",
            )
            for a, b in (COLUMNS, COLUMNS[::-1])
        ),
    )
    lab.note(
        "Scenes of one thing, whose kind is to be told from a picture of 32 pixels and half of the words of a caption;",
        f"each tower first trained alone on its half of {TRAINED} rows for {PRETRAINING} steps, then {STEPS} steps of",
        f"Adam at 0.001, batch {BATCH}, with the biases of the towers. Accuracy without pictures:",
        f"{scores['without image'].means()}; without captions: {scores['without text'].means()}; complete:",
        f"{scores['complete'].means()}.",
    )
