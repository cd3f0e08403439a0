"""Correlational image modelling: the maps, the roles of context and exemplars, and the loss."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from method_stubs import batch, build, total

from counterpoint.frames import Frames, of_boxes, whole
from counterpoint.methods.cim import inside, overlap
from counterpoint.types import Batch

F64 = torch.float64


def rotated(degrees: float, centre: tuple[float, float], side: float, mirrored: bool = False) -> Frames:
    """The frame of a square of a square picture, rotated clockwise about its centre."""
    angle = math.radians(degrees)
    across = torch.tensor([math.cos(angle), math.sin(angle)], dtype=F64) * side
    down = torch.tensor([-math.sin(angle), math.cos(angle)], dtype=F64) * side
    across = -across if mirrored else across
    corner = torch.tensor(centre, dtype=F64) - (across + down) / 2
    return torch.stack([across, down, corner], 1)[None]


@pytest.mark.parametrize("degrees", [0.0, 30.0, 45.0])
def test_map_is_the_rotated_square(degrees: float) -> None:
    context = of_boxes(torch.tensor([[0.1, 0.2, 0.9, 1.0]], dtype=F64), torch.tensor([True]))
    centre, side, cells = (0.55, 0.5), 0.4, 20
    measured = inside(context, rotated(degrees, centre, side), cells, cells)[0]
    angle = math.radians(degrees)
    for row in range(cells):
        for column in range(cells):
            # The context is mirrored: its first column is at the right.
            x = 0.9 - 0.8 * (column + 0.5) / cells - centre[0]
            y = 0.2 + 0.8 * (row + 0.5) / cells - centre[1]
            turned = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
            assert bool(measured[row, column]) == (max(map(abs, turned)) <= side / 2)
    assert 40 < measured.sum() < 160


def test_mirrored_exemplar_has_the_same_map() -> None:
    plain, mirrored = (rotated(20, (0.5, 0.4), 0.4, mirror) for mirror in (False, True))
    assert not torch.allclose(plain, mirrored)
    context = whole(1).double()
    assert torch.equal(inside(context, plain, 9, 9), inside(context, mirrored, 9, 9))


def test_overlap_is_intersection_over_union() -> None:
    truth = torch.tensor([[[True, True, False]], [[True, True, False]], [[False, False, False]]])
    predicted = torch.tensor([[[False, True, True]], [[False, False, False]], [[True, True, True]]])
    measured = overlap(predicted, truth)
    assert measured[:2].tolist() == pytest.approx([1 / 3, 0])
    assert measured[2].isnan()


def test_loss_is_the_sum_over_exemplars_of_the_mean_over_enlarged_cells() -> None:
    method = build("cim", exemplars=2, enlarge=2).double()
    given = batch(method, 3, dtype=F64)
    context = method.momentum.module.patches(given["image"]).flatten(2).mT
    expected = torch.zeros((), dtype=F64)
    for name in ("image.1", "image.2"):
        exemplar = method.image_tower.patches(given[name]).flatten(2).mT
        x = method.embed_states(context) + method.positions
        y = method.norm(method.block(x, method.embed_states(exemplar)))
        logits = method.classify(y).view(3, 4, 4, 2).permute(0, 3, 1, 2)
        logits = F.interpolate(logits, (8, 8), mode="bilinear", align_corners=False)
        truth = inside(given.frames["image"], given.frames[name], 8, 8)
        log_p = logits.log_softmax(1)
        for row in range(3):
            cells = [-log_p[row, int(truth[row, i, j]), i, j] for i in range(8) for j in range(8)]
            expected = expected + torch.stack(cells).mean() / 3
    torch.testing.assert_close(total(method, given), expected)
    assert method.passes() == {"image": 1.5}
    assert 0 <= method.numbers()["map_iou"] <= 1


def test_exemplars_are_keys_and_values_and_carry_the_gradient() -> None:
    method = build("cim")
    given = batch(method, 4)
    z = method.targets(given) | method.encode(given)
    context, exemplar = z["momentum.image"], z["image.1"]
    logits = method.correlate(context, exemplar)
    assert logits.shape == (4, 2, 16, 16)
    # A set of keys has no order, and every cell of the context asks by itself.
    torch.testing.assert_close(method.correlate(context, exemplar.flip(1)), logits)
    other = context.clone()
    other[:, 0] += 1
    changed = (method.correlate(other, exemplar) - logits).abs().amax((0, 1))
    assert changed[0, 0] > 0
    assert changed[8:, 8:].max() == 0
    total(method, given).backward()
    assert not any(parameter.requires_grad for parameter in method.momentum.parameters())
    assert all(parameter.grad is not None for parameter in method.image_tower.parameters())


def test_copy_sees_the_context_and_the_tower_the_exemplars() -> None:
    method = build("cim")
    given = batch(method, 3)
    for name, moves in (("image", "targets"), ("image.1", "encode")):
        other = Batch(given.ids, {**given.views, name: 1 - given[name]}, frames=given.frames)
        for part in ("targets", "encode"):
            one, two = getattr(method, part)(given), getattr(method, part)(other)
            assert all(torch.equal(one[k], two[k]) for k in one) == (part != moves)


def test_exemplars_of_a_size_that_the_tower_cannot_take_are_refused() -> None:
    with pytest.raises(ValueError, match="takes pictures of 8 pixels a side, and none of 5"):
        build("cim", size=0.6)
