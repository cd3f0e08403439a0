from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.claims.benches.towers import (
    Recaptioned,
    SimCLR,
    Supervised,
    build,
    features,
    recipe,
    trained,
)
from counterpoint.networks import ConvNet, ImageTower, initialise
from fixtures.tiny import TinyData


def tower(seed: int = 0) -> ImageTower:
    image = ConvNet(16, widths=(16, 32))
    initialise(image, seed, "image")
    return image


def test_the_recipe_is_the_cpu_recipe_with_changes() -> None:
    full = recipe(False, steps=7, optimizer__clip_norm=0.0)
    assert (full.steps, full.optimizer.clip_norm, full.towers.image_size) == (7, 0.0, 48)
    smoke = recipe(True, steps=7, optimizer__clip_norm=0.0)
    assert (smoke.steps, smoke.optimizer.clip_norm, smoke.towers.image_size) == (2, 0.0, 16)


def test_other_captions_are_for_training_only(tiny_data: TinyData) -> None:
    given = Recaptioned(tiny_data, {3: ["something else"]})
    assert given.captions(3) == ["something else"]
    assert given.evaluation_captions(3) == tiny_data.evaluation_captions(3)
    assert given.captions(4) == tiny_data.captions(4)
    assert torch.equal(given.images(np.array([3, 4])), tiny_data.images(np.array([3, 4])))
    assert given.splits is tiny_data.splits
    assert list(given.shifts()) == ["artist"]


def test_supervised_training_learns_its_classes(tiny_data: TinyData) -> None:
    rows = tiny_data.splits.train
    classes = np.full(tiny_data.ids.max() + 1, -1)
    classes[tiny_data.ids] = tiny_data.labels["gender"].values  # the size of the shape
    settings = recipe(True).model_copy(update={"steps": 60, "batch_size": 30})
    model = trained(Supervised(tower(), classes, 0), tiny_data, rows, settings, 0)
    truth = tiny_data.labels["gender"].values[rows]
    assert np.mean(model.classify(tiny_data.images(rows)) == truth) > 0.85


def test_simclr_pulls_two_views_of_a_picture_together(tiny_data: TinyData) -> None:
    settings = recipe(True).model_copy(update={"steps": 30, "batch_size": 30})
    method = SimCLR(tower(), settings, 0)
    start = {name: value.clone() for name, value in method.state_dict().items()}
    trained(method, tiny_data, tiny_data.splits.train, settings, 0)
    moved = [name for name, value in method.state_dict().items() if not torch.equal(value, start[name])]
    assert any(name.startswith("image.") for name in moved)
    assert any(name.startswith("head.") for name in moved)
    z = method.embed("image", tiny_data.images(np.arange(8)))
    assert torch.allclose(z.norm(dim=1), torch.ones(8, dtype=z.dtype))


def test_an_arm_trains_on_the_given_rows_and_repeats(tiny_data: TinyData) -> None:
    settings, rows = recipe(True), tiny_data.splits.train[:20]

    def run() -> np.ndarray:
        method = trained(build("align", settings, tiny_data, rows, 1), tiny_data, rows, settings, 1)
        return features(method.image_tower, tiny_data.images(np.arange(5)))

    first = run()
    assert len(first) == 5
    assert first.tolist() == run().tolist()


@pytest.mark.parametrize("n", [1, 300])
def test_features_come_row_by_row_whatever_the_batch(n: int) -> None:
    pictures = torch.randint(0, 256, (n, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    network = tower()
    found = features(network, pictures.to(torch.uint8))
    one = features(network, pictures[-1:].to(torch.uint8))
    assert found.shape == (n, 32)
    assert found[-1] == pytest.approx(one[0], abs=1e-5)
