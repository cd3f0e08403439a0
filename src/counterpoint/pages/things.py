"""Things: examples of any modality as parts of a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from ..modalities import MODALITIES, resolve

LONGEST_SOUND = 5
"""Seconds of a sound that a page plays, at most: what it holds travels with the page."""


@dataclass(frozen=True)
class PageExample:
    """An example as the reader sees it."""

    caption: str
    picture: str | None = None
    """A data URI; what moves is seen to move."""
    sound: str | None = None
    """A data URI, of what can be heard."""
    text: str = ""
    """Words in its place, of what is read more easily than seen."""


def thing(modality: str, example: Any, caption: str = "") -> PageExample:
    """Show one example: told where it has words, else drawn, and played where it is heard or moves."""
    known = MODALITIES.get(modality)
    if known.tell is not None:
        return PageExample(caption, text=resolve(known.tell)(example))
    played = _played(modality, example, LONGEST_SOUND)
    picture = _picture(modality, example, played)
    sound = played if _is_sound(played) else None
    return PageExample(caption, picture and _uri(*picture), sound and _uri(*sound))


def picture_of(modality: str, example: Any) -> tuple[str, bytes] | None:
    """Return the kind and the bytes of a picture of one example: animated where it moves, else drawn.

    None for a modality that cannot be drawn.
    """
    return _picture(modality, example, _played(modality, example, LONGEST_SOUND))


def sound_of(modality: str, example: Any, seconds: float) -> tuple[str, bytes] | None:
    """Return the kind and the bytes of the first seconds of one example; None for a modality without sound."""
    played = _played(modality, example, seconds)
    return played if _is_sound(played) else None


def _picture(modality: str, example: Any, played: tuple[str, bytes] | None) -> tuple[str, bytes] | None:
    """Return what was played where it is a picture, else a drawing; None for a modality that cannot be drawn."""
    if played is not None and not _is_sound(played):
        return played
    draw = resolve(MODALITIES.get(modality).draw)
    return None if draw is None else ("image/png", _drawn(lambda axis: draw(axis, example)))


def _is_sound(played: tuple[str, bytes] | None) -> bool:
    return played is not None and played[0].startswith("audio/")


def _played(modality: str, example: Any, seconds: float) -> tuple[str, bytes] | None:
    play = resolve(MODALITIES.get(modality).play)
    return None if play is None else play(example, seconds)


def drawing(draw: Callable[[Any], Any]) -> str:
    """Return what is drawn on an axis of matplotlib as a part of a page, a picture in its own pixels."""
    return _uri("image/png", _drawn(draw))


def _drawn(draw: Callable[[Any], Any]) -> bytes:
    from matplotlib.figure import Figure

    dots = 128  # an inch; a power of two, so that no pixel is lost to rounding
    figure = Figure(figsize=(2, 1), dpi=dots)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    draw(axis)
    if axis.images:
        height, width = axis.images[0].get_size()
        figure.set_size_inches(width / dots, height / dots)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dots)
    return file.getvalue()


def data_uri(picture: UInt8[Tensor, "c H W"]) -> str:
    """Encode a picture as a part of a page, with a fourth channel for its opacity or without."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).save(file, "PNG", optimize=True)
    return _uri("image/png", file.getvalue())


def _uri(kind: str, file: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(file).decode()}"
