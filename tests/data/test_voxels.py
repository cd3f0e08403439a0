"""Simulated voxels: what they read, how noisy they are, and whose rows they have."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from counterpoint.data.derived.voxels import EARLY, LATE, Simulation, Voxels, low_level, normalised
from counterpoint.data.source import load_any, located, rooted
from fixtures.tiny import TinyData


def voxels(**changes: float) -> Voxels:
    return Voxels(TinyData(), Simulation(**{"early": 6, "late": 5, **changes}))  # type: ignore[arg-type] # whole ones


def test_rows_splits_labels_and_captions_are_the_pictures_own() -> None:
    data, source = voxels(), TinyData()
    assert data.columns == {"image": "image", "text": "text", "table": "table"}
    assert data.ids.tolist() == source.ids.tolist()
    assert data.splits.sides.keys() == source.splits.sides.keys()
    rows = np.array([3, 40])
    assert data.read("text", rows) == source.read("text", rows)
    assert torch.equal(data.read("image", rows), source.read("image", rows))
    table = data.read("table", rows)
    assert table.names == (*(f"early {k}" for k in range(1, 7)), *(f"late {k}" for k in range(1, 6)))
    assert data.kinds == (EARLY,) * 6 + (LATE,) * 5
    assert "simulated" in data.findings()["voxels"]


def test_signals_have_variance_one_over_rows_to_train_on_alone() -> None:
    data = voxels()
    signal = data.signal[data.splits.train]
    np.testing.assert_allclose(signal.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(signal.std(0), 1, atol=1e-4)


def test_early_voxels_follow_from_pixels_late_ones_from_labels() -> None:
    class Grey(TinyData):
        """The same labels, other pictures."""

        def images(self, rows: np.ndarray) -> torch.Tensor:
            return super().images(rows).float().mean(1, keepdim=True).expand(-1, 3, -1, -1).to(torch.uint8)

    data, grey = voxels(), Voxels(Grey(), Simulation(early=6, late=5))
    late = np.array(data.kinds) == LATE
    np.testing.assert_allclose(data.signal[:, late], grey.signal[:, late], atol=1e-5)
    assert np.abs(data.signal[:, ~late] - grey.signal[:, ~late]).max() > 0.1
    alike = np.flatnonzero(np.all([it.values == it.values[0] for it in data.labels.values()], axis=0))
    np.testing.assert_allclose(
        data.signal[alike][:, late], data.signal[[0]][:, late].repeat(len(alike), 0), atol=1e-5
    )


def test_the_ceiling_is_the_correlation_with_the_signal() -> None:
    data = load_any("voxels:digits,early=4,late=3,voxel-noise=0.6")
    assert isinstance(data, Voxels)
    rows = data.splits.train
    found = [np.corrcoef(data.signal[rows, k], data.cells(rows)[:, k])[0, 1] for k in range(7)]
    np.testing.assert_allclose(found, data.ceilings, atol=0.07)
    assert data.ceilings.max() - data.ceilings.min() > 0.05
    assert voxels(noise=0.0).ceilings.tolist() == [1.0] * 11
    np.testing.assert_allclose(voxels(noise=0.0).cells(np.arange(5)), voxels(noise=0.0).signal[:5], atol=1e-6)


def test_row_measures_same_whichever_others_read_another_process() -> None:
    data = voxels()
    whole = data.cells(np.arange(70))
    assert (data.cells(np.array([7, 3])) == whole[[7, 3]]).all()
    assert (pickle.loads(pickle.dumps(data)).cells(np.array([7])) == whole[[7]]).all()


def test_voxels_do_not_depend_on_the_size_that_a_tower_asks_for() -> None:
    data = load_any("voxels:scenes:basic,pixels=48,train=20,validation=2,test=2,early=4,late=0")
    assert (data.sized(24).cells(np.arange(5)) == data.cells(np.arange(5))).all()  # type: ignore[attr-defined] # voxels


def test_correlations_shares_of_ceiling_dead_voxels_have_none() -> None:
    draws = np.random.default_rng(0)
    x, y = draws.standard_normal((2, 30, 3))
    x[:, 2] = 1.0
    found = normalised(x, y, np.array([0.5, 0.0, 1.0]))
    assert found[0] == pytest.approx(np.corrcoef(x[:, 0], y[:, 0])[0, 1] / 0.5)
    assert np.isnan(found[1:]).all()


def test_low_level_features_see_edges_and_colours() -> None:
    picture = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    assert not low_level(picture).any()
    picture[:, 0, :, 16:] = 255
    features = low_level(picture).reshape(5, 4, 4)
    assert features[0].any()
    assert not features[1].any()  # no edge downwards
    assert features[2, 0].tolist() == [0, 0, 1, 1]


def test_how_voxels_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Simulation.parse("voxels:digits,early=3,voxel-noise=0.2")[:2] == ("digits", Simulation(3, 40, 0.2))
    data = load_any("voxels:digits,early=3,late=2")
    assert isinstance(data, Voxels)
    assert len(data.kinds) == 5
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    assert rooted("voxels:pictures,late=0") == f"voxels:{tmp_path}/pictures,late=0"
    monkeypatch.chdir("/")
    assert located("voxels:pictures,late=0", str(tmp_path)) == f"voxels:{tmp_path}/pictures,late=0"


def test_what_cannot_be_simulated_is_said() -> None:
    for source, said in (
        ("voxels:digits,early=few", "whole numbers"),
        ("voxels:digits,early=0,late=0", "must be some voxels"),
        ("voxels:digits,voxel-noise=0.9", "voxel-noise must lie"),
        ("voxels", "of which pictures"),
        ("voxels:glosses,train=5,test=5,validation=5", "simulated over pictures"),
    ):
        with pytest.raises(ValueError, match=said):
            load_any(source)

    class Plain(TinyData):
        def __init__(self) -> None:
            super().__init__()
            self.labels: Mapping[str, object] = {}  # type: ignore[assignment]

    with pytest.raises(ValueError, match="ask for late=0"):
        Voxels(Plain())

    class InShards(TinyData):
        shards = (40, 10)

    with pytest.raises(ValueError, match="read shard by shard"):
        Voxels(InShards())


def test_fingerprints_tell_simulations_apart() -> None:
    parts = voxels().fingerprint.parts
    assert parts == voxels().fingerprint.parts
    assert parts["table"] != voxels(seed=1).fingerprint.parts["table"]
    assert voxels().identity(["text"]) != voxels(early=7).identity(["text"])
