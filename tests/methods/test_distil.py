"""Distillation: what the loss is, what a student takes over, and the methods that reduce to it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import RECIPE, SIZE, StubImage, StubText, batch, build, ready, total

from counterpoint import methods
from counterpoint.methods import frozen
from counterpoint.networks import initialise
from counterpoint.networks.base import ImageTower
from counterpoint.networks.towers.sparse import SparseTransformer
from counterpoint.networks.towers.transformer import VisionTransformer
from counterpoint.networks.weights import restored

F64 = torch.float64


def one_patch() -> ImageTower:
    return VisionTransformer(SIZE, SIZE, width=12, depth=1, heads=2)


def clip(depth: int = 3) -> Any:
    tower = VisionTransformer(SIZE, 4, width=12, depth=depth, heads=2)
    method = methods.create("clip", ready({"image": tower, "text": StubText()}, 7), RECIPE)
    initialise(method, 7)
    return method


def student(monkeypatch: pytest.MonkeyPatch, teacher: Any, **options: Any) -> Any:
    monkeypatch.setattr(frozen, "frozen", lambda *_: (teacher.requires_grad_(False).eval(),))
    tower = SparseTransformer(SIZE, 12, 3, heads=2, tokens=4, points=4, channels=4)
    method = methods.create("distil", ready({"image": tower}, 0), RECIPE, teacher="runs/mine", **options)
    initialise(method, 0)
    return method


def test_loss_is_the_distance_between_directions() -> None:
    method = build("distil").double()
    given = batch(method, 4, dtype=F64)
    (teacher,) = method.teacher(given["image"])
    ours = method.projections["image"](method.image_tower(given["image"]))
    torch.testing.assert_close(
        total(method, given), 1 - F.cosine_similarity(ours, teacher.summary, dim=1).mean()
    )
    assert teacher.patches.shape[1] == 0
    assert method.passes() == {"image": 2}


@pytest.mark.parametrize(
    ("name", "options", "factor"),
    [
        ("radio", {"sizes": "1", "patches": 0.0, "hidden": 0, "targets": "raw"}, 1),
        ("uta", {"hidden": 0}, 2),  # a picture of one patch is that patch
    ],
)
def test_methods_reduce_to_distillation_of_summaries(name: str, options: dict[str, Any], factor: int) -> None:
    plain, other = (
        build(of, image=one_patch, **given).double() for of, given in (("distil", {}), (name, options))
    )
    head = other.projections["image"] if name == "uta" else other.adaptors["summary"][0]
    head.load_state_dict(plain.projections["image"].state_dict())
    given = batch(other, 5, dtype=F64)
    torch.testing.assert_close(total(other, given), factor * total(plain, given))


def test_sparse_student_takes_over_blocks_norm_and_head(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = clip()
    method = student(monkeypatch, teacher, inherit=True)
    assert torch.equal(method.projections["image"].weight, teacher.projections["image"].weight)
    assert not method.projections["image"].weight.requires_grad
    last, its = method.image_tower.blocks[-1], teacher.image_tower.blocks[-1]
    assert torch.equal(last.qkv.weight, its.qkv.weight)
    before = {name: p.clone() for name, p in method.named_parameters()}
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], 1.0)
    total(method, batch(method, 3)).backward()
    optimizer.step()
    still = {name for name, p in method.named_parameters() if torch.equal(p, before[name])}
    frozen_parts = ("towers.image.blocks.1.", "towers.image.norm.", "projections.")
    assert {name for name in still if name.startswith(frozen_parts)} == {
        name for name in before if name.startswith(frozen_parts)
    }
    assert not any(name.startswith("towers.image.blocks.0.") for name in still)
    with restored():
        again = student(monkeypatch, teacher, inherit=True)
    again.load_state_dict(method.state_dict())
    pictures = torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8)
    assert torch.equal(again.embed("image", pictures), method.embed("image", pictures))


def test_without_inheritance_all_is_drawn_and_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = clip()
    method = student(monkeypatch, teacher)
    assert all(p.requires_grad for p in method.parameters())
    last, its = method.image_tower.blocks[-1], teacher.image_tower.blocks[-1]
    assert not torch.equal(last.qkv.weight, its.qkv.weight)


def test_what_cannot_be_inherited_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="cannot inherit from one of 2 and 12"):
        student(monkeypatch, clip(2), inherit=True)
    with pytest.raises(ValueError, match="no blocks to inherit: name a run with image=vit"):
        student(monkeypatch, build("siglip", image=StubImage), inherit=True)
    with pytest.raises(ValueError, match="take image=sparse"):
        build("distil", inherit=True)
    with pytest.raises(ValueError, match="distil learns from one teacher, and radio from several"):
        build("distil", teacher="one+two")
