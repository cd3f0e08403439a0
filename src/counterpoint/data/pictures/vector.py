"""Drawings (SVG) as pixels, made from nothing but their own text: no file, no address, no more than they need."""

from __future__ import annotations

import base64
import codecs
import io
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from PIL import Image, UnidentifiedImageError

_MOST_PARTS = 300_000
_INCH = 96.0  # pixels of an inch, as browsers count; unless it is said, sizes in points or inches are none
_PIXELS_A_PART = 64  # of a picture within a drawing
_CORNER = 8  # letters of a path for each corner, which a marker may be drawn at
_INHERITED = ("fill", "stroke", "marker")  # beginnings of the properties that paint what is inside, too
_TARGET = r"""url\(["'\s]*#([^"')\s]+)"""
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
    referring = refers(text)
    if referring and cut_off(root):
        text = ElementTree.tostring(root, encoding="unicode")
    if (parts(root) if referring else sum(1 for _ in root.iter())) > _MOST_PARTS:
        raise ValueError(f"a drawing of more than {_MOST_PARTS:,} parts")
    # Both sides are bounded: a drawing whose width alone is given may be millions of pixels high.
    return resvg_py.svg_to_bytes(
        svg_string=text,
        width=side,
        height=side,
        dpi=_INCH,
        skip_system_fonts="<text" not in text,  # they take a while to load
    )


def refers(text: str) -> bool:
    """Return whether a drawing may refer to parts of itself, so that a part may be drawn more than once.

    Entities and escapes of style sheets may spell a reference in other letters.

    >>> refers('<svg><path d="M0 0"/></svg>'), refers('<svg><use href="#a"/></svg>')
    (False, True)
    """
    return any(mark in text for mark in ("href", "url", "&", "\\"))


def cut_off(root: Element) -> bool:
    """Take out of a drawing what points outside it, and pictures that are none; return whether there was any.

    >>> drawing = ElementTree.fromstring('<svg><image href="/etc/passwd"/><use href="#disc"/></svg>')
    >>> cut_off(drawing), [part.attrib for part in drawing]
    (True, [{}, {'href': '#disc'}])
    """
    removed = False
    for part in root.iter():
        for name, target in [(n, t.strip()) for n, t in part.attrib.items() if _local(n) == "href"]:
            if not target.startswith("#") and _pixels_of(target) is None:
                del part.attrib[name]
                removed = True
    return removed


def parts(root: Element) -> int:
    """Count what is drawn: each element as often as others refer to it, a picture within by its pixels.

    The paint of an element, be it by an attribute or by a style sheet, counts for each element inside it, too, since
    these inherit it.

    >>> twice = '<g id="a"><use href="#b"/><use href="#b"/></g><path id="b"/>'
    >>> parts(ElementTree.fromstring(f"<svg>{twice}</svg>"))
    7
    >>> painted = '<style>.a{fill:url(#p)}</style><pattern id="p"><path/></pattern><g class="a"><path/><path/></g>'
    >>> parts(ElementTree.fromstring(f"<svg>{painted}</svg>"))
    13
    """
    named = {part.attrib["id"]: part for part in root.iter() if "id" in part.attrib}
    styles = _styles(root)
    marked = any(_local(part.tag) == "marker" for part in root.iter())
    painted: dict[Element, int] = {}  # elements that inherit what an element is painted with
    counts: dict[Element, int] = {}
    under_way: list[tuple[Element, _Refers | None]] = [(root, None)]
    met = 0
    while under_way and met <= _MOST_PARTS:  # without recursion, as drawings may be nested deeply
        part, refers = under_way.pop()
        if refers is not None:
            corners = len(part.get("d") or part.get("points") or "") // _CORNER if marked else 0
            painted[part] = 1 + corners + sum(painted.get(other, 0) for other in refers.held)
            inside = sum(counts.get(other, 0) for other in (*refers.held, *refers.alone))
            colours = painted[part] * sum(counts.get(other, 0) for other in refers.paints)
            counts[part] = 1 + _pixels_within(part) // _PIXELS_A_PART + inside + colours
        elif part not in counts:
            counts[part] = 0  # while it is counted: what refers to itself is not drawn
            refers = _refers(part, named, styles)
            others = [*refers.held, *refers.paints, *refers.alone]
            met += len(others)
            under_way += [(part, refers), *((other, None) for other in others)]
    return max(counts[root], met)


class _Refers(NamedTuple):
    """The elements that one refers to: those that it holds, its inherited colours, and what is for it alone."""

    held: list[Element]
    paints: list[Element]
    alone: list[Element]


def _refers(part: Element, named: Mapping[str, Element], styles: Mapping[str, Sequence[str]]) -> _Refers:
    """Return what an element refers to, by ``href="#name"`` or by ``url(#name)``."""
    references = _Refers([*part], [], [])
    marks = [*(f".{word}" for word in part.get("class", "").split()), f"#{part.get('id')}"]
    declarations = [one for mark in (*marks, _local(part.tag), "") for one in styles.get(mark, ())]
    for name, value in part.attrib.items():
        if _local(name) == "href" and (target := value.strip().removeprefix("#")) in named:
            references.held.append(named[target])
        declarations += value.split(";") if name == "style" else [f"{_local(name)}:{value}"]
    for one in declarations:
        name, _, value = one.partition(":")
        into = references.paints if name.strip().startswith(_INHERITED) else references.alone
        into += [named[target] for target in re.findall(_TARGET, value) if target in named]
    return references


def _styles(root: Element) -> dict[str, list[str]]:
    """Return the declarations of a drawing's style sheets that refer to elements, by whom they may be for.

    They are for all of a class (``.name``), the one of an id (``#name``), all of a tag, or every element (an empty
    text): of a selector the last word alone is looked at, and of that the first of these.
    """
    sheets = "".join(text for part in root.iter() if _local(part.tag) == "style" for text in part.itertext())
    before, *commented = sheets.split("/*")
    styles: dict[str, list[str]] = {}
    for rule in "".join([before, *(text.partition("*/")[2] for text in commented)]).split("}"):
        selectors, _, declarations = rule.rpartition("{")
        referring = [one for one in declarations.split(";") if "url(" in one]
        for selector in selectors.rpartition("{")[2].split(",") if referring else ():
            plain = re.sub(r"\[[^\[\]]*\]|:[\w-]+", "", selector).strip()
            tag, *marks = re.findall(r"^[\w-]*|[.#][\w-]+", re.split(r"[\s>+~]+", plain)[-1])
            styles.setdefault(min(marks, default=tag, key=lambda mark: mark[0] == "#"), []).extend(referring)
    return styles


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
    """Return the name of an attribute or an element without its namespace."""
    return name.rpartition("}")[2]
