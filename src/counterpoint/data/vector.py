"""Drawings (SVG) as pixels, made from nothing but their own text: no file, no address, no more than they need."""

from __future__ import annotations

import base64
import codecs
import io
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from PIL import Image, UnidentifiedImageError

_MOST_PARTS = 300_000
_INCH = 96.0  # pixels of an inch, as browsers count; unless it is said, sizes in points or inches are none
_PIXELS_A_PART = 64  # of a picture within a drawing
_WITHIN = ("JPEG", "PNG", "GIF", "WEBP")  # kinds of pictures within a drawing


def is_drawing(data: bytes) -> bool:
    """Return whether the bytes of a file are a drawing's."""
    start = data[:4096].removeprefix(codecs.BOM_UTF8).lstrip()
    return start.startswith(b"<") and b"<svg" in start


def drawn(svg: bytes, side: int) -> bytes:
    """Draw a drawing by ``resvg`` as a PNG, its longer side of so many pixels.

    Whatever it includes by a path or an address is left out, since the renderer would read files of that name; what it
    holds itself is drawn.

    Args:
        svg: the bytes of the file, in UTF-8.
        side: in pixels.

    Raises:
        ValueError: for a drawing that is broken, or of too many parts (`parts`).
    """
    import resvg_py  # here, as it is seldom needed

    text = svg.removeprefix(codecs.BOM_UTF8).decode()
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"a broken drawing: {error}") from None
    if cut_off(root):
        text = ElementTree.tostring(root, encoding="unicode")
    if parts(root) > _MOST_PARTS:
        raise ValueError(f"a drawing of more than {_MOST_PARTS:,} parts")
    # Both sides are bounded: a drawing whose width alone is given may be millions of pixels high.
    return resvg_py.svg_to_bytes(
        svg_string=text,
        width=side,
        height=side,
        dpi=_INCH,
        skip_system_fonts="<text" not in text,  # they take a while to load
    )


def cut_off(root: Element) -> bool:
    """Take out of a drawing what points outside it, and pictures that are none; return whether there was any.

    >>> drawing = ElementTree.fromstring('<svg><image href="/etc/passwd"/><use href="#disc"/></svg>')
    >>> cut_off(drawing), [part.attrib for part in drawing]
    (True, [{}, {'href': '#disc'}])
    """
    found = False
    for part in root.iter():
        for name, target in [(n, t.strip()) for n, t in part.attrib.items() if _local(n) == "href"]:
            if not target.startswith("#") and _pixels_of(target) is None:
                del part.attrib[name]
                found = True
    return found


def parts(root: Element) -> int:
    """Count what is drawn: each element as often as others refer to it, a picture within by its pixels.

    >>> twice = '<g id="a"><use href="#b"/><use href="#b"/></g><path id="b"/>'
    >>> parts(ElementTree.fromstring(f"<svg>{twice}</svg>"))
    7
    """
    named = {part.attrib["id"]: part for part in root.iter() if "id" in part.attrib}
    counts: dict[Element, int] = {}
    under_way: list[tuple[Element, bool]] = [(root, False)]
    while under_way:  # without recursion, as drawings may be nested deeply
        part, seen = under_way.pop()
        if seen:
            inside = (counts.get(other, 0) for other in _inside(part, named))
            counts[part] = 1 + _pixels_within(part) // _PIXELS_A_PART + sum(inside)
        elif part not in counts:
            counts[part] = 0  # while it is counted: what refers to itself is not drawn
            under_way += [(part, True), *((other, False) for other in _inside(part, named))]
    return counts[root]


def _inside(part: Element, named: dict[str, Element]) -> Iterator[Element]:
    """Yield what an element holds and what it refers to: by ``href="#name"``, by ``url(#name)``."""
    yield from part
    for name, value in part.attrib.items():
        target = value.strip().removeprefix("#") if _local(name) == "href" else ""
        for each in value.split("url(")[1:]:
            target = each.partition(")")[0].strip("'\" ").removeprefix("#")
            if target in named:
                yield named[target]
            target = ""
        if target in named:
            yield named[target]


def _pixels_within(part: Element) -> int:
    """Return the pixels of the pictures that an element holds as data."""
    return sum(_pixels_of(target.strip()) or 0 for n, target in part.attrib.items() if _local(n) == "href")


def _pixels_of(target: str) -> int | None:
    """Return how many pixels a picture given as data has, by its header; None for anything else."""
    head, comma, content = target.partition(",")
    if not comma or not head.lower().startswith("data:"):
        return None
    try:
        data = base64.b64decode(content) if head.endswith(";base64") else unquote_to_bytes(content)
        with Image.open(io.BytesIO(data), formats=_WITHIN) as picture:
            return picture.width * picture.height
    except (ValueError, OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return None


def _local(name: str) -> str:
    """Return an attribute's name without its namespace."""
    return name.rpartition("}")[2]
