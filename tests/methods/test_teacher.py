"""Teachers of pictures: towers and runs, their heads, and what a method does not change about them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from method_stubs import RECIPE, StubText
from safetensors.torch import save_file
from torch import nn

from counterpoint import methods
from counterpoint.methods.frozen import Teacher
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.networks import ConvNet, VisionTransformer, build_towers, initialise
from counterpoint.networks.base import ImageTower
from counterpoint.networks.heads import TargetHead
from counterpoint.networks.towers.transformer import ProbedTransformer
from counterpoint.networks.weights import restored
from counterpoint.recipes.schema import Towers

PICTURES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def student() -> VisionTransformer:
    tower = VisionTransformer(32, 8, width=16, depth=1, heads=2)
    initialise(tower, 0)
    return tower


def clip(size: int = 32) -> TowerMethod:
    towers = {"image": VisionTransformer(size, 8, width=24, depth=1), "text": StubText()}
    method = methods.create("clip", towers, RECIPE)
    initialise(method, 0)
    assert isinstance(method, TowerMethod)
    return method


def saved(tower: ImageTower, folder: Path) -> Path:
    initialise(tower, 1)
    save_file(tower.state_dict(), folder / "weights.safetensors")
    return folder / "weights.safetensors"


def test_bare_tower_gives_its_features_and_those_of_its_patches(
    tmp_path: Path, student: VisionTransformer
) -> None:
    name = f"vit@{saved(VisionTransformer(32), tmp_path)}"
    tower = build_towers(Towers(image=name, image_size=32), {"text": ["a"]}, 0)["image"].eval()
    assert isinstance(tower, ImageTower)
    teacher = Teacher("teacher", name, student)
    (states,) = teacher(PICTURES)
    assert teacher.widths == (192,)
    torch.testing.assert_close(states.summary, tower(PICTURES))
    torch.testing.assert_close(states.patches, tower.patches(PICTURES).flatten(2).mT)
    teacher.check_grid((4, 4))
    with pytest.raises(ValueError, match=r"teacher='vit@.*' has 4 × 4 patches and the image tower 2 × 4"):
        teacher.check_grid((2, 4))


def test_model_gives_what_its_heads_make_of_both(student: VisionTransformer) -> None:
    model = clip()
    with patch("counterpoint.models.load", lambda name: model):
        (states,) = Teacher("teacher", "runs/mine", student, microbatch=2)(PICTURES)
    head = model.projections["image"]
    torch.testing.assert_close(states.summary, head(model.image_tower(PICTURES)))
    maps = model.image_tower.patches(PICTURES)
    torch.testing.assert_close(states.patches, head(maps.flatten(2).mT))
    assert not states.summary.requires_grad
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_several_teachers_answer_in_their_order(tmp_path: Path, student: VisionTransformer) -> None:
    name, model = f"vit@{saved(VisionTransformer(32), tmp_path)}", clip()
    with patch("counterpoint.models.load", lambda name: model):
        teacher = Teacher("teacher", f"{name}+runs/mine", student)
    assert teacher.names == (name, "runs/mine")
    assert [states.summary.shape[1] for states in teacher(PICTURES)] == list(teacher.widths) == [192, 8]


def test_batch_norms_stay_in_evaluation_mode_whatever_the_method_does(student: VisionTransformer) -> None:
    class WithNorm(ConvNet):
        def __init__(self) -> None:
            super().__init__(32)
            self.batch_norm = nn.BatchNorm2d(3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(self.batch_norm(images))

    tower = WithNorm()
    initialise(tower, 0)
    with patch("counterpoint.methods.frozen.build_image_tower", lambda *_: tower):
        teacher = Teacher("teacher", "cnn@weights", student)

    class Method(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.teacher = teacher

    method = Method()
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    (alone,) = teacher(PICTURES[:1])
    method.train()
    (states,) = teacher(PICTURES)
    torch.testing.assert_close(states.summary[:1], alone.summary)
    assert not any(module.training for module in tower.modules())
    assert all(torch.equal(value, before[name]) for name, value in tower.state_dict().items())
    assert not list(method.parameters())
    assert not method.state_dict()


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("runs/none", "teacher='runs/none' cannot be read: .* a run that has begun needs the same one"),
        ("vit@none.safetensors", "teacher='vit@none.safetensors' cannot be read"),
        ("vit-map@{weights}", "has no features of single places of a picture; name a teacher with"),
    ],
)
def test_teachers_that_cannot_teach_are_refused(
    name: str, match: str, tmp_path: Path, student: VisionTransformer
) -> None:
    if "{weights}" in name:
        name = name.format(weights=saved(ProbedTransformer(32), tmp_path))
    with pytest.raises(ValueError, match=match):
        Teacher("teacher", name, student)


def test_teachers_of_other_sizes_are_refused(student: VisionTransformer) -> None:
    model = clip(24)
    with (
        patch("counterpoint.models.load", lambda name: model),
        pytest.raises(ValueError, match=r"takes pictures of 24 pixels .* towers\.image_size=24"),
    ):
        Teacher("teacher", "runs/mine", student)


def test_trained_method_is_read_without_its_teachers(tmp_path: Path, student: VisionTransformer) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    name = f"vit@{saved(VisionTransformer(32), folder)}"
    trained = TargetHead(16, Teacher("teacher", name, student).widths)
    initialise(trained, 0)
    shutil.rmtree(folder)
    with restored():
        teacher: Any = Teacher("teacher", name, student)
        head = TargetHead(16, ())
    assert (teacher.names, teacher.widths) == ((name,), ())
    teacher.check_grid((9, 9))
    with pytest.raises(LookupError, match="read without its teacher"):
        teacher(PICTURES)
    head.load_state_dict(trained.state_dict())
    x = torch.randn(2, 16)
    torch.testing.assert_close(head(x), trained(x))
    with pytest.raises(RuntimeError, match="size mismatch"):
        TargetHead(16, (1,)).load_state_dict(trained.state_dict())
