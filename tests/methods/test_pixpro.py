"""PixPro: which patches are pairs, propagation on one side alone, and pictures whose views do not overlap."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, batch, build, run
from torch import Tensor

from counterpoint.frames import of_boxes
from counterpoint.networks.propagation import Propagation
from counterpoint.types import Batch

LEFT, RIGHT = [0.0, 0.0, 0.4, 1.0], [0.6, 0.0, 1.0, 1.0]
WHOLE = [0.0, 0.0, 1.0, 1.0]
FIRST, SECOND = "image.1", "image.2"


def cropped(method: torch.nn.Module, boxes: list[tuple[list[float], list[float]]]) -> Batch:
    """Return a batch of pictures whose two views lie in these boxes."""
    given = batch(method, len(boxes), dtype=torch.float64)
    pairs = torch.tensor(boxes, dtype=torch.float64)
    return replace(given, frames={FIRST: of_boxes(pairs[:, 0]), SECOND: of_boxes(pairs[:, 1])})


def features(method: torch.nn.Module, given: Batch, view: str) -> Tensor:
    """Return the unit-norm projections of the two patches of each picture."""
    maps = method.image_tower.patches(given[view]).flatten(2).mT
    return F.normalize(method.projection(maps.flatten(0, 1)).view(len(given), 2, -1), dim=-1)


def test_loss_is_that_of_patches_at_the_same_place() -> None:
    """The whole picture and its upper half: of the two patches of each, upper and lower, the upper ones pair up.

    The centres of the lower patch of the half and of the upper of the whole are 1/8 apart, too.
    """
    method = build("pixpro", propagate=False, reach=0.2).double()
    given = cropped(method, [(WHOLE, [0.0, 0.0, 1.0, 0.5])] * 4)
    y, x = features(method, given, FIRST), features(method, given, SECOND)
    # All batch norms are equal at the start, and so are the slow projections.
    pairs = [(0, 0), (0, 1)]
    one_way = 2 - 2 * torch.stack([(y[:, p] * x[:, q]).sum(1) for p, q in pairs]).mean()
    torch.testing.assert_close(run(method, given)["pixpro"], 2 * one_way)


def test_pictures_without_overlap_weigh_nothing_and_are_counted() -> None:
    method = build("pixpro").double()
    assert method.numbers() == {}
    given = cropped(method, [(WHOLE, WHOLE), (LEFT, RIGHT), (WHOLE, WHOLE), (LEFT, RIGHT)])
    z = method.targets(given) | method.encode(given)
    value = method.losses(z, given, LATE)["pixpro"]
    assert method.numbers() == {"apart": 0.5}
    changed = {**z, "momentum." + SECOND: z["momentum." + SECOND].clone()}
    changed["momentum." + SECOND][[1, 3]] *= -1
    assert method.losses(changed, given, LATE)["pixpro"] == value
    apart = cropped(method, [(LEFT, RIGHT)] * 3)
    losses = run(method, apart)["pixpro"]
    losses.backward()
    assert losses == 0
    assert method.numbers() == {"apart": 1.0}
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)


def test_propagation_is_a_plain_sum_by_similarity_of_its_input() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    layer = Propagation(4, gamma=1.5).double()
    expected = torch.zeros_like(x)
    for b in range(2):
        for i in range(5):
            for j in range(5):
                cosine = (x[b, i] @ x[b, j]) / x[b, i].norm() / x[b, j].norm()
                value = layer.value.weight @ x[b, j] + layer.value.bias
                expected[b, i] += max(float(cosine), 0.0) ** 1.5 * value.detach() / value.detach().norm()
    torch.testing.assert_close(layer(x).detach(), expected)


def test_gradient_of_a_small_power_is_finite_where_similarity_is_0() -> None:
    x = torch.eye(3)[None].requires_grad_()
    Propagation(3, gamma=0.5)(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_slow_side_has_no_propagation_and_no_gradient() -> None:
    method = build("pixpro").double()
    given = cropped(method, [(WHOLE, WHOLE)] * 4)
    targets = method.targets(given)["momentum." + FIRST]
    torch.testing.assert_close(targets.flatten(1, 2), features(method, given, FIRST))
    assert not targets.requires_grad
    run(method, given)["pixpro"].backward()
    assert method.predictor.value.weight.grad.any()
    assert all(not p.requires_grad for p in method.momentum.parameters())


def test_contrast_tells_pairs_from_other_patches_of_the_picture() -> None:
    method = build("pixpro", contrast=True, propagate=False, reach=0.2).double()
    given = cropped(method, [(WHOLE, WHOLE)] * 4)
    y, x = (features(method, given, view) for view in (FIRST, SECOND))
    scores = y @ x.mT / 0.3
    own = F.cross_entropy(scores.flatten(0, 1), torch.tensor([0, 1] * 4))
    back = F.cross_entropy(scores.mT.flatten(0, 1), torch.tensor([0, 1] * 4))
    torch.testing.assert_close(run(method, given)["pixpro"], own + back)


def test_a_tower_without_patches_is_refused() -> None:
    from counterpoint.methods import create
    from counterpoint.networks.towers.build import build_image_tower
    from counterpoint.recipes import load

    with pytest.raises(LookupError, match="no features of single places"):
        create("pixpro", {"image": build_image_tower("mlp", 16)}, load("cpu"))
