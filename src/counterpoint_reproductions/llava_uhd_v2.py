"""LLaVA-UHD v2: finer maps that the picture guides, against bicubic ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from counterpoint.methods.llava_uhd_v2 import LLaVAUHDv2
from counterpoint.study.opened import open_data
from counterpoint.training.run import Run
from counterpoint.training.start import load

from .lab import Lab, Result, ThresholdOrigin, TrainingComparison, arm, below, decides, effects, secondary

CLAIM = (
    "Finer maps of a picture's features whose up-sampling the picture guides give the features of held-out jittered "
    "pictures with less error than bicubic ones, and captions of small things fewer nats, at equal steps."
)
REFUTED = "small things have as many nats with bicubic maps"
ERROR = ThresholdOrigin(kind="convention", text="a twentieth of the error; chosen before the run")

COARSE, BICUBIC, GUIDED = "resampler on the coarse map", "bicubic", "guided"
STEPS = 360
TOWERS = TrainingComparison(
    {"CLIP": "clip,image=vit,columns=image+text"},
    {"retrieval": ("i2t_R@1",)},
    data="scenes:tiny,objects=1-1,tinted=1,sizes=small,talk=captions,train=6000,validation=64,test=1000",
    recipe="speak",
    changes={"steps": 400, "validate_every": 400, "batch_size": 64, "optimizer.lr": 0.002},
)


def on(tower: Path) -> dict[str, str]:
    """Return the arms, which read the tower of the run of the same seed."""
    of = f'image="vit@{tower}"'
    method = f"llava-uhd-v2,{of},speak=2"
    return {BICUBIC: f"{method},guided=false", COARSE: f"sft,{of},bridge=resampler,tokens=4", GUIDED: method}


COMPARISON = replace(
    TOWERS,
    arms=on(Path("runs/towers/seed-{seed}")),
    tasks={"likelihood": ("nats", "thing_nats", "colour_nats")},
    changes={"steps": STEPS, "validate_every": STEPS, "towers.talk_context": 40},
)


def errors(folder: Path) -> np.ndarray:
    """Return a run's errors of features of jittered pictures of the test set, one jitter each."""
    model, data = load(folder), open_data(Run.read(folder))
    assert isinstance(model, LLaVAUHDv2)
    rows = next(iter(data.splits.test.values()))
    numbers = torch.rand(len(rows), 4, generator=torch.Generator().manual_seed(0))
    parts = [
        model.reconstruction_errors(model.inputs["image"](data.read("image", rows[part])), numbers[part])
        for part in np.array_split(np.arange(len(rows)), max(1, len(rows) // 50))
    ]
    return torch.cat(parts).numpy()


def run(lab: Lab) -> Iterator[Result]:
    towers = lab.study(TOWERS, "towers")
    study = lab.study(replace(COMPARISON, arms=on(towers.each("CLIP"))))
    error = {
        name: arm(name, {s: errors(study.folder(name, s)) for s in lab.seeds(5)}, "squared error of features")
        for name in (BICUBIC, GUIDED)
    }
    nats = study.scores("likelihood nats")
    things = study.scores("likelihood thing_nats")
    colours = study.scores("likelihood colour_nats")
    yield from decides(
        below(
            error[GUIDED] / error[BICUBIC] - 1,
            name="1: error of features of jittered pictures, guided / bicubic − 1",
            delta=0.05,
            source=ERROR,
        ),
        below(
            things[GUIDED] - things[BICUBIC],
            name="2: nats of a name of a small thing, guided − bicubic",
            **effects.convention("nats"),
        ),
    )
    yield from secondary(
        below(colours[GUIDED] - colours[BICUBIC], name="nats of a colour, guided − bicubic"),
        below(nats[BICUBIC] - nats[COARSE], name="nats a word, bicubic − resampler on the coarse map"),
    )
    lab.note(
        f"The registered method on {COMPARISON.data} under the recipe speak, {STEPS} steps of 32. A third of them",
        "train the up-sampler, or with bicubic maps the down-samplers alone; the resampler learns from all. Grids have",
        "4, 8 and 16 patches a side, and a picture four tokens. Towers are frozen, of CLIP runs on the same pictures,",
        f"one a seed. Nats a word: {nats.means()}; of names of things: {things.means()}; of colours:",
        f"{colours.means()}.",
    )
