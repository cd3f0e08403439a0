"""Unmasked Token Alignment: what the loss is on, what the student sees, and the text tower that it takes over."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from method_stubs import batch, build, loaded, prepared, total
from PIL import Image
from torch import Tensor

from counterpoint.methods.frozen import TeacherTower
from counterpoint.networks.masking import hidden_patches
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.study.training.runner import run as carry_out
from counterpoint.training.record.metrics import read_metrics
from counterpoint.training.run import Run
from counterpoint.training.start import load
from counterpoint.types import Batch

F64 = torch.float64
RECIPE = override(
    load_recipe("cpu-dense"),
    {
        "steps": 2,
        "batch_size": 8,
        "towers.image_size": 16,
        "towers.image_width": 16,
        "towers.vocabulary": 300,
    },
)


def by_hand(method: Any, given: Batch, patches: Tensor, states: Tensor, summary: Tensor) -> Tensor:
    """The loss as a loop over pictures and patches, given the student's states of the patches."""
    (teacher,), head = method.teacher(given["image"]), method.projections["image"]
    terms = [(summary[row], teacher.summary[row]) for row in range(len(given))]
    for row in range(len(given)):
        terms += [(states[row, k], teacher.patches[row, patch]) for k, patch in enumerate(patches[row])]
    cosines = torch.stack([F.cosine_similarity(head(ours), theirs, dim=0) for ours, theirs in terms])
    return 2 - 2 * cosines.mean()


def test_loss_is_on_visible_patches_and_the_summary_alone() -> None:
    method = build("uta", hidden=0.25).double()
    given = batch(method, 3, dtype=F64)
    index = given["image.visible"]
    assert index.shape == (3, 3)
    states = method.image_tower.encode_visible(given["image"], index)
    expected = by_hand(method, given, index, states.patches, states.summary)
    torch.testing.assert_close(total(method, given), expected)
    assert method.passes() == {"image": 1.75}


def test_pixels_of_hidden_patches_change_nothing_on_the_student_side() -> None:
    method = build("uta", hidden=0.5).double()
    given = batch(method, 5, dtype=F64)
    hidden = torch.zeros(5, 4, dtype=F64).scatter(1, hidden_patches(given["image.visible"], 4), 1.0)
    pixels = hidden.view(5, 1, 2, 2).repeat_interleave(4, 2).repeat_interleave(4, 3)
    changed = Batch(given.ids, {**given.views, "image": given["image"] + pixels})
    one, other = method.encode(given), method.encode(changed)
    assert all(torch.equal(one[name], other[name]) for name in one)
    one, other = method.targets(given), method.targets(changed)
    assert not any(torch.allclose(one[name], other[name]) for name in one)


def test_nothing_hidden_is_plain_distillation_of_features() -> None:
    method = build("uta", hidden=0).double()
    given = batch(method, 3, dtype=F64)
    tower = method.image_tower
    states = tower.patches(given["image"]).flatten(2).mT
    everything = torch.arange(4).expand(3, -1)
    expected = by_hand(method, given, everything, states, tower(given["image"]))
    torch.testing.assert_close(total(method, given), expected)
    assert method.passes() == {"image": 2}


def test_masked_patches_are_predicted_from_tokens_that_go_through_the_student() -> None:
    method = build("uta", predict="masked").double()
    given = batch(method, 3, dtype=F64)
    index, token = given["image.visible"], method.mask_token.weight[0]
    states = method.image_tower.encode_visible(given["image"], index, token)
    hidden = hidden_patches(index, 4)
    expected = by_hand(
        method, given, hidden, torch.stack([states.patches[k, hidden[k]] for k in range(3)]), states.summary
    )
    loss = total(method, given)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert method.mask_token.weight.grad.any()
    assert method.passes() == {"image": 2}


def test_predictions_are_compared_with_the_teacher_at_any_side() -> None:
    method = build("uta")
    pictures = torch.randint(0, 256, (3, 3, 20, 20), dtype=torch.uint8)
    features = method.teacher_features(pictures)
    seen = method.image_tower.input(pictures)
    (true,) = method.teacher(seen)
    predicted, given = features["patches"]
    torch.testing.assert_close(given, true.patches)
    head, maps = method.projections["image"], method.image_tower.patches(seen)
    torch.testing.assert_close(predicted, head(maps.flatten(2).mT), rtol=1e-4, atol=1e-5)
    assert features["summary"][0].shape == (3, 1, 8)
    assert method.training
    finer, same = method.teacher_features(pictures, side=16)["patches"]
    assert finer.shape == given.shape
    torch.testing.assert_close(same, given)
    # A trained method is read without its teachers, which are loaded when it is compared with them.
    models, method.teacher.models = method.teacher.models, ()
    with patch("counterpoint.methods.frozen._teacher", lambda *_: models[0]):
        torch.testing.assert_close(method.teacher_features(pictures)["patches"][1], given)
    method.teacher.models = ()
    with pytest.raises(ValueError, match="cannot be read"):
        method.teacher_features(pictures)


