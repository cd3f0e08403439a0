"""Pictures of every kind come out as they look, upright, and in memory that their headers cannot take."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from counterpoint.data.pictures.decode import decode
from counterpoint.types import Fit
from fixtures import pictures as made


@pytest.mark.parametrize("form", made.FORMS)
def test_every_form_shows_what_it_holds(form: str) -> None:
    write, right, off = made.FORMS[form]
    found = decode(write(), made.SIDE).astype(int)
    assert np.abs(found - right()).max() <= off


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", made.INTO_FILE)
def test_a_picture_stands_upright_however_the_camera_was_held(form: str, orientation: int) -> None:
    upright = made.colours(72, 48)
    found = decode(made.turned(upright, form, orientation), 24).astype(int)
    right = made.planes(ImageOps.fit(upright, (24, 24), Image.Resampling.BICUBIC))
    assert np.abs(found - right).mean() < (2 if form == "JPEG" else 0.5)


def photo(width: int, height: int) -> Image.Image:
    """A picture that is smooth at large and noisy at small, as photographs are."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 40, width // 40, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    return Image.fromarray((smooth + rng.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("form", "width", "height"),
    [("JPEG", 640, 480), ("JPEG", 1283, 967), ("PNG", 643, 481), ("WEBP", 301, 777)],
)
def test_reducing_first_hardly_changes_a_large_picture(form: str, width: int, height: int) -> None:
    picture = photo(width, height)
    if form != "JPEG":
        picture.putalpha(photo(width, height).convert("L"))
    data = made.saved(picture, form, **({"quality": 95} if form == "JPEG" else {}))
    with Image.open(io.BytesIO(data)) as opened:
        white = Image.new("RGBA", opened.size, "white")
        white.alpha_composite(opened.convert("RGBA"))
    whole = made.planes(ImageOps.fit(white.convert("RGB"), (32, 32), Image.Resampling.BICUBIC))
    off = np.abs(decode(data, 32).astype(int) - whole)
    assert off.mean() < 1.5
    assert off.max() <= 12


def test_without_reduction_nothing_is_lost() -> None:
    picture = photo(400, 300)
    with Image.open(io.BytesIO(made.saved(picture, "JPEG"))) as opened:
        whole = made.planes(ImageOps.fit(opened, (64, 64), Image.Resampling.BICUBIC))
    assert (decode(made.saved(picture, "JPEG"), 64) == whole).all()


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_header_takes_no_memory() -> None:
    with pytest.raises(ValueError, match="13000 × 13000 pixels; at most 100,000,000 are read"):
        decode(made.bomb(13_000, 13_000), 16)
    large = photo(800, 600)
    assert decode(made.saved(large, "JPEG"), 16, 20_000).shape == (
        3,
        16,
        16,
    )  # decoded at an eighth: 100 × 75
    with pytest.raises(ValueError, match="800 × 600 pixels"):
        decode(made.saved(large, "PNG"), 16, 20_000)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
def test_half_a_picture_is_none(form: str) -> None:
    whole = made.saved(photo(200, 160), form)
    for data in (whole[: len(whole) // 2], whole[:30], b"", b"not a picture"):
        with pytest.raises((OSError, ValueError, SyntaxError)):
            decode(data, 16)


@given(
    st.integers(1, 300), st.integers(1, 300), st.integers(1, 40), st.sampled_from(["L", "RGB", "RGBA", "P"])
)
@settings(max_examples=60)
def test_a_picture_of_one_colour_stays_so_whatever_its_shape(
    width: int, height: int, size: int, mode: str
) -> None:
    picture = Image.new("RGB", (width, height), (102, 102, 102)).convert(mode)
    form = "JPEG" if mode in {"L", "RGB"} else "PNG"
    found = decode(made.saved(picture, form), size)
    assert found.shape == (3, size, size)
    assert np.abs(found.astype(int) - 102).max() <= 1


HEAD = '<svg xmlns="http://www.w3.org/2000/svg"'


@pytest.mark.parametrize("before", ["", "\ufeff", '<?xml version="1.0"?>\n<!-- made by hand -->\n'])
def test_a_drawing_is_drawn_on_white_and_cut_to_its_middle(before: str) -> None:
    """200 × 100 units: red left of the middle square, blue right of it, a green disc within."""
    parts = '<rect width="50" height="100" fill="red"/><rect x="150" width="50" height="100" fill="blue"/>'
    parts += '<circle cx="100" cy="50" r="20" fill="lime"/>'
    found = decode(f'{before}{HEAD} viewBox="0 0 200 100">{parts}</svg>'.encode(), 20)
    assert found[:, 10, 10].tolist() == [0, 255, 0]
    assert (found[:, 0, 3:-3] == 255).all()
    whole = decode(f'{before}{HEAD} viewBox="0 0 200 100">{parts}</svg>'.encode(), Fit(20, 20, "squash"))
    assert whole[:, 10, [2, 17]].T.tolist() == [[255, 0, 0], [0, 0, 255]]


@pytest.mark.parametrize("size", ['width="1000000" height="1000000"', 'viewBox="0 0 1 100000"'])
def test_a_drawing_takes_no_more_memory_than_its_square(size: str) -> None:
    found = decode(f'{HEAD} {size}><rect width="100%" height="100%" fill="red"/></svg>'.encode(), 16)
    assert found[:, 8, 8].tolist() == [255, 0, 0]


@pytest.mark.parametrize("unit", ["pt", "in", "mm", "px", "em", ""])
def test_a_drawing_is_measured_in_any_unit(unit: str) -> None:
    found = decode(
        f'{HEAD} width="3{unit}" height="3{unit}"><rect width="999" height="999" fill="red"/></svg>'.encode(),
        16,
    )
    assert (found[:, 8, 8] == [255, 0, 0]).all()


def test_a_broken_drawing_says_why() -> None:
    with pytest.raises(ValueError, match="a broken drawing: unclosed token"):
        decode(HEAD.encode(), 16)
