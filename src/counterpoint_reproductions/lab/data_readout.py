"""Grids of emoji with a marked run that is to be read, as pictures and as equal texts, as data for studies.

A study names the data as it names any data of a file. ``data_readout.py:ALIGNMENT`` has rows of texts and of pictures
that are written as texts before they are read; ``PICTURES``, ``BOTH`` and ``MIX`` have rows of the forms that
`FORMS` says. Each has a small form for smoke runs, as ``FEW_MIX``. All runs to train on are short. The test sets are
``simple``, with runs as short, and ``hard``, with longer ones; each asks for the run of a picture and of a text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int, UInt8
from torch import Tensor

from counterpoint.data.base import Rows, SomeItems, Splits
from counterpoint.data.items import Instructions
from counterpoint.data.pictured import PairedData
from counterpoint.data.synthetic.emoji import Emoji
from counterpoint.raw import Conversation, Exchange

NAMES = ("cat", "fish", "banana", "key", "bell", "rose")
ROWS, COLUMNS, CELL = 2, 6, 8
SIDE = COLUMNS * CELL
SIMPLE, HARD = (2, 3), (5, 6)
"""Lengths of runs."""
TEXT, PICTURE, VIA = "text", "picture", "via text"
FORMS = {
    "alignment": (TEXT, VIA),
    "pictures": (PICTURE,),
    "both": (TEXT, PICTURE),
    "mix": (TEXT, PICTURE, VIA),
}
"""The forms of rows to train on, which come in turn."""
SHIFT = 2 * (HARD[1] - SIMPLE[0])
"""Most dots in front of a request to train on, so that replies stand where long ones do."""
TRAINED, VALIDATED, TESTED = 6000, 64, 300


class MarkedGrid(NamedTuple):
    """Symbols of the cells in reading order, and the run that is marked.

    Attributes:
        cells: numbers of `NAMES`.
        start: the first cell of the run.
        length: of the run.
    """

    cells: tuple[int, ...]
    start: int
    length: int

    @property
    def run(self) -> str:
        """The names of the run, as a reply."""
        return " ".join(NAMES[cell] for cell in self.cells[self.start : self.start + self.length])

    @property
    def text(self) -> str:
        """The grid as a text; brackets mark the run and a slash ends a row.

        >>> MarkedGrid((0, 1, 2, 3, 4, 5) * 2, 4, 3).text
        'cat fish banana key [ bell rose / cat ] fish banana key bell rose'
        """
        words: list[str] = []
        for number, cell in enumerate(self.cells):
            words += ["/"] * (number > 0 and number % COLUMNS == 0)
            words += ["["] * (number == self.start) + [NAMES[cell]]
            words += ["]"] * (number == self.start + self.length - 1)
        return " ".join(words)

    def draw(self) -> UInt8[Tensor, "3 H W"]:
        """Draw the grid: an emoji of 6 × 6 pixels a cell, on yellow where it is marked."""
        picture = torch.full((3, SIDE, SIDE), 255, dtype=torch.uint8)
        for number, cell in enumerate(self.cells):
            row, column = divmod(number, COLUMNS)
            top, left = CELL * (1 + 3 * row), CELL * column
            if self.start <= number < self.start + self.length:
                picture[2, top : top + CELL, left : left + CELL] = 0
            picture[:, top + 1 : top + CELL - 1, left + 1 : left + CELL - 1] = stamps()[cell]
        return picture


@lru_cache(maxsize=1)
def stamps() -> UInt8[Tensor, "k 3 h w"]:
    """Return the emoji of `NAMES`, small."""
    emoji = Emoji()
    rows = {emoji.captions(row)[0]: row for row in reversed(range(len(emoji)))}
    pictures = emoji.images(np.array([rows[name] for name in NAMES])).float()
    return F.interpolate(pictures, (CELL - 2,) * 2, mode="area").to(torch.uint8)


def exchange(grid: MarkedGrid, form: str, dots: int = 0) -> Exchange:
    """Return the request and the reply about a grid in one of the forms.

    >>> exchange(MarkedGrid((0, 1, 2, 3, 4, 5) * 2, 4, 2), PICTURE, 2)
    Exchange(request='. . Read the picture.', reply='bell rose')
    """
    shift = ". " * dots
    if form == TEXT:
        return Exchange(f"{shift}Read {grid.text}", grid.run)
    if form == VIA:
        return Exchange(f"{shift}Write the picture, then read it.", f"{grid.text} : {grid.run}")
    return Exchange(f"{shift}Read the picture.", grid.run)


@final
class ReadoutGrids(PairedData):
    """Grids with conversations.

    Args:
        forms: a key of `FORMS`.
        part: the divisor of the numbers of rows.
    """

    def __init__(self, forms: str, part: int = 1) -> None:
        self.name, self.forms = f"grids to read, {forms}", FORMS[forms]
        self.columns: Mapping[str, str] = {"image": "image", "text": "text", "talk": "talk"}
        train, validation, test = (max(count // part, 16) for count in (TRAINED, VALIDATED, TESTED))
        self.ids = np.arange(train + validation + 2 * test)
        ends = np.cumsum([train, validation, test])
        parts = np.split(self.ids, ends)
        self.splits = Splits(parts[0], {"simple": parts[1]}, {"simple": parts[2], "hard": parts[3]})
        self._hard, self._trained = int(ends[-1]), train

    def grid(self, row: int) -> MarkedGrid:
        """Return the grid of a row; it follows from the row and whether it is hard."""
        rng = np.random.default_rng([row - self._hard, 1] if row >= self._hard else [row, 0])
        low, high = HARD if row >= self._hard else SIMPLE
        length = int(rng.integers(low, high + 1))
        cells = tuple(rng.integers(len(NAMES), size=ROWS * COLUMNS).tolist())
        return MarkedGrid(cells, int(rng.integers(ROWS * COLUMNS - length + 1)), length)

    def form(self, row: int) -> str:
        """Return the form of a row; rows that are not for training are of pictures."""
        return self.forms[row % len(self.forms)] if row < self._trained else PICTURE

    def talk(self, row: int) -> Conversation:
        """Return the conversation of a row."""
        dots = int(np.random.default_rng([row, 2]).integers(SHIFT + 1)) if row < self._trained else 0
        return (exchange(self.grid(row), self.form(row), dots),)

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        """Return the pictures; those of rows of texts are white."""
        white = torch.full((3, SIDE, SIDE), 255, dtype=torch.uint8)
        drawn = [white if self.form(row) == TEXT else self.grid(row).draw() for row in rows.tolist()]
        return torch.stack(drawn) if drawn else white[None][:0]

    def captions(self, row: int) -> Sequence[str]:
        return [self.grid(row).text]

    def read(self, column: str, rows: Rows) -> Any:
        return [self.talk(row) for row in rows.tolist()] if column == "talk" else super().read(column, rows)

    def read_training(self, column: str, rows: Rows) -> Any:
        return self.read(column, rows) if column == "talk" else super().read_training(column, rows)

    def items(self, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None) -> SomeItems:
        runs = _Runs(self, rows)
        return runs if isinstance(runs, form) else super().items(form, rows, kinds)


class _Runs(Instructions):
    def __init__(self, data: ReadoutGrids, rows: Rows) -> None:
        self._grids = [data.grid(row) for row in rows.tolist() for _ in range(2)]
        self.kinds = [PICTURE, TEXT] * len(rows)
        asked = [exchange(grid, kind) for grid, kind in zip(self._grids, self.kinds, strict=True)]
        self.texts, self.replies = [one.request for one in asked], [one.reply for one in asked]
        self.ids = np.stack([2 * data.ids[rows], 2 * data.ids[rows] + 1], 1).flatten()

    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 3 H W"]:
        white = torch.full((3, SIDE, SIDE), 255, dtype=torch.uint8)
        shown = [self._grids[k].draw() if self.kinds[k] == PICTURE else white for k in positions.tolist()]
        return torch.stack(shown)


ALIGNMENT, FEW_ALIGNMENT = ReadoutGrids("alignment"), ReadoutGrids("alignment", 100)
PICTURES, FEW_PICTURES = ReadoutGrids("pictures"), ReadoutGrids("pictures", 100)
BOTH, FEW_BOTH = ReadoutGrids("both"), ReadoutGrids("both", 100)
MIX, FEW_MIX = ReadoutGrids("mix"), ReadoutGrids("mix", 100)
