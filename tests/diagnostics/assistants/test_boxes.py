"""The box search against all rectangles one by one, and on planted states."""

from __future__ import annotations

from itertools import product

import pytest
import torch
import torch.nn.functional as F

from counterpoint.diagnostics.assistants.boxes import Box, best_box, integral, rectangles


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_hand(places: torch.Tensor, meaning: torch.Tensor, least: int = 1) -> tuple[float, tuple[int, ...]]:
    h, w, _ = places.shape
    best = (-2.0, (0, 0, 0, 0))
    for top, left in product(range(h), range(w)):
        for bottom, right in product(range(top + 1, h + 1), range(left + 1, w + 1)):
            if (bottom - top) * (right - left) >= least:
                mean = places[top:bottom, left:right].double().mean((0, 1))
                value = float(F.cosine_similarity(mean, meaning.double(), dim=0))
                best = max(best, (value, (top, left, bottom, right)))
    return best


def corners(box: Box) -> tuple[int, ...]:
    return box.top, box.left, box.bottom, box.right


def test_integral_image_gives_the_sums_of_all_rectangles() -> None:
    values = drawn(0, 5, 4, 3)
    sums = integral(values)
    for rows, columns in product(range(1, 6), range(1, 5)):
        found = rectangles(sums, rows, columns)
        assert found.shape == (6 - rows, 5 - columns, 3)
        for top, left in product(range(6 - rows), range(5 - columns)):
            expected = values[top : top + rows, left : left + columns].double().sum((0, 1))
            assert torch.allclose(found[top, left], expected, atol=1e-12)


@pytest.mark.parametrize("least", [1, 4, 20])
def test_search_finds_what_brute_force_finds(least: int) -> None:
    for seed in range(5):
        places, meaning = drawn(seed, 5, 6, 8), drawn(100 + seed, 8)
        value, expected = by_hand(places, meaning, least)
        found = best_box(places, meaning, least=least)
        assert corners(found) == expected
        assert found.cosine == pytest.approx(value, abs=1e-9)


def test_planted_box_is_found_exactly() -> None:
    a = F.normalize(drawn(0, 16), dim=0)
    places = drawn(1, 6, 7, 16)
    places -= (places @ a)[..., None] * a  # nothing outside has any of it
    box = places[2:5, 1:4]
    box -= box.mean((0, 1), keepdim=True)  # inside, only the whole is the meaning and nothing else
    box += 0.5 * a
    found = best_box(places, a)
    assert corners(found) == (2, 1, 5, 4)
    assert found.cosine == pytest.approx(1.0)
    assert found.area == pytest.approx(9 / 42)


def test_of_equal_boxes_the_largest_is_taken() -> None:
    places = torch.zeros(4, 4, 3) + torch.tensor([0.0, 1.0, 0.0])
    places[1:3, 0:3] = torch.tensor([1.0, 0.0, 0.0])
    assert corners(best_box(places, torch.tensor([2.0, 0.0, 0.0]))) == (1, 0, 3, 3)


def test_no_region_means_the_whole_picture_or_one_place() -> None:
    same = torch.ones(3, 3, 2)
    assert best_box(same, torch.tensor([1.0, 0.0])).area == 1.0
    places = drawn(3, 4, 4, 32)
    assert best_box(places, places[1, 2] + 0.1 * drawn(4, 32)).area == 1 / 16
    assert best_box(places, places[1, 2], least=4).area >= 4 / 16


def test_states_that_cancel_point_nowhere() -> None:
    places = drawn(5, 4, 4, 6)
    centred = places - places.mean((0, 1))
    found = best_box(centred, drawn(6, 6))
    assert found.area < 1.0
    assert best_box(torch.zeros(2, 2, 3), torch.ones(3)).cosine == 0.0


@pytest.mark.parametrize(
    ("places", "meaning", "least"),
    [
        (torch.ones(2, 2, 3), torch.ones(3), 5),
        (torch.ones(2, 2, 3), torch.ones(3), 0),
        (torch.full((2, 2, 3), float("nan")), torch.ones(3), 1),
    ],
)
def test_bad_input(places: torch.Tensor, meaning: torch.Tensor, least: int) -> None:
    with pytest.raises(ValueError, match=r"least=|must fit and be finite"):
        best_box(places, meaning, least=least)
