"""Gradient caching: exact gradients from small parts of a batch, where plain accumulation is another loss."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.data.loading.loader import Loader
from counterpoint.methods.base import Method
from counterpoint.study.design import ArmPlan
from counterpoint.study.opened import open_data
from counterpoint.training.run import Run
from counterpoint.training.start import load, prepare
from counterpoint.training.step import caching
from counterpoint.types import Batch, StepInfo

from .lab import Lab, Result, TrainingComparison, above, below, decides, effects, exact, per_seed, secondary

CLAIM = (
    "Gradients from cached features equal those of the whole batch whatever the size of the parts, and plain "
    "accumulation over parts trains a worse model."
)
REFUTED = "a mismatch beyond rounding, or no difference between caching and accumulation"
SHARE = effects.convention("share")

BATCH, PART = 128, 8
PARTS = (1, 3, 8, 32)
CACHED, ACCUMULATED = "cached", "accumulated"
COMPARISON = TrainingComparison(
    {CACHED: "infonce", ACCUMULATED: f"grouped-infonce,groups={BATCH // PART}"},
    {"retrieval": ("i2t_R@1",)},
    data="emoji",
    changes={
        "towers.context": 24,
        "towers.vocabulary": 2048,
        "batch_size": BATCH,
        "microbatch": PART,
    },
)
"""Each part of a batch on its own, as it is accumulated, is InfoNCE within groups of the batch."""
DROPPING = "infonce,on=texts"
"""Captions read twice under dropout, as its encodings must be the same in both passes of a part."""
CLOCK = StepInfo(0, 1)


def started(arm: str) -> tuple[Method, Loader]:
    """Return an arm of the comparison's recipe at its start, in float64, and its batches."""
    run = COMPARISON.design((0,)).run(arm, 0, ArmPlan(1))
    method, loader = prepare(run, open_data(run))
    return method.double().train(), loader


def in_double(batch: Batch) -> Batch:
    views = {name: view.double() if view.is_floating_point() else view for name, view in batch.views.items()}
    return Batch(batch.ids, views)


def gradient(method: Method) -> Tensor:
    gradients = torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])
    method.zero_grad(set_to_none=True)
    return gradients


def whole(method: Method, batch: Batch, part: int) -> Tensor:
    """Compute the gradient with every graph kept, encoded in the same parts so that dropout is the same."""
    encoded = [method.encode(some) for some in batch.split(part)]
    z = {name: torch.cat([of[name] for of in encoded]) for name in encoded[0]}
    torch.autograd.backward(list(method.losses(z, batch, CLOCK).values()))
    return gradient(method)


def cached(method: Method, batch: Batch, part: int) -> Tensor:
    caching.backward(method, batch, CLOCK, part)
    return gradient(method)


def accumulated(method: Method, batch: Batch, part: int) -> Tensor:
    """Compute the mean gradient of the parts' own losses: each part sees only its own negatives."""
    for some in batch.split(part):
        losses = method.losses(method.encode(some), some, CLOCK)
        torch.autograd.backward([loss * len(some) / len(batch) for loss in losses.values()])
    return gradient(method)


def error(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


def caching_error() -> float:
    """Return the largest relative error of cached gradients over sizes of parts, under dropout."""
    method, loader = started(DROPPING)
    batch, errors = in_double(loader.first(32)), []
    for part in PARTS:
        gradients = []
        for way in (whole, cached):
            torch.manual_seed(1)
            gradients.append(way(method, batch, part))
        errors.append(error(gradients[1], gradients[0]))
    return max(errors)


def group_error() -> float:
    """Return the relative error of the gradient of groups, as the study has it, against accumulation."""
    (method, loader), (groups, _) = (started(arm) for arm in COMPARISON.arms.values())
    batch = in_double(loader.batch(0))
    return error(cached(groups, batch, PART), accumulated(method, batch, PART))


def cosine(folder: Path) -> float:
    """Return the cosine of the accumulated gradient of a trained model with the whole batch's, mean of six batches."""
    run, method = Run.read(folder), load(folder)
    _, loader = prepare(run, open_data(run), folder)
    batches = [loader.batch(step) for step in range(6)]
    cosines = [
        F.cosine_similarity(cached(method, batch, PART), accumulated(method, batch, PART), dim=0)
        for batch in batches
    ]
    return float(torch.stack(cosines).mean())


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    scores = study.scores("retrieval i2t_R@1", "compositions")
    cosines = [cosine(study.folder(CACHED, seed)) for seed in lab.seeds(COMPARISON.seeds)]
    yield from decides(
        below(
            exact(caching_error(), "largest relative error"),
            1e-12,
            name="1: cached gradient against the whole batch's, dropout on, float64",
        ),
        above(
            scores[CACHED] - scores[ACCUMULATED],
            name="2: R@1 with caching − R@1 with accumulation, equal steps",
            **SHARE,
        ),
    )
    yield from secondary(
        # No cosine is above 1, so that this one is below it unless the two gradients are the same.
        below(
            per_seed("trained", "mean of six batches, after training", cosines),
            1.0,
            name=f"2: cosine of the accumulated gradient (parts of {PART}) with the whole batch's",
        ),
        below(
            exact(group_error(), "relative error"),
            1e-12,
            name=f"2: gradient of InfoNCE in groups of {PART} against the accumulated one, float64",
        ),
    )
    lab.note(
        "A study of registered losses by the recipe of seconds, in parts of "
        f"{PART} of a batch of {BATCH} (microbatch): InfoNCE, and InfoNCE in groups of {PART}, whose gradient is the",
        f"accumulated one. R@1 on held-out compositions: {scores.means()}. The first evidence trained networks of its",
        "own by code of its own, and took the cosine on the way. That memory is flat in the batch is predicted and",
        "tested (tests/training/step/test_caching.py) and measured by benchmarks/large_batch.py, not here.",
    )
