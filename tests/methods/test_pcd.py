"""PCD: each patch meets the teacher's of the same view, the queue holds pooled keys, the teacher does not move."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, RECIPE, StubImage, batch, begun, build, ready, run
from torch import Tensor

from counterpoint import methods
from counterpoint.recipes import override

FIRST, SECOND = "image.1", "image.2"
F64 = torch.float64


def taught(teacher: Any, recipe: Any = RECIPE, **options: Any) -> Any:
    """Return the method with a model as its teacher."""
    towers = ready({"image": StubImage()}, 0)
    with patch("counterpoint.models.load", lambda path: teacher):
        return begun(methods.create("pcd", towers, recipe, teacher="a run", **options), 0)


def distances(method: Any, queries: Tensor, keys: Tensor, ids: list[int]) -> Tensor:
    """Return the mean loss of unit-norm queries, as a loop."""
    terms = []
    for q, k, of in zip(queries, keys, ids, strict=True):
        far = [q @ n for n, other in zip(method.queue.keys, method.queue.ids, strict=True) if other != of]
        logits = torch.stack([q @ k, *far]) / 0.2
        terms.append(logits.logsumexp(0) - logits[0])
    return torch.stack(terms).mean()


def student(method: Any, images: Tensor) -> Tensor:
    patches = method.image_tower.patches(images).flatten(2).mT.flatten(0, 1)
    return F.normalize(method.head(patches), dim=-1)


@pytest.mark.parametrize("kind", ["byol", "moco"])
def test_each_patch_meets_the_teachers_of_the_same_view(kind: str) -> None:
    teacher = build(kind, 50)
    method = taught(teacher, queue=5).double()
    teacher.double()
    given = batch(method, 3, dtype=F64)
    method.queue.ids[:2] = given.ids[:2]  # of pictures of the batch: no negatives of these
    ids = given.ids.repeat_interleave(2).tolist()
    expected = []
    for view in (FIRST, SECOND):
        keys = method.teacher_heads[0].double()(teacher.image_tower.patches(given[view]).permute(0, 2, 3, 1))
        pooled = teacher.projection.eval()(teacher.image_tower.patches(given[view]).mean((2, 3)))
        torch.testing.assert_close(keys.mean((1, 2)), pooled)
        keys = F.normalize(keys.flatten(0, 2), dim=-1)
        expected.append(distances(method, student(method, given[view]), keys, ids))
    torch.testing.assert_close(run(method, given)["pcd"], torch.stack(expected).mean())


def test_pooled_is_the_same_loss_of_whole_pictures() -> None:
    teacher = build("byol", 50)
    method = taught(teacher, queue=5, pooled=True).double()
    teacher.double()
    given, expected = batch(method, 4, dtype=F64), []
    for view in (FIRST, SECOND):
        q = F.normalize(method.head(method.image_tower.patches(given[view]).mean((2, 3))), dim=-1)
        k = F.normalize(
            teacher.projection.eval()(teacher.image_tower.patches(given[view]).mean((2, 3))), dim=-1
        )
        expected.append(distances(method, q, k, given.ids.tolist()))
    torch.testing.assert_close(run(method, given)["pcd"], torch.stack(expected).mean())


def test_queue_takes_pooled_keys_of_the_first_view() -> None:
    method = taught(build("byol", 50), queue=8)
    given = batch(method, 3)
    z = method.targets(given)
    method.after_step(z, given, LATE)
    assert method.queue.ids.tolist() == [*given.ids.tolist(), *[-1] * 5]
    expected = F.normalize(z["teacher." + FIRST].mean((1, 2)), dim=-1)
    torch.testing.assert_close(method.queue.keys[:3], expected)


def test_training_mode_does_not_reach_the_teacher() -> None:
    method = taught(build("byol", 50))
    given = batch(method, 3)
    before = method.eval().targets(given)
    after = method.train().targets(given)
    for name, value in before.items():
        assert value.equal(after[name])
    run(method, given)["pcd"].backward()
    assert not any(name.startswith("teacher") for name, _ in method.named_parameters())
    assert all(p.grad is None for p in method.teacher.models[0].parameters())


def test_teachers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="has no head of pictures"):
        taught(build("cross-entropy", 50))
    with pytest.raises(ValueError, match=r"head of width 8; set widths\.ssl_output=8"):
        taught(build("byol", 50), override(RECIPE, {"widths.ssl_output": 6}))

    class Whole(StubImage):
        def patches(self, images: Tensor) -> Tensor:
            return super().patches(images).mean((2, 3), keepdim=True)

    with pytest.raises(ValueError, match="1 × 1 patches and the image tower 2 × 1"):
        taught(build("byol", 50, image=Whole))
