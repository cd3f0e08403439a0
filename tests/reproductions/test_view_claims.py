"""The mathematics of the claims about losses of views of pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from counterpoint.data import load
from counterpoint.data.synthetic.emoji.world import Emoji
from counterpoint.losses import NTXentLoss, SupConLoss
from counterpoint.study.opened import relabelled
from counterpoint_reproductions import amcl, cacr, poly_view, teaching_matters
from counterpoint_reproductions.lab import data_emoji_views as pictures
from counterpoint_reproductions.lab import descent, gradients, things
from counterpoint_reproductions.lab.data_emoji import SIDE
from counterpoint_reproductions.lab.data_unpeopled import LABEL, PEOPLE, UNPEOPLED


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def noise_pictures(n: int) -> torch.Tensor:
    return torch.rand(n, 3 * SIDE * SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_descent_finds_a_minimum_and_draws_dropout_from_its_seed() -> None:
    def run(seed: int) -> tuple[list[float], float]:
        at = torch.zeros(1, requires_grad=True)
        masked = lambda rng: ((at - 3) * F.dropout(torch.ones(1), 0.5)).square().sum()  # noqa: E731
        return descent.minimise(masked, [at], steps=200, lr=0.1, seed=seed), at.item()

    losses, found = run(0)
    assert found == pytest.approx(3.0, abs=1e-2)
    torch.rand(5)  # the global generator plays no part
    assert run(0) == (losses, found)
    assert run(1)[0] != losses


def test_long_tail_equal_classes_many_pictures_with_same_tests() -> None:
    long, even = (relabelled(load(of["data"]), of["labels"]) for of in (things.TAIL, things.EVEN))
    values = [data.label(things.LABEL, "classes").values for data in (long, even)]
    assert len(long.splits.train) + 1 == len(even.splits.train) == things.KEPT
    sizes = np.sort(np.bincount(values[0][long.splits.train]))
    assert len(sizes) == len(things.THINGS)
    assert sizes[-1] / sizes[0] == pytest.approx(things.RATIO, rel=0.1)  # 185 / 3.7, in whole pictures
    assert len(set(np.bincount(values[1][even.splits.train]))) == 1
    (of_long,), (of_even,) = (data.splits.test.values() for data in (long, even))
    assert np.array_equal(values[0][of_long], values[1][of_even])
    pixels = [data.read("image", rows[:8]) for data, rows in ((long, of_long), (even, of_even))]
    assert torch.equal(*pixels)


def test_repulsion_tends_to_the_mean_and_to_the_nearest() -> None:
    assert max(cacr.limits()) < 1e-6


@pytest.mark.parametrize("views", [2, 3, 8])
def test_the_information_between_a_view_and_the_rest(views: int) -> None:
    covariance = np.ones((views, views)) + poly_view.NOISE**2 * np.eye(views)
    parts = [covariance[:1, :1], covariance[1:, 1:], covariance]
    one, rest, joint = (np.linalg.slogdet(part)[1] for part in parts)
    assert poly_view.information(views) == pytest.approx(poly_view.DIMENSIONS / 2 * (one + rest - joint))


def test_bound_grows_with_training_and_stays_below_information() -> None:
    untrained, trained = (
        float(poly_view.bound("geometric", 2, seed=0, steps=steps, batches=20)["bound"]) for steps in (0, 60)
    )
    assert untrained < trained < poly_view.information(2)


def test_the_arithmetic_loss_never_exceeds_the_geometric() -> None:
    assert poly_view.excess() < 1e-12


def test_changes_are_drawn_for_each_picture_and_those_asked_for() -> None:
    x = noise_pictures(200)
    square = x.reshape(-1, 3, SIDE, SIDE)
    assert torch.equal(pictures.changed(x, np.random.default_rng(0), ()), x)
    flipped = pictures.changed(x, np.random.default_rng(0), ("flip",))
    as_is = (flipped == x).all(1)
    assert torch.equal(flipped[~as_is], square.flip(-1).flatten(1)[~as_is])
    assert 60 < as_is.sum() < 140
    grey = pictures.changed(x, np.random.default_rng(0), ("grayscale",)).reshape_as(square)
    without = (grey[:, :1] == grey).flatten(1).all(1)
    assert 20 < without.sum() < 65
    assert torch.allclose(grey[without], square[without].mean(1, keepdim=True).expand(-1, 3, -1, -1))
    jittered = pictures.changed(x, np.random.default_rng(0), ("colour jitter",)).reshape_as(square)
    centred, after = (part - part.mean((2, 3), keepdim=True) for part in (square, jittered))
    contrast = (after.std((1, 2, 3)) / centred.std((1, 2, 3)))[:, None, None, None]
    assert torch.allclose(after, contrast * centred, atol=1e-5)
    assert contrast.min() == pytest.approx(0.6, abs=0.03)
    assert contrast.max() == pytest.approx(1.4, abs=0.03)


def test_a_crop_is_a_window_of_the_picture() -> None:
    column = torch.linspace(-1, 1, SIDE).expand(3, SIDE, SIDE).flatten()
    seen = pictures.changed(column.repeat(300, 1), np.random.default_rng(0), ("crop",)).reshape(
        -1, 3, SIDE, SIDE
    )
    inner = seen[:, 0, 0, 1:-1].double()
    steps = inner.diff(dim=1)
    assert torch.allclose(steps, steps[:, :1].expand_as(steps), atol=1e-5)  # a straight line stays one
    sides = steps[:, 0] * (SIDE - 1) / 2
    assert sides.min() == pytest.approx(0.4**0.5, abs=0.02)
    assert sides.max() == pytest.approx(1.0, abs=0.02)
    assert seen.abs().max() <= 1 + 1e-6


def test_supcon_without_labels_is_ntxent_at_same_temperature() -> None:
    assert gradients.disagreement(SupConLoss(0.1), NTXentLoss(0.1)) < 1e-12
    assert gradients.disagreement(SupConLoss(0.1), NTXentLoss(0.2)) > 0.1


def test_amcl_one_head_constant_temperatures_decoupled_infonce() -> None:
    assert amcl.reduced() < 1e-12


def test_emoji_without_people_have_names_that_do_not_say_group() -> None:
    data = UNPEOPLED
    (validation,), (test,) = data.splits.validation.values(), data.splits.test.values()
    every = np.concatenate([data.splits.train, validation, test])
    assert len(np.unique(every)) == len(every)
    groups = data.classes[LABEL]
    assert groups.names.index(PEOPLE) not in groups.values[every]
    emoji = Emoji("both")
    assert {data.ids[row] % len(emoji.table) for row in test}.isdisjoint(
        data.ids[row] % len(emoji.table) for row in data.splits.train
    )
    row = int(data.splits.train[0])
    assert list(data.training_captions(row)) == emoji.captions(row) != emoji.training_captions(row)


def test_a_model_is_looked_into_by_block() -> None:
    found = teaching_matters.untaught(teaching_matters.MASKED, 0, 2, looked_at=40, compared=80)
    blocks = len(found["layers"])
    assert found["correct"].shape == found["layers"].shape[:2]
    assert found["steps aside"].shape == found["peak"].shape == (4 * blocks,)
    start = teaching_matters.untaught(teaching_matters.NONE, 0, 2, looked_at=40, compared=80)
    assert not np.array_equal(start["layers"], found["layers"])
