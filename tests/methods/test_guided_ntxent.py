"""Guided NT-Xent as a method: a teacher sees the same views, and is no part of what is trained."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from method_stubs import RECIPE, batch, build

from counterpoint import methods
from counterpoint.losses import GuidedNTXentLoss
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.study.training.runner import run as carry_out
from counterpoint.training.run import Run
from counterpoint.training.start import load
from counterpoint.types import StepInfo


@pytest.mark.parametrize("rule", ["add_positive", "drop_false_positive", "drop_false_negative"])
def test_the_loss_hears_what_the_teacher_sees_in_each_view(rule: str) -> None:
    method = build("guided-ntxent", rule=rule, ratio=0.25).double()
    given = batch(method, 8, dtype=torch.float64)
    (teacher,) = method._teacher
    z = method.targets(given) | method.encode(given)
    (loss,) = method.losses(z, given, StepInfo(0, 1)).values()
    (projection,) = method.projections.values()
    views = [F.normalize(projection(method.features("image", given[name])), dim=-1) for name in method.views]
    seen = [
        F.normalize(teacher.projections["image"](teacher.features("image", given[name])), dim=-1)
        for name in method.views
    ]
    expected = GuidedNTXentLoss(rule, ratio=0.25)(*views, teacher_x=seen[0], teacher_y=seen[1])
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    unguided = build("ntxent", on="images").double()
    (plain,) = unguided.losses(unguided.encode(given), given, StepInfo(0, 1)).values()
    assert abs(loss.item() - plain.item()) > 1e-3  # the teacher changes something


def test_without_its_teacher_a_trained_method_has_no_loss() -> None:
    method = build("guided-ntxent")
    given, method._teacher = batch(method), ()
    with pytest.raises(LookupError, match="read without its teacher"):
        method.targets(given)


@pytest.mark.parametrize(
    ("name", "on", "size", "match"),
    [
        ("siglip", "pairs", 24, r"teacher='runs/mine' takes pictures of 24 pixels .* towers\.image_size=24"),
        ("ntxent", "texts", None, "teacher='runs/mine' takes no pictures"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(name: str, on: str, size: int | None, match: str) -> None:
    model = build(name, on=on)
    if size is not None:
        model.image_tower.size = size
    towers = {"image": build("siglip").tower("image")}
    with patch("counterpoint.models.load", lambda path: model), pytest.raises(ValueError, match=match):
        methods.create("guided-ntxent", towers, RECIPE, teacher="runs/mine")


def test_run_needs_teacher_until_it_is_trained_and_then_no_more(tmp_path: Path) -> None:
    recipe = override(load_recipe("seconds"), {"steps": 2, "towers.vocabulary": 300})
    carry_out(Run("clip", "digits", recipe), tmp_path / "teacher", test=False)
    run = Run(f"guided-ntxent,teacher={tmp_path / 'teacher'}", "digits", recipe)
    carry_out(run, tmp_path / "student", test=False)
    shutil.rmtree(tmp_path / "teacher")
    student = load(tmp_path / "student")
    assert not any("teacher" in name for name in student.state_dict())
    assert student.embed("image", torch.zeros(2, 3, 20, 20, dtype=torch.uint8)).shape[0] == 2
    with pytest.raises(ValueError, match=r"teacher='.*' cannot be read: .* is not a run folder"):
        carry_out(Run(run.arm, "digits", recipe, 1), tmp_path / "other", test=False)
