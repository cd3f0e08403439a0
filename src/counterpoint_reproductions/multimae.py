"""MultiMAE: hidden pixels of a picture are predicted with the help of the classes of its pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from counterpoint.data.loading.loader import Loader
from counterpoint.data.loading.order import ShuffledOrder
from counterpoint.data.source import load as load_data
from counterpoint.methods.multimae import MultiMAE
from counterpoint.networks.masking import hidden_patches, random_patches
from counterpoint.recipes import load as load_recipe
from counterpoint.spec import of_seed
from counterpoint.training.start import load
from counterpoint.types import Batch

from .lab import Arrays, Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "With the same mask a trained model predicts the hidden pixels of a picture with a smaller error from the classes "
    "of the picture's own pixels than from those of another picture."
)
REFUTED = "the classes of another picture serve as well"

TOGETHER, ALONE = "pictures and classes", "pictures alone"
STEPS, RECIPE = 400, "cpu-dense"
VISIBLE = 0.25
COMPARISON = TrainingComparison(
    {
        TOGETHER: "multimae,standardised=false,decoder_layers=1",
        ALONE: "multimae,columns=image,standardised=false,decoder_layers=1",
    },
    {"segmentation_probe": ("miou",)},
    data="scenes:tiny,maps=classes,train=4000,validation=100,test=1000",
    recipe=RECIPE,
    changes={"steps": STEPS, "validate_every": STEPS},
)
_BATCH = 50


def unexplained(folder: str, seed: int, pictures: int) -> Arrays:
    """Measure how well a trained model predicts hidden pixels of test pictures.

    Args:
        folder: of runs, with ``{seed}`` in it.
        seed: of the run, and of the masks.
        pictures: of the test set.

    Returns:
        The squared error of each picture's hidden pixels, as a share of the variance of all pixels: predicted from some
        of its patches and all its classes (``own``), the classes of the next picture (``other``), and no classes
        (``none``).
    """
    model = load(of_seed(folder, seed))
    assert isinstance(model, MultiMAE)
    (classes,) = model.maps
    data = load_data(COMPARISON.data).suited(model.inputs, training=True)
    rows = next(iter(data.splits.test.values()))[:pictures]
    loader = Loader(
        data,
        ShuffledOrder(rows, _BATCH, seed),
        model.views,
        augmentation=load_recipe(RECIPE).augmentation,
        inputs=model.inputs,
    )
    torch.manual_seed(seed)
    errors: dict[str, list[Tensor]] = {"own": [], "other": [], "none": []}
    seen = []
    for start in range(0, len(rows), _BATCH):
        batch = loader.of(rows[start : start + _BATCH], 0)
        index = random_patches(len(batch), model.grid, round(VISIBLE * model.patches))
        every = torch.arange(model.patches, 2 * model.patches).expand(len(batch), -1)
        both, maps = torch.cat([index, every], 1), batch[classes]
        pixels, _ = model.transformer.pixels_and_positions(batch[model.image])
        seen.append(pixels)
        for name, visible, shown in (
            ("own", both, maps),
            ("other", both, maps.roll(1, 0)),
            ("none", index, maps),
        ):
            views = {**batch.views, f"{model.image}.visible": visible, classes: shown}
            errors[name].append(error(model, replace(batch, views=views), index))
    variance = float(torch.cat(seen).var())
    return {name: (torch.cat(parts) / variance).double().numpy() for name, parts in errors.items()}


@torch.no_grad()
def error(model: MultiMAE, batch: Batch, index: Tensor) -> Tensor:
    """Return the mean squared error of each picture's pixels in the patches that an index leaves out."""
    errors, _ = model.errors(model.image, model.image, model.predict(batch)[model.image], batch)
    hidden = hidden_patches(index, model.patches)
    return errors.mean(2).gather(1, hidden).mean(1)


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    grid = lab.grid(
        unexplained,
        {"arm": {TOGETHER: {"folder": str(study.each(TOGETHER))}}},
        seeds=COMPARISON.seeds,
        pictures=1000,
    )
    errors = grid.scores("{}", "unexplained variance of hidden pixels")
    miou = study.scores("segmentation_probe miou")
    yield from decides(
        above(
            errors[TOGETHER, "other"] - errors[TOGETHER, "own"],
            name="error of hidden pixels, classes of another picture − its own",
            **effects.convention("share"),
        )
    )
    yield from secondary(
        above(
            errors[TOGETHER, "none"] - errors[TOGETHER, "own"],
            name="error of hidden pixels, no classes − its own",
        ),
        above(
            miou[TOGETHER] - miou[ALONE], name="mIoU of a linear probe, pictures and classes − pictures alone"
        ),
    )
    lab.note(
        f"The registered method on scenes of 14 concepts under the recipe cpu-dense, {STEPS} steps, with and without",
        "maps. In training as many patches are visible as half a picture has. The error is that of 1,000 test",
        f"pictures with {VISIBLE:.0%} of their patches visible, as a share of the variance of pixels. All patches of",
        "the classes are visible, or none; masks of pictures are the same for all three. mIoU of a linear probe of",
        f"patches: {miou.means()}.",
    )
