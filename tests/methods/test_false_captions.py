"""NegCLIP and count-to-ten: false captions as negatives of all pictures or of their own, and gaps in every column."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, RECIPE, StubImage, StubSound, StubText, ThroughImage, ThroughText
from torch import Tensor, nn

from counterpoint import methods
from counterpoint.losses import CountToTenLoss
from counterpoint.networks.base import Tower
from counterpoint.types import Batch

ROWS, WIDTH, TAU = 6, 5, 0.07
NAMES = ("image", "text", "false", "other", "shown")


def build(name: str, *columns: str, **options: Any) -> Any:
    """A method on columns whose features a test chooses, its heads the identity."""
    image, text, audio = ThroughImage(WIDTH), ThroughText(WIDTH), StubSound()
    towers: dict[str, Tower] = {
        column: {"image": image, "shown": image, "audio": audio}.get(column, text) for column in columns
    }
    method = methods.create(name, towers, RECIPE, **options)
    method.projections = nn.ModuleDict({"image": nn.Identity(), "text": nn.Identity()})
    return method.double()


def given(**present: list[int]) -> Batch:
    generator = torch.Generator().manual_seed(3)
    views = {name: torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64) for name in NAMES}
    there = {name: torch.tensor([row in rows for row in range(ROWS)]) for name, rows in present.items()}
    return Batch(torch.arange(ROWS), views, present=there)


def loss(method: Any, batch: Batch) -> Tensor:
    (value,) = method.losses(method.encode(batch), batch, LATE).values()
    return value


def units(batch: Batch, name: str, *rows: int) -> Tensor:
    return F.normalize(batch[name], dim=-1)[list(rows or range(ROWS))]


def expected(x: Tensor, y: Tensor, negatives: Tensor) -> Tensor:
    """The loss in plain operations."""
    own, logits = torch.arange(len(x)), x @ torch.cat([y, negatives]).T / TAU
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits[:, : len(y)].T, own)) / 2


def test_pictures_look_among_false_captions_captions_among() -> None:
    batch = given(false=[1, 2, 4], other=[0, 2])
    method = build("negclip", "image", "text", "false", "other")
    false = torch.cat([units(batch, "false", 1, 2, 4), units(batch, "other", 0, 2)])
    torch.testing.assert_close(
        loss(method, batch), expected(units(batch, "image"), units(batch, "text"), false)
    )


def test_a_negative_with_its_picture_is_a_pair() -> None:
    batch = given(false=[1, 2, 4], shown=[0, 1, 2])
    method = build("negclip", "image", "text", "false", "shown")
    x = torch.cat([units(batch, "image"), units(batch, "shown", 1, 2)])
    y = torch.cat([units(batch, "text"), units(batch, "false", 1, 2)])
    torch.testing.assert_close(loss(method, batch), expected(x, y, units(batch, "false", 4)))


@pytest.mark.parametrize("name", ["negclip", "count-to-ten"])
def test_without_false_captions_it_is_clip(name: str) -> None:
    batch = given(false=[])
    value = loss(build(name, "image", "text", "false"), batch)
    torch.testing.assert_close(value, loss(build("clip", "image", "text"), batch))


@pytest.mark.parametrize("name", ["negclip", "count-to-ten"])
def test_rows_without_a_pair_take_no_part(name: str) -> None:
    whole, some = given(text=[0, 2, 3], false=[0, 1, 3]), given(false=[0, 3])
    rows = torch.tensor([0, 2, 3])
    part = some.map(lambda tensor: tensor[rows])
    method = build(name, "image", "text", "false")
    torch.testing.assert_close(loss(method, whole), loss(method, part))
    nothing = given(text=[])
    assert loss(method, nothing).isfinite()


def test_the_choice_is_the_loss_of_the_rows_that_have_one() -> None:
    batch = given(false=[1, 2, 4])
    x, y, n = (units(batch, name) for name in ("image", "text", "false"))
    counting = torch.tensor([row in (1, 2, 4) for row in range(ROWS)])
    value = loss(build("count-to-ten", "image", "text", "false", weight=2.0), batch)
    torch.testing.assert_close(value, CountToTenLoss(2.0, TAU)(x, y, n, counting=counting))
    none = loss(build("count-to-ten", "image", "text", "false", weight=0.0), batch)
    torch.testing.assert_close(none, loss(build("clip", "image", "text"), batch))


@pytest.mark.parametrize("name", ["negclip", "count-to-ten"])
def test_users_embed_the_pair_alone(name: str) -> None:
    text = StubText()
    towers: dict[str, Tower] = {"image": StubImage(), "text": text, "false": text}
    method = methods.create(name, towers, RECIPE)
    assert method.embeds == ("image", "text")
    assert set(method.projections) == {"image", "text"}
    assert method.passes() == {"image": 1, "text": 2}


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("negclip", ("image", "text", "audio"), "takes columns of image or text behind image and text"),
        ("negclip", ("image", "text"), "takes 3 or more columns"),
        ("negclip", ("image", "text", "shown"), "a column of negatives for each of shown"),
        (
            "count-to-ten",
            ("image", "text", "shown"),
            "takes columns of text behind image and text, and is given shown",
        ),
    ],
)
def test_columns_that_do_not_fit_are_refused(name: str, columns: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, *columns)
