"""Compare2Score: soft comparisons with anchors rank pictures better than votes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from counterpoint.data.corruptions import CORRUPTIONS, STRENGTHS
from counterpoint.data.pictured import PairedData
from counterpoint.data.source import load
from counterpoint.evaluation.comparison import anchored_scores, comparisons, preferences, select_anchors
from counterpoint.evaluation.statistic import spearman
from counterpoint.networks.init import initialise

from .lab import Arrays, Lab, Result, above, decides, effects, secondary
from .lab.descent import minimise

CLAIM = (
    "The score of highest posterior probability ranks items at least as well as the mean of their soft comparisons "
    "with all anchors, and the mean ranks them better than the share of comparisons that are won."
)
REFUTED = "votes rank the items as well"
OWN = (
    "Comparisons are drawn from known qualities, so that errors of the inference are not those of a model. The task "
    "quality_ranking makes the same scores from the comparisons of an assistant."
)

ITEMS, DRAWS, ANCHORS, SOME = 300, 200, 5, 3
"""Items of a draw; draws; anchors, and with how many of them an item is compared."""
NOISE, WIDTH = 1.0, 1.0
"""Standard deviation of the noise of each logit, and the width of a level in units of the difference."""
CENTRES = np.arange(-2.0, 3.0)
RANKINGS = ("MAP", "mean", "votes")
SIZE, STEPS, PICTURES = 32, 400, 600
"""Pixels of a side, steps of training, and pictures that are trained and tested on, in two sets."""
SETS = {"first": ("blur", "noise"), "second": ("contrast", "jpeg")}


def compared(difference: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return how probable a noisy five-way comparer finds it that the second is preferred, by how much better it is."""
    logits = -((difference[..., None] - CENTRES) ** 2) / (2 * WIDTH**2)
    return preferences(logits + NOISE * rng.normal(size=logits.shape))


