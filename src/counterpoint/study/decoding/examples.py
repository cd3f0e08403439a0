"""Replies for the report: what every arm said to the same few questions about the same pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...data.base import Rows
from ...data.pictured import PairedData
from ...evaluation import create, create_answering
from ...evaluation.statistic import mean, name_of
from ...evaluation.task import NotApplicableError
from ...files import DamagedFileError
from ...pages.things import PageExample, data_uri
from ...types import Picture, Scores
from ..report.examples import EACH, KINDS, ExampleGallery, QueryExample, Shelf, example, kind_of, order
from .design import DecodingDesign
from .transcript import NotAskedError, Replaying
from .units import data_of, read_unit, tests, units

_TRIED = 60
"""Rows of a test set that are looked through."""


@dataclass(frozen=True)
class Reply:
    """A reply of one arm to a question."""

    question: str
    picture: Picture | None
    text: str
    right: bool


def gallery(folder: Path, design: DecodingDesign) -> ExampleGallery:
    """Choose a few examples by the hash of their rows' ids: the same ones whenever a report is made again.

    A task is asked again about single rows, and the transcripts reply, so that each reply is shown beside what was
    asked and how it was scored. Tasks that read logits have no replies to show.
    """
    seed = design.seeds[0]
    try:
        data = data_of(design)
        shelves = [
            Shelf(test, task, kinds)
            for test, rows in tests(data, design.limit).items()
            for task in design.tasks
            if (kinds := _kinds(folder, design, data, rows, task, seed))
        ]
    # Whatever is wrong with somebody's pictures must not cost them the rest of the report.
    except Exception as error:
        return ExampleGallery(trouble=f"The data set could not be read again: {error}")
    trouble = "" if shelves else "No task of this study has replies that can be shown one by one."
    return ExampleGallery(shelves, seed, data.attribution, trouble)


def _kinds(
    folder: Path, design: DecodingDesign, data: PairedData, rows: Rows, task: str, seed: int
) -> dict[str, list[QueryExample]]:
    transcripts = {}
    for unit in units(design, folder):
        if (unit.task, unit.seed) == (task, seed) and unit.finished:
            with suppress(DamagedFileError):  # the page names it among the failed runs
                transcripts[unit.arm] = read_unit(unit).replies
    chosen: dict[str, list[QueryExample]] = {kind: [] for kind in KINDS}
    for row in sorted(rows, key=lambda row: order(int(data.ids[row])))[:_TRIED]:
        if all(len(examples) == EACH for examples in chosen.values()):
            break
        for replies in _of_row(task, data, np.array([row]), transcripts, seed):
            kind = kind_of(reply.right for reply in replies.values())
            if len(chosen[kind]) < EACH:
                chosen[kind].append(_example(replies))
                break  # another picture next
    return {KINDS[kind]: examples for kind, examples in chosen.items() if examples}


def _of_row(
    task: str, data: PairedData, row: Rows, transcripts: Mapping[str, Mapping[str, str]], seed: int
) -> Iterator[dict[str, Reply]]:
    """Yield what every arm replied to each question about a row; nothing where a reply or its score cannot be told."""
    by_arm: dict[str, list[Reply]] = {}
    for arm, replies in transcripts.items():
        replaying = Replaying(replies)
        try:
            scores = create_answering(task)(replaying, data, row, seed=seed)
        except (NotAskedError, NotApplicableError):
            return
        rights = _rights(scores)
        if rights is None or len(rights) != len(replaying.asked):
            return
        by_arm[arm] = [
            Reply(prompt.text, prompt.picture, reply, right)
            for (prompt, reply), right in zip(replaying.asked, rights, strict=True)
            if right is not None
        ]
    if len({len(replies) for replies in by_arm.values()}) == 1:
        for each in zip(*by_arm.values(), strict=True):
            yield dict(zip(by_arm, each, strict=True))


def _rights(scores: Scores) -> list[bool | None] | None:
    """Return which examples were as good as can be, by the first metric that is a mean of outcomes; else None."""
    task = create(scores.task)
    names = [task.primary, *scores.metrics]
    for name in names:
        metric = scores.metrics.get(name)
        if (
            metric is not None
            and isinstance(metric.columns, str)
            and name_of(metric.statistic) == mean.__name__
        ):
            best = 1.0 if metric.higher_is_better else 0.0
            outcomes = scores.examples[metric.columns].to_list()
            return [None if outcome is None else outcome == best for outcome in outcomes]
    return None


def _example(replies: Mapping[str, Reply]) -> QueryExample:
    """Show a question with the replies to it."""
    first = next(iter(replies.values()))
    picture = None if first.picture is None else data_uri(first.picture)
    answers = {arm: (reply.text, reply.right) for arm, reply in replies.items()}
    return example(
        PageExample(first.question, picture), answers, lambda text: PageExample(text or "(nothing)")
    )
