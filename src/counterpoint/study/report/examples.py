"""Retrieval examples for the report: what every arm returned for the same few pictures and captions."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from ...data.base import PairedData
from ...data.source import load as load_data
from ...data.source import located
from ..layout import run_folder
from ..schema import TrainingSummary

T = TypeVar("T")

EACH = 3
"""Examples of a kind (all right, all wrong, arms disagree) for each direction and test set."""

KINDS = {"apart": "Arms disagree", "right": "All arms right", "wrong": "All arms wrong"}
_CAPTIONS = 2  # of one picture, shown at most


@dataclass(frozen=True)
class Thing:
    """An example as the reader sees it."""

    caption: str
    picture: str | None
    """A data URI."""


@dataclass(frozen=True)
class Answer:
    """An answer that some arms returned."""

    thing: Thing
    arms: tuple[str, ...]
    right: bool


@dataclass(frozen=True)
class Example:
    """A query with the answers to it."""

    query: Thing
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Shelf:
    """The examples of one test set in one direction (``i2t``, ``t2i``), by kind."""

    test: str
    direction: str
    kinds: Mapping[str, Sequence[Example]]


@dataclass(frozen=True)
class Gallery:
    """The examples, and what has to stand beside them."""

    shelves: Sequence[Shelf] = ()
    seed: int = 0
    attribution: str = ""
    trouble: str = ""


def gallery(folder: Path, summary: TrainingSummary) -> Gallery:
    """Choose a few examples by the hash of their ids: the same ones for every report on the same runs.

    Pictures or a data set that cannot be had are named as trouble; the report is written without them.
    """
    seed, outcomes = _outcomes(folder, summary)
    if not outcomes:
        return Gallery(trouble="No task of this study says which captions and pictures the arms returned.")
    try:
        source = located(summary.data, summary.environment.get("folder"))
        data = load_data(source, summary.recipe["towers"]["image_size"])
        lookup = Lookup(data)
        shelves = [
            Shelf(test, direction, lookup.examples(direction, tables))
            for test, tables in outcomes.items()
            for direction in ("i2t", "t2i")
        ]
    # Whatever is wrong with somebody's pictures must not cost them the rest of the report.
    except Exception as error:
        return Gallery(trouble=f"The data set could not be read again: {error}")
    return Gallery(shelves, seed, data.attribution, lookup.trouble)


def _outcomes(folder: Path, summary: TrainingSummary) -> tuple[int, dict[str, dict[str, pl.DataFrame]]]:
    """Read retrieval outcomes of the first seed with which most arms finished, by test set and arm."""
    finished: dict[int, dict[str, Path]] = {}
    for arm in summary.arms:
        without = {f.seed for f in arm.failed} | set(arm.unfinished)
        for seed in summary.seeds:
            path = run_folder(folder, arm.slug, seed) / "examples.parquet"
            if seed not in without and path.exists():
                finished.setdefault(seed, {})[arm.name] = path
    if not finished:
        return 0, {}
    seed = max(finished, key=lambda s: len(finished[s]))
    tables: dict[str, dict[str, pl.DataFrame]] = {}
    for name, path in finished[seed].items():
        wanted = ("i2t_R@1", "i2t_top", "t2i_R@1", "t2i_top")
        frame = pl.read_parquet(path, glob=False).filter(
            (pl.col("task") == "retrieval") & pl.col("outcome").is_in(wanted)
        )
        for (test,), part in frame.partition_by("test", as_dict=True, maintain_order=True).items():
            wide = part.pivot(on="outcome", index="example", values="value")
            if set(wanted) <= set(wide.columns):
                tables.setdefault(str(test), {})[name] = wide
    return seed, tables


class Lookup:
    """A finder that shows the examples of a data set by their ids."""

    def __init__(self, data: PairedData) -> None:
        self.data = data
        self.rows = {int(identity): row for row, identity in enumerate(data.ids)}
        self.trouble = ""
        self._seen: dict[int, Thing] = {}

    def examples(self, direction: str, tables: Mapping[str, pl.DataFrame]) -> dict[str, list[Example]]:
        """Choose a few of every kind, in one direction of retrieval on one test set."""
        returned: dict[int, dict[str, tuple[int, bool]]] = {}
        for arm, table in tables.items():
            for identity, hit, top in table.select("example", f"{direction}_R@1", f"{direction}_top").rows():
                # A hit between 0 and 1 is a tie, or one of several captions: neither right nor wrong.
                if hit in (0.0, 1.0):
                    returned.setdefault(identity, {})[arm] = (int(top), hit == 1.0)
        chosen: dict[str, list[Example]] = {kind: [] for kind in KINDS}
        for identity in sorted(returned, key=order):
            answers = returned[identity]
            kind = kind_of(right for _, right in answers.values())
            known = identity in self.rows and all(top in self.rows for top, _ in answers.values())
            if len(answers) == len(tables) and known and len(chosen[kind]) < EACH:
                chosen[kind].append(self._example(identity, answers))
        return {
            title if len(tables) > 1 else kind.capitalize(): chosen[kind]
            for kind, title in KINDS.items()
            if chosen[kind]
        }

    def _example(self, identity: int, answers: Mapping[str, tuple[int, bool]]) -> Example:
        """Show a query with its answers."""
        return example(self.show(identity), answers, self.show)

    def show(self, identity: int) -> Thing:
        if identity not in self._seen:
            row = self.rows[identity]
            captions = list(self.data.evaluation_captions(row))
            more = f" (+{len(captions) - _CAPTIONS})" if len(captions) > _CAPTIONS else ""
            self._seen[identity] = Thing(" / ".join(captions[:_CAPTIONS]) + more, self._picture(row))
        return self._seen[identity]

    def _picture(self, row: int) -> str | None:
        if self.trouble:
            return None
        try:
            pixels = self.data.images(np.array([row]))[0]
        except (LookupError, OSError, ValueError, ImportError) as error:
            self.trouble = f"The pictures could not be had: {error}"
            return None
        return data_uri(pixels)


def kind_of(rights: Iterable[bool]) -> str:
    """Return the kind of an example, a key of `KINDS`, by which answers are right."""
    hits = set(rights)
    return "apart" if len(hits) > 1 else "right" if True in hits else "wrong"


def example(query: Thing, answers: Mapping[str, tuple[T, bool]], show: Callable[[T], Thing]) -> Example:
    """Return a query with the arms' answers, right ones first; arms that answered the same share one."""
    grouped: dict[tuple[T, bool], list[str]] = {}
    for arm, answer in answers.items():
        grouped.setdefault(answer, []).append(arm)
    ordered = sorted(grouped.items(), key=lambda item: not item[0][1])
    return Example(query, tuple(Answer(show(it), tuple(arms), right) for (it, right), arms in ordered))


def data_uri(picture: UInt8[Tensor, "3 H W"]) -> str:
    """Encode a picture as a part of a page."""
    file = io.BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def order(identity: int) -> bytes:
    """Return a key to choose examples by: not by hand, and the same ones whenever a report is made again."""
    return blake2b(str(identity).encode(), digest_size=8).digest()