def both_orders(items: np.ndarray, others: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return how probable it is that each item (row) is preferred to each other one, the mean over both orders."""
    difference = items[:, None] - others[None]
    return (compared(difference, rng) + 1 - compared(-difference, rng)) / 2


def inference(seed: int, draws: int) -> Arrays:
    """Rank items of known quality by their comparisons with some of the anchors, and with all.

    Returns:
        For each ranking the mean over draws of Spearman's correlation with the quality.
    """
    rng, correlations = np.random.default_rng(seed), []
    for _ in range(draws):
        quality, anchors = rng.normal(size=ITEMS), np.sort(rng.normal(size=ANCHORS))
        block, preferred = both_orders(anchors, anchors, rng), both_orders(quality, anchors, rng)
        np.fill_diagonal(block, 0.5)
        left_out = rng.random(preferred.shape).argsort(1) >= SOME
        values: dict[str, np.ndarray] = {}
        for which, p in (("some", np.where(left_out, np.nan, preferred)), ("all", preferred)):
            values |= {
                f"MAP, {which}": anchored_scores(block, p),
                f"logistic MAP, {which}": anchored_scores(block, p, "logistic"),
                f"mean, {which}": np.nanmean(p, 1),
                f"votes, {which}": np.nanmean(np.where(np.isnan(p), np.nan, p > 0.5), 1),
            }
        correlations.append({name: correlation(quality, score) for name, score in values.items()})
    return {name: np.array(np.mean([one[name] for one in correlations])) for name in correlations[0]}


def correlation(quality: np.ndarray, score: np.ndarray) -> float:
    return spearman(np.stack([quality, score], 1))


class RatedSets:
    """Pictures of two sets, each with distortions of its own at four levels.

    Attributes:
        pictures, sets, quality: of each, from 0 at the strongest distortion to 3 without one.
    """

    def __init__(self, data: PairedData, rows: np.ndarray, seed: int) -> None:
        rng, pictures = np.random.default_rng(seed), data.images(rows)
        pictures = F.interpolate(pictures.float(), SIZE, mode="area").round().to(torch.uint8)
        self.sets = np.array(list(SETS))[rng.integers(len(SETS), size=len(rows))]
        self.quality = rng.integers(len(STRENGTHS) + 1, size=len(rows))
        ways = [rng.choice(SETS[name]) for name in self.sets]
        made = [
            one if quality == len(STRENGTHS) else _worse(one, way, len(STRENGTHS) - int(quality), int(row))
            for one, way, quality, row in zip(pictures, ways, self.quality, rows, strict=True)
        ]
        self.pictures: Float[Tensor, "n 3 S S"] = torch.stack(made).float() / 255


def _worse(picture: UInt8[Tensor, "3 S S"], way: str, level: int, key: int) -> UInt8[Tensor, "3 S S"]:
    return CORRUPTIONS[way](picture[None], torch.tensor([key]), STRENGTHS[level - 1])[0]


def network(outputs: int, channels: int, seed: int) -> nn.Sequential:
    """Build the network of both models, which reads one picture or two that are stacked."""
    made = nn.Sequential(
        *(
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.ReLU(),
        ),
        *(nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(64, outputs),
    )
    initialise(made, seed, "network")
    return made


def training(seed: int, pictures: int, steps: int) -> Arrays:
    """Train a comparer on pairs within the sets, and regressors on ratings whose scales agree or conflict.

    Returns:
        For each model Spearman's correlation of score and quality over the test pictures of both sets.
    """
    data = load("emoji")
    assert isinstance(data, PairedData)
    train = RatedSets(data, data.splits.train[:pictures], seed)
    test = RatedSets(data, next(iter(data.splits.test.values()))[:pictures], seed)
    scores = {"comparer": _compare(train, test, steps, seed)}
    for name, shift in (("agree", 0.0), ("conflict", 3.0)):
        ratings = train.quality + shift * (train.sets == "second")
        scores[f"regressor, scales {name}"] = _regress(train, ratings, test, steps, seed)
    return {name: np.array(correlation(test.quality.astype(float), score)) for name, score in scores.items()}


def _regress(train: RatedSets, ratings: np.ndarray, test: RatedSets, steps: int, seed: int) -> np.ndarray:
    model, target = network(1, 3, seed), torch.from_numpy(ratings).float()

    def loss(rng: np.random.Generator) -> Tensor:
        rows = torch.from_numpy(rng.integers(len(target), size=64))
        return F.mse_loss(model(train.pictures[rows])[:, 0], target[rows])

    minimise(loss, model.parameters(), steps=steps, lr=2e-3, seed=seed)
    with torch.no_grad():
        return model(test.pictures)[:, 0].double().numpy()


def _compare(train: RatedSets, test: RatedSets, steps: int, seed: int) -> np.ndarray:
    pairs = comparisons([*train.sets], train.quality.astype(float), 0.5, 64 * steps, seed)
    first, second, level = (torch.tensor(column) for column in zip(*pairs, strict=True))
    model = network(len(CENTRES), 6, seed)

    def levels(a: Tensor, b: Tensor) -> Any:
        return model(torch.cat([a, b], 1))

    def loss(rng: np.random.Generator) -> Tensor:
        some = torch.from_numpy(rng.integers(len(level), size=64))
        return F.cross_entropy(levels(train.pictures[first[some]], train.pictures[second[some]]), level[some])

    minimise(loss, model.parameters(), steps=steps, lr=2e-3, seed=seed)
    members = np.flatnonzero(train.sets == "first")
    chosen = members[select_anchors(train.quality[members].astype(float), np.ones(len(members)), 4)]
    anchors = train.pictures[torch.from_numpy(chosen)]

    @torch.no_grad()
    def preferred(pictures: Tensor) -> np.ndarray:
        columns = []
        for anchor in anchors:
            repeated = anchor.expand_as(pictures)
            after = preferences(levels(repeated, pictures).double().numpy())
            before = preferences(levels(pictures, repeated).double().numpy())
            columns.append((after + 1 - before) / 2)
        return np.stack(columns, 1)

    block = preferred(anchors)
    np.fill_diagonal(block, 0.5)
    return anchored_scores(block, preferred(test.pictures))


def run(lab: Lab) -> Iterator[Result]:
    ranked = lab.grid(inference, {}, draws=DRAWS).scores("{}", "Spearman's correlation of score and quality")
    models = lab.grid(training, {}, pictures=PICTURES, steps=STEPS)
    trained = models.scores("{}", "Spearman's correlation of score and quality, both sets")
    yield from decides(
        above(
            ranked["MAP, all"] - ranked["mean, all"],
            name="all anchors: MAP − mean",
            **effects.tolerance("correlation"),
        ),
        above(
            ranked["mean, all"] - ranked["votes, all"],
            name="all anchors: mean − votes",
            **effects.convention("correlation"),
        ),
    )
    yield from secondary(
        above(ranked["MAP, some"] - ranked["mean, some"], name="some anchors: MAP − mean"),
        above(ranked["mean, some"] - ranked["votes, some"], name="some anchors: mean − votes"),
        above(ranked["MAP, some"] - ranked["logistic MAP, some"], name="some anchors: probit − logistic MAP"),
        above(
            trained["comparer"] - trained["regressor, scales conflict"],
            name="conflicting scales: comparer − regressor",
        ),
        above(
            trained["comparer"] - trained["regressor, scales agree"],
            -0.05,
            name="agreeing scales: comparer − regressor",
        ),
    )
    rankings = [f"{name}, {which}" for which in ("some", "all") for name in RANKINGS]
    lab.note(
        f"{ITEMS} items of normal quality and {ANCHORS} anchors; the logits of five levels have noise, and both orders",
        f"are averaged. Items are compared with {SOME} of the anchors each, or with all. With all, and a logistic",
        "link, the mean of the comparisons is all that MAP learns of an item, so that the two rankings hardly differ.",
        f"{ranked.means(rankings)}. Small networks are trained on emoji in two sets with distortions of their own. The",
        "comparer learns from pairs within a set, the regressor from the ratings of both, which have one scale or two.",
        f"{trained.means(['comparer', 'regressor, scales agree', 'regressor, scales conflict'])}.",
    )
