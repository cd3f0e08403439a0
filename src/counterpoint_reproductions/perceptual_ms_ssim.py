"""MS-SSIM: what does a small code keep of a picture under a perceptual loss?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from counterpoint.data.source import load_any
from counterpoint.methods.autoencoder import Autoencoder
from counterpoint.methods.classifying import Classifying
from counterpoint.training.run import Run
from counterpoint.training.start import load

from .lab import Lab, Result, TrainingComparison, above, decides, effects, per_seed, secondary

CLAIM = (
    "Pictures that an autoencoder with a small code draws are classified right more often by 0.03, by a classifier of "
    "originals, where it learns with MS-SSIM than where it learns with the absolute or the squared difference of "
    "pixels, each at the best of three rates."
)
REFUTED = "reconstructions under one of the other losses are classified as well"
GAIN = effects.convention("share", of=3, reason="the paper reports choices of observers")

MS_SSIM, L1, L2 = "MS-SSIM", "l1", "l2"
ARMS: Mapping[str, str] = {L1: "autoencoder,loss=l1", L2: "autoencoder,loss=l2", MS_SSIM: "autoencoder"}
STEPS, JUDGED, LABEL, TESTED = 400, 300, "concept", 1000
DATA = f"scenes:tiny,objects=1,sizes=large,tinted=0,pixels=32,train=4000,validation=200,test={TESTED}"
CHANGES = {"batch_size": 64, "towers.image_size": 32, "augmentation.paired": "plain"}
COMPARISON = TrainingComparison(
    ARMS,
    {"probe": (f"logistic_{LABEL}_top1",)},
    data=DATA,
    recipe="cpu",
    changes={**CHANGES, "steps": STEPS, "validate_every": STEPS},
    rates=(3e-4, 1e-3, 3e-3),
)
JUDGE = TrainingComparison(
    {"judge": f"cross-entropy,labels={LABEL}"},
    {"classification": ("accuracy",)},
    data=DATA,
    labels=LABEL,
    recipe="cpu",
    changes={**CHANGES, "steps": JUDGED, "validate_every": JUDGED},
    seeds=(0,),
)


def judged(folder: Path, judge: Path) -> float:
    """Return how often a classifier of originals is right about a run's reconstructions of the test pictures."""
    model, classifier, data = load(folder), load(judge), load_any(Run.read(folder).data)
    assert isinstance(model, Autoencoder)
    assert isinstance(classifier, Classifying)
    rows = next(iter(data.splits.test.values()))
    drawn = model.reconstruct(torch.as_tensor(data.read("image", rows)))
    p = classifier.classify((255 * drawn).round().byte())
    return float(np.mean(p.argmax(1).cpu().numpy() == data.label(LABEL, "classes").values[rows]))


def run(lab: Lab) -> Iterator[Result]:
    judge = lab.study(JUDGE, "judge")
    study = lab.study(COMPARISON)
    probe = study.scores(f"probe logistic_{LABEL}_top1")
    seeds = lab.seeds(COMPARISON.seeds)
    right = {
        name: [judged(study.folder(name, seed), judge.folder("judge", 0)) for seed in seeds] for name in ARMS
    }

    def gain(other: str) -> Result:
        values = [a - b for a, b in zip(right[MS_SSIM], right[other], strict=True)]
        return above(
            per_seed("gain", "accuracy on reconstructions", values),
            name=f"1: accuracy, MS-SSIM − {other}",
            **GAIN,
        )

    yield from decides(gain(L1), gain(L2))
    yield from secondary(
        above(probe[MS_SSIM] - probe[L1], name="2: probe of the code, MS-SSIM − l1"),
        above(probe[MS_SSIM] - probe[L2], name="2: probe of the code, MS-SSIM − l2"),
    )
    means = ", ".join(f"{name} {np.mean(values):.3f}" for name, values in right.items())
    lab.note(
        f"The registered method on {DATA} under the recipe cpu, {STEPS} steps of 64, a code of 32; rates are the best",
        "of three by the probe of the code on validation pictures. The judge is cross-entropy on originals of the same",
        f"scenes, {JUDGED} steps. Accuracy on reconstructions: {means}; on originals:",
        f"{judge.scores('classification accuracy').means()}. Probe of the code: {probe.means()}.",
    )
