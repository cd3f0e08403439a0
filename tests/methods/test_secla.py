"""SECLA: the loss as plain loops over boxes and names, padding, the entry for no name, and rows without a box."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, TAGS, build, loaded, prepared
from torch import Tensor

from counterpoint.losses import SECLALoss
from counterpoint.networks.regions import pool_boxes
from counterpoint.types import Batch

F64 = torch.float64


def secla(**options: Any) -> Any:
    return build("secla", **options).double().eval()


def given(method: Any, tags: list[list[int]], boxes: list[int]) -> Batch:
    """A batch with the tags of rows, and so many boxes of each."""
    batch = loaded(method, len(tags), dtype=F64)
    corners = batch["boxes"].nan_to_num(0.25)
    corners[..., 2:] = corners[..., :2] + 0.4
    for row, count in enumerate(boxes):
        corners[row, count:] = torch.nan
    views = {**batch.views, "boxes": corners}
    return prepared(method, replace(batch, views=views, labels={"tags": torch.tensor(tags)}))


def loss(method: Any, batch: Batch) -> Tensor:
    return method.losses(method.encode(batch), batch, LATE)["secla"]


def test_is_the_loss_of_the_card() -> None:
    method = secla(agreement=0.3, temperature=0.1, template="{}")
    batch = given(method, [[1, 0, 1], [0, 1, -1], [0, 0, 0]], [3, 1, 2])
    maps = method.image_tower.patches(batch["image"])
    x = F.normalize(method.projections["image"](pool_boxes(maps, batch["boxes"])), dim=-1)
    words = method.text_tower(method.text_tower.tokenizer(TAGS.classes))
    y = F.normalize(method.projections["text"](words), dim=-1)
    nobody = F.normalize(method.no_name.weight[0], dim=0)
    bags = [[nobody, y[0], y[2]], [nobody, y[1]], [nobody]]
    faces = [list(of[:count]) for of, count in zip(x, (3, 1, 2), strict=True)]

    def mean_of_best(own: list[Tensor], other: list[Tensor]) -> Tensor:
        return torch.stack([torch.stack([a @ b for b in other]).max() for a in own]).mean() / 0.1

    of_faces = torch.stack([torch.stack([mean_of_best(a, b) for b in bags]) for a in faces])
    of_names = torch.stack([torch.stack([mean_of_best(a, b) for b in faces]) for a in bags])
    own = torch.arange(3)
    apart = (of_faces.diagonal() - of_names.diagonal()).square().mean()
    expected = F.cross_entropy(of_faces, own) + F.cross_entropy(of_names, own) + 0.3 * apart
    torch.testing.assert_close(loss(method, batch), expected)
    one = secla(directions="names", temperature=0.1, template="{}")
    torch.testing.assert_close(loss(one, batch), F.cross_entropy(of_names, own))


def test_padding_of_either_side_changes_nothing() -> None:
    method = secla()
    rows = ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [2, 1, 2])
    batch = given(method, *rows)
    narrow = replace(batch, views={**batch.views, "boxes": batch["boxes"][:, :2]})
    torch.testing.assert_close(loss(method, batch), loss(method, narrow))


def test_row_without_a_box_has_no_part() -> None:
    method = secla()
    batch = given(method, [[1, 0, 0], [0, 1, 0], [0, 0, 1]], [2, 0, 1])
    rest = batch.map(lambda t: t[[0, 2]])
    value = loss(method, batch)
    torch.testing.assert_close(value, loss(method, rest))
    value.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())
    assert loss(method, given(method, [[1, 0, 0], [0, 1, 0]], [0, 0])).item() == 0


def test_rows_without_a_name_have_the_entry_for_none() -> None:
    method = secla(directions="names", temperature=0.1)
    batch = given(method, [[0, 0, 0], [-1, -1, -1]], [1, 2])
    assert batch["text"].tolist() == [[-1], [-1]]
    maps = method.image_tower.patches(batch["image"])
    x = F.normalize(method.projections["image"](pool_boxes(maps, batch["boxes"])), dim=-1)
    nobody = F.normalize(method.no_name.weight[0], dim=0)
    best = torch.stack([x[0, :1] @ nobody, (x[1, :2] @ nobody).amax(0, keepdim=True)]).flatten() / 0.1
    expected = F.cross_entropy(best.expand(2, -1), torch.arange(2))
    torch.testing.assert_close(loss(method, batch), expected)


def test_equal_scores_agree() -> None:
    x = F.normalize(torch.randn(3, 1, 4, dtype=F64), dim=-1)
    torch.testing.assert_close(SECLALoss(agreement=5.0)(x, x), SECLALoss(agreement=0.0)(x, x))


def test_boxes_are_not_embedded_and_pictures_are_their_mean() -> None:
    method = build("secla").eval()
    assert method.embeds == ("image", "text")
    pictures = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    whole = method.embed_regions(pictures, torch.tensor([[[0.0, 0, 1, 1]]]).expand(2, 1, 4))
    torch.testing.assert_close(whole[:, 0], method.embed("image", pictures), rtol=1e-4, atol=1e-6)


def test_names_and_their_place_are_required() -> None:
    with pytest.raises(ValueError, match="learns names"):
        build("secla", target=None)
    with pytest.raises(ValueError, match="place of the name"):
        build("secla", template="a name")
