"""BriVL: queues of keys of both modalities give a small batch the negatives that it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.data.source import load
from counterpoint.methods.brivl import BriVL
from counterpoint.networks.state.momentum import PREFIX
from counterpoint.recipes import load as load_recipe
from counterpoint.types import Batch, StepInfo

from .lab import Lab, Result, TrainingComparison, above, below, decides, effects, exact, secondary
from .lab.gradients import relative_error
from .lab.towers import build

CLAIM = (
    "With 32 pairs a batch, momentum encoders and a queue of 1,024 keys for each modality retrieve better "
    "than the negatives of the batch, at the same number of pairs seen."
)
REFUTED = "the queues give no gain over a batch of 32, or the loss or its gradients are others"
SHARE = effects.convention("share")

SAMPLES, SMALL, LARGE = 19_200, 32, 256
TAU, CLOSE = 0.07, 0.05
COMPARISON = TrainingComparison(
    {
        "in-batch": "clip",
        "in-batch, τ fixed": "infonce,temperature=0.07",
        "in-batch, heads as brivl's": "convirt,temperature=0.07,image_weight=0.5",
        "queue": "brivl,queue=1024",
        "queue of 64": "brivl,queue=64",
    },
    {"retrieval": ("i2t_R@1", "t2i_R@1")},
    data="emoji",
    changes={"batch_size": SMALL, "steps": SAMPLES // SMALL},
    rates=(3e-4, 1e-3, 3e-3, 1e-2),
)


def exactness(pairs: int = 16, keys: int = 48) -> tuple[float, float]:
    """Compare the method's gradient in the towers' features with that of 1 + K logits in both directions, in float64.

    Returns:
        the relative error, and the largest entry of the gradient in keys and queues.
    """
    data = load("digits")
    method = build(f"brivl,queue={keys}", load_recipe("seconds"), data, data.splits.train[:100], 0).double()
    assert isinstance(method, BriVL)
    generator = torch.Generator().manual_seed(0)

    def normal(width: int) -> Tensor:
        return torch.randn(pairs, width, generator=generator, dtype=torch.float64)

    columns = ("image", "text")
    features = {column: normal(method.tower(column).width).requires_grad_() for column in columns}
    positives = {column: F.normalize(normal(64), dim=-1).requires_grad_() for column in columns}
    queues = {column: method.queues.get_buffer(f"{column}.keys").requires_grad_() for column in columns}
    z = {**features, **{PREFIX + column: k for column, k in positives.items()}}
    losses = method.losses(z, Batch(torch.arange(pairs), {}), StepInfo(0, 1))
    leaves = [*features.values(), *positives.values(), *queues.values()]
    gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), leaves, allow_unused=True)

    first, terms = torch.zeros(pairs, dtype=torch.int64), []
    for of, to in permutations(columns):
        q = F.normalize(method.project(of, features[of], "global"), dim=-1)
        logits = torch.cat([(q * positives[to]).sum(1, keepdim=True), q @ queues[to].T], 1) / TAU
        terms.append(F.cross_entropy(logits, first))
    expected = torch.autograd.grad(torch.stack(terms).sum(), list(features.values()))
    reached = [float(gradient.abs().max()) for gradient in gradients[2:] if gradient is not None]
    return relative_error(torch.cat(gradients[:2]), torch.cat(expected)), max(reached, default=0.0)


def run(lab: Lab) -> Iterator[Result]:
    small = lab.study(COMPARISON, f"batch-{SMALL}")
    alone = {"in-batch": COMPARISON.arms["in-batch"]}
    changes = {"batch_size": LARGE, "steps": SAMPLES // LARGE}
    rates = (*COMPARISON.rates, 3e-2)
    large = lab.study(replace(COMPARISON, arms=alone, changes=changes, rates=rates), f"batch-{LARGE}")
    ways = ("i2t", "t2i")
    retrieved = {way: small.scores(f"retrieval {way}_R@1", "compositions") for way in ways}
    of_large = {way: large.scores(f"retrieval {way}_R@1", "compositions") for way in ways}
    error, reached = exactness()

    def gain(way: str, baseline: str) -> Result:
        score = retrieved[way]["queue"] - retrieved[way][baseline]
        return above(score, name=f"queue of 1,024 − {baseline}, batch {SMALL}", **SHARE)

    yield from decides(
        gain("i2t", "in-batch"),
        below(
            exact(error, "relative error"),
            1e-10,
            name="gradient of the method against the cross-entropy of 1 + K logits, both directions, float64",
        ),
        below(exact(reached, "largest entry"), 1e-300, name="gradient in keys and queues"),
    )
    yield from secondary(
        gain("t2i", "in-batch"),
        *(
            gain(way, baseline)
            for baseline in ("in-batch, τ fixed", "in-batch, heads as brivl's", "queue of 64")
            for way in ways
        ),
        *(
            above(
                retrieved[way]["queue of 64"] - retrieved[way]["in-batch, heads as brivl's"],
                name=f"queue of 64 − in-batch, heads as brivl's, batch {SMALL}",
            )
            for way in ways
        ),
        *(
            above(
                retrieved[way]["queue"] - of_large[way]["in-batch"],
                -CLOSE,
                name=f"queue of 1,024 at batch {SMALL} − in-batch at batch {LARGE}",
            )
            for way in ways
        ),
    )
    chosen = ", ".join(
        f"{name} {batch}: {plan.changes['optimizer.lr']:g}"
        for batch, study in ((SMALL, small), (LARGE, large))
        for name, plan in study.plans.items()
    )
    lab.note(
        "The registered brivl (m = 0.99, τ = 0.07 fixed, heads of one hidden layer) and clip (τ learned from 0.07,",
        f"linear heads) on emoji under the recipe seconds, {SAMPLES:,} pairs seen in every arm; learning rates by",
        f"validation under a seed that is not tested ({chosen}). R@1 at batch {SMALL}: {retrieved['i2t'].means()}; at",
        f"batch {LARGE}: {of_large['i2t'].means()}. A key of the query's own emoji is no negative of it. Five points",
        f"are counted as close to batch {LARGE}, which decides nothing, since a queue without gain is what is said to",
        "refute the claim. A first run lacked the arms that tell why: convirt at λ = ½, which is the in-batch softmax",
        "under brivl's deeper heads (and stronger crops), and a queue of 64; it lacked 0.03 at batch 256 too, where it",
        "had chosen its highest rate, 0.01. These runs are short: brivl is far below what it reaches later, which may",
        "change the order. Scenes and the encoders on regions were not tried.",
    )
