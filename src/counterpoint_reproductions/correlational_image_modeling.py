"""Correlational image modelling: the map of an exemplar is found by what it shows, and not from the context alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from counterpoint.data.loading.loader import Loader
from counterpoint.data.loading.order import ShuffledOrder
from counterpoint.data.source import load as load_data
from counterpoint.methods.cim import CIM, overlap
from counterpoint.recipes import load as load_recipe
from counterpoint.spec import of_seed
from counterpoint.training.start import load

from .lab import Arrays, Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "On pictures that training never saw, the map that a model predicts for an exemplar overlaps more with the true "
    "map than the map that it predicts for an exemplar of another picture."
)
REFUTED = "the map for another picture's exemplar overlaps as much"

CHANGED, PLAIN = "changed exemplars", "plain crops"
STEPS, RECIPE = 300, "cpu-dense"
COMPARISON = TrainingComparison(
    {CHANGED: "cim,exemplars=3", PLAIN: "cim,exemplars=3,changed=false"},
    {"probe": ("logistic_group_top1",)},
    data="scenes:basic,train=4000,validation=100,test=1000",
    recipe=RECIPE,
    changes={"steps": STEPS, "validate_every": STEPS},
)
_BATCH = 50


def maps(folder: str, seed: int, pictures: int) -> Arrays:
    """Predict the maps of the exemplars of test pictures with a trained model.

    Args:
        folder: of runs, with ``{seed}`` in it.
        seed: of the run, and of the crops.
        pictures: of the test set.

    Returns:
        The mean overlap with the true maps of each picture's exemplars: of maps predicted for these (``own``), and for
        those of another picture (``other``). Exemplars outside the context do not count.
    """
    model = load(of_seed(folder, seed))
    assert isinstance(model, CIM)
    data = load_data(COMPARISON.data).suited(model.inputs, training=True)
    rows = next(iter(data.splits.test.values()))[:pictures]
    loader = Loader(
        data,
        ShuffledOrder(rows, _BATCH, seed),
        model.views,
        augmentation=load_recipe(RECIPE).augmentation,
        inputs=model.inputs,
    )
    outcomes: dict[str, list[np.ndarray]] = {"own": [], "other": []}
    for start in range(0, len(rows), _BATCH):
        batch = loader.of(rows[start : start + _BATCH], 0)
        with torch.no_grad():
            z = model.targets(batch) | model.encode(batch)
            context = z[f"momentum.{model.column}"]
            for name, shift in (("own", 0), ("other", 1)):
                overlaps = [
                    overlap(
                        model.correlate(context, z[view].roll(shift, 0)).argmax(1).bool(),
                        model.map_of(batch, view),
                    )
                    for view in model.exemplars
                ]
                # Of a picture whose exemplars all lie outside, there is no map to find.
                outcomes[name].append(torch.stack(overlaps).nanmean(0).nan_to_num(0.0).double().numpy())
    return {name: np.concatenate(parts) for name, parts in outcomes.items()}


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    folders = {name: {"folder": str(study.each(name))} for name in study.arms}
    overlaps = lab.grid(maps, {"arm": folders}, seeds=COMPARISON.seeds, pictures=1000).scores(
        "{}", "mean IoU of predicted and true maps"
    )
    probe = study.scores("probe logistic_group_top1")
    yield from decides(
        above(
            overlaps[CHANGED, "own"] - overlaps[CHANGED, "other"],
            name="IoU, its own exemplar − another picture's",
            **effects.convention("share"),
        )
    )
    yield from secondary(
        above(overlaps[PLAIN, "own"] - overlaps[PLAIN, "other"], name="IoU, own − other, plain crops"),
        above(
            probe[CHANGED] - probe[PLAIN], name="accuracy of a linear probe, changed exemplars − plain crops"
        ),
    )
    lab.note(
        f"The registered method on {COMPARISON.data} under the recipe cpu-dense, {STEPS} steps, three exemplars of",
        "half the side; 1,000 test pictures. The same contexts and true maps are held against",
        "maps that are predicted for their own exemplars and for those of the next picture. Accuracy of the group by a",
        f"linear probe: {probe.means()}.",
    )
