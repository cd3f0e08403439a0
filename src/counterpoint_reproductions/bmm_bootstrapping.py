"""BMM bootstrapping: do losses tell wrong labels, better as beta than as normal ones, and is correction worth it?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from sklearn.mixture import GaussianMixture

from counterpoint.data.source import load_any
from counterpoint.evaluation import STATISTICS
from counterpoint.evaluation.predictions import probabilities
from counterpoint.networks.beta_mixture import BetaMixture
from counterpoint.study.opened import open_data
from counterpoint.training.run import Run
from counterpoint.training.start import load

from .lab import UNSEEN, Lab, Result, TrainingComparison, above, arm, below, decides, effects, secondary

CLAIM = (
    "With 60 % of the labels wrong, the posterior of a beta mixture of training losses finds the wrong ones with an "
    "AUROC above 0.9 and a lower Brier score than a Gaussian mixture of the same losses, and M-DYR's last accuracy on "
    "true labels is higher than that of mixup."
)
REFUTED = "the AUROC is 0.9 or less, the Gaussian mixture is as good, or mixup is as accurate at the end"
DETECTED = effects.level(
    "an AUROC of 0.9 is outstanding discrimination by the usual scale; chosen here", "convention"
)
SHARE = effects.convention("share")

LABEL = "digit"
COMPARISON = TrainingComparison(
    {
        "mixup": "cross-entropy,mixup=32",
        "cross-entropy": "cross-entropy",
        "MD-DYR": "md-dyr",
        "soft": "m-dyr,belief=soft",
        "M-DYR": "m-dyr",
    },
    {"classification": ("accuracy",)},
    labels=f"{LABEL},noise=0.6",
    changes={"steps": 1500},
    seeds=UNSEEN,
)


def judged(folder: Path) -> dict[str, Float[np.ndarray, "n 2"]]:
    """Return which training labels of a run are wrong, and how likely both mixtures of its last losses say so."""
    run, model = Run.read(folder), load(folder)
    data, rows = open_data(run), load_any(run.data).splits.train
    observed, true = (of.label(LABEL, "classes").values[rows] for of in (data, load_any(run.data)))
    p = probabilities(model, data.suited(model.inputs), rows)  # type: ignore[arg-type] # a classifier
    losses = -np.log(np.maximum(p[np.arange(len(rows)), observed], 1e-30))
    mixture = BetaMixture()
    mixture.fit(torch.from_numpy(losses))
    normal = GaussianMixture(2, random_state=0).fit(losses[:, None])
    posteriors = {
        "beta": mixture.posterior(torch.from_numpy(losses)).numpy(),
        "normal": normal.predict_proba(losses[:, None])[:, normal.means_[:, 0].argmax()],
    }
    return {name: np.stack([observed != true, w], axis=1).astype(float) for name, w in posteriors.items()}


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    accuracy = study.scores("classification accuracy")
    by_seed = {seed: judged(study.folder("M-DYR", seed)) for seed in lab.seeds(COMPARISON.seeds)}

    def outcomes(name: str) -> dict[int, np.ndarray]:
        return {seed: of[name] for seed, of in by_seed.items()}

    def brier(name: str) -> dict[int, np.ndarray]:
        return {seed: (values[:, 1] - values[:, 0]) ** 2 for seed, values in outcomes(name).items()}

    auroc = arm("beta", outcomes("beta"), "AUROC of the posterior for wrong labels", STATISTICS["auroc"])
    error = {name: arm(name, brier(name), "Brier score of the posterior") for name in ("beta", "normal")}
    yield from decides(
        above(auroc, 0.9, name="1: AUROC of the beta mixture", **DETECTED),
        below(error["beta"] - error["normal"], name="1: Brier score, beta − normal mixture", **SHARE),
        above(accuracy["M-DYR"] - accuracy["mixup"], name="2: M-DYR − mixup", **SHARE),
    )
    yield from secondary(
        above(accuracy["mixup"] - accuracy["cross-entropy"], name="2: mixup − cross-entropy"),
        above(accuracy["MD-DYR"] - accuracy["mixup"], name="2: MD-DYR − mixup"),
        above(accuracy["M-DYR"] - accuracy["soft"], name="2: hard − soft beliefs"),
    )
    lab.note(
        "Handwritten digits of 16 × 16 pixels under a perceptron; 60 % of the training labels are another class, drawn",
        f"evenly; {COMPARISON.changes['steps']} steps of batch 128 under the recipe seconds. Accuracy on true labels",
        f"at the end: {accuracy.means()}. Both mixtures are fitted to the losses of the same trained classifier.",
    )
