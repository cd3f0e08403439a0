from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterpoint.data.cache import CacheError, cache_folder
from counterpoint.data.pictures import rendering
from counterpoint.data.pictures.rendering import (
    ARTISTS,
    Artist,
    MissingPictureError,
    OpenMoji,
    Twemoji,
    picture_key,
)

CODES = ["1F600", "2764 FE0F", "1F575 FE0F 200D 2642 FE0F", "0023 FE0F 20E3", "25AB FE0F"]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def svg(shapes: str) -> bytes:
    return f'<svg viewBox="0 0 72 72" xmlns="http://www.w3.org/2000/svg">{shapes}</svg>'.encode()


def extent(picture: np.ndarray) -> tuple[int, int]:
    drawn = (picture < 250).any(0)
    return int(drawn.any(1).sum()), int(drawn.any(0).sum())


class Painter(Artist):
    """Draws each file as a flat picture of the file's first byte, and counts."""

    name, package, credit, attribution = "Painter", "pytest", "", ""

    def __init__(self, files: Path, edition: str = "1") -> None:
        self.files, self.edition, self.drawn = files, edition, 0
        files.mkdir(exist_ok=True)
        for place, code in enumerate(CODES):
            (files / f"{picture_key(code).upper()}.png").write_bytes(bytes([place]))

    def version(self) -> str:
        return self.edition

    def folder(self) -> Path:
        return self.files

    def draw(self, file: bytes) -> np.ndarray:
        self.drawn += 1
        return np.full((3, 72, 72), file[0], np.uint8)

    def vectors(self) -> Path:
        return self.files

    def sprite(self, svg: bytes, side: int) -> np.ndarray:
        self.drawn += 1
        return np.full((side, side, 4), svg[0], np.uint8)


def test_key_drops_selectors_and_leading_zeros() -> None:
    assert picture_key("0023-FE0F-20E3") == picture_key("23 20e3") == "23-20e3"


@pytest.mark.parametrize("artist", ARTISTS, ids=lambda artist: artist.name)
def test_both_artists_draw_every_kind_of_file_name(artist: Artist) -> None:
    pictures = artist.pictures(CODES)
    assert pictures.shape == (5, 3, 72, 72)
    assert pictures.dtype == np.uint8
    assert isinstance(pictures, np.memmap)
    assert not pictures.flags.writeable
    assert (pictures[:, :, 0, 0] > 240).all()  # the paper is white
    assert all(len(np.unique(picture)) > 5 for picture in pictures)


def test_twemoji_is_the_file_on_white() -> None:
    pixels = np.zeros((72, 72, 4), np.uint8)
    pixels[..., 0], pixels[..., 3] = 200, 51  # red 200 at a fifth of full opacity
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    picture = Twemoji().draw(file.getvalue())
    expected = np.array([0.2 * 200 + 0.8 * 255, 0.8 * 255, 0.8 * 255])
    assert np.abs(picture - expected[:, None, None]).max() <= 1  # whole numbers


@pytest.mark.parametrize(("side", "drawn"), [(56, 72), (64, 72), (72, 72), (28, 36), (14, 18)])
def test_openmoji_is_magnified_to_fill_but_at_most_by_72_over_56(side: int, drawn: int) -> None:
    start = (72 - side) / 2
    picture = OpenMoji().draw(svg(f'<rect x="{start}" y="{start}" width="{side}" height="{side}"/>'))
    assert extent(picture) == (drawn, drawn)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (44, 44), (0, 44), (20, 3)])
def test_openmoji_is_never_cut(x: int, y: int) -> None:
    picture = OpenMoji().draw(svg(f'<rect x="{x}" y="{y}" width="28" height="28"/>'))
    height, width = extent(picture)
    assert (height, width) == (36, 36) or abs(height - 36) + abs(width - 36) <= 2  # half-pixel borders


def test_an_empty_drawing_is_white_paper() -> None:
    assert (OpenMoji().draw(svg("")) == 255).all()


@pytest.mark.parametrize("artist", ARTISTS, ids=lambda artist: artist.name)
def test_sprites_are_the_pictures_without_their_paper(artist: Artist) -> None:
    codes = ["1F408", "1F34E", "2B55"]
    pictures, sprites = artist.pictures(codes), artist.sprites(codes, 72)
    assert sprites.shape == (3, 72, 72, 4)
    alpha = sprites[..., 3:].astype(float) / 255
    laid = (sprites[..., :3] * alpha + 255 * (1 - alpha)).transpose(0, 3, 1, 2)
    # Twemoji's pictures come from its own renderer, which differs at edges.
    assert np.abs(laid - pictures).mean() < {"Twemoji": 3, "OpenMoji": 0.5}[artist.name]
    assert (alpha[:, 0, 0] == 0).all()
    large = artist.sprites(codes, 144)
    assert np.abs(large[..., 3].mean((1, 2)) - sprites[..., 3].mean((1, 2))).max() < 1


def test_pictures_and_sprites_of_each_size_are_kept_apart(tmp_path: Path, own_cache: Path) -> None:
    artist = Painter(tmp_path / "files")
    artist.pictures(CODES)
    assert artist.sprites(CODES, 10)[3, 0, 0].tolist() == [3, 3, 3, 3]
    assert artist.sprites(CODES, 12).shape == (5, 12, 12, 4)
    artist.sprites(CODES, 12)
    assert artist.drawn == 15
    assert len(list((own_cache / "emoji").iterdir())) == 3


