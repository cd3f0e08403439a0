"""The tower of series: its fitted input, gaps, and independence of what stands beside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import counterpoint as cp
from counterpoint.data.reading.series import pack_series, read_series
from counterpoint.files import DamagedFileError
from counterpoint.networks import build_towers, initialise
from counterpoint.networks.base import INPUTS
from counterpoint.networks.fingerprint import fingerprint
from counterpoint.networks.towers.series import DilatedTower, Standardised
from counterpoint.recipes.schema import Towers

NAN = float("nan")


def walks(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    series = [rng.normal(0, 1, (length, 3)).cumsum(0) * [1, 10, 0.1] for length in lengths]
    for one in series:
        one[rng.random(one.shape) < 0.1] = NAN
        one[-1] = 0
    return [one.astype(np.float32) for one in series]


def tower() -> DilatedTower:
    net = DilatedTower(Standardised.fit([cp.Series.of(walks(50, 40, 30))], steps=64), width=16)
    initialise(net, 0)
    return net.eval()


def test_channels_have_mean_0_and_deviation_1_over_was_measured() -> None:
    given = cp.Series.of(walks(50, 40, 30))
    made = Standardised.fit([given], steps=50)(given)
    assert made.shape == (3, 50, 3)
    assert torch.equal(made.isnan(), given.measured.isnan())
    for channel in range(3):
        known = made[..., channel][~made[..., channel].isnan()]
        assert known.mean().item() == pytest.approx(0, abs=1e-5)
        assert known.std(correction=0).item() == pytest.approx(1, abs=1e-4)


def test_channel_never_moves_or_never_was_measured_keeps_unit() -> None:
    made = Standardised.fit([cp.Series.of([np.array([[3.0, NAN], [3.0, NAN]])])], steps=9)
    assert (made.means, made.deviations) == ((3.0, 0.0), (1.0, 1.0))


def test_it_is_cut_to_its_steps_and_kept_in_a_file(tmp_path: Path) -> None:
    given = cp.Series.of(walks(50, 40), channels=("x", "y", "z"))
    made = Standardised.fit([given, given[:1]], steps=45)
    assert made(given).shape[1] == 45
    assert made(given[1]).shape[1] == 40
    made.save(tmp_path / made.file)
    again = Standardised.load(tmp_path / made.file)
    assert again.channels == ("x", "y", "z")
    assert torch.equal(again(given).nan_to_num(9), made(given).nan_to_num(9))
    (tmp_path / made.file).write_text("{}")
    with pytest.raises(DamagedFileError, match=r"series.json is damaged"):
        Standardised.load(tmp_path / made.file)


def test_other_channels_are_refused() -> None:
    named = Standardised.fit([cp.Series.of(walks(9), channels=("x", "y", "z"))], steps=9)
    with pytest.raises(ValueError, match=r"takes series of 3 channels \(x, y, z\), .* have 2 channels: give"):
        named(cp.Series.of([np.zeros((4, 2))]))
    with pytest.raises(ValueError, match=r"have 3 channels \(x, z, y\): give these channels, in this order"):
        named(cp.Series.of(walks(9), channels=("x", "z", "y")))
    assert named(cp.Series.of(walks(9))).shape == (1, 9, 3)
    with pytest.raises(
        ValueError, match=r"share a tower must have the same channels.*2 channels, 3 channels"
    ):
        Standardised.fit([cp.Series.of(walks(9)), cp.Series.of([np.zeros((4, 2))])], steps=9)


def test_neither_padding_nor_neighbours_change_features() -> None:
    net, given = tower(), walks(64, 41, 20, 3, 1)
    with torch.no_grad():
        together = net(net.input(cp.Series.of(given)))
        states = net.states(net.input(cp.Series.of(given)))
        for row, one in enumerate(given):
            alone = net.input(cp.Series.of([one]))
            torch.testing.assert_close(net(alone)[0], together[row], rtol=0, atol=1e-5)
            torch.testing.assert_close(net.states(alone)[0], states[row, : len(one)], rtol=0, atol=1e-5)
            assert not states[row, len(one) :].any()
    torch.testing.assert_close(states[0].mean(0), together[0], rtol=0, atol=1e-5)
    assert torch.pdist(together).min() > 0.01


def test_what_was_not_measured_is_not_what_was_measured_as_mean() -> None:
    net = tower()
    given = torch.zeros(2, 8, 3)
    given[0, 2:5, 1] = NAN
    one, other = net(given)
    assert one.isfinite().all()
    assert (one - other).abs().max() > 1e-3
    assert net(torch.full((1, 4, 3), NAN)).isfinite().all()


def test_gradients_reach_every_weight() -> None:
    net = tower().train()
    net(net.input(cp.Series.of(walks(30, 9)))).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_it_is_built_of_training_rows_or_of_earlier_start_left(tmp_path: Path) -> None:
    section, columns = Towers(series_steps=33), {"series": "series", "ankle": "series"}
    rows = {"series": cp.Series.of(walks(50)), "ankle": cp.Series.of(walks(20, 30))}
    towers = build_towers(section, rows, 3, columns=columns)
    net = towers["series"]
    assert net is towers["ankle"]
    assert isinstance(net, DilatedTower)
    assert net.input.steps == 33
    (tmp_path / INPUTS).mkdir()
    net.input.save(tmp_path / INPUTS / net.input.file)
    again = build_towers(section, {}, 3, columns=columns, folder=tmp_path)["series"]
    assert fingerprint(again, {"series": again.input}) == fingerprint(net, {"series": net.input})


def test_files_are_read(tmp_path: Path) -> None:
    def stored(array: object) -> bytes:
        np.save(tmp_path / "a.npy", array)
        return (tmp_path / "a.npy").read_bytes()

    flat = read_series(stored(np.arange(4)), 0)
    assert (flat.shape, flat.dtype) == ((4, 1), np.float32)
    assert read_series(stored(np.zeros((4, 2))), 0).shape == (4, 2)
    for array, message in (
        (np.zeros((2, 2, 2)), r"numbers \(T, C\), time first, got float64 \(2, 2, 2\)"),
        (np.array(["a"]), "array of numbers"),
        (np.full((2, 2), NAN), "nothing is measured"),
        (np.zeros((0, 2)), "nothing is measured"),
        (np.full(3, np.inf), "infinite"),
    ):
        with pytest.raises(ValueError, match=message):
            read_series(stored(array), 0)
    np.savez(tmp_path / "b.npz", a=np.zeros(2))
    for spoiled in ((tmp_path / "b.npz").read_bytes(), stored(np.zeros(9))[:-4]):
        with pytest.raises(ValueError, match=r"^no .npy file of numbers|several arrays"):
            read_series(spoiled, 0)
    for line, no_number in (
        (b"RIFF", "RIFF"),
        (b"", ""),
        (b"1,2:3,abc", "abc"),
        (b"1,,2", ""),
        (b"(0,1)", r"\(0"),
    ):
        with pytest.raises(
            ValueError, match=rf"^neither an .npy file nor numbers .*: '{no_number}' is no number$"
        ):
            read_series(line, 0)
    with pytest.raises(ValueError, match="1 and 2 channels stand in one column"):
        pack_series([flat, np.zeros((4, 2), np.float32)], 0)
