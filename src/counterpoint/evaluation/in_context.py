"""EvALign-ICL: flaws of a model along five axes, as a function of the examples it is shown, and what variants do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ..data.base import Rows
from ..data.pictured import PairedData
from ..diagnostics.plots import Curve, lines
from ..diagnostics.report import DiagnosticSection
from ..registry import unknown
from ..types import Assistant, Scores
from .in_context_shots import NOTHING, ZERO_SHOT, Shots
from .in_context_task import InContextTask
from .task import NotApplicableError
from .tasks.abstention import Abstention
from .tasks.captioning import Captioning
from .tasks.explanation import Explanation
from .tasks.following import InstructionFollowing
from .tasks.matching import Matching
from .tasks.selection import Selection

PAPERS = {"evalign-icl": ("examine",)}

SHOTS = (NOTHING, ZERO_SHOT, Shots(4), Shots(8))


@dataclass(frozen=True)
class Axis:
    """One way in which a model may fail.

    Attributes:
        title: for people.
        meaning: the task's main metric, which is plotted, in words.
        task: asks about it, in each of its variants.
    """

    title: str
    meaning: str
    task: type[InContextTask]


AXES: Mapping[str, Axis] = {
    "hallucination": Axis(
        "Object hallucination", "share of mentioned things that are not there (CHAIRi)", Captioning
    ),
    "abstention": Axis("Abstention", "F1 of abstaining from absurd questions", Abstention),
    "matching": Axis(
        "Compositionality: matching", "accuracy of yes and no to captions and their foils", Matching
    ),
    "selection": Axis(
        "Compositionality: selection", "accuracy of choosing the caption over its foil", Selection
    ),
    "explanation": Axis("Explanation", "CIDEr of reasons", Explanation),
    "following": Axis("Following instructions", "CIDEr of replies", InstructionFollowing),
}
"""The paper's axes: compositionality is two of these."""


def examine(
    assistant: Assistant,
    data: PairedData,
    rows: Rows,
    *,
    shots: Sequence[Shots] = SHOTS,
    seeds: Sequence[int] = (0, 1, 2),
    axes: Sequence[str] = (),
    notify: Callable[[str], None] = lambda text: None,
) -> pl.DataFrame:
    """Ask a model along every axis, in every variant, after as many examples as are named, drawn by each seed.

    All variants are shown the same examples for one seed. `ZERO_SHOT` is the paper's zero-shot but for
    `InstructionFollowing`, where it is `NOTHING`.

    Args:
        assistant: is asked.
        data: what it is asked about; its training rows give the examples.
        rows: of the data.
        shots: how many examples.
        seeds: of the examples.
        axes: names of `AXES`; without any, all that apply to the data.
        notify: called with a line on what is being asked.

    Returns:
        ``axis``, ``variant``, ``shots``, ``seed``, ``subset``, ``metric``, ``value``, ``chance`` (null where unknown)
        and ``higher_is_better``; a row for each metric of each task, over all items and over each kind. A variant
        that does not apply has none.

    Raises:
        UnknownNameError: for an axis that there is not.
        NotApplicableError: if no axis, or one that was asked for, applies.

    Source: Shukor et al., "Beyond Task Performance: Evaluating and Reducing the Flaws of Large Multimodal Models with
    In-Context Learning" (2023), arXiv 2310.00647.
    """
    for name in axes:
        if name not in AXES:
            raise unknown("axis", name, AXES)
    outcomes: list[dict[str, object]] = []
    for name in axes or AXES:
        before, reason = len(outcomes), NotApplicableError(f"{name} does not apply to {data.name!r}")
        task = AXES[name].task
        for variant in task.variants:
            for several in shots:
                notify(f"{name}, {variant}, {several.name} examples")
                try:
                    for seed in seeds:
                        scores = task(several, variant)(assistant, data, rows, seed=seed)
                        labels = {"axis": name, "variant": variant, "shots": several.name, "seed": seed}
                        outcomes += [{**labels, **numbers} for numbers in _numbers(scores)]
                except NotApplicableError as error:
                    reason = error
        if axes and len(outcomes) == before:
            raise reason
    if not outcomes:
        raise reason
    return pl.DataFrame(outcomes, infer_schema_length=None)


def _numbers(scores: Scores) -> Iterator[dict[str, object]]:
    """Yield every metric of a task over all items and over each kind."""
    for subset in scores.subsets():
        for name, metric in scores.metrics.items():
            yield {
                "subset": subset,
                "metric": name,
                "value": scores.value(name, subset),
                "chance": metric.chance,
                "higher_is_better": metric.higher_is_better,
            }


def sections(outcomes: pl.DataFrame) -> list[DiagnosticSection]:
    """Make a section for each axis that `examine` found: a curve for each variant, a sentence and all numbers.

    Args:
        outcomes: the table.
    """
    return [
        _section(name, outcomes.filter(axis=name)) for name in outcomes["axis"].unique(maintain_order=True)
    ]


def _section(name: str, outcomes: pl.DataFrame) -> DiagnosticSection:
    axis = AXES[name]
    metric = axis.task.primary
    order = outcomes["shots"].unique(maintain_order=True).to_list()
    means = (
        outcomes.filter(pl.col("value").is_finite())
        .group_by("variant", "shots", "subset", "metric", maintain_order=True)
        .agg(pl.col("value").mean(), pl.col("value").std().alias("deviation"))
    )
    main = means.filter(metric=metric, subset="all")
    curves: dict[str, Curve] = {}
    clauses = []
    for variant in main["variant"].unique(maintain_order=True):
        of_variant = main.filter(variant=variant)
        curves[variant] = ([order.index(each) for each in of_variant["shots"]], of_variant["value"].to_list())
        values = ", ".join(
            f"{value:.3g} after {shots}"
            for shots, value in zip(of_variant["shots"], of_variant["value"], strict=True)
        )
        clauses.append(f"{variant}: {values}")
    seeds = outcomes["seed"].n_unique()
    better = "higher" if outcomes.filter(metric=metric)["higher_is_better"].all() else "lower"
    sentence = (
        f"The {axis.meaning}, {better} is better, after so many examples (mean over {seeds} "
        f"{'draw' if seeds == 1 else 'draws'} of them). {'; '.join(clauses)}."
    )
    numbers: dict[str, float] = {}
    for row in means.iter_rows(named=True):
        label = f"{row['metric']}, {row['variant']}, {row['shots']} examples"
        if row["subset"] != "all":
            label += f", {row['subset']}"
        numbers[label] = row["value"]
        # One draw has no deviation.
        if row["metric"] == metric and row["subset"] == "all" and row["deviation"] is not None:
            numbers[f"{label}: standard deviation over draws"] = row["deviation"]
    figure = lines(curves, x="examples", y=axis.meaning, ticks=order) if curves else None
    return DiagnosticSection(name, axis.title, sentence, numbers, figure)
