"""BiVLC: negative captions help to choose captions; their pictures help in both directions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ...evaluation.tasks.compositional._squares import decisions
from ...losses import InfoNCELoss
from ..benches.scene_towers import (
    SIDE,
    SceneTowers,
    edited,
    square_similarities,
    train,
    with_negatives,
)
from ..lab import Arrays, Lab, Result, Score, above, below, beside, decides, mean, worst

CLAIM = (
    "A model that is right about most single pictures and captions is right about far fewer whole squares; "
    "training on negative captions together with their pictures gives a higher group score than training on "
    "the negative captions alone, at the same number of pictures a step."
)
REFUTED = "the negative captions alone give an equal or higher group score"


WORLD = "scenes:tiny,objects=2,tinted=1,relations=1"
KINDS = ("swap colour", "replace relation", "replace object")
ARMS = ("plain", "text", "image")
STEPS, BATCH, LR = 600, 128, 1e-3
TRAINED, TESTED = 5000, 1000
DECISIONS = ("picture 0", "picture 1", "caption 0", "caption 1")


def trained(arm: str, seed: int, steps: int, train_size: int, test_size: int) -> Arrays:
    """Train on scenes, with or without their edits, and answer the four questions of every test square.

    Args:
        arm: ``"plain"``: scenes and captions; ``"text"``: and captions of edits, as negatives; ``"image"``: half as
            many scenes, and their edits with captions and pictures.
        seed, steps: of the run.
        train_size, test_size: how many scenes.
    """
    data = edited(WORLD, "train", train_size, KINDS)
    test = edited(WORLD, "test", test_size, KINDS)
    towers = SceneTowers([caption for both in data.captions for caption in both], seed)
    tokens = torch.stack([towers.words.tokenizer([both[c] for both in data.captions]) for c in (0, 1)], 1)

    def loss(towers: SceneTowers, infonce: InfoNCELoss, rows: Int[np.ndarray, " B"]) -> Tensor:
        if arm == "image":
            rows = rows[: len(rows) // 2]  # as many pictures a step as the others
            x = towers.pictures(torch.cat([data.pictures[rows, c] for c in (0, 1)]))
            y = towers.captions(torch.cat([tokens[rows, c] for c in (0, 1)]))
            return infonce(x, y)
        x, y = towers.pictures(data.pictures[rows, 0]), towers.captions(tokens[rows, 0])
        if arm == "plain":
            return infonce(x, y)
        negatives = towers.captions(tokens[rows, 1])
        return with_negatives(infonce, x, y, negatives, torch.ones(len(rows), dtype=torch.bool))

    train(towers, loss, examples=len(data), batch=BATCH, steps=steps, lr=LR, seed=seed)
    pictures, captions = decisions(square_similarities(towers, test))
    found = dict(zip(DECISIONS, [*pictures.T, *captions.T], strict=True))
    found |= {"i2t": pictures.all(1), "t2i": captions.all(1)}
    found["group"] = found["i2t"] & found["t2i"]
    return {name: hits.astype(float) for name, hits in found.items()}


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.grid(trained, {"arm": ARMS}, steps=STEPS, train_size=TRAINED, test_size=TESTED)
    plain = {name: runs.scores(name, name)["plain"] for name in ("group", "i2t", "t2i", *DECISIONS)}

    def gain(better: str, worse: str, score: str) -> Score:
        found = runs.scores(score, f"{score} of BiVLC")
        return found[better] - found[worse]

    yield from decides(
        below(
            plain["group"] - worst([plain["i2t"], plain["t2i"]]),
            name="A: group − the lower of i2t and t2i, plain",
            metric="group − min(i2t, t2i)",
        ),
        below(
            plain["group"] - mean(plain[decision] for decision in DECISIONS),
            -0.1,
            name="A: group − the mean of the four decisions, plain",
            metric="group − mean of decisions",
        ),
        above(
            gain("image", "text", "group"),
            name="B: negative captions with their pictures − negative captions",
            metric="group score of BiVLC",
        ),
    )
    yield from beside(
        *(
            above(gain(better, worse, score), name=f"B: {better} − {worse}, {score}")
            for better, worse, score in (
                ("image", "plain", "group"),
                ("text", "plain", "i2t"),
                ("text", "plain", "t2i"),
                ("image", "text", "i2t"),
                ("image", "text", "t2i"),
            )
        )
    )
    lab.note(
        f"Scenes of two dyed things in a relation, {SIDE} pixels a side; squares differ in a swap of colours, a",
        f"relation or an object, all drawn by the same renderer. {STEPS} steps of {BATCH} pictures each: the arm with",
        "pictures of edits sees half as many composed scenes a step. There is one negative caption a scene.",
    )
