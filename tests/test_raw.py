"""Raw forms: where sequences end, and their rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import counterpoint as cp
from counterpoint.raw import ends

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
        (1, [1]),
        (-1, [2]),
    ],
)
def test_rows_of_raw_forms(rows: object, lengths: list[int]) -> None:
    assert WAVES[rows].lengths.tolist() == lengths
    assert WAVES[rows].rate == 8


def test_a_row_that_is_not_there() -> None:
    with pytest.raises(IndexError, match="3 examples, and no number 3"):
        WAVES[3]
    assert [int(one.lengths) for one in WAVES] == [3, 1, 2]


def test_no_series_are_series() -> None:
    assert cp.Series.of([]).measured.shape == (0, 1, 1)
    assert len(cp.Series.of([]).lengths) == 0
