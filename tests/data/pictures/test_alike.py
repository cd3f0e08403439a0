"""Near-duplicates: copies of a picture hang together, others do not, and what is known of a file is found once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw, ImageEnhance

from counterpoint.data.pictures import decode
from counterpoint.data.pictures import traits as module
from counterpoint.data.pictures.alike import MOST_BITS, sets
from counterpoint.data.pictures.traits import HASH_BYTES, Traits, TraitsCache, looks_of, traits_of
from counterpoint.data.pictures.vector import drawn
from fixtures import pictures as made


def scene(seed: int, width: int = 400, height: int = 300) -> Image.Image:
    """Draw something with shapes at every scale."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(Image.fromarray(rng.integers(0, 256, (n, n, 3), np.uint8)).resize((width, height)), float)
        for n in (3, 6, 12)
    ]
    return Image.fromarray(np.mean(layers, axis=0).astype(np.uint8))


def bits(left: bytes, right: bytes) -> int:
    return sum((a ^ b).bit_count() for a, b in zip(left, right, strict=True))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(0, 20))
def test_sets_are_those_that_comparing_all_with_all_finds(seed: int, count: int, flips: int) -> None:
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 256, (count, HASH_BYTES), np.uint8)
    copies = np.unpackbits(base, axis=1)
    for row in copies:
        row[rng.choice(144, flips, replace=False)] ^= 1
    hashes = np.concatenate([base, np.packbits(copies, axis=1), base[:1]])
    near = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(-1, dtype=int) <= MOST_BITS
    reach = near
    while (wider := (reach.astype(int) @ reach.astype(int)) > 0).sum() > reach.sum():
        reach = wider
    found = sets(hashes)
    assert ((found[:, None] == found[None]) == reach).all()
    assert found[0] == 0 == found[-1]


def test_no_hashes_are_no_sets() -> None:
    assert sets(np.zeros((0, HASH_BYTES), np.uint8)).tolist() == []


@pytest.mark.parametrize("seed", range(5))
def test_copies_look_alike_and_others_do_not(seed: int) -> None:
    picture = scene(seed)
    right = traits_of(made.saved(picture, "PNG")).hash
    copies = {
        "saved again": made.saved(picture, "JPEG", quality=60),
        "smaller": made.saved(picture.resize((200, 150)), "PNG"),
        "darker": made.saved(ImageEnhance.Brightness(picture).enhance(0.8), "PNG"),
        "turned and turned back": made.turned(picture, "JPEG", 6),
    }
    far = {name: bits(right, traits_of(data).hash) for name, data in copies.items()}
    assert max(far.values()) <= MOST_BITS, far
    assert bits(right, traits_of(made.saved(scene(seed + 100), "PNG")).hash) > 3 * MOST_BITS


def test_what_a_file_says() -> None:
    photo = traits_of(made.turned(scene(0, 90, 60), "JPEG", 6))
    assert (photo.format, photo.width, photo.height, photo.transparent, photo.turned) == (
        "JPEG",
        60,
        90,
        False,
        True,
    )
    assert traits_of(made.saved(made.ring(), "PNG")).transparent
    drawing = traits_of(
        b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><path d="M0 0L9 9"/></svg>'
    )
    assert (drawing.format, drawing.width, drawing.transparent) == ("SVG", None, True)
    with pytest.raises(OSError, match="not a picture"):
        traits_of(b"not a picture of any kind")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path))
    return tmp_path


def test_traits_are_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MANY", 3)
    known = {
        bytes([n]) * 16: Traits("PNG", n, 2 * n, n == 1, False, 0, 255, bytes(HASH_BYTES))
        for n in range(1, 6)
    }
    with TraitsCache() as kept:
        for digest, traits in known.items():
            kept.add(digest, traits)
    again = TraitsCache()
    assert {digest: again.get(digest) for digest in known} == known
    assert again.get(bytes(16)) is None
    written = sorted(cache.rglob("*.parquet"))
    assert len(written) == 2
    written[0].write_bytes(b"PAR1 cut")
    left = [digest for digest in known if TraitsCache().get(digest)]
    assert 0 < len(left) < 5


def test_traits_survive_a_stop(cache: Path) -> None:
    one = Traits("PNG", 1, 1, False, False, 0, 255, bytes(HASH_BYTES))

    def stopped() -> None:
        with TraitsCache() as kept:
            kept.add(b"seen", one)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert TraitsCache().get(b"seen") == one


@pytest.mark.parametrize("size", [(300, 200), (36, 36), (20, 90)])
def test_the_hash_is_that_of_imagehash(size: tuple[int, int]) -> None:
    for seed in range(10):
        picture = scene(seed, *size)
        expected = np.packbits(imagehash.phash(picture, 12, 3).hash).tobytes()
        assert looks_of(picture) == expected


def test_the_hash_of_a_symmetric_picture_is_that_of_imagehash() -> None:
    picture = Image.new("L", (64, 64), "white")
    ImageDraw.Draw(picture).ellipse((16, 16, 47, 47), fill=80)
    expected = np.packbits(imagehash.phash(picture, 12, 3).hash).tobytes()
    assert looks_of(picture) == expected


def test_a_drawing_is_drawn_at_the_size_of_its_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = []
    monkeypatch.setattr(decode, "drawn", lambda svg, side: sides.append(side) or drawn(svg, side))
    traits_of(
        b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><circle cx="4" cy="4" r="3"/></svg>'
    )
    assert sides == [36]


@pytest.mark.parametrize("mode", ["RGBA", "P", "RGB", "L"])
def test_bands_of_a_large_picture_are_its_reduction(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = scene(1, 403, 305).convert(mode)
    if mode == "RGBA":
        picture.putalpha(scene(2, 403, 305).convert("L"))
    expected = decode.small(picture, 36, 10**6)
    monkeypatch.setattr(decode, "_LARGE", 2**13)
    assert ImageChops.difference(decode.small(picture, 36, 10**6), expected).getbbox() is None


def test_large_pictures_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most = [], []

    def upright(picture: Image.Image, opened: Image.Image) -> Image.Image:
        inside.append(opened)
        time.sleep(0.02)
        most.append(len(inside))
        inside.remove(opened)
        return picture

    monkeypatch.setattr(decode, "_LARGE", 100)
    monkeypatch.setattr(decode, "_upright", upright)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: decode.small(scene(seed, 40, 30), 36, 10**6), range(8)))
    assert max(most) == 1
