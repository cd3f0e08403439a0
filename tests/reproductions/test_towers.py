from __future__ import annotations

import numpy as np
import torch

from counterpoint_reproductions.lab.towers import Recaptioned, build, recipe, tiny, train
from fixtures.tiny import TinyData


def test_the_recipe_is_the_cpu_recipe_with_changes() -> None:
    full = recipe(steps=7, optimizer__clip_norm=0.0)
    assert (full.steps, full.optimizer.clip_norm, full.towers.image_size) == (7, 0.0, 48)
    assert (tiny().steps, tiny().optimizer.clip_norm, tiny().towers.image_size) == (
        2,
        recipe().optimizer.clip_norm,
        16,
    )


def test_other_captions_are_for_training_only(tiny_data: TinyData) -> None:
    given = Recaptioned(tiny_data, {3: ["something else"]})
    assert given.captions(3) == ["something else"]
    assert given.evaluation_captions(3) == tiny_data.evaluation_captions(3)
    assert given.captions(4) == tiny_data.captions(4)
    assert torch.equal(given.images(np.array([3, 4])), tiny_data.images(np.array([3, 4])))
    assert given.splits is tiny_data.splits
    assert list(given.shifts()) == ["artist"]


def test_an_arm_trains_on_the_given_rows_and_repeats(tiny_data: TinyData) -> None:
    settings, rows = tiny(), tiny_data.splits.train[:20]

    def run() -> torch.Tensor:
        method = train(build("align", settings, tiny_data, rows, 1), tiny_data, rows, settings, 1)
        return method.embed("image", tiny_data.images(np.arange(5)))

    first = run()
    assert len(first) == 5
    assert torch.equal(first, run())