def test_drawn_once_then_read(tmp_path: Path) -> None:
    artist = Painter(tmp_path / "files")
    first = artist.pictures(CODES)
    assert [int(picture[0, 0, 0]) for picture in first] == [0, 1, 2, 3, 4]
    again = artist.pictures(CODES)
    assert artist.drawn == 5
    assert (first == again).all()
    assert [int(picture[0, 0, 0]) for picture in artist.pictures(CODES[::-1])] == [4, 3, 2, 1, 0]


def test_redrawn_another_version_deleted_cache_another_renderer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    artist = Painter(tmp_path / "files")
    artist.pictures(CODES)
    artist.edition = "2"
    artist.pictures(CODES)
    assert artist.drawn == 10
    for file in (own_cache / "emoji").iterdir():
        file.unlink()
    artist.pictures(CODES)
    assert artist.drawn == 15
    monkeypatch.setattr(rendering, "RENDERER", rendering.RENDERER + 1)
    artist.pictures(CODES)
    assert artist.drawn == 20


def test_a_larger_side_is_drawn_from_the_vectors(own_cache: Path) -> None:
    codes = ["1F600", "2764 FE0F"]
    for artist in rendering.ARTISTS:
        small, large = artist.pictures(codes), artist.pictures(codes, 216)
        assert large.shape == (2, 3, 216, 216)
        reduced = large.reshape(2, 3, 72, 3, 72, 3).mean((3, 5))
        assert np.abs(reduced - small).mean() < 4  # the same drawing
        blown_up = small.repeat(3, axis=2).repeat(3, axis=3).astype(int)
        assert np.abs(np.diff(large.astype(int), axis=3)).max() > 0
        assert np.abs(large - blown_up).mean() > 1  # and not the small one enlarged


def test_a_drawing_that_is_no_square_lies_in_the_middle_of_one() -> None:
    flag = b'<svg viewBox="0 0 30 10" xmlns="http://www.w3.org/2000/svg"><rect width="30" height="10"/></svg>'
    drawn = Twemoji().sprite(flag, 60)[..., 3] > 0
    assert drawn.shape == (60, 60)
    assert np.flatnonzero(drawn.any(1)).tolist() == list(range(20, 40))
    assert drawn.any(0).all()


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", None], ids=["empty", "header", "cut short"])
def test_a_damaged_file_is_drawn_again(tmp_path: Path, own_cache: Path, damage: bytes | None) -> None:
    artist = Painter(tmp_path / "files")
    artist.pictures(CODES)
    (file,) = (own_cache / "emoji").iterdir()
    file.write_bytes(file.read_bytes()[:-1] if damage is None else damage)
    assert artist.pictures(CODES).shape == (5, 3, 72, 72)
    assert artist.drawn == 10


def test_a_killed_render_leaves_nothing_that_is_used(tmp_path: Path, own_cache: Path) -> None:
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_rendering import CODES, Painter, Path
class Killed(Painter):
    def draw(self, file):
        if self.drawn == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().draw(file)
Killed(Path({str(tmp_path / "files")!r})).pictures(CODES)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ}, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert [file.suffix for file in (own_cache / "emoji").iterdir()] == [".part"]
    artist = Painter(tmp_path / "files")
    assert [int(picture[0, 0, 0]) for picture in artist.pictures(CODES)] == [0, 1, 2, 3, 4]
    assert artist.drawn == 5
    assert [file.suffix for file in (own_cache / "emoji").iterdir()] == [".npy"]


def test_two_at_once_both_get_whole_pictures(tmp_path: Path, own_cache: Path) -> None:
    meet = threading.Barrier(2, timeout=30)

    class Slow(Painter):
        def draw(self, file: bytes) -> np.ndarray:
            meet.wait()  # neither is ever ahead by more than a picture
            return super().draw(file)

    artists = [Slow(tmp_path / "files") for _ in range(2)]
    found: list[list[int]] = []

    def work(artist: Artist) -> None:
        found.append([int(picture.max()) for picture in artist.pictures(CODES)])

    threads = [threading.Thread(target=work, args=(artist,)) for artist in artists]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[0, 1, 2, 3, 4]] * 2
    assert len(list((own_cache / "emoji").iterdir())) == 1


def test_errors_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artist = Painter(tmp_path / "files")
    with pytest.raises(
        MissingPictureError, match=r"has no picture of 2 emoji \(first: 1F601\); run: pip install"
    ):
        artist.pictures(["1F600", "1F601", "1F602"])
    monkeypatch.setattr(artist, "draw", lambda file: Twemoji().draw(b"no PNG"))
    with pytest.raises(MissingPictureError, match="cannot be drawn"):
        artist.pictures(CODES)
    assert not list((cache_folder() / "emoji").iterdir())
    with pytest.raises(ValueError, match="must have one viewBox"):
        OpenMoji().draw(b"<svg/>")
    (tmp_path / "blocked").touch()
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "blocked"))
    with pytest.raises(CacheError, match="set COUNTERPOINT_CACHE"):
        Painter(tmp_path / "files").pictures(CODES)
