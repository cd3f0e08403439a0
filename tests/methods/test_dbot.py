"""dBOT: what is predicted, and what changes as a stage begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from method_stubs import All, batch, build, loaded, prepared, tiny_vit, total
from torch import Tensor

from counterpoint import methods
from counterpoint.networks import build_towers, initialise
from counterpoint.networks.init import redraw
from counterpoint.networks.masking import hidden_patches
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.recipes.schema import Towers
from counterpoint.study.training.runner import run as carry_out
from counterpoint.training.run import Run
from counterpoint.training.start import load
from counterpoint.types import Batch, StepInfo

F64 = torch.float64
FIRST, SECOND = StepInfo(0, 8, stage="1"), StepInfo(4, 8, stage="2")


def state(module: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_loss_is_on_hidden_patches_and_the_summary_alone() -> None:
    method = build("dbot").double()
    given = batch(method, 3, dtype=F64)
    images, index = given["image"], given["image.visible"]
    assert index.shape == (3, 1)
    states = method.image_tower.encode_visible(images, index)
    decoded_summary, decoded = method.decoder(states.summary, states.patches, index)
    # The teacher sees the whole picture.
    teacher_summary, teacher = method.teacher(images), method.teacher.patches(images).flatten(2).mT
    terms = []
    for row in range(3):
        pairs = [(decoded_summary[row], teacher_summary[row])]
        pairs += [(decoded[row, k], teacher[row, k]) for k in hidden_patches(index, 4)[row]]
        for ours, theirs in pairs:
            target = (theirs - theirs.mean()) / (theirs.var(unbiased=True) + 1e-6).sqrt()
            terms.append(F.smooth_l1_loss(method.head(ours), target, beta=2.0))
    assert len(terms) == 12
    torch.testing.assert_close(total(method, given), torch.stack(terms).mean())
    assert method.passes() == {"image": 1.25}
    assert method.numbers()["teacher_spread"] > 0


def test_student_does_not_see_hidden_patches_and_the_teacher_does() -> None:
    method = build("dbot").double()
    given = batch(method, 5, dtype=F64)
    hidden = torch.zeros(5, 4, dtype=F64).scatter(1, hidden_patches(given["image.visible"], 4), 1.0)
    pixels = hidden.view(5, 1, 2, 2).repeat_interleave(4, 2).repeat_interleave(4, 3)
    changed = Batch(given.ids, {**given.views, "image": given["image"] + pixels})
    assert torch.equal(method.encode(given)["image"], method.encode(changed)["image"])
    assert not torch.allclose(
        method.targets(given)["teacher.image"], method.targets(changed)["teacher.image"]
    )


def test_scale_of_the_teacher_changes_no_target() -> None:
    method = build("dbot").double()
    given = batch(method, 3, dtype=F64)
    before = method.targets(given)["teacher.image"]
    method.teacher.norm.weight.data.mul_(100)
    torch.testing.assert_close(method.targets(given)["teacher.image"], before, rtol=1e-4, atol=1e-4)


def test_student_becomes_the_teacher_and_starts_anew() -> None:
    method = build("dbot")
    given = batch(method)
    torch.manual_seed(0)
    method.on_epoch_start(All(given), FIRST)
    assert same(state(method.image_tower), state(method.teacher))  # the random start of the student
    for parameter in method.image_tower.parameters():
        parameter.data.add_(0.1)
    trained = state(method.image_tower), state(method.decoder), state(method.head)
    method.on_epoch_start(All(given), SECOND)
    assert same(trained[0], state(method.teacher))
    drawn = state(method.image_tower)
    assert not any(torch.equal(drawn[name], value) for name, value in trained[0].items())
    for part, before in ((method.decoder, trained[1]), (method.head, trained[2])):
        assert not any(torch.equal(value, before[n]) for n, value in state(part).items() if value.ndim > 1)
    # A start like any other: that of a tower of the same kind.
    fresh = tiny_vit()
    initialise(fresh, 3)
    for name, value in drawn.items():
        torch.testing.assert_close(value.std(), fresh.state_dict()[name].std(), rtol=0.5, atol=0.01)


def test_stage_that_begins_again_with_the_same_weights_is_the_same() -> None:
    one, other = build("dbot"), build("dbot")
    for method in (one, other):
        torch.manual_seed(5)
        method.on_epoch_start(All(batch(method)), SECOND)
    assert same(state(one), state(other))


def test_given_teacher_teaches_the_first_stage_alone() -> None:
    model = methods.create("clip", {"image": tiny_vit(), "text": build("clip").tower("text")}, build_recipe())
    initialise(model, 1)
    with patch("counterpoint.models.load", lambda name: model):
        method = methods.create("dbot", {"image": tiny_vit()}, build_recipe(), teacher="runs/mine")
    initialise(method, 0)
    given = loaded(method, 3)
    first = method.prepare(given, FIRST)
    assert method.targets(first)["teacher.image"].shape == (3, 4, 8)
    assert method.encode(first)["image"].shape == (3, 4, 8)
    second = method.prepare(given, SECOND)
    assert method.targets(second)["teacher.image"].shape == method.encode(second)["image"].shape == (3, 4, 12)
    assert [stage.moves[-1] for stage in method.stages] == ["first_head", "head"]


def build_recipe() -> Any:
    return load_recipe("seconds").model_copy(
        update={"widths": load_recipe("seconds").widths.model_copy(update={"embedding": 8})}
    )


@pytest.mark.parametrize(
    ("options", "match"),
    [({"hidden": 0}, "leaves nothing to predict"), ({"hidden": 0.01}, "hides none")],
)
def test_masks_that_leave_nothing_to_predict_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        build("dbot", **options)


def test_tower_with_weights_is_refused() -> None:
    tower = tiny_vit()
    tower.name = "vit@weights"
    with pytest.raises(ValueError, match="dbot draws its tower anew; name vit without weights"):
        methods.create("dbot", {"image": tower}, build_recipe())


def test_masks_differ_between_steps() -> None:
    method = build("dbot")
    given = loaded(method, 16)
    one, other = (prepared(method, given, seed)["image.visible"] for seed in (0, 1))
    assert not torch.equal(one, other)


def test_towers_of_timm_are_drawn_anew() -> None:
    tower = build_towers(Towers(image="timm:test_vit.r160_in1k", image_size=160), {"text": ["a"]}, 0)["image"]
    redraw(tower, 3)
    before = state(tower)
    for parameter in tower.parameters():
        parameter.data.add_(1)
    redraw(tower, 3)
    assert same(before, state(tower))
    redraw(tower, 4)
    assert not same(before, state(tower))


@pytest.mark.slow
def test_run_that_stops_at_the_border_of_a_stage_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    recipe = override(
        load_recipe("cpu-dense"),
        {"steps": 4, "batch_size": 8, "towers.image_size": 16, "checkpoint_every": 1, "validate_every": 4},
    )
    run = Run("dbot", "digits", recipe)
    carry_out(run, tmp_path / "whole", test=False)

    class StoppedError(Exception):
        pass

    for stop in (2, 3):  # the border, and inside of the second stage
        folder = tmp_path / str(stop)

        def on_step(now: Any, stop: int = stop) -> None:
            if now.step == stop + 1:
                raise StoppedError

        with pytest.raises(StoppedError):
            carry_out(run, folder, test=False, on_step=on_step)
        carry_out(run, folder, test=False)
        assert same(state(load(tmp_path / "whole")), state(load(folder)))
