"""Albums: pictures composed by hand, who stands beside whom, requests, and data that cannot have them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from counterpoint.data.base import Data
from counterpoint.data.derived.albums import AlbumData
from counterpoint.data.items import ObjectAnnotations
from counterpoint.data.source import load_any
from counterpoint.registry import UnknownNameError

SOURCE = "scenes:tiny,objects=1,train=30,validation=6,test=6,pixels=24,talk=captions"
ROWS = np.arange(42)


def album(forms: str) -> tuple[Any, Data]:
    return load_any(f"{SOURCE},albums={forms}", 24), load_any(SOURCE, 24)


def rows_of(data: Any, row: int) -> tuple[int, ...]:
    return tuple(data._album(row).rows)


def single(data: Data, row: int) -> Tensor:
    return data.read("image", np.array([row]))[0]


def test_a_sequence_has_a_picture_in_each_column_and_says_which_one_is_meant() -> None:
    data, plain = album("sequence3")
    assert {**data.columns} == {**plain.columns, "second": "image", "third": "image"}
    shown = [data.read(column, ROWS) for column in ("image", "second", "third")]
    talks = data.read("talk", ROWS)
    for row in ROWS.tolist():
        part, rows = data.asked_part(row), rows_of(data, row)
        assert rows[part.number] == row
        assert len({*rows}) == 3
        assert part.box == (0, 0, 1, 1)
        assert part.columns == ("image", "second", "third")
        for number, other in enumerate(rows):
            assert torch.equal(shown[number][row], single(plain, other))
        ((request, reply),) = talks[row]
        assert request == f"In picture {part.number + 1} of 3: Describe the picture."
        assert reply == plain.read("talk", np.array([row]))[0][0].reply
        told = [plain.read("talk", np.array([other]))[0][0].reply for other in rows if other != row]
        assert part.replies_to(request) == told
        assert part.replies_to("Describe the picture.") == []
    with pytest.raises(LookupError, match="its rows have several pictures, and items have one"):
        data.items(ObjectAnnotations, ROWS)


def test_a_collage_has_its_pictures_in_tiles_row_by_row() -> None:
    data, plain = album("collage5")
    pictures = data.read("image", ROWS[:6])
    for row in range(6):
        part, rows = data.asked_part(row), rows_of(data, row)
        for number, other in enumerate(rows):
            y, x = 8 * (number // 3), 8 * (number % 3)
            tile = single(plain, other).unflatten(2, (8, 3)).unflatten(1, (8, 3)).float().mean((2, 4))
            # Antialiasing weights neighbours too.
            assert (pictures[row, :, y : y + 8, x : x + 8].float() - tile).abs().mean() < 16
        assert bool((pictures[row, :, 8:16, 16:] == 128).all())
        assert bool((pictures[row, :, 16:] == 128).all())
        number = rows.index(row)
        assert part.number == 0
        assert part.box == pytest.approx(
            (number % 3 / 3, number // 3 / 3, number % 3 / 3 + 1 / 3, number // 3 / 3 + 1 / 3)
        )
    assert torch.equal(data.read("image", ROWS[:6][::-1].copy()), pictures.flip(0))


def test_an_inset_lies_on_another_picture() -> None:
    data, plain = album("inset")
    for row in range(8):
        part, (outer, own) = data.asked_part(row), rows_of(data, row)
        assert own == row
        left, top, right, bottom = (round(24 * end) for end in part.box)
        assert (right - left, bottom - top) == (12, 12)
        picture, below = single(data, row), single(plain, outer)
        outside = torch.ones(24, 24, dtype=torch.bool)
        outside[top:bottom, left:right] = False
        assert torch.equal(picture[:, outside], below[:, outside])
        ((request, _),) = data.read("talk", np.array([row]))[0]
        assert request == "In the small picture: Describe the picture."


def test_others_are_of_the_same_split_and_numbers_are_drawn_evenly() -> None:
    data = load_any(
        "scenes:tiny,objects=1,train=600,validation=6,test=6,pixels=16,talk=captions,albums=sequence3"
    )
    side = {int(row): name for name, rows in data.splits.sides.items() for row in rows}
    numbers: Counter[int] = Counter()
    for row in range(612):
        rows = rows_of(data, row)
        assert len({side[other] for other in rows}) == 1
        numbers[rows.index(row)] += 1
    assert all(150 < numbers[k] < 260 for k in range(3))


def test_forms_can_be_mixed_and_tell_data_apart() -> None:
    data, plain = album("collage+inset")
    forms = Counter(data._album(int(row)).form for row in ROWS)
    assert {*forms} == {"collage", "inset"}
    assert data.identity(data.columns) != plain.identity(plain.columns)
    assert data.identity(data.columns) != album("collage")[0].identity(plain.columns)
    assert data.digests()["talk"] == plain.digests()["talk"]
    assert data.digests()["albums"] != album("collage")[0].digests()["albums"]
    assert data.file("image", 0)[1] != plain.file("image", 0)[1]
    assert data.cuts("image", ROWS[:2]).tolist() == torch.eye(2, 3).expand(2, 2, 3).tolist()
    assert torch.equal(data.read_training("image", ROWS[:3]), data.read("image", ROWS[:3]))
    larger = data.sized(64)
    assert rows_of(larger, 3) == rows_of(data, 3)
    # All else is the row's own.
    assert len(data.items(ObjectAnnotations, ROWS)) == len(plain.items(ObjectAnnotations, ROWS))
    assert data.read("text", ROWS) == plain.read("text", ROWS)


def test_a_split_with_too_few_pictures_has_no_albums() -> None:
    data = load_any(
        "scenes:tiny,objects=1,train=12,validation=3,test=4,pixels=16,talk=captions,albums=collage"
    )
    present = data.present("image", np.arange(19))
    assert present.tolist() == [True] * 12 + [False] * 3 + [True] * 4
    assert data.asked_part(13) is None
    # An album holds the data that it was made of.
    assert data.read("talk", np.array([13])) == data.data.read("talk", np.array([13]))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("forms", "error", "message"),
    [
        ("colage", UnknownNameError, "unknown form of albums 'colage': did you mean 'collage'"),
        ("collage10", ValueError, "albums=collage10: collage takes 2 to 9 pictures"),
        ("inset3", ValueError, "albums=inset3: inset takes 2 pictures"),
        ("sequence+inset", ValueError, "a sequence has columns of its own, so name it alone"),
    ],
)
def test_forms_that_cannot_be_are_refused(forms: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_any(f"{SOURCE},albums={forms}", 24)


def test_data_that_cannot_have_albums_is_refused() -> None:
    with pytest.raises(ValueError, match="has a column second already"):
        load_any("scenes:album,train=8,validation=4,test=4,pixels=16,talk=captions,albums=sequence")
    with pytest.raises(
        ValueError, match="has no pictures: albums are made of pictures that can be read at random"
    ):
        load_any("clips:basic,train=8,validation=4,test=4,talk=captions,albums=collage")


def test_a_users_pictures_of_several_sizes_are_tiles(tmp_path: Path) -> None:
    for number in range(20):
        Image.new("RGB", (8 + number, 12), (10 * number, 0, 0)).save(tmp_path / f"{number}.png")
    rows = [f"{k}.png,What is {k}?,It is {k}." for k in range(20)]
    (tmp_path / "it.csv").write_text("\n".join(["image,question,answer", *rows]))
    data = load_any(f"{tmp_path / 'it.csv'},albums=collage2", 8)
    assert isinstance(data, AlbumData)
    row = int(data.splits.train[0])
    assert data.read("talk", np.array([row]))[0][0].request.startswith("In picture ")
    colours = {int(data.read("image", np.array([row]))[0][0, y, x]) for y in (2,) for x in (1, -2)}
    assert len(colours) == 2
