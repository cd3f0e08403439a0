"""The contrastive gap: the loss itself parts two encoders, and alignment and uniformity close the gap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from ...catalog.evidence import Result
from ...data.embeddings import EmbeddingCache
from ...diagnostics import arithmetic, centroid_gap, separability
from ...diagnostics.geometry import components
from ...evaluation import create
from ...losses import ContrastiveGapLoss
from ...networks import initialise
from ...networks.heads import mlp
from ..benches.emoji import SIDE, SmallTwoTower, emoji_inputs, pairs_of, train, train_on_names
from ..lab import Arrays, Lab, measure

CLAIM = (
    "At a low temperature the CLIP loss keeps two encoders linearly separable although they see identical "
    "inputs; alignment and uniformity terms narrow the gap between pictures and names without costing "
    "retrieval."
)
REFUTED = (
    "the CLIP loss removes the gap by itself, or the gap does not fall with the terms, or R@1 falls by more "
    "than 2 points"
)


TEMPERATURE = 0.01
"""Fixed and low: the gap is not to be seen from 0.07 upwards."""
SEEDS, STEPS, BATCH, WIDTH = 5, 800, 64, 64
LOSSES = {
    "CLIP": {"alignment": 0.0, "uniformity": 0.0, "cross_uniformity": 0.0},
    "CUA": {"alignment": 1.0, "uniformity": 1.0, "cross_uniformity": 0.0},
    "CUAXU": {"alignment": 1.0, "uniformity": 1.0, "cross_uniformity": 1.0},
}


def same_input(loss: str, seed: int, steps: int) -> Arrays:
    """Train two encoders that see the very same pictures; measure before and after training (claim 1)."""
    data, pictures, _ = emoji_inputs()
    encoders = tuple(mlp(3 * SIDE * SIDE, 256, WIDTH, layers=2, norm=False) for _ in range(2))
    for number, encoder in enumerate(encoders):
        initialise(encoder, seed, f"encoder {number}")
    held_out = torch.from_numpy(np.concatenate(list(data.splits.test.values())))
    found: Arrays = {}

    def look(when: str) -> None:
        with torch.no_grad():
            x, y = (F.normalize(encoder(pictures[held_out]), dim=-1) for encoder in encoders)
        found[f"{when} separability"] = np.array(separability(x, y))
        found[f"{when} centroids"] = np.array(centroid_gap(x, y))

    look("before")
    objective = ContrastiveGapLoss(TEMPERATURE, **LOSSES[loss])
    draw = pairs_of(pictures, pictures, data.splits.train, BATCH)
    train((encoders[0], encoders[1]), objective, draw, steps=steps, lr=1e-3, seed=seed)
    look("after")
    return found


def names(loss: str, seed: int, steps: int) -> Arrays:
    """Train on pictures and names under one loss (claim 2)."""
    data, _, _ = emoji_inputs()
    model = SmallTwoTower(seed, WIDTH)
    objective = ContrastiveGapLoss(TEMPERATURE, **LOSSES[loss])
    train_on_names(model, objective, batch=BATCH, steps=steps, lr=1e-3, seed=seed)
    rows = data.splits.test["compositions"]
    features = EmbeddingCache(model, data)
    texts = features.texts([data.evaluation_captions(int(row))[0] for row in rows])
    images = features.images(rows)
    groups = create("zero_shot", labels=("group",))(features, data, data.splits.test["concepts"])
    return {
        "separability": np.array(separability(images, texts)),
        "centroids": np.array(centroid_gap(images, texts)),
        "moved": np.array(centroid_gap(images - images.mean(0), texts - texts.mean(0))),
        "components": np.array(components(torch.cat([images, texts]))),
        "R@1": create("retrieval")(features, data, rows).examples["i2t_R@1"].to_numpy(),
        "group": groups.examples["group_top1"].to_numpy(),
        "arithmetic": np.array(arithmetic(features, data, rows, "tone")),
    }


def run(lab: Lab) -> Sequence[Result]:
    seeds, steps = lab.seeds(SEEDS), 20 if lab.quick else STEPS
    settings = {
        f"{loss}-seed{seed}": {"loss": loss, "seed": seed, "steps": steps}
        for loss in LOSSES
        for seed in seeds
    }
    same, named = lab.cells(same_input, settings), lab.cells(names, settings)

    def column(found: dict[str, Arrays], loss: str, key: str) -> np.ndarray:
        return np.array([found[f"{loss}-seed{seed}"][key] for seed in seeds])

    held_out = "held-out accuracy of a linear classifier of modality"
    distance = "distance of the centroids, held-out pairs"
    results = [
        measure.over_seeds(
            "1: separability after training with the CLIP loss on identical inputs",
            held_out,
            column(same, "CLIP", "after separability"),
            expected="above",
            bound=0.9,
            refuted_at=0.6,
        ),
        measure.over_seeds(
            "1: its change through training",
            held_out,
            column(same, "CLIP", "after separability") - column(same, "CLIP", "before separability"),
            expected="above",
            bound=-0.05,
            decides=False,
        ),
    ]
    for loss in ("CUA", "CUAXU"):
        results.append(
            measure.over_seeds(
                f"1: separability on identical inputs, {loss} − CLIP",
                held_out,
                column(same, loss, "after separability") - column(same, "CLIP", "after separability"),
                expected="below",
                decides=False,
            )
        )
        for key, metric in (("separability", held_out), ("centroids", distance)):
            results.append(
                measure.over_seeds(
                    f"2: {key} of pictures and names, {loss} − CLIP",
                    metric,
                    column(named, loss, key) - column(named, "CLIP", key),
                    expected="below",
                )
            )
        results.append(
            measure.difference(
                f"2: R@1, {loss} − CLIP",
                "retrieval i2t_R@1 on held-out compositions",
                column(named, loss, "R@1"),
                column(named, "CLIP", "R@1"),
                expected="above",
                bound=-0.02,
            )
        )
        results.append(
            measure.difference(
                f"2: zero-shot group, {loss} − CLIP",
                "zero_shot group_top1 on held-out concepts",
                column(named, loss, "group"),
                column(named, "CLIP", "group"),
                expected="above",
                decides=False,
            )
        )
        results.append(
            measure.over_seeds(
                f"2: arithmetic that exchanges the skin tone, {loss} − CLIP",
                "share of exchanges that find the right picture",
                column(named, loss, "arithmetic") - column(named, "CLIP", "arithmetic"),
                expected="above",
                decides=False,
            )
        )
    results.append(
        measure.over_seeds(
            "2: control, the CLIP loss with each modality's mean subtracted − as it is",
            distance,
            column(named, "CLIP", "moved") - column(named, "CLIP", "centroids"),
            expected="below",
            decides=False,
        )
    )
    spread = ", ".join(f"{loss} {column(named, loss, 'components').mean():.0f}" for loss in LOSSES)
    before, after = (column(same, "CLIP", f"{when} centroids").mean() for when in ("before", "after"))
    lab.note(
        f"Centroid distance on identical inputs under the CLIP loss: {before:.3f} before, {after:.3f}",
        f"after. Two-layer networks into {WIDTH} dimensions, fixed temperature {TEMPERATURE}, batch",
        f"{BATCH}, {steps} steps, the same for all losses; 1 on 16 × 16 pixels of the emoji, 2 on those",
        f"and hashed words of their names. Principal components for 99 % of the variance: {spread}.",
    )
    return results
