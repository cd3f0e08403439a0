"""SepCLR: the released losses, codes that are 0 for the background, two towers and a head for each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import FIVE, LATE, RECIPE, batch, build, run
from torch import Tensor, nn

from counterpoint import methods
from counterpoint.registry import UnknownNameError
from counterpoint.types import Batch

TAU = 0.3


def bare(**options: Any) -> Any:
    """The method without linear layers and projectors, so that codes are features."""
    method = build("sepclr", target=FIVE, temperature=TAU, **options).double()
    method.common_layer = method.salient_layer = method.common_head = method.salient_head = nn.Identity()
    return method


def labelled(method: Any, *classes: int) -> Batch:
    whole = batch(method, len(classes), dtype=torch.float64)
    return replace(whole, labels={"group": torch.tensor(classes)})


def codes(z: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The common codes, of length 1, and the salient ones."""
    halves = [view.chunk(2, 1) for view in z.values()]
    return [F.normalize(c, dim=1) for c, _ in halves], [s for _, s in halves]


def align(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).norm(p=2, dim=1).pow(2).mul(1 / (2 * TAU)).mean()


def uniform(x: Tensor) -> Tensor:
    return F.pdist(x).pow(2).mul(-1 / (2 * TAU)).exp().mean().log()


def joint(c: Tensor, s: Tensor) -> Tensor:
    kernels = [torch.cdist(x, x).pow(2).mul(-1 / (2 * TAU)).exp() for x in (s, c)]
    return (kernels[0] * kernels[1]).mean(-1).log().mean()


def test_the_terms_are_those_of_the_released_code() -> None:
    method = bare(salient=7.0, silence=5.0, joint=3.0)
    given = labelled(method, 0, 1, 2, 0, 4, 1, 0)
    target = given.labels["group"] > 0
    (c1, c2), (s1, s2) = codes(method.encode(given))
    teachers = [torch.where(target[:, None], s, 0.0) for s in (s1, s2)]
    nothing = torch.zeros_like(s1)[~target]
    expected = {
        "common": align(c1, c2) + uniform(c1) + uniform(c2),
        "salient": 7 * (align(s1[target], s2[target]) + uniform(teachers[0]) + uniform(teachers[1])),
        "silence": 5 * (align(nothing, s1[~target]) + align(nothing, s2[~target])) / 2,
        "joint": 3 * (joint(c1, teachers[0]) + joint(c2, teachers[1])) / 2,
    }
    losses = run(method, given)
    assert list(losses) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)


def test_background_codes_move_by_what_silences_them_alone() -> None:
    method = bare()
    given = labelled(method, 0, 1, 2, 0, 4)
    z = {name: view.detach().requires_grad_() for name, view in method.encode(given).items()}
    losses = method.losses(z, given, LATE)
    background = given.labels["group"] == 0
    for term, moved, still in (("salient", ~background, background), ("silence", background, ~background)):
        for gradient in torch.autograd.grad(losses[term], list(z.values()), retain_graph=True):
            salient = gradient[:, method.each :]
            assert salient[moved].abs().sum(1).gt(0).all()
            assert not salient[still].any()
            assert not gradient[:, : method.each].any()


def test_a_batch_without_targets_or_without_background_is_no_nan() -> None:
    for classes, gone in (((0, 0, 0), "salient"), ((1, 2, 1), "silence")):
        method = bare()
        losses = run(method, labelled(method, *classes))
        torch.stack(list(losses.values())).sum().backward()
        assert losses[gone].item() == 0
        assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


def test_targets_far_from_each_other_leave_pairs_of_background() -> None:
    method = bare(salient=1.0)
    given = labelled(method, 0, 0, 0, 1, 2)
    apart = 100 * torch.eye(5, method.each).double()
    z = {name: torch.cat([view[:, : method.each], apart], 1) for name, view in method.encode(given).items()}
    pairs = torch.tensor(2 * 3 / (5 * 4), dtype=torch.float64)
    torch.testing.assert_close(method.losses(z, given, LATE)["salient"], 2 * pairs.log())


def test_examples_without_class_take_part_in_common_term_alone() -> None:
    method = bare()
    given = labelled(method, 0, 1, -1, 2, -1)
    known = given.map(lambda tensor: tensor[given.labels["group"] >= 0])
    losses, without = run(method, given), run(method, known)
    for term in ("salient", "silence", "joint"):
        torch.testing.assert_close(losses[term], without[term])
    assert not losses["common"].allclose(without["common"])
    for classes in ((-1, -1, -1), (-1, 2, -1)):
        assert list(run(method, labelled(method, *classes))) == ["common"]


def test_each_head_is_a_tower_of_its_own() -> None:
    method = build("sepclr")
    pictures = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    assert not method.salient_tower.linear.weight.equal(method.image_tower.linear.weight)
    features = {
        "common": method.common_layer(method.image_tower(method.inputs["image"](pictures))),
        "salient": method.salient_layer(method.salient_tower(method.inputs["image"](pictures))),
    }
    for head, expected in features.items():
        torch.testing.assert_close(method.embed("image", pictures, head), F.normalize(expected, dim=1))
    assert method.embed("image", pictures).equal(method.embed("image", pictures, "common"))
    assert method.embed_patches(pictures).shape[1] == method.width == 32
    with pytest.raises(LookupError, match="those of the common tower: take head=common"):
        method.embed_patches(pictures, "salient")
    assert method.passes() == {"image": 4}


def test_the_losses_are_of_projections_of_what_a_user_gets() -> None:
    method, plain = (build("sepclr", target=FIVE, size=3).double().eval() for _ in range(2))
    given = labelled(method, 0, 1, 2, 0, 4, 1)
    z = method.encode(given)
    codes = {
        name: torch.cat(
            [
                method.common_head(method.project("image", view, "common")),
                method.salient_head(method.project("image", view, "salient")),
            ],
            1,
        )
        for name, view in z.items()
    }
    plain.common_layer = plain.salient_layer = plain.common_head = plain.salient_head = nn.Identity()
    plain.each = 3
    expected = plain.losses(codes, given, LATE)
    for term, value in method.losses(z, given, LATE).items():
        torch.testing.assert_close(value, expected[term])


def test_the_background_is_a_class_of_the_label() -> None:
    given = labelled(bare(), 0, 1, 2, 0, 4)
    first, named = run(bare(), given), run(bare(background="a"), given)
    assert all(first[term].equal(named[term]) for term in first)
    assert not run(bare(background="b"), given)["silence"].allclose(first["silence"])
    with pytest.raises(UnknownNameError, match="unknown class 'f'"):
        bare(background="f")
    with pytest.raises(ValueError, match="name one with --labels NAME"):
        methods.create("sepclr", dict(build("moco", on="images").towers), RECIPE)
