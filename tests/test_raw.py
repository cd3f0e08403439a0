"""Raw forms: where sequences end, and their rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import counterpoint as cp
from counterpoint.raw import WINDOWS, Maps, check_maps, ends

WAVES = cp.Waves.of([np.full(length, length, np.float32) for length in (3, 1, 2)], rate=8)


def test_a_sequence_ends_behind_the_last_that_was_measured() -> None:
    nan = torch.nan
    assert ends(torch.tensor([[1.0, nan, 2.0, nan], [nan] * 4, [1.0] * 4])).tolist() == [3, 0, 4]
    assert ends(torch.tensor([[[nan, 1.0], [nan, nan]], [[nan, nan], [nan, 1.0]]])).tolist() == [1, 2]
    assert ends(torch.zeros(2, 0)).tolist() == [0, 0]
    assert ends(torch.zeros(0, 2)).tolist() == []


@pytest.mark.parametrize(
    ("rows", "lengths"),
    [
        (slice(None, None, -1), [2, 1, 3]),
        (slice(1, None), [1, 2]),
        ([2, 0, 0], [2, 3, 3]),
        (np.array([], dtype=int), []),
        ([], []),
        (np.array([True, False, True]), [3, 2]),
        (torch.tensor([True, False, True]), [3, 2]),
        (torch.tensor([2]), [2]),
        (1, [1]),
        (-1, [2]),
    ],
)
def test_rows_of_raw_forms(rows: object, lengths: list[int]) -> None:
    assert WAVES[rows].lengths.tolist() == lengths
    assert WAVES[rows].rate == 8


def test_a_mask_of_a_single_example_is_a_mask() -> None:
    assert [len(WAVES[:1][torch.tensor([there])]) for there in (True, False)] == [1, 0]


def test_sounds_of_one_length_may_be_one_array() -> None:
    waves = cp.Waves.of(np.array([[0.5, 0.25], [0.0, -1.0]]), rate=8)  # as `check_waves` advises
    assert waves.samples.tolist() == [[0.5, 0.25], [0.0, -1.0]]


def test_a_row_that_is_not_there() -> None:
    with pytest.raises(IndexError, match="3 examples, and no number 3"):
        WAVES[3]
    assert [int(one.lengths) for one in WAVES] == [3, 1, 2]


@pytest.mark.parametrize(
    ("sound", "rate", "said"),
    [
        (
            np.ones(8, np.int16),
            8,
            r"^sound 1 holds int16, and samples are in \[−1, 1\]: divide them by 32768",
        ),
        (np.ones((8, 2)), 8, r"^sound 1 is of shape \(8, 2\), and a sound has one channel"),
        (np.ones(8), 0, r"^a rate is a number of samples a second, from 1 on, got 0$"),
    ],
)
def test_what_is_no_sound_is_refused(sound: np.ndarray, rate: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cp.Waves.of([np.ones(3), sound], rate)


@pytest.mark.parametrize(
    "clip", [np.ones((2, 3, 8, 8)), np.ones((2, 8, 8, 3), np.uint8), np.ones((2, 3, 9, 9), np.uint8)]
)
def test_what_is_no_clip_is_refused(clip: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"^clip 1 is .*, and clips are uint8 \(T, 3, H, W\)"):
        cp.Clips.of([np.ones((4, 3, 8, 8), np.uint8), clip])


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "it.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"it\.wav: no sound that libsndfile reads: (?!.*object at)"):
        cp.Waves.read([tmp_path / "it.wav"])


@pytest.mark.parametrize("other", [np.ones((3, 1)), np.ones(3), np.ones((3, 3)), np.ones((3, 2, 1))])
def test_series_of_other_channels_are_refused(other: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"^series 1 is of shape .*: as many in all of them$"):
        cp.Series.of([np.ones((5, 2)), other])
    with pytest.raises(ValueError, match=r"^series 0 is of shape \(5, 2\), .*: those of x, y, z$"):
        cp.Series.of([np.ones((5, 2))], channels=("x", "y", "z"))


def test_no_series_are_series() -> None:
    assert cp.Series.of([]).measured.shape == (0, 1, 1)
    assert len(cp.Series.of([]).lengths) == 0


def test_windows_cover_a_sequence_from_its_beginning_to_its_end() -> None:
    lengths = (4, 10, 11, 25, 1000)
    raw = cp.Series.of([np.arange(length, dtype=np.float32)[:, None] for length in lengths])
    seen: dict[int, list[tuple[int, int]]] = {}
    for rows, part in raw.windows(10):
        for row, one in zip(rows.tolist(), part, strict=True):
            there = one.measured[0, : int(one.lengths[0]), 0]
            seen.setdefault(row, []).append((int(there[0]), int(there[-1]) + 1))
    assert seen[0] == [(0, 4)]
    assert seen[1] == [(0, 10)]
    assert seen[2] == [(0, 10), (1, 11)]
    assert seen[3] == [(0, 10), (7, 17), (15, 25)]
    assert len(seen[4]) == WINDOWS
    assert (seen[4][0], seen[4][-1]) == ((0, 10), (990, 1000))


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (
            Maps(torch.tensor([[[0, 2]]], dtype=torch.uint8), ("a", "b")),
            "holds class 2, and there are names of 2",
        ),
        (torch.tensor([[[0.0, torch.inf]]]), "holds infinite values"),
        (torch.zeros(1, 2, 2, dtype=torch.int64), "must be cp.Maps or an array"),
        (torch.zeros(2, 2), "got one of shape"),
        (torch.zeros(0, 2, 2), "nothing to embed"),
    ],
)
def test_what_is_no_map_is_refused(maps: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_maps(maps)
