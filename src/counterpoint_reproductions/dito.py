"""DITO: the head of a detector that learns from captions names regions, also by names that its captions lack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from counterpoint.data.pictured import PairedData
from counterpoint.data.source import load as load_data
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.networks.towers.windowed import WindowedTransformer
from counterpoint.spec import of_seed
from counterpoint.training.start import load

from .lab import Arrays, Lab, Result, TrainingComparison, above, below, decides, effects, secondary

CLAIM = (
    "After a CLIP run goes on with the pyramid and the head of a detector, regions are named better, by names that no "
    "caption of this training has, than after it goes on as it was, with towers that move at the same rate. The map of "
    "patches of a tower with windows follows a shift of the picture by half a window more closely with the second, "
    "shifted pass."
)
REFUTED = "the head names regions no better, or the second pass takes off less than 30 % of the error"
CLOSER = effects.level("a fall of 30 % in the error of equivariance; chosen before the run", "convention")

PLAIN, SLOW, HEAD = "CLIP goes on", "CLIP goes on at a tenth of the rate", "pyramid and head"
STEPS = 450
HELD_OUT = ("dog", "banana", "bus", "hat")
SEEN = ("cat", "pig", "fish", "apple", "car", "key", "guitar", "tree", "ball", "chair")
SPLITS = "train=4000,validation=200,test=500"
REGIONS = "regions"
TEACHERS = TrainingComparison(
    {"CLIP": "clip,image=vit-windows"},
    {REGIONS: ("named",)},
    data=f"scenes:tiny,{SPLITS}",
    recipe="cpu-dense",
    changes={"steps": 500, "validate_every": 500},
)


def on(run: Path) -> dict[str, str]:
    """Return the arms, which go on from the run of the same seed."""
    return {PLAIN: f'clip,from="{run}"', HEAD: f'dito,from="{run}"'}


COMPARISON = replace(
    TEACHERS,
    arms=on(Path("runs/teachers/seed-{seed}")),
    data=f"scenes:tiny,concepts={'+'.join(SEEN)},{SPLITS}",
    changes={"steps": STEPS, "validate_every": STEPS},
)
LOW = replace(COMPARISON, changes={**COMPARISON.changes, "optimizer.lr": 0.0002})
"""The rate of the recipe's towers under ``dito``, at which names are forgotten as slowly."""
UNSEEN = f"scenes:tiny,concepts={'+'.join(HELD_OUT)},train=1000,validation=100,test=1000"
_BATCH = 50


@torch.no_grad()
def remaining(folder: str, seed: int, pictures: int) -> Arrays:
    """Measure how closely maps of patches follow pictures that are shifted cyclically by half a window.

    Args:
        folder: of runs, with ``{seed}`` in it.
        seed: of the run.
        pictures: of the test set.

    Returns:
        The squared error of each picture's map with both passes, as a share of that with one pass.
    """
    model, data = load(of_seed(folder, seed)), load_data(TEACHERS.data)
    assert isinstance(model, TowerMethod)
    assert isinstance(data, PairedData)
    tower = model.image_tower
    assert isinstance(tower, WindowedTransformer)
    half = tower.size // tower.patch // tower.windows // 2
    pixels, cells = (-half * tower.patch, half * tower.patch), (-half, half)
    ratios = []
    for rows in np.split(next(iter(data.splits.test.values()))[:pictures], range(_BATCH, pictures, _BATCH)):
        images = tower.input(data.images(rows))
        errors = []
        for tower.shifted in (False, True):
            followed = tower.patches(images).roll(cells, (2, 3))
            errors.append((tower.patches(images.roll(pixels, (2, 3))) - followed).square().mean((1, 2, 3)))
        ratios.append((errors[1] / errors[0]).double().numpy())
    return {"ratio": np.concatenate(ratios)}


def run(lab: Lab) -> Iterator[Result]:
    teachers = lab.study(TEACHERS, "teachers")
    folder = teachers.each("CLIP")
    study = lab.study(replace(COMPARISON, arms=on(folder)), "full rate")
    low = lab.study(replace(LOW, arms={SLOW: on(folder)[PLAIN]}), "low rate")
    unseen = load_data(lab.world(UNSEEN))
    start, new, slow = (it.on(unseen, f"{REGIONS} named") for it in (teachers, study, low))
    old, old_slow = (it.scores(f"{REGIONS} named") for it in (study, low))
    ratio = lab.grid(
        remaining, {"arm": {"CLIP": {"folder": str(folder)}}}, seeds=TEACHERS.seeds, pictures=200
    ).scores("ratio", "squared error with both passes, as a share of that with one")
    yield from decides(
        above(
            new[HEAD] - slow[SLOW],
            name="1: regions named by unseen names, pyramid and head − plain at the same rate",
            **effects.convention("share"),
        ),
        below(ratio["CLIP"], 0.7, name="2: error of the shifted map, both passes / one", **CLOSER),
    )
    yield from secondary(
        above(new[HEAD] - new[PLAIN], name="1: the same, pyramid and head − plain at the full rate"),
        above(new[HEAD] - start["CLIP"], name="1: the same, pyramid and head − the run at the start"),
        above(
            old[HEAD] - old_slow[SLOW],
            name="1: regions named by seen names, pyramid and head − plain at the same rate",
        ),
    )
    lab.note(
        "CLIP runs of 500 steps on scenes of 14 concepts under the recipe cpu-dense, one a seed, go on for",
        f"{STEPS} steps on scenes without {', '.join(HELD_OUT)}. Under dito the towers move at a tenth of the rate,",
        "and so does everything in the control that decides. Regions are boxes of things in 1,000 scenes of these",
        f"four alone. Named by the text tower: {new.means()}, {slow.means()}, at the start {start.means()}; on scenes",
        f"of the other ten: {old.means()}, {old_slow.means()}.",
    )
