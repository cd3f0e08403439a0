"""Pictures that were drawn before come from memory, which is bounded."""

from __future__ import annotations

from collections.abc import Sequence

import hypothesis.strategies as st
import torch
from hypothesis import given
from torch import Tensor

from counterpoint.data.synthetic.lru import PictureLRU


def drawn(numbers: Sequence[int], pixels: int) -> Tensor:
    return torch.tensor(numbers, dtype=torch.uint8)[:, None, None].expand(-1, pixels, pixels).clone()


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 2)),
        min_size=1,
        max_size=9,
    ),
    st.integers(0, 20),
)
def test_pictures_those_would_be_drawn_however_little_is_kept(
    calls: list[tuple[list[int], int]], most: int
) -> None:
    memory = PictureLRU(drawn, most)
    for numbers, pixels in calls:
        found = memory(numbers, pixels)
        assert torch.equal(found, drawn(numbers, pixels))
        found.zero_()  # what a user does with his pictures changes none that are kept
        assert sum(picture.nbytes for picture in memory._known.values()) == memory._bytes <= most


def test_what_was_asked_for_least_lately_is_drawn_again() -> None:
    asked: list[int] = []

    def drawing(numbers: Sequence[int], pixels: int) -> Tensor:
        asked.extend(numbers)
        return drawn(numbers, pixels)

    memory = PictureLRU(drawing, most=2)
    for numbers in ([1, 2], [1], [3], [1, 3], [2]):
        memory(numbers, 1)
    assert asked == [1, 2, 3, 2]
