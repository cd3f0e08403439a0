"""SCL with ReLU: do class means become an orthogonal frame, whatever the imbalance, and which batches guarantee it?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.data.embeddings import EmbeddingCache
from counterpoint.data.loading.samplers import Sampler
from counterpoint.diagnostics.class_means import orthogonal_frame, simplex, within_class_variation
from counterpoint.losses import SupConLoss
from counterpoint.networks.init import seeded
from counterpoint.study.opened import open_data
from counterpoint.training.run import Run
from counterpoint.training.start import load

from .lab import (
    UNSEEN,
    Arrays,
    Lab,
    Result,
    ThresholdOrigin,
    TrainingComparison,
    above,
    below,
    decides,
    effects,
    per_seed,
    secondary,
)
from .lab.descent import minimise

CLAIM = (
    "Class means of free features behind a ReLU reach an orthogonal frame in fixed batches of 10 : 1 if a row of each "
    "class is bound to all of them. On digits of 10 : 1 class means are nearer to the frame with ReLU, at no cost in "
    "accuracy."
)
REFUTED = (
    "bound rows do not reach the frame, fixed batches are as near without them, class means of digits are as near "
    "without ReLU, or digits are told worse by more than a point"
)
FRAME = effects.level("0.01 of a distance that is at most √2; chosen here", "convention")
APART = ThresholdOrigin(kind="convention", text="half of a distance of 0.5, beyond which a frame is missed")
DISTANCE = effects.convention("correlation")
"""The distance is that of two matrices of unit norm, which follows from their correlation."""

CLASSES, WIDTH, MANY = 4, 20, 20
RATIOS = (1, 10)
BATCHES = {"fixed": "natural", "bound": "bound:1"}
"""Ways to cut 44 rows in two batches that stay the same: of 22 rows, and of 20 and the 4 bound ones."""
SIZES = {"fixed": 22, "bound": 24}
STEPS, RATE = 1500, 0.02
LABEL = "digit"
COMPARISON = TrainingComparison(
    {
        "no ReLU": "supcon,on=images,head=identity",
        "ReLU, bound": "supcon,on=images,head=relu,sampler=bound:1",
        "ReLU": "supcon,on=images,head=relu",
    },
    {"probe": (f"logistic_{LABEL}_top1",)},
    labels=f"{LABEL},imbalance=10",
    changes={"steps": 1500},
    seeds=UNSEEN,
)


def lowest(counts: Sequence[int], temperature: float) -> float:
    """Return the least SupCon loss of non-negative unit vectors: ``Σ_c n_c log(n_c − 1 + (n − n_c) e^{−1/τ}) / n``.

    The sums are over classes of two examples or more, whose anchors have positives.
    """
    n, terms = sum(counts), [c for c in counts if c > 1]
    summed = sum(c * math.log(c - 1 + (n - c) * math.exp(-1 / temperature)) for c in terms)
    return summed / sum(terms)


def free(relu: bool, ratio: int, batches: str, temperature: float, seed: int, steps: int) -> Arrays:
    """Minimise SupCon over the features themselves, of two classes of 20 rows and two of 20 by the ratio.

    Returns:
        ``gap`` (the loss of all rows, minus the closed-form bound), ``frame``, ``simplex`` (distances of class means
        from either), ``within`` (variation that is left within classes).
    """
    counts = [MANY, MANY, MANY // ratio, MANY // ratio]
    labels = torch.arange(CLASSES).repeat_interleave(torch.tensor(counts))
    with seeded(seed, "features"):
        w = torch.randn(len(labels), WIDTH)
    w = (w.abs() if relu else w).requires_grad_()
    loss, step = SupConLoss(temperature), 0
    parts = np.arange(len(labels))[None]
    if batches in BATCHES:
        parts = Sampler.parse(BATCHES[batches]).epoch(labels.numpy(), SIZES[batches], seed, 0)

    def z() -> Tensor:
        return F.normalize(w.relu() if relu else w, dim=-1)

    def next_part(rng: np.random.Generator) -> Tensor:
        nonlocal step
        rows = parts[step % len(parts)]
        step += 1
        return loss(z()[rows], labels=labels[rows])

    minimise(next_part, [w], steps=steps, lr=RATE, seed=seed)
    h = z().detach().double()
    return {
        "gap": np.array(float(loss(h, labels=labels)) - lowest(counts, temperature)),
        "frame": np.array(orthogonal_frame(h, labels)),
        "simplex": np.array(simplex(h, labels)),
        "within": np.array(within_class_variation(h, labels)),
    }


def frame(folder: Path) -> float:
    """Return how far the class means of a run's training pictures are from an orthogonal frame."""
    data = open_data(Run.read(folder))
    z = EmbeddingCache(load(folder), data).column("image", rows := data.splits.train)
    return orthogonal_frame(z, torch.from_numpy(data.label(LABEL, "classes").values[rows]))


def run(lab: Lab) -> Iterator[Result]:
    whole = lab.grid(
        free, {"relu": (False, True), "ratio": RATIOS}, batches="all", temperature=0.5, steps=STEPS
    )
    gap, of, etf = (whole.scores(name, f"{name}, free features") for name in ("gap", "frame", "simplex"))
    cut = lab.grid(free, {"batches": tuple(BATCHES)}, relu=True, ratio=10, temperature=0.3, steps=STEPS)
    of_cut, within_cut = (cut.scores(name, f"{name}, fixed batches") for name in ("frame", "within"))
    study = lab.study(COMPARISON)
    accuracy = study.scores(f"probe logistic_{LABEL}_top1")
    digits = {
        name: per_seed(
            name,
            "frame, digits of 10 : 1",
            [frame(study.folder(name, seed)) for seed in lab.seeds(COMPARISON.seeds)],
        )
        for name in COMPARISON.arms
    }
    balanced, rare = RATIOS
    yield from decides(
        below(of_cut["bound"], 0.01, name="frame from fixed batches with bound rows", **FRAME),
        above(
            of_cut["fixed"] - of_cut["bound"],
            name="frame from fixed batches, without − with bound rows",
            delta=0.25,
            source=APART,
        ),
        below(digits["ReLU"] - digits["no ReLU"], name="frame of digits, ReLU − no ReLU", **DISTANCE),
        above(accuracy["ReLU"] - accuracy["no ReLU"], **effects.tolerance("share")),
    )
    # Features that are optimised to the minimum restate the theorem about it.
    yield from secondary(
        *(below(gap[True, ratio], 1e-4, name=f"gap with ReLU, {ratio} : 1") for ratio in RATIOS),
        *(below(of[True, ratio], 0.01, name=f"frame with ReLU, {ratio} : 1") for ratio in RATIOS),
        *(below(gap[False, ratio], name=f"gap without ReLU, {ratio} : 1") for ratio in RATIOS),
        *(above(of[False, ratio], 0.5, name=f"frame without ReLU, {ratio} : 1") for ratio in RATIOS),
        below(etf[False, balanced], 0.01, name="simplex without ReLU, 1 : 1"),
        above(etf[False, rare], 0.2, name="simplex without ReLU, 10 : 1"),
    )
    yield from secondary(
        above(of_cut["fixed"], 0.5, name="frame from fixed batches without bound rows"),
        above(within_cut["fixed"] - within_cut["bound"], name="within classes, without − with bound rows"),
        below(digits["ReLU, bound"] - digits["ReLU"], name="frame of digits, bound rows − none"),
        above(accuracy["ReLU, bound"] - accuracy["no ReLU"], -0.01),
    )
