"""Retrieval examples for the report: what every arm returned for the same few pictures, captions, other examples."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from ...data.base import Data
from ...data.columns import TEXT, ways
from ...data.source import load_any, located
from ...pages.things import PageExample, thing
from ...trust import UntrustedError
from ..layout import run_folder
from ..schema import TrainingSummary

T = TypeVar("T")
_LOG = logging.getLogger(__name__)

EACH = 3
"""Examples of a kind (all right, all wrong, arms disagree) for each direction and test set."""

KINDS = {"apart": "Arms disagree", "right": "All arms right", "wrong": "All arms wrong"}
_CAPTIONS = 2  # of one picture, shown at most


@dataclass(frozen=True)
class Answer:
    """An answer that some arms returned."""

    thing: PageExample
    arms: tuple[str, ...]
    right: bool


@dataclass(frozen=True)
class QueryExample:
    """A query with the answers to it."""

    query: PageExample
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Shelf:
    """The examples of one test set in one direction (``i2t``, ``t2i``), by kind; ``asked``: in words."""

    test: str
    direction: str
    kinds: Mapping[str, Sequence[QueryExample]]
    title: str = ""
    asked: bool = False


@dataclass(frozen=True)
class ExampleGallery:
    """The examples, and what has to stand beside them."""

    shelves: Sequence[Shelf] = ()
    seed: int = 0
    attribution: str = ""
    trouble: str = ""


def gallery(folder: Path, summary: TrainingSummary) -> ExampleGallery:
    """Choose a few examples by the hash of their ids: the same ones for every report on the same runs.

    Pictures or a data set that cannot be had are named as trouble; the report is written without them.
    """
    seed, outcomes = _outcomes(folder, summary)
    if not outcomes:
        return ExampleGallery(
            trouble="No task of this study says which captions and pictures the arms returned."
        )
    try:
        source = located(summary.data, summary.environment.get("folder"))
        data = load_any(source, summary.recipe["towers"]["image_size"])
        lookup = Lookup(data)
        shelves = [
            Shelf(
                test,
                direction,
                lookup.examples(direction, returned),
                f"{query} to {answer}".capitalize(),
                asked=data.columns[query] == TEXT,
            )
            for test, tables in outcomes.items()
            for direction, (query, answer) in ways(data.columns).items()
            if (returned := {arm: it for arm, it in tables.items() if f"{direction}_top" in it.columns})
        ]
    # Whatever is wrong with somebody's pictures must not cost them the rest of the report.
    except Exception as error:
        if isinstance(error, UntrustedError):
            _LOG.warning("The report shows no examples: %s", error)
        return ExampleGallery(trouble=f"The data set could not be read again: {error}")
    return ExampleGallery(shelves, seed, data.attribution, lookup.trouble)


def _outcomes(folder: Path, summary: TrainingSummary) -> tuple[int, dict[str, dict[str, pl.DataFrame]]]:
    """Read retrieval outcomes of the first seed with which most arms finished, by test set and arm."""
    seed, runs = finished_runs(folder, summary, "examples.parquet")
    tables: dict[str, dict[str, pl.DataFrame]] = {}
    for name, path in runs.items():
        frame = pl.read_parquet(path / "examples.parquet", glob=False).filter(
            (pl.col("task") == "retrieval") & pl.col("outcome").str.contains("(_R@1|_top)$")
        )
        for (test,), part in frame.partition_by("test", as_dict=True, maintain_order=True).items():
            tables.setdefault(str(test), {})[name] = part.pivot(on="outcome", index="example", values="value")
    return seed, tables


def finished_runs(folder: Path, summary: TrainingSummary, file: str) -> tuple[int, dict[str, Path]]:
    """Return the first seed with which most arms finished, and the folder of each arm's run that has some file."""
    finished: dict[int, dict[str, Path]] = {}
    for arm in summary.arms:
        without = {f.seed for f in arm.failed} | set(arm.unfinished)
        for seed in summary.seeds:
            path = run_folder(folder, arm.slug, seed)
            if seed not in without and (path / file).exists():
                finished.setdefault(seed, {})[arm.name] = path
    if not finished:
        return 0, {}
    seed = max(finished, key=lambda s: len(finished[s]))
    return seed, finished[seed]


