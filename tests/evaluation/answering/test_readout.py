"""Readout: symbols in their places by hand, and grids whose pictures, texts and positions agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from jaxtyping import UInt8
from torch import Tensor

from counterpoint.evaluation.tasks import Readout
from counterpoint.networks.towers.chat import EXCHANGE, REPLY, Chat
from counterpoint_reproductions.lab import data_readout
from counterpoint_reproductions.lab.data_readout import (
    CELL,
    COLUMNS,
    HARD,
    NAMES,
    PICTURE,
    ROWS,
    SIMPLE,
    TEXT,
    VIA,
    MarkedGrid,
    ReadoutGrids,
    exchange,
    stamps,
)


def of_picture(picture: UInt8[Tensor, "3 H W"]) -> MarkedGrid:
    """Read a grid back from its picture."""
    cells, marked = [], []
    for number in range(ROWS * COLUMNS):
        row, column = divmod(number, COLUMNS)
        cell = picture[:, CELL * (1 + 3 * row) :, CELL * column :][:, :CELL, :CELL].long()
        inner = cell[:, 1:-1, 1:-1]
        cells.append(int((stamps().long() - inner).abs().sum((1, 2, 3)).argmin()))
        marked.append(int(cell[2, 0, 0]) == 0)
    return MarkedGrid(tuple(cells), marked.index(True), sum(marked))


def of_text(text: str) -> MarkedGrid:
    """Read a grid back from its text."""
    words = [word for word in text.split() if word != "/"]
    start, end = words.index("["), words.index("]")
    cells = tuple(NAMES.index(word) for word in words if word not in "[]")
    return MarkedGrid(cells, start, end - start - 1)


@pytest.mark.parametrize("split", ["train", "simple", "hard"])
def test_picture_and_text_hold_the_same(split: str) -> None:
    data = ReadoutGrids("pictures", 100)
    rows = data.splits.train if split == "train" else data.splits.test[split]
    for row, picture in zip(rows[:12].tolist(), data.images(rows[:12]), strict=True):
        grid = data.grid(row)
        assert of_picture(picture) == of_text(grid.text) == grid
        low, high = HARD if split == "hard" else SIMPLE
        assert low <= grid.length <= high
        assert grid.start + grid.length <= ROWS * COLUMNS


def test_alignment_has_texts_and_pictures_by_way_of_texts_and_rows_of_texts_show_nothing() -> None:
    data = ReadoutGrids("alignment", 100)
    rows = data.splits.train
    forms = [data.form(row) for row in rows.tolist()]
    assert set(forms) == {TEXT, VIA}
    for row, form, picture in zip(rows.tolist(), forms, data.images(rows), strict=True):
        assert bool((picture == 255).all()) is (form == TEXT)
        ((request, reply),) = data.talk(row)
        grid = data.grid(row)
        assert reply == (grid.run if form == TEXT else f"{grid.text} : {grid.run}")
        assert (grid.text in request) is (form == TEXT)


@pytest.mark.parametrize("forms", data_readout.FORMS)
def test_training_has_replies_where_long_ones_stand(forms: str) -> None:
    data = ReadoutGrids(forms, 20)
    talks = [data.talk(row) for row in data.splits.train.tolist()]
    chat = Chat.fit([talks], vocabulary=320, context=160)
    hard = [data.grid(row) for row in data.splits.test["hard"].tolist()]

    def last(rows: Any) -> int:
        talk = chat(rows)
        return int(((talk[:, EXCHANGE] > 0) & (talk[:, REPLY] > 0)).nonzero()[:, 1].max())

    for form in {TEXT, PICTURE} & set(data.forms):
        of_form = [row for row, talk in enumerate(talks) if data.form(row) == form]
        trained = last([talks[row] for row in of_form])
        assert trained >= last([(exchange(grid, form),) for grid in hard])


class Replies:
    """An assistant with a reply to each request, in turn."""

    def __init__(self, replies: list[str]) -> None:
        self.replies = replies

    def reply(self, prompts: Any, *, seed: int = 0) -> list[str]:
        given, self.replies = self.replies[: len(prompts)], self.replies[len(prompts) :]
        return given

    def word_logits(self, prompts: Any, words: Any) -> Tensor:
        raise NotImplementedError


def test_symbols_count_in_their_places() -> None:
    data = ReadoutGrids("pictures", 100)
    rows = data.splits.test["hard"][:2]
    (first, second) = (data.grid(int(row)).run for row in rows)
    length = len(second.split())
    wrong = NAMES[(NAMES.index(second.split()[0]) + 1) % len(NAMES)]
    replies = [first.capitalize() + ".", "", " ".join([wrong, *second.split()[1:], "key"]), second]
    scores = Readout()(Replies(replies), data, rows)
    assert scores.value("picture_by_symbol") == pytest.approx((1 + (length - 1) / length) / 2)
    assert scores.value("picture_exact") == 0.5
    assert scores.value("text_by_symbol") == scores.value("text_exact") == 0.5
    assert scores.value("exact") == 0.5
    assert len(np.unique(scores.examples["example"])) == 4
