"""Self-labelled BYOL: features are better where pairs of a batch that pass a threshold attract each other too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

from counterpoint.data import load
from counterpoint.data.synthetic.emoji.world import Emoji
from counterpoint.methods.byol import BYOL
from counterpoint.training.start import load as load_run

from .lab import Lab, Result, TrainedStudy, TrainingComparison, above, decides, effects, per_seed, secondary

CLAIM = (
    "BYOL learns better features where pictures of a batch that its prediction and target find alike attract each "
    "other too."
)
REFUTED = "the probe gains nothing"
GAIN = effects.reported(71.04, 76.87, "STL-10, BYOL against BYOL with CCSL", unit=0.01)

STEPS, BATCH, LIFT = 300, 128, 5.0
PLAIN, COSINE, SIGMOID, NO_NORM = "BYOL", "CCSL", "CSSL", "BYOL without batch norms"
COMPARISON = TrainingComparison(
    {
        PLAIN: "byol",
        NO_NORM: "byol,norm=false",
        SIGMOID: "byol,self_label=sigmoid",
        COSINE: "byol,self_label=cosine",
    },
    {"probe": ("logistic_*_top1", "knn_*_top1")},
    data="emoji",
    recipe="cpu",
    changes={"batch_size": BATCH, "steps": STEPS, "validate_every": STEPS},
)


@torch.no_grad()
def alike(study: TrainedStudy, arm: str, seed: int) -> tuple[float, float, float]:
    """Return how often pairs that are found in a batch are of one concept, how often any pair is, and the share found.

    For a model that finds no pair, the first is 0.
    """
    method, data = load_run(study.folder(arm, seed)), load(COMPARISON.data)
    assert isinstance(method, BYOL)
    assert method.alike is not None
    assert isinstance(data, Emoji)
    concepts = np.unique(np.array(data.table["concept"]), return_inverse=True)[1]
    flagged, same = [], []
    for rows in np.array_split(np.random.default_rng(seed).permutation(data.splits.train), 8):
        pictures = method.image_tower.input(data.images(rows[:BATCH]))
        p = F.normalize(method.predictor(method.projection(method.features("image", pictures))), dim=-1)
        u = p @ F.normalize(method.momentum(pictures), dim=-1).T
        other = ~torch.eye(len(u), dtype=torch.bool)
        flagged.append((u >= method.alike.positive)[other])
        concept = torch.from_numpy(concepts[rows[:BATCH]])
        same.append((concept[:, None] == concept)[other])
    passed, of_one = torch.cat(flagged), torch.cat(same).double()
    precision = float(of_one[passed].mean()) if passed.any() else 0.0
    return precision, float(of_one.mean()), float(passed.double().mean())


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    linear, nearest = (
        study.scores(f"probe {classifier}_subgroup_top1", "concepts") for classifier in ("logistic", "knn")
    )
    shares = [alike(study, COSINE, seed) for seed in lab.seeds(COMPARISON.seeds)]
    precision, base, share = np.mean(shares, axis=0)
    spread = study.diagnostics("uniformity_image")
    yield from decides(above(linear[COSINE] - linear[PLAIN], name="1: probe, CCSL − BYOL", **GAIN))
    yield from secondary(
        # The paper makes no statement about the pairs that are found.
        above(
            per_seed(
                COSINE,
                "share of found pairs of one concept, of that of all pairs",
                [a / b for a, b, _ in shares],
            ),
            LIFT,
            name="1: how much more often found pairs are of one concept",
        ),
        above(nearest[COSINE] - nearest[PLAIN], name="1: k-NN, CCSL − BYOL"),
        above(linear[SIGMOID] - linear[PLAIN], name="1: probe, CSSL − BYOL"),
        above(linear[NO_NORM] - linear[PLAIN], -0.05, name="2: probe, BYOL without batch norms − BYOL"),
    )
    lab.note(
        f"The registered method on emoji of 48 px under the recipe cpu: batch {BATCH}, {STEPS} steps, the first fifth",
        "BYOL's; thresholds 0.8 and 0.2, τ = 0.2. The tower norms channels alone, so that without batch norms in",
        "projector and predictor there are none. A probe of the subgroup of emoji of concepts that training has",
        f"nothing of decides: {linear.means()}; k-NN: {nearest.means()}. Uniformity of test pictures (0 is collapse):",
        f"{spread.means(2)}. Found pairs are of one concept in {precision:.1%}, all in {base:.1%}; found are",
        f"{share:.1%} of all.",
    )
