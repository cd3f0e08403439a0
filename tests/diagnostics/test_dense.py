from __future__ import annotations

import math
from inspect import unwrap

import pytest
import torch
from torch import Tensor

from counterpoint.diagnostics import dense, uniformity
from counterpoint.diagnostics.dense import (
    at_same_place,
    dense_alignment,
    dense_uniformity,
    most_similar,
)
from counterpoint.frames import of_boxes
from counterpoint.pairwise import evaluate_with

WHOLE = of_boxes(torch.tensor([[0.0, 0.0, 1.0, 1.0]]))


def maps(b: int, p: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(b, p, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_pixels_of_same_place_are_found_through_crop_and_mirror() -> None:
    # The right half at twice the resolution across: its columns 0, 1 lie in the whole's column 2, and 2, 3 in 3.
    half = of_boxes(torch.tensor([[0.5, 0.0, 1.0, 1.0]]))
    found = at_same_place(half, WHOLE, (4, 4)).reshape(4, 4)
    assert found.tolist() == [[4 * row + column for column in (2, 2, 3, 3)] for row in range(4)]
    mirrored = of_boxes(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([True]))
    assert at_same_place(WHOLE, mirrored, (2, 3)).tolist() == [[2, 1, 0, 5, 4, 3]]


def test_pixels_of_same_place_are_found_through_a_quarter_turn() -> None:
    turned = torch.tensor([[[0.0, -1.0, 1.0], [1.0, 0.0, 0.0]]])  # right in the view is down in the picture
    assert at_same_place(turned, WHOLE, (2, 2)).tolist() == [[1, 3, 0, 2]]


def test_crops_do_not_meet_have_no_positives_and_are_left_out() -> None:
    first = of_boxes(torch.tensor([[0.0, 0, 0.5, 0.5]] * 2))
    second = of_boxes(torch.tensor([[0.5625, 0.5625, 1, 1], [0.0, 0, 0.5, 0.5]]))
    match = at_same_place(first, second, (2, 2))
    assert match.tolist() == [[-1] * 4, [0, 1, 2, 3]]
    z, other = maps(2, 4, 3), maps(2, 4, 3, 1)
    assert dense_alignment(z, other, match) == pytest.approx(dense_alignment(z[1:], other[1:], match[1:]))
    assert math.isnan(dense_alignment(z[:1], other[:1], match[:1]))


def test_a_frame_without_area_is_an_error() -> None:
    with pytest.raises(ValueError, match="area"):
        at_same_place(WHOLE, of_boxes(torch.tensor([[0.25, 0.25, 0.25, 1]])), (2, 2))


def test_alignment_equals_loops_and_ignores_lengths() -> None:
    z, other = maps(3, 5, 4), maps(3, 5, 4, 1)
    match = torch.tensor([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [-1, -1, 0, 0, -1]])
    distances = [
        float((z[b, i] / z[b, i].norm() - other[b, j] / other[b, j].norm()).square().sum())
        for b in range(3)
        for i, j in enumerate(match[b].tolist())
        if j >= 0
    ]
    assert dense_alignment(7 * z, other, match) == pytest.approx(sum(distances) / len(distances))
    with pytest.raises(ValueError, match="matched maps"):
        unwrap(dense_alignment)(z, other[:2], match)


def test_most_similar_pixel_of_same_picture_and_has_no_gradient() -> None:
    a = maps(2, 6, 5).requires_grad_()
    order = torch.randperm(6, generator=torch.Generator().manual_seed(3))
    found = most_similar(a, a[:, order])
    assert found.tolist() == [order.argsort().tolist()] * 2
    # On the features that are compared, most similar always looks at least as aligned as any other rule.
    b = maps(2, 6, 5, 9)
    position = torch.arange(6).expand(2, 6)
    assert dense_alignment(a.detach(), b, most_similar(a, b)) < dense_alignment(a.detach(), b, position)


def test_uniformity_splits_into_pairs_within_and_between() -> None:
    z = maps(4, 6, 3)
    with evaluate_with("tiled", tile=7):
        found = dense_uniformity(z)
    unit = (z / z.norm(dim=-1, keepdim=True)).flatten(0, 1)
    terms: dict[bool, list[float]] = {True: [], False: []}
    for i in range(24):
        for j in range(24):
            if i != j:
                terms[i // 6 == j // 6].append(math.exp(-2 * float((unit[i] - unit[j]).square().sum())))
    for value, pairs in ((found.within, terms[True]), (found.between, terms[False])):
        assert value == pytest.approx(math.log(sum(pairs) / len(pairs)))
    assert found.all == pytest.approx(uniformity(unit))


def test_pixels_of_a_picture_hide_the_spread_between_pictures() -> None:
    # Two pictures, each of one colour: all pairs look worse than those between them.
    constant = maps(2, 1, 16).expand(2, 30, 16)
    found = dense_uniformity(constant)
    assert found.within == pytest.approx(0, abs=1e-9)
    assert found.between < found.all < found.within


def test_sets_without_pairs_undefined_and_many_pixels_sampled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert math.isnan(dense_uniformity(maps(1, 5, 3)).between)
    assert math.isnan(dense_uniformity(maps(5, 1, 3)).within)
    z = maps(10, 40, 8)
    every = dense_uniformity(z)
    monkeypatch.setattr(dense, "PIXELS", 200)
    some = dense_uniformity(z)
    assert some != every
    assert some.between == pytest.approx(every.between, abs=0.1)
    assert some == dense_uniformity(z)
