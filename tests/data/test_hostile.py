"""Files that mean harm: refused or drawn harmlessly, counted by reason, in memory that their headers cannot take."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image, features

from counterpoint.data.listed.pairs import Pairs
from counterpoint.data.pictures.decode import FORMATS, ImageTooLargeError, UnsupportedFormatError, decode
from counterpoint.data.sources import SourceOptions
from fixtures import pictures as made
from fixtures.files import write_pairs

SIDE = 16
LIME = [0, 255, 0]


def drawing(inside: str, before: str = "") -> bytes:
    """Return a lime square with something within it."""
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    ground = '<rect width="10" height="10" fill="lime"/>'
    return f'{before}<svg {names} viewBox="0 0 10 10">{ground}{inside}</svg>'.encode()


def middle(svg: bytes) -> list[int]:
    return decode(svg, SIDE)[:, SIDE // 2, SIDE // 2].tolist()


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A red picture that nothing may read."""
    path = tmp_path / "canary.png"
    Image.new("RGB", (10, 10), "red").save(path)
    return path


@pytest.fixture
def calls() -> Iterator[tuple[str, list[str]]]:
    """Serve a red picture, and list who asked for it."""
    asked: list[str] = []

    class Canary(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # as the library calls it
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            Image.new("RGB", (10, 10), "red").save(self.wfile, "PNG")

        def log_message(self, *told: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Canary)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/canary.png", asked
    server.shutdown()
    server.server_close()


WAYS = {
    "image": '<image width="10" height="10" href="{}"/>',
    "image, old": '<image width="10" height="10" xlink:href="{}"/>',
    "filter": '<filter id="f"><feImage href="{}"/></filter><rect width="10" height="10" fill="none" filter="url(#f)"/>',
    "style": '<style>@import url("{0}"); image {{ href: "{0}"; }}</style><image width="10" height="10"/>',
    "use": '<use href="{}#a"/>',
}


@pytest.mark.parametrize("way", WAYS)
def test_a_drawing_reads_no_file(way: str, canary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(canary.parent)
    for where in (str(canary), canary.name, f"./{canary.name}", canary.as_uri()):
        assert middle(drawing(WAYS[way].format(where))) == LIME


@pytest.mark.parametrize("way", WAYS)
def test_a_drawing_calls_nobody(way: str, calls: tuple[str, list[str]]) -> None:
    address, asked = calls
    assert middle(drawing(WAYS[way].format(address))) == LIME
    assert not asked


def test_a_drawing_reads_no_file_by_a_name_of_its_own(canary: Path) -> None:
    named = f'<!DOCTYPE svg [<!ENTITY there "{canary}"><!ENTITY held SYSTEM "{canary.as_uri()}">]>'
    assert middle(drawing(WAYS["image"].format("&there;"), named)) == LIME
    with pytest.raises(ValueError, match="a broken drawing: undefined entity"):
        decode(drawing("<text>&held;</text>", named), SIDE)
    within = base64.b64encode(drawing(WAYS["image"].format(canary)).replace(b"lime", b"none")).decode()
    assert middle(drawing(WAYS["image"].format(f"data:image/svg+xml;base64,{within}"))) == LIME


def test_a_picture_within_a_drawing_is_shown_if_it_is_small() -> None:
    red = base64.b64encode(made.saved(Image.new("RGB", (10, 10), "red"), "PNG")).decode()
    assert middle(drawing(WAYS["image"].format(f"data:image/png;base64,{red}"))) == [255, 0, 0]
    bomb = base64.b64encode(made.bomb(9_000, 9_000)).decode()
    with pytest.raises(ValueError, match="a drawing of more than 300,000 parts"):
        decode(drawing(WAYS["image"].format(f"data:image/png;base64,{bomb}")), SIDE)


def test_a_drawing_that_grows_without_end() -> None:
    layers = "".join(f'<g id="a{n}">{f"""<use href="#a{n - 1}"/>""" * 10}</g>' for n in range(1, 12))
    with pytest.raises(ValueError, match="a drawing of more than 300,000 parts"):
        decode(drawing(f'<g id="a0"/>{layers}'), SIDE)
    assert middle(drawing('<g id="a"><use href="#a"/></g>')) == LIME


def squares(said: str = "") -> str:
    return f"<path {said} d='M0 0h9v9h-9z'/>" * 600


PAINTED = {
    "attribute": ("", squares("fill='url(#p)'")),
    "class": ("path.a, .b { /* } */ fill: url('#p') }", squares("class='b c'")),
    "tag": ("@media all { g > path { stroke:url(#p) } }", squares()),
    "everything": ("*{mask:url(#p)}", squares()),
    "group": ("#g:first-child{fill:url(#p)}", f"<g id='g'>{squares()}</g>"),
    "corners": ("#l{marker-mid:url(#m)}", f"<path id='l' d='M0 0{'h1v1h-1v-1' * 500}'/>"),
}


@pytest.mark.parametrize("way", PAINTED)
def test_a_drawing_whose_paint_is_drawn_again_and_again(way: str) -> None:
    sheet, painted = PAINTED[way]
    paint = f"<pattern id='p' width='9' height='9'>{squares()}</pattern><marker id='m'>{squares()}</marker>"
    with pytest.raises(ValueError, match="a drawing of more than 300,000 parts"):
        decode(drawing(f"<style>{sheet}</style>{paint}{painted}"), SIDE)


def test_a_drawing_in_many_colours_is_drawn() -> None:
    sheet = "".join(f".c{n}{{fill:url(#g{n})}}" for n in range(600))
    shades = "".join(
        f'<linearGradient id="g{n}"><stop stop-color="lime"/></linearGradient>' for n in range(600)
    )
    painted = "".join(f'<path class="c{n}" d="M0 0h99v99h-99z"/>' for n in range(600))
    assert middle(drawing(f"<style>{sheet}</style>{shades}{painted}")) == LIME


@pytest.mark.parametrize("form", [name for name in FORMATS if name != "AVIF" or features.check("avif")])
def test_the_formats_that_are_read(form: str) -> None:
    found = decode(made.saved(Image.new("RGB", (20, 20), "lime"), form), SIDE)
    assert np.abs(found[:, 8, 8].astype(int) - LIME).max() <= 8


@pytest.mark.parametrize("form", ["EPS", "PPM", "ICO", "PCX", "PDF"])
def test_other_formats_are_refused(form: str) -> None:
    with pytest.raises(OSError, match=r"none of JPEG, PNG|not a picture") as told:
        decode(made.saved(Image.new("RGB", (20, 20), "lime"), form), SIDE)
    assert isinstance(told.value, UnsupportedFormatError) == (form != "PDF")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_jpeg_read_in_scans_not_reduced_before_memory_is_taken() -> None:
    file = made.saved(Image.new("L", (12_000, 9_000)), "JPEG")
    assert decode(file, SIDE).shape == (3, SIDE, SIDE)
    scans = made.saved(Image.new("L", (12_000, 9_000)), "JPEG", progressive=True)
    with pytest.raises(ImageTooLargeError, match="12000 × 9000 pixels"):
        decode(scans, SIDE)


def endless(frames: int) -> bytes:
    """Return a GIF of many frames of one pixel."""
    frame = b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
    return b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + frame * frames + b";"


def huge(side: int) -> bytes:
    """Return a PNG that says it has so many pixels a side, with as many bytes as 40,000 lines of one bit take."""
    lines = zlib.compress(bytes(side * (side // 8 + 1)), 9)
    whole = made.bomb(side, side)
    start, end = whole.index(b"IDAT") - 4, b"\0\0\0\0IEND\xaeB`\x82"
    part = b"IDAT" + lines
    return whole[:start] + len(lines).to_bytes(4) + part + zlib.crc32(part).to_bytes(4) + end


MEASURE = """
import resource, sys
from pathlib import Path
from counterpoint.data.pictures.decode import decode
decode(Path(sys.argv[1]).read_bytes(), 64)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[2:]:
    try:
        decode(Path(path).read_bytes(), 64)
        print("read", end=" ")
    except (OSError, ValueError) as error:
        print(type(error).__name__, end=" ")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_what_a_file_says(tmp_path: Path) -> None:
    files = {
        "plain.png": made.saved(made.colours(), "PNG"),
        "huge.png": huge(40_000),
        "endless.gif": endless(100_000),
        "wide.svg": drawing("").replace(b"viewBox", b'width="1e9" height="1e9" viewBox'),
        "printed.png": made.saved(Image.new("RGB", (20, 20)), "EPS"),
    }
    assert len(files["huge.png"]) < 250_000
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *(str(tmp_path / name) for name in files)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    *outcomes, grown = done.stdout.split()
    assert outcomes == ["ImageTooLargeError", "read", "read", "UnsupportedFormatError"]
    assert int(grown) < 64 * 2**10, "kilobytes"


def test_they_are_counted_by_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    table = write_pairs(tmp_path / "pairs")
    (table.parent / "3.png").write_bytes(made.bomb(40_000, 40_000))
    (table.parent / "4.png").write_bytes(made.saved(Image.new("RGB", (20, 20)), "EPS"))
    shutil.copyfile(table, table.parent / "5.png")
    found = Pairs(table, 24, SourceOptions(broken=0.1)).findings()
    for reason, name in {
        "picture of too many pixels": "3.png",
        "picture in a format that is not read": "4.png",
        "broken picture": "5.png",
    }.items():
        assert found[f"lost: {reason}"].startswith("1: "), reason
        assert name in found[f"lost: {reason}"]
    assert len(pl.read_csv(next((tmp_path / "cache" / "left-out").glob("*.csv")))) == 3
