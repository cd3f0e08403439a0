"""Zorro: what columns read of each other, rows with gaps, its limits, and embeddings of joint columns."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, RECIPE, StubImage, StubSound, StubText, begun, loaded, ready
from torch import Tensor

from counterpoint import methods
from counterpoint.losses import InfoNCELoss
from counterpoint.registry import UnknownNameError
from counterpoint.testing._stubs import INPUTS
from counterpoint.types import Batch, JointEmbedder

TOWERS = {"image": StubImage, "text": StubText, "audio": StubSound}


def zorro(*columns: str, **options: Any) -> Any:
    columns = columns or ("image", "text")
    towers = ready({column: TOWERS[column]() for column in columns}, 0)
    options = {"width": 16, "tokens": 3, "depth": 2, **options}
    return begun(methods.create("zorro", towers, RECIPE, **options), 0).eval()


def changed(batch: Batch, column: str) -> Batch:
    views = {**batch.views, column: batch[column].flip(0)}
    return Batch(batch.ids, views, batch.labels, batch.present)


@pytest.mark.parametrize("column", ["image", "text"])
def test_columns_do_not_read_each_other(column: str) -> None:
    method = zorro()
    batch = loaded(method, 6)
    z, other = method.encode(batch), method.encode(changed(batch, column))
    (rest,) = {"image", "text"} - {column}
    assert torch.equal(z[rest], other[rest])  # exactly: a masked token has a weight of 0
    assert not torch.isclose(z[column], other[column]).all(1).any()
    assert not torch.equal(z[method.fused], other[method.fused])


def test_without_mask_columns_read_each_other() -> None:
    method = zorro(mask="none")
    batch = loaded(method, 6)
    z, other = method.encode(batch), method.encode(changed(batch, "text"))
    assert not torch.isclose(z["image"], other["image"]).all(1).any()


def test_gradient_of_one_column_reaches_no_other_tower() -> None:
    method = zorro()
    method.encode(loaded(method, 4))["image"].square().sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in method.towers["text"].parameters())
    assert method.fusion.weight.grad is None or not method.fusion.weight.grad.any()


def test_column_is_embedded_alone_as_among_others() -> None:
    method = zorro("image", "text", "audio")
    batch = loaded(method, 5)
    z = method.encode(batch)
    for column in method.columns:
        torch.testing.assert_close(z[column], method.features(column, batch[column]))


def test_row_without_column_has_no_tokens_of_it() -> None:
    method = zorro("image", "text", "audio")
    whole = loaded(method, 4)
    present = {
        "text": torch.tensor([True, False, True, False]),
        "audio": torch.tensor([True, True, False, False]),
    }
    z = method.encode(Batch(whole.ids, whole.views, present=present))
    assert all(of.isfinite().all() for of in z.values())
    for row, columns in enumerate(
        [("image", "text", "audio"), ("image", "audio"), ("image", "text"), ("image",)]
    ):
        alone = method.read({column: whole[column][row : row + 1] for column in columns})
        for name, value in alone.items():
            torch.testing.assert_close(z[name][row : row + 1], value)
        assert not any(z[column][row].any() for column in {*method.columns} - {*columns})


def test_loss_is_of_all_pairs_and_of_fusion_with_each_column() -> None:
    method = zorro(weight=0.5)
    batch = loaded(method, 6)
    z = method.encode(batch)
    x, y = (F.normalize(method.projections[name](z[name]), dim=-1) for name in method.columns)
    fused = F.normalize(method.fused_projection(z[method.fused]), dim=-1)
    loss = InfoNCELoss(0.07)
    losses = method.losses(z, batch, LATE)
    expected = {
        "image-text": loss(x, y),
        f"image-{method.fused}": loss(x, fused) / 2,
        f"text-{method.fused}": loss(y, fused) / 2,
    }
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)


def test_without_mask_and_fusion_it_is_a_joint_transformer() -> None:
    method = zorro(mask="none", weight=0.0)
    batch = loaded(method, 5)
    tokens = [method.tokens[column](method.tower(column), batch[column]) for column in method.columns]
    x = torch.cat([of for of, _ in tokens], 1)
    assert all(mask.all() for _, mask in tokens)
    for block in method.blocks:
        x = block(x)
    bounds = [0, tokens[0][0].shape[1], x.shape[1]]
    z = method.encode(batch)
    for number, (column, (start, end)) in enumerate(zip(method.columns, pairwise(bounds), strict=True)):
        query = method.queries.weight[number].expand(len(x), 1, -1)
        torch.testing.assert_close(z[column], method.norm(method.readout(query, x[:, start:end]))[:, 0])
    assert method.joint_columns == ()


def inputs(*columns: str) -> dict[str, Any]:
    return {column: INPUTS[column] for column in columns}


def test_joint_columns_are_embedded_by_fusion_tokens() -> None:
    method = zorro("image", "text", "audio")
    assert isinstance(method, JointEmbedder)
    assert method.joint_columns == ("image+text", "image+audio", "text+audio", "image+text+audio")
    assert zorro().joint_columns == ("image+text",)
    z: Tensor = method.embed("image+audio", inputs("image", "audio"))
    prepared = {name: method.inputs[name](raw) for name, raw in inputs("image", "audio").items()}
    torch.testing.assert_close(
        z, F.normalize(method.fused_projection(method.read(prepared)[method.fused]), dim=-1)
    )
    assert not torch.allclose(z, method.embed("image+text", inputs("image", "text")))


def test_inputs_of_joint_columns_are_checked() -> None:
    method = zorro("image", "text", "audio")
    with pytest.raises(ValueError, match=r"image and audio"):
        method.embed("image+audio", inputs("image"))
    with pytest.raises(ValueError, match=r"image and audio"):
        method.embed("image+audio", INPUTS["image"])
    with pytest.raises(ValueError, match="same examples"):
        method.embed("image+text", {**inputs("image"), "text": ["a"]})
    with pytest.raises(UnknownNameError):
        method.embed("image+text", inputs("image", "text"), "local")
    with pytest.raises(UnknownNameError):
        method.embed("image+series", inputs("image"))


def test_width_must_suit_positions() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        zorro(width=6)
