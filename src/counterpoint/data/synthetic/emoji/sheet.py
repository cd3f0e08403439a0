"""The contact sheet of the emoji data set: a picture to look at before a word is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ....files import writing
from ...base import Rows, Splits
from ...pictures.rendering import SIZE


@runtime_checkable
class DrawnEmoji(Protocol):
    """Emoji by several artists, as far as their sheet asks."""

    splits: Splits

    @property
    def table(self) -> Any: ...
    @property
    def artists(self) -> Any: ...
    @property
    def pictures(self) -> Any: ...
    @property
    def all_languages(self) -> Sequence[str]: ...

    def captions(self, row: int) -> Sequence[str]: ...


_INK, _FAINT, _LINE, _PAPER, _CARD = "#1b1f24", "#6a737d", "#d8dee4", "#f6f8fa", "#ffffff"
_MARGIN, _LABEL, _GAP, _COLUMNS = 36, 196, 8, 9
_PAIR = 2 * SIZE + 3 * _GAP
_WIDTH = 2 * _MARGIN + _LABEL + _COLUMNS * (_PAIR + _GAP)


class _Sheet:
    """A page that grows downwards."""

    def __init__(self, emoji: DrawnEmoji) -> None:
        self.pictures = emoji.pictures
        self.image = Image.new("RGB", (_WIDTH, 8000), _PAPER)
        self.pen = ImageDraw.Draw(self.image)
        self.top = _MARGIN

    def write(self, corner: tuple[int, int], text: str, size: float, colour: str = _INK) -> None:
        plain = text.translate({ord("–"): "-", ord("’"): "'"})  # the font that comes with Pillow lacks these
        self.pen.text(corner, plain, colour, ImageFont.load_default(size), spacing=5)

    def text(self, text: str, size: float, colour: str = _INK, space: int = 8) -> None:
        for line in wrap(text, int((_WIDTH - 2 * _MARGIN) / (0.5 * size))):
            self.write((_MARGIN, self.top), line, size, colour)
            self.top += int(size * 1.35)
        self.top += space

    def heading(self, text: str, note: str) -> None:
        self.top += 14
        self.pen.line((_MARGIN, self.top, _WIDTH - _MARGIN, self.top), _LINE, 2)
        self.top += 12
        self.text(text, 24, space=0)
        self.text(note, 15, _FAINT)

    def row(self, label: str, note: str, rows: Sequence[int], names: Sequence[str] = ()) -> None:
        """Draw both artists' pictures of some emoji, side by side on a card each, the names (if given) below."""
        below = 60 if names else 0
        title = wrap(label, 20)
        self.write((_MARGIN, self.top + 14), "\n".join(title), 18)
        self.write((_MARGIN, self.top + 18 + 24 * len(title)), note, 14, _FAINT)
        for column, row in enumerate(rows):
            left = _MARGIN + _LABEL + column * (_PAIR + _GAP)
            box = (left, self.top, left + _PAIR, self.top + SIZE + 2 * _GAP + below)
            self.pen.rounded_rectangle(box, 8, _CARD, _LINE)
            for number, pictures in enumerate(self.pictures):
                picture = Image.fromarray(np.ascontiguousarray(pictures[row].transpose(1, 2, 0)))
                self.image.paste(picture, (left + _GAP + number * (SIZE + _GAP), self.top + _GAP))
            if names:
                for line, text in enumerate(wrap(names[column], 23)[:3]):
                    self.write((left + _GAP, self.top + SIZE + 2 * _GAP + 17 * line), text, 13, _FAINT)
        self.top += SIZE + 2 * _GAP + below + _GAP

    def save(self, path: Path) -> Path:
        with writing(path) as part:
            self.image.crop((0, 0, _WIDTH, self.top + _MARGIN)).save(part, "PNG")
        return path


def _spread(rows: Rows) -> list[int]:
    """Return rows, evenly spaced, as many as fit on a line."""
    return [
        int(rows[position])
        for position in np.linspace(0, len(rows) - 1, min(_COLUMNS, len(rows))).round().astype(int)
    ]


def draw(emoji: DrawnEmoji, path: Path) -> Path:
    """Draw the sheet and return where it is."""
    sheet = _Sheet(emoji)
    table, count = emoji.table, len(emoji.table)
    toned = np.array(table["is_tone_variant"])
    sheet.text("emoji", 44, space=2)
    sheet.text(
        f"{count:,} emoji, each drawn by {' and by '.join(artist.name for artist in emoji.artists)} "
        f"(left and right on every card), named in {len(emoji.all_languages)} languages; "
        f"{toned.sum():,} are skin-tone variants.",
        18,
        _FAINT,
    )
    sheet.heading("Groups", "Nine groups from Unicode; the numbers count emoji, skin-tone variants apart.")
    groups = np.array(table["group"])
    for group in dict.fromkeys(table["group"]):
        rows = np.flatnonzero((groups == group) & ~toned)
        also = (toned & (groups == group)).sum()
        sheet.row(group, f"{len(rows):,}" + (f" + {also:,}" if also else ""), _spread(rows))
    sheet.heading(
        "Tone and gender",
        "One concept in every tone; its compositions may be held out, its parts then train.",
    )
    concepts, genders = np.array(table["concept"]), np.array(table["gender"])
    for gender in ("woman", "man", "neutral"):
        rows = np.flatnonzero((concepts == "astronaut") & (genders == gender))
        sheet.row(f"astronaut: {gender}", f"{len(rows)} tones", [int(row) for row in rows])
    sheet.heading(
        "Splits",
        "Examples of each side, with the caption that evaluation uses. Validation and test never meet.",
    )
    for side, rows in emoji.splits.sides.items():
        chosen = _spread(rows)
        sheet.row(
            side,
            f"{len(rows):,} rows",
            [row % count for row in chosen],
            [emoji.captions(row)[0] for row in chosen],
        )
    sheet.top += 16
    for artist in emoji.artists:
        sheet.text(artist.attribution + ".", 14, _FAINT, space=0)
    return sheet.save(path)