def test_masks_follow_from_the_step_and_differ_between_pictures() -> None:
    method = build("uta", mask="random")
    given = loaded(method, 32)
    one, again, other = (prepared(method, given, seed)["image.visible"] for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert len(set(map(tuple, one.tolist()))) > 3


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"predict": "masked", "hidden": 0}, "hidden=0 hides none"),
        ({"hidden": 0.99}, "leaves none visible"),
        ({"hidden": 0.01}, "hides none"),
    ],
)
def test_masks_that_cannot_be_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        build("uta", **options)


def pictures(folder: Path, captions: bool) -> str:
    """Write a folder of pictures of two classes, with captions or without."""
    rng = np.random.default_rng(0)
    for name in [f"{split}/{kind}/{n}" for split in ("train", "test") for kind in "ab" for n in range(4)]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(folder / f"{name}.png")
        if captions:
            (folder / f"{name}.txt").write_text(f"picture of {name[-3]}")
    return str(folder)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    run = Run("clip,image=vit,text=bag", pictures(folder / "pairs", captions=True), RECIPE)
    assert carry_out(run, folder / "clip", test=False).status == "finished"
    return folder / "clip"


@pytest.mark.slow
def test_student_of_pictures_alone_takes_the_text_tower_along(teacher: Path, tmp_path: Path) -> None:
    gone, texts = shutil.copytree(teacher, tmp_path / "clip"), ["a red ball", "7"]
    expected = load(gone).embed("text", texts)
    data = pictures(tmp_path / "photos", captions=False)
    run = Run(f"uta,teacher={gone}", data, RECIPE)
    assert carry_out(run, tmp_path / "student", tasks=("zero_shot",)).status == "finished"
    assert (tmp_path / "student" / "scores.json").exists()
    shutil.rmtree(gone)
    student = load(tmp_path / "student")
    torch.testing.assert_close(student.embed("text", texts), expected)
    assert not any("teacher" in name for name in student.state_dict())
    images = torch.zeros(2, 3, 20, 20, dtype=torch.uint8)
    assert student.embed("image", images).shape == expected.shape
    assert student.embed_patches(images).shape[2:] == (2, 2)
    # A finished run is that run still, and one that has more steps to take cannot go on.
    assert carry_out(run, tmp_path / "student").status == "finished"
    with pytest.raises(ValueError, match="neither a run's folder nor a model of a library"):
        carry_out(Run(run.arm, run.data, RECIPE, 1), tmp_path / "other", test=False)


@pytest.mark.slow
def test_features_of_the_teacher_are_computed_once_where_they_are_kept(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    data, losses, asked = pictures(tmp_path / "photos", captions=False), [], []
    compute = TeacherTower.compute

    def counted(self: TeacherTower, inputs: Tensor) -> Tensor:
        asked.append(len(inputs))
        return compute(self, inputs)

    monkeypatch.setattr(TeacherTower, "compute", counted)
    for number, keep in enumerate([False, True, True]):
        changes = {"towers.keep": keep, "augmentation.paired": "plain", "steps": 4, "log_every": 1}
        run = Run(f"uta,teacher={teacher}", data, override(RECIPE, changes))
        carry_out(run, tmp_path / str(number), test=False)
        losses.append(read_metrics(tmp_path / str(number)).filter(name="loss")["value"].to_list())
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert losses[2] == losses[1]
    assert sum(asked) == 4 * 6 + 6  # each step of the first run, then each of the six training pictures once
    varied = override(RECIPE, {"towers.keep": True})
    with pytest.raises(ValueError, match="never twice the same"):
        carry_out(Run(f"uta,teacher={teacher}", data, varied), tmp_path / "varied", test=False)


@pytest.mark.slow
def test_student_with_other_patches_than_the_teacher_is_refused(teacher: Path, tmp_path: Path) -> None:
    data = pictures(tmp_path / "photos", captions=False)
    finer = override(RECIPE, {"towers.image_patch": 4})
    for arm, recipe, match in [
        (f"uta,teacher={teacher},image=cnn", RECIPE, "'cnn' cannot leave patches of a picture out; take"),
        (f"uta,teacher={teacher}", finer, "has 2 × 2 patches and the image tower 4 × 4"),
    ]:
        with pytest.raises(ValueError, match=match):
            carry_out(Run(arm, data, recipe), tmp_path / "run", test=False)


def test_teachers_without_texts_are_refused(tmp_path: Path) -> None:
    data = pictures(tmp_path / "photos", captions=False)
    Run("ntxent,on=images,image=vit", data, RECIPE).reserve(tmp_path / "blind")
    for name, match in [
        (tmp_path / "blind", "has no tower of text"),
        ("nowhere", "is neither a run's folder nor a model of a library"),
    ]:
        with pytest.raises(ValueError, match=match):
            carry_out(Run(f"uta,teacher={name}", data, RECIPE), tmp_path / "run", test=False)
