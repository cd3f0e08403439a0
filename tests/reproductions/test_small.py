from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.losses import InfoNCELoss
from counterpoint.networks.heads import mlp
from counterpoint.registry import MissingPackageError, UnknownNameError
from counterpoint.types import Embedder
from counterpoint_reproductions import rebar
from counterpoint_reproductions.lab import data_emoji as small


def test_words_are_hashed_alike_in_every_process() -> None:
    # FNV-1a, 32 bits: its published value for "a".
    assert small.hash_of("a") == 0xE40C292C % small.BUCKETS


def test_captions_that_share_words_are_alike() -> None:
    farmer, other, flag = small.words(
        ["woman farmer: dark skin tone", "Farmer woman dark: tone skin", "flag of Peru"]
    )
    assert farmer.norm() == pytest.approx(1.0)
    assert torch.allclose(farmer, other)
    assert float(farmer @ flag) < 0.3


def test_pixels_are_means_of_squares_in_plus_minus_one() -> None:
    picture = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    picture[:, 0] = 255
    found = small.pixels(picture).reshape(3, small.SIDE, small.SIDE)
    assert torch.equal(found[0], torch.ones(small.SIDE, small.SIDE))
    assert torch.equal(found[1:], -torch.ones(2, small.SIDE, small.SIDE))


def test_the_small_model_is_an_embedder_that_its_seed_fixes() -> None:
    one, again, other = (small.SmallTwoTower(seed) for seed in (3, 3, 4))
    assert isinstance(one, Embedder)
    z = [model.embed("text", ["a red heart", "a cat"]) for model in (one, again, other)]
    assert torch.equal(z[0], z[1])
    assert not torch.allclose(z[0], z[2])
    assert torch.allclose(z[0].norm(dim=1), torch.ones(2))
    with pytest.raises(UnknownNameError, match="unknown modality 'audio'"):
        one.embed("audio", [])


def test_training_learns_pairs_and_is_repeatable() -> None:
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((64, 8))).float()
    rows = np.arange(64)

    def run() -> list[float]:
        torch.manual_seed(0)
        encoders = (mlp(8, 32, 8, layers=2, norm=False), mlp(8, 32, 8, layers=2, norm=False))
        draw = small.pairs_of(x, x.flip(1), rows, 16)
        return small.train(encoders, InfoNCELoss(0.1), draw, steps=150, lr=1e-2, seed=0)

    losses = run()
    assert losses == run()
    assert np.mean(losses[-10:]) < 0.3 * losses[0]


def test_a_batch_holds_different_rows_and_no_more_than_there_are() -> None:
    x = torch.arange(10.0)[:, None]
    first, second = small.pairs_of(x, 2 * x, np.array([2, 3, 5]), 8)(np.random.default_rng(0))
    assert sorted(first[:, 0].tolist()) == [2, 3, 5]
    assert torch.equal(second, 2 * first)


def test_an_encoder_given_twice_is_trained_once() -> None:
    network = mlp(8, 16, 8, layers=2, norm=False)
    x = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
    draw = small.pairs_of(x, x, np.arange(32), 16)
    assert len(small.train((network, network), InfoNCELoss(0.1), draw, steps=2, lr=1e-3, seed=0)) == 2


def test_data_of_rebar_do_not_depend_on_packages_are_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("counterpoint_reproductions.lab.data_sensors.find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match="pip install sktime"):
        rebar.nearest("Euclidean", 0, 1, rebar.BASIC_MOTIONS)
