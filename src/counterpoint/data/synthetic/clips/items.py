"""Questions about clips: which caption is right, what is wrong with a video, what an answer needs.

A row gives the first kind, in an order drawn for the row, that its clip has something for, as scenes do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, final

import numpy as np
from jaxtyping import Int, UInt8
from torch import Tensor

from ....reasons import counted
from ...base import Rows, SomeItems
from ...items import ContrastCaptions, GeneratedVideos, Items, Narrations, TwinItems
from ...rng import Rng
from .clip import Clip, film
from .rows import ClipRows
from .words.captions import caption
from .words.hallucinations import CLEAN, HALLUCINATIONS, hallucinate
from .words.narrations import NARRATIONS, NarratedQuestion, narrate


def items_of(world: ClipRows, form: type[SomeItems], rows: Rows) -> SomeItems:
    """Return the items of some rows of a world.

    Raises:
        LookupError: for another form, or where none of the rows has anything to ask about.
    """
    if form not in _FORMS:
        raise LookupError(f"{world.name!r} has no {form.called}")
    items: SomeItems = _FORMS[form](world, rows)
    if not len(items):
        raise LookupError(
            f"none of {counted(len(rows), 'row')} of {world.name!r} has anything to make {form.called} of"
        )
    return items


class _Rendered(NamedTuple):
    kind: str
    shown: Clip
    caption: str


def _rendered(world: ClipRows, row: int) -> _Rendered:
    """Return a row's caption with the clip of a bad generator; each kind, and none, comes as often as clips allow."""
    clip, draws = world.clip(row), world.draws(row)
    kinds = (CLEAN, *HALLUCINATIONS)
    for kind in draws.sample("kind of rendition", kinds, len(kinds)):
        if kind == CLEAN:
            break
        other = hallucinate(kind, clip, Rng(draws.word("rendition"), 0, kind), world.config(row))
        if other:
            return _Rendered(kind, other, caption(clip))
    return _Rendered(CLEAN, clip, caption(clip))


@final
class ClipContrasts(ContrastCaptions):
    """Clips, their captions, and those of clips that differ in one thing."""

    def __init__(self, world: ClipRows, rows: Rows) -> None:
        found = [(row, pair) for row in map(int, rows) if (pair := world.contrasted(row))]
        self.ids, pairs = world.ids[[row for row, _ in found]], [pair for _, pair in found]
        self.pixels, self.clips = world.preset.pixels, [pair.shown for pair in pairs]
        self.kinds = [pair.kind for pair in pairs]
        self.captions = [(caption(pair.shown), caption(pair.other)) for pair in pairs]
        self.attribution = world.attribution

    def frames(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k T 3 H W"]:
        return film([self.clips[position] for position in positions], self.pixels)


@final
class ClipGeneratedVideos(GeneratedVideos):
    """Captions, and clips that should show them: some do, and some break them in one of ViBe's ways."""

    def __init__(self, world: ClipRows, rows: Rows) -> None:
        items = [_rendered(world, row) for row in map(int, rows)]
        self.pixels, self.clips = world.preset.pixels, [it.shown for it in items]
        self.ids = world.ids[rows]
        self.kinds = [it.kind for it in items]
        self.captions = [it.caption for it in items]
        self.attribution = world.attribution

    def frames(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k T 3 H W"]:
        return film([self.clips[position] for position in positions], self.pixels)


@final
class ClipNarrations(Narrations):
    """Clips of two things side by side, what is said of one of them, and a question; each kind as often."""

    def __init__(self, world: ClipRows, rows: Rows) -> None:
        items: list[tuple[int, str, NarratedQuestion]] = []
        for row in map(int, rows):
            draws = world.draws(row)
            kind = draws.choice("kind of narration", NARRATIONS)
            narration = narrate(
                kind, world.clip(row), Rng(draws.word("narration"), 0, kind), world.config(row)
            )
            if narration:
                items.append((row, kind, narration))
        self.world, self.rows = world, np.array([row for row, _, _ in items], np.int64)
        self.ids = world.ids[self.rows]
        self.kinds = [kind for _, kind, _ in items]
        self.narrations = [it.narration for _, _, it in items]
        self.questions = [it.question for _, _, it in items]
        self.options = [it.options for _, _, it in items]
        self.answers = np.array([it.answer for _, _, it in items], np.int64)
        self.attribution = world.attribution

    def frames(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k T 3 H W"]:
        return film([self.world.clip(int(row)) for row in self.rows[positions]], self.world.preset.pixels)


@final
class ClipTwins(TwinItems):
    """Clips, and the same with their first and their last event in each other's place."""

    def __init__(self, world: ClipRows, rows: Rows) -> None:
        self.rows = np.array([row for row in map(int, rows) if len(world.clip(row).events) > 1], np.int64)
        self.world, self.ids = world.twins(), world.ids[self.rows]
        self.kinds = ["order"] * len(self.rows)
        self.attribution = world.attribution

    def read(self, column: str, positions: Int[np.ndarray, " k"]) -> Any:
        return self.world.read(column, self.rows[positions])


_FORMS: dict[type[Items], Callable[..., Any]] = {
    ContrastCaptions: ClipContrasts,
    GeneratedVideos: ClipGeneratedVideos,
    Narrations: ClipNarrations,
    TwinItems: ClipTwins,
}
