"""Momentum contrast with both views as anchors, and with the hardest keys of the queue alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from counterpoint.losses import DualViewLoss, MoCoLoss
from counterpoint.study.opened import open_data
from counterpoint.training.run import Run

from .lab import (
    Lab,
    Result,
    Score,
    TrainedScores,
    TrainedStudy,
    above,
    below,
    decides,
    effects,
    exact,
    per_seed,
    secondary,
    things,
)
from .lab.gradients import random_views, relative_error
from .lab.queries import queries_and_queue

CLAIM = (
    "At equal passes, both views as anchors and the hardest eighth of the queue give better features than "
    "MoCo, and the eighth is as good as the whole queue."
)
REFUTED = "both together do not gain, the eighth is worse than the whole queue, or the loss does not reduce to MoCo's"
SHARE = effects.convention("share")
AS_GOOD = effects.tolerance("share")

TAU, SIZE = 0.2, 512
FILTERED, NOISE = 0.125, 0.5
"""The share of the queue that is kept, m = K/8; and that of its keys that are of pictures of noise."""
STEPS = 200
PLAIN, VIEWS, FILTER, BOTH = "MoCo", "key view", "filtering", "both"
_ONE = f"moco-dual-view,queue={SIZE},mode=key_anchor,key_weight=0"
_TWO = f"moco-dual-view,queue={SIZE},mode=symmetric"
_COMPARED = things.compared(
    {
        PLAIN: f"moco,queue={SIZE}",
        VIEWS: f"{_TWO},num_hard=none",
        FILTER: f"{_ONE},num_hard={FILTERED}",
        "key as anchor": f"moco-dual-view,queue={SIZE},mode=key_anchor,num_hard=none",
        "MoCo, noise": f"{_ONE},num_hard=none,noise={NOISE}",
        "filtering, noise": f"{_ONE},num_hard={FILTERED},noise={NOISE}",
        BOTH: f"{_TWO},num_hard={FILTERED}",
    },
    STEPS,
    budget="passes",
)
COMPARISON = replace(_COMPARED, steps={VIEWS: STEPS // 2, BOTH: STEPS // 2})
"""Both views as anchors take half the steps, so that the passes are equal. Without noise, filter and weight is MoCo."""
OTHERS = {VIEWS: VIEWS, FILTER: FILTER, "key as anchor": "frozen key as second anchor, λ = 0.1"}


def exactness() -> tuple[float, float]:
    """Return relative errors of the queries' gradient.

    The first is at λ_k = 0 with all keys, against MoCo's; the second of λ_k = 1's part, against
    ``−(1 − p_k) k / (τ B)``, p_k the probability that the key gives its query.
    """
    q, k = random_views(16, 8)
    queue = random_views(48, 8)[1]

    def gradient(objective: DualViewLoss | MoCoLoss) -> Tensor:
        leaf = q.clone().requires_grad_()
        return torch.autograd.grad(objective(leaf, k, queue), leaf)[0]

    plain = gradient(DualViewLoss(TAU, num_hard=len(queue)))
    added = gradient(DualViewLoss(TAU, num_hard=len(queue), key_weight=1.0)) - plain
    logits = torch.cat([(q * k).sum(1, keepdim=True), k @ queue.T], 1) / TAU
    p = logits.softmax(1)[:, :1]
    return relative_error(plain, gradient(MoCoLoss(TAU))), relative_error(
        added, -(1 - p) * k / (TAU * len(q))
    )


@torch.no_grad()
def same_class(study: TrainedStudy, seed: int) -> float:
    """Return the share of the query's class in the hardest eighth of the queue, less that in the whole queue."""
    folder = study.folder(BOTH, seed)
    data = open_data(Run.read(folder))
    classes, test = data.label(things.LABEL, "classes").values, next(iter(data.splits.test))
    q, queue = queries_and_queue(folder, data, test)
    filled = queue.ids >= 0
    of_keys = classes[queue.ids[filled].numpy()]
    hardest = (q @ queue.keys[filled].T).topk(int(FILTERED * len(of_keys))).indices.numpy()
    query_classes = classes[data.splits.test[test]][:, None]
    return float((of_keys[hardest] == query_classes).mean() - (of_keys == query_classes).mean())


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    linear, nearest = study.scores(things.ACCURACY), study.scores(things.NEAREST)
    spread = study.diagnostics("uniformity_image")
    shares = [same_class(study, seed) for seed in lab.seeds(COMPARISON.seeds)]
    reduced, added = exactness()
    queries_gradient = "relative error of the queries' gradient"
    yield from decides(
        *_claimed(linear),
        below(exact(reduced, queries_gradient), 1e-10, name="1: all keys and λ = 0 against MoCo, float64"),
        below(
            exact(added, queries_gradient),
            1e-10,
            name="1: what a frozen key as anchor adds against −λ (1 − p) k / τ, float64",
        ),
    )
    yield from secondary(
        *_claimed(nearest),
        *(
            above(scores[arm] - scores[PLAIN], name=f"1: {label} − MoCo")
            for scores in (linear, nearest)
            for arm, label in OTHERS.items()
        ),
        *(
            above(_cost(scores, PLAIN), name="3: MoCo − MoCo with noise in the queue")
            for scores in (linear, nearest)
        ),
        above(
            _cost(linear, PLAIN) - _cost(linear, FILTER),
            name="3: what noise in the queue costs MoCo − what it costs with filtering",
        ),
        above(
            per_seed("share", "share of the keys, held-out pictures", shares),
            name="1: keys of the query's thing among the hardest eighth − among all, key view and filtering",
        ),
    )
    lab.note(
        f"1 to 3: the registered methods on {things.KEPT} pictures of one of {len(things.THINGS)} things at",
        f"{things.SIDE} px, by a cnn under the recipe seconds: {STEPS} steps of {things.BATCH} at {things.RATE}, or",
        f"half as many where both views are anchors, so that the passes are equal; m = 0.99, K = {SIZE}, τ = {TAU}. A",
        "picture's own keys are no negatives of it, and before the queue is full nothing is filtered. 3: half of the",
        "keys that enter the queue are those of pictures of random pixels; it is beside, as a difference of",
        f"differences is wide. A probe of the thing in {things.TESTED:,} other pictures decides; a point less is",
        f"counted as a clear drop: {linear.means()}; k-NN: {nearest.means()}; uniformity of test pictures (0 is",
        f"collapse): {spread.means(2)}. Earlier evidence had 575 emoji to test with.",
    )


def _cost(scores: TrainedScores, arm: str) -> Score:
    """Return what noise in the queue costs an arm."""
    return scores[arm] - scores[f"{arm}, noise"]


def _claimed(scores: TrainedScores) -> tuple[Result, ...]:
    """Judge what is claimed by one measure."""
    return (
        above(scores[BOTH] - scores[PLAIN], name="1: key view and filtering − MoCo", **SHARE),
        above(
            scores[BOTH] - scores[VIEWS],
            name="2: the hardest eighth of the queue − all of it, key view",
            **AS_GOOD,
        ),
    )
