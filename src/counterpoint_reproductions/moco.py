"""MoCo: keys need a slow encoder, and a queue of them gives negatives that a small batch lacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from counterpoint.losses import MoCoLoss
from counterpoint.networks import KeyQueue

from .lab import (
    Lab,
    Result,
    Score,
    TrainedScores,
    TrainingComparison,
    above,
    below,
    decides,
    effects,
    exact,
    secondary,
)
from .lab.gradients import queue_gradients

CLAIM = (
    "Keys of a slow copy (m = 0.99) give better features than keys of the network itself (m = 0), and a queue of "
    "512 keys better ones than the negatives of a batch of 32; queries alone are trained, on 1 + K logits."
)
REFUTED = (
    "m = 0 is as good, a queue has no effect at batch 32, or the loss, its gradient or the queue are others"
)
SHARE = effects.convention("share")

TAU = 0.2
MOMENTA, SIZES = (0.0, 0.5, 0.9, 0.99, 0.999), (0, 128, 512, 1000)
COMPARISON = TrainingComparison(
    {f"m = {m:g}": f"moco,momentum={m:g},queue=512" for m in MOMENTA}
    | {f"K = {size}": f"moco,momentum=0.99,queue={size}" for size in SIZES},
    {"probe": ("knn_*_top1", "logistic_*_top1")},
    changes={"batch_size": 32, "steps": 500},
)
"""With K = 0 the other keys of the batch are the negatives, and with 1,000 those of all digits that are trained on."""


def reference(
    q: Float[Tensor, "B d"], k: Float[Tensor, "B d"], queue: Float[Tensor, "K d"]
) -> Float[Tensor, ""]:
    """Compute the cross-entropy of 1 + K logits, the key's first."""
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1) / TAU
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.int64))


def misplaced(size: int, batches: Sequence[int]) -> int:
    """Count the ids of a queue that differ from those of a list that is cut to the last ids."""
    queue, last, numbers = KeyQueue(size, 2), list[int](), iter(range(10_000))
    for batch in batches:
        ids = [next(numbers) for _ in range(batch)]
        last = [*last, *ids][-size:]
        queue.enqueue(torch.ones(batch, 2), torch.tensor(ids))
    return int((queue.ids.roll(-int(queue.pointer)) != torch.tensor(last)).sum())


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    nearest, probe = study.scores("probe knn_digit_top1"), study.scores("probe logistic_digit_top1")
    spread = study.diagnostics("uniformity_image")
    of_queries, of_others = queue_gradients(MoCoLoss(TAU), reference)

    def slow(score: TrainedScores, m: float, other: float) -> Score:
        return score[f"m = {m:g}"] - score[f"m = {other:g}"]

    def longer(score: TrainedScores, size: int, other: int) -> Score:
        return score[f"K = {size}"] - score[f"K = {other}"]

    yield from decides(
        above(slow(nearest, 0.99, 0.0), **SHARE),
        above(longer(nearest, 512, 0), **SHARE),
        below(
            exact(of_queries, "relative error"),
            1e-10,
            name="gradient in the queries against the cross-entropy of 1 + K logits, float64",
        ),
        below(exact(of_others, "largest entry"), 1e-300, name="gradient in keys and queue"),
        below(
            exact(misplaced(7, [3, 3, 3, 5, 7, 2, 9]), "keys out of place"),
            0.5,
            name="first in, first out, with batches that do not divide K",
        ),
    )
    yield from secondary(
        *(above(slow(nearest, 0.99, m)) for m in (0.5, 0.9, 0.999)),
        *(above(longer(nearest, more, less)) for less, more in pairwise(SIZES)),
        above(slow(probe, 0.99, 0.0)),
        above(longer(probe, 512, 0)),
        *(below(slow(spread, 0.99, m)) for m in (0.0, 0.9)),
    )
    lab.note(
        "The registered method on digits under the recipe seconds: batch 32, 500 steps; K = 512 where m varies and",
        "m = 0.99 where K does. A digit's own older keys are no negatives of it. k-NN by m and K:",
        f"{nearest.means()}; uniformity of the test digits (0 is collapse): {spread.means(2)}.",
    )
