"""RADIO: what the loss is, which teacher teaches at which size, and how teachers of other scales count."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from method_stubs import RECIPE, All, batch, build, finer_vit, loaded, total
from torch import Tensor

from counterpoint import methods
from counterpoint.methods import Method
from counterpoint.networks import initialise
from counterpoint.networks.weights import restored
from counterpoint.types import StepInfo

F64 = torch.float64
START = StepInfo(0, 8)


def two_teachers(scale: float = 1.0, **options: Any) -> Any:
    """A method with two teachers, of which the second has features of another scale."""
    models = [build("siglip", seed, image=finer_vit) for seed in (50, 51)]
    models[1].projections["image"].weight.data.mul_(scale)
    with patch("counterpoint.methods.frozen.frozen", lambda option, name, size: (models[int(name)],)):
        for model in models:
            model.requires_grad_(False).eval()
        method = methods.create("radio", {"image": finer_vit()}, RECIPE, teacher="0+1", **options)
    initialise(method, 0)
    return method.double()


def begin(method: Any, given: Any) -> Any:
    with torch.no_grad():
        method.on_epoch_start(All(given), START)
    return given


def features_of(method: Any, images: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The adaptors' outputs: of pictures, and of patches as a map with the channels first."""
    summary, maps = method.image_tower(images), method.image_tower.patches(images)
    of_pictures, of_patches = (method.adaptors[kind][number] for kind in ("summary", "patches"))
    return of_pictures(summary), of_patches(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def test_loss_is_over_teachers_sizes_pictures_and_patches() -> None:
    method = two_teachers(summary=2.0, patches=3.0)
    given = begin(method, batch(method, 5, dtype=F64))
    assert set(given.views) == {"image", "image.0.5"}
    teachers = method.teacher(given["image"])
    expected = torch.zeros((), dtype=F64)
    for number, states in enumerate(teachers):
        target = method.transforms[number](states.patches).mT.unflatten(2, (4, 4))
        for view, grid in (("image", 4), ("image.0.5", 2)):
            summary, maps = features_of(method, given[view], number)
            assert maps.shape[2:] == (grid, grid)
            # The larger map, here the teacher's, is brought to the smaller grid by means of cells.
            here = target if grid == 4 else F.interpolate(target, (2, 2), mode="bilinear", antialias=True)
            for row in range(5):
                cosine = F.cosine_similarity(summary[row], states.summary[row], dim=0)
                expected += 2 * (1 - cosine) / 5 / 2 + 3 * (maps[row] - here[row]).square().mean() / 5 / 2
    torch.testing.assert_close(total(method, given), expected)
    assert method.passes() == {"image": 1.25 + 2}
    assert method.passes_of_all() == {"image": 2}
    assert method.numbers().keys() == {"error_1", "error_2"}


def test_statistics_are_those_of_all_patches_before_training() -> None:
    method = two_teachers()
    given = begin(method, loaded(method, 12))
    y = method.teacher(given["image"].double())[1].patches.flatten(0, 1)
    transform = method.transforms[1]
    torch.testing.assert_close(transform.mean, y.mean(0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(transform.scale, torch.cov(y.T).trace().div(8).sqrt(), rtol=1e-4, atol=1e-6)
    few = two_teachers(sample=3)
    begin(few, given)
    y = few.teacher(given["image"].double()[[0, 4, 8]])[1].patches.flatten(0, 1)
    torch.testing.assert_close(few.transforms[1].mean, y.mean(0), rtol=1e-4, atol=1e-6)


def test_scale_of_a_teacher_matters_to_raw_targets_alone() -> None:
    def patches_of_second(scale: float, targets: str) -> tuple[Tensor, Tensor]:
        method = two_teachers(scale, targets=targets)
        given = begin(method, batch(method, 6, dtype=F64))
        for parameter in method.adaptors["patches"].parameters():
            parameter.data.zero_()  # predicts 0 of both
        z = {**method.targets(given), **method.encode(given)}
        first, second = (z[f"teacher.patches.{number}.image"].square().mean() for number in (0, 1))
        return second / first, method.losses(z, given, START)["summary"]

    (one, summary), (small, same) = (patches_of_second(scale, "phi-s") for scale in (1, 0.1))
    torch.testing.assert_close(small, one)
    torch.testing.assert_close(same, summary)
    (one, _), (small, _) = (patches_of_second(scale, "raw") for scale in (1, 0.1))
    torch.testing.assert_close(small, one / 100)


def test_teacher_of_a_size_of_its_own_is_not_asked_at_others() -> None:
    method = two_teachers(each="own")
    encoded = method.encode(batch(method, 2, dtype=F64))
    assert {name for name in encoded if name.startswith("patches")} == {
        "patches.0.image.0.5",
        "patches.1.image",
    }
    assert method.passes() == {"image": 1.25 + 2}


def test_predictions_are_in_the_teachers_own_space() -> None:
    method = two_teachers(0.1, hidden=0).float()
    pictures = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8)
    begin(method, loaded(method, 12))
    for number, transform in enumerate(method.transforms):  # an adaptor that predicts the mean
        method.adaptors["patches"][number].weight.data.zero_()
        predicted, true = method.teacher_features(pictures)[f"patches_{number + 1}"]
        torch.testing.assert_close(predicted, transform.mean.expand_as(true))
    assert list(method.teacher_features(pictures, side=4)) == [
        "summary_1",
        "patches_1",
        "summary_2",
        "patches_2",
    ]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"sizes": "0.5+2"}, "give different shares of the tower's side"),
        ({"sizes": "1+1"}, "give different shares"),
        ({"sizes": "small"}, "give different shares"),
        ({"sizes": "0.6+1"}, "takes pictures of 8 pixels a side, and none of 5"),
        ({"each": "own", "sizes": "1"}, "2 teachers need as many sizes, and sizes=1 are 1"),
    ],
)
def test_sizes_that_cannot_be_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        two_teachers(**options)


def test_trained_student_is_read_without_its_teachers() -> None:
    method: Method = two_teachers().float()
    with restored():
        student = methods.create("radio", {"image": finer_vit()}, RECIPE, teacher="0+1")
    student.load_state_dict(method.state_dict())
    images = torch.rand(2, 3, 8, 8)
    for one, other in zip(student.predicted(images), method.predicted(images), strict=True):  # type: ignore[operator]
        assert all(torch.equal(one[name], other[name]) for name in one)