class Lookup:
    """A finder that shows the examples of a data set by their ids."""

    def __init__(self, data: Data) -> None:
        self.data, self.ways = data, ways(data.columns)
        self.rows = {int(identity): row for row, identity in enumerate(data.ids)}
        # Outcomes are numbers of 53 bits, and ids of files have more.
        self.told = {float(identity): int(identity) for identity in data.ids}
        self.trouble = ""
        self._seen: dict[tuple[int, str, str], PageExample] = {}

    def examples(self, direction: str, tables: Mapping[str, pl.DataFrame]) -> dict[str, list[QueryExample]]:
        """Choose a few of every kind, in one direction of retrieval on one test set."""
        returned: dict[int, dict[str, tuple[int, bool]]] = {}
        for arm, table in tables.items():
            for identity, hit, top in table.select("example", f"{direction}_R@1", f"{direction}_top").rows():
                # A hit between 0 and 1 is a tie, or one of several captions: neither right nor wrong.
                if hit in (0.0, 1.0):
                    returned.setdefault(identity, {})[arm] = (self.told.get(top, -1), hit == 1.0)
        chosen: dict[str, list[QueryExample]] = {kind: [] for kind in KINDS}
        for identity in sorted(returned, key=order):
            answers = returned[identity]
            kind = kind_of(right for _, right in answers.values())
            known = identity in self.rows and all(top in self.rows for top, _ in answers.values())
            if len(answers) == len(tables) and known and len(chosen[kind]) < EACH:
                query, answer = self.ways[direction]
                question = self.show(identity, query, answer)
                chosen[kind].append(example(question, answers, lambda it: self.show(it, answer, query)))  # noqa: B023 # at once
        return {
            title if len(tables) > 1 else kind.capitalize(): chosen[kind]
            for kind, title in KINDS.items()
            if chosen[kind]
        }

    def show(self, identity: int, column: str, other: str) -> PageExample:
        """Show an example of a column, which is paired with another: texts in words, all else drawn beside them."""
        if (identity, column, other) not in self._seen:
            row, columns = self.rows[identity], self.data.columns
            text_column = next((it for it in (column, other) if columns[it] == TEXT), None)
            texts = (
                [self.data.key(row)]
                if text_column is None
                else list(self.data.evaluation_texts(text_column, row))
            )
            more = f" (+{len(texts) - _CAPTIONS})" if len(texts) > _CAPTIONS else ""
            caption = " / ".join(texts[:_CAPTIONS]) + more
            self._seen[identity, column, other] = (
                PageExample(caption) if column == text_column else self._thing(row, column, caption)
            )
        return self._seen[identity, column, other]

    def _thing(self, row: int, column: str, caption: str) -> PageExample:
        if self.trouble:
            return PageExample(caption)
        try:
            shown = self.data.read(column, np.array([row]))[0]
        except (LookupError, OSError, ValueError, ImportError) as error:
            self.trouble = f"What belongs to {column} could not be had: {error}"
            return PageExample(caption)
        return thing(self.data.columns[column], shown, caption)


def kind_of(rights: Iterable[bool]) -> str:
    """Return the kind of an example, a key of `KINDS`, by which answers are right."""
    hits = set(rights)
    return "apart" if len(hits) > 1 else "right" if True in hits else "wrong"


def example(
    query: PageExample, answers: Mapping[str, tuple[T, bool]], show: Callable[[T], PageExample]
) -> QueryExample:
    """Return a query with the arms' answers, right ones first; arms that answered the same share one."""
    grouped: dict[tuple[T, bool], list[str]] = {}
    for arm, answer in answers.items():
        grouped.setdefault(answer, []).append(arm)
    ordered = sorted(grouped.items(), key=lambda item: not item[0][1])
    return QueryExample(query, tuple(Answer(show(it), tuple(arms), right) for (it, right), arms in ordered))


def order(identity: int) -> bytes:
    """Return a key to choose examples by: not by hand, and the same ones whenever a report is made again."""
    return blake2b(str(identity).encode(), digest_size=8).digest()
