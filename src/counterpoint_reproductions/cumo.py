"""CuMo: experts that start as copies write better captions than random ones, and the balance loss spreads tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from counterpoint.data.source import load_any
from counterpoint.methods.cumo import CuMo
from counterpoint.networks.experts import recorded_routings
from counterpoint.spec import of_seed
from counterpoint.training.start import load

from .lab import Arrays, Lab, Result, TrainingComparison, above, below, decides, effects, secondary

CLAIM = (
    "Without the balance loss the largest share of patches that one expert serves is larger than with it, and experts "
    "that start as copies of the dense networks lower the negative log-likelihood of captions below that of experts "
    "with random weights, in as many steps."
)
REFUTED = "the shares are as large with the balance loss, or random experts do as well"

COPIES, RANDOM, UNBALANCED, DENSE = "copies", "random experts", "copies without balance", "dense"
STEPS = 600
DATA = "scenes:tiny,talk=captions,train=6000,validation=64,test=1000"
BASE = TrainingComparison(
    {"CLIP": "clip,image=vit"},
    {"retrieval": ("i2t_R@1",)},
    data="scenes:tiny,train=6000,validation=64,test=200",
    recipe="speak",
    changes={"steps": 500, "validate_every": 500, "batch_size": 64},
)
"""Gives the picture tower of each seed."""


def on(run: Path) -> dict[str, str]:
    """Return the arms, which take the picture tower of the run of the same seed."""
    cumo = f'cumo,image="vit@{run}"'
    return {
        RANDOM: f"{cumo},start=random",
        UNBALANCED: f"{cumo},balance=0",
        DENSE: f'sft,bridge=mlp,tune_image=full,image="vit@{run}"',
        COPIES: cumo,
    }


COMPARISON = TrainingComparison(
    on(Path("runs/base/seed-{seed}")),
    {"likelihood": ("nats",)},
    data=DATA,
    recipe="speak",
    changes={"steps": STEPS, "validate_every": STEPS},
)


def largest_share(folder: str, seed: int, pictures: int) -> Arrays:
    """Measure the largest share of the patches of test pictures that are the first choice of one expert.

    Args:
        folder: of runs, with ``{seed}`` in it.
        seed: of the run.
        pictures: of the test set.

    Returns:
        The mean over the layers of the tower and the bridge, a number.
    """
    model = load(of_seed(folder, seed))
    assert isinstance(model, CuMo)
    data = load_any(DATA).suited(model.inputs)
    rows = next(iter(data.splits.test.values()))[:pictures]
    with torch.no_grad(), recorded_routings(part.mixture for part in model.parts) as routings:
        shown = model.inputs[model.picture](data.read(model.picture, rows))
        model.speaker.given(model.speaker.patches(shown))
    counts = [torch.bincount(of.chosen[:, 0], minlength=of.logits.shape[1]) for of in routings]
    return {"largest": np.array(float(np.mean([float(of.max() / of.sum()) for of in counts])))}


def run(lab: Lab) -> Iterator[Result]:
    base = lab.study(BASE, "base")
    study = lab.study(replace(COMPARISON, arms=on(base.each("CLIP"))))
    nats = study.scores("likelihood nats")
    folders = {name: {"folder": str(study.each(name))} for name in (UNBALANCED, COPIES)}
    shares = lab.grid(largest_share, {"arm": folders}, seeds=COMPARISON.seeds, pictures=500).scores(
        "largest", "largest share of patches that choose one expert"
    )
    yield from decides(
        above(
            shares[UNBALANCED] - shares[COPIES],
            name="1: largest share of an expert, without − with the balance loss",
            **effects.convention("share"),
        ),
        below(
            nats[COPIES] - nats[RANDOM],
            name="2: nats a word, copies − random experts",
            **effects.convention("nats", reason="the paper's figures could not be verified"),
        ),
    )
    yield from secondary(below(nats[COPIES] - nats[DENSE], name="nats a word, copies − dense"))
    lab.note(
        f"The registered method on {DATA} under the recipe speak, {STEPS} steps of 32, half of them dense, from the",
        "picture tower of a CLIP run with the same seed. Two of four experts serve a patch, so that the mixtures",
        f"compute more than the dense model. Nats a word: {nats.means()}. Largest share: {shares.means()}.",
    )
