"""counterpoint compare."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic.dataclasses import dataclass as form

from ..data.named import check_named
from ..forms import FORM, FlatField, Names
from ..reasons import between, counted, share_in_words
from ..study.design import Design, check_names, check_options
from .common.arguments import parse, value_of
from .common.execution import Execution
from .common.files import FileOptions
from .common.study import Output, carry_out
from .common.terminal import Terminal

if TYPE_CHECKING:
    from ..study.design import ArmPlan
    from ..study.presets import StudyPreset
    from ..study.schema import TrainingSummary
    from ..training.run import Run


@form(frozen=True, config=FORM)
class CompareOptions:
    """Train several methods under one recipe, evaluate them on the same examples, say which differences are real."""

    study: Annotated[Design, FlatField()]
    files: Annotated[FileOptions, FlatField()] = field(default_factory=FileOptions)
    preset: str | None = None
    """A published protocol (counterpoint list presets), or a paper whose claim compares training runs (moco, siglip):
    its arms, tasks, budget and margin, where none are given."""
    diagnose: bool = False
    """Look inside the first run of every arm too (see: counterpoint diagnose); the report links the pages."""
    track: Names = ()
    """Trackers that the numbers of all runs go to besides metrics.parquet: tensorboard, wandb, mlflow."""
    execution: Annotated[Execution, FlatField()] = field(default_factory=Execution)
    output: Annotated[Output, FlatField()] = field(default_factory=Output)


def main(arguments: Sequence[str]) -> int:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            "compare starts its own processes; start it without torchrun, which is for counterpoint train"
        )
    from ..catalog import reproductions

    named = value_of(arguments, "--preset")
    preset = reproductions().find(named) if named else None
    stated = {"arms": preset.arms, "budget": preset.budget, "margin": preset.margin} if preset else None
    options = parse(CompareOptions, arguments, "compare", stated)
    design = replace(options.study, data=options.files.of(options.study.data))
    where, executor = options.execution, options.execution.chosen
    check_named(design.data)
    check_names(design)  # before torch is loaded, so that a typo is answered at once

    console = Terminal(stderr=options.output.json)
    with console.status("loading torch"):
        check_options(design)
        from ..data.source import load_any
        from ..study.training.study import conduct, default_jobs
        from ..study.words.remarks import remarks
        from ..training.trackers import check as check_trackers
    check_trackers(options.track)

    def show_cost(design: Design, plans: Mapping[str, ArmPlan]) -> None:
        console.print(*cost_tables(design, plans, where.jobs or default_jobs()))
        for line in remarks(design, plans):
            console.print(f"! {line}", style="yellow", soft_wrap=True)

    image_size = design.recipe.towers.image_size
    show_data_report(console, design)
    check_batch_size(arguments, design)
    if preset and design.arms == preset.arms:
        data = load_any(design.data, image_size)
        design = replace(design, arms=preset.arms_for(data, design.labels))
        if left := [arm for arm in preset.arms if not {*preset.forms(arm, data)} & {*design.arms}]:
            console.print(f"left out, as the data has no columns or labels for them: {', '.join(left)}")
    if preset and not design.tasks:
        design = replace(design, tasks=preset.tasks_for(load_any(design.data, image_size)))
        left = [task for task in preset.tasks if task not in design.tasks]
        console.print(f"{preset.name}: {', '.join(design.tasks)}")
        if left:
            console.print(f"left out, as the data has nothing for them: {', '.join(left)}")
    conducted = partial(
        conduct,
        design,
        jobs=where.jobs,
        executor=executor,
        needs=where.needs,
        diagnose=options.diagnose,
        track=options.track,
    )
    study = carry_out(console, options.output, conducted, show_cost)
    if preset and study is not None and not options.output.json:
        show_standings(console, study.summary, preset)
    return 0


def show_data_report(console: Any, planned: Run | Design) -> None:
    """Print what is worth knowing before training on a user's own files, and on labels that were changed."""
    from ..study.opened import open_data

    with console.status(f"reading {planned.data}"):
        findings = open_data(planned).findings()
    for title, line in findings.items():
        console.print(f"{title}: {line}", soft_wrap=True)


def check_batch_size(arguments: Sequence[str], planned: Run | Design) -> None:
    """Refuse a batch size that was typed and is more than there is to train on; a recipe's own gives way.

    Raises:
        ValueError: naming the largest one.
    """
    from ..study.opened import open_data

    rows = len(open_data(planned).splits.train)
    if value_of(arguments, "--batch-size") and planned.recipe.batch_size > rows > 0:
        raise ValueError(
            f"--batch-size {planned.recipe.batch_size} is more than the {counted(rows, 'row')} of {planned.data} that "
            f"are trained on: give at most {rows}, or leave it out"
        )


def cost_tables(design: Design, plans: Mapping[str, ArmPlan], jobs: int) -> tuple[Any, Any]:
    """Return tables of what the study will cost: the range of measured seconds per step, times what is to be done.

    Args:
        design: the study.
        plans: of its arms, with their costs.
        jobs: runs at a time, each with its share of the cores, with which the steps were timed too.
    """
    from rich import box
    from rich.table import Table

    from ..modalities import leading
    from ..study.words.names import short_names
    from ..study.words.terminal import NAME, shorten
    from ..training.record.negatives import negatives_in_words

    seeds, trials = len(design.seeds), design.tune
    priced = {arm: (plan.steps, plan.cost) for arm, plan in plans.items() if plan.cost is not None}
    at_once = min(jobs, len(plans) * seeds)
    timed = any(cost.seconds_per_step for _, cost in priced.values())
    ranges = {
        arm: (cost.seconds_range[0] * steps, cost.seconds_range[1] * steps)
        for arm, (steps, cost) in priced.items()
    }
    least, greatest = (
        sum(seconds[end] for seconds in ranges.values()) * (seeds + trials) / at_once / 60 for end in (0, 1)
    )
    notes = [f"{at_once} runs at a time"] * (at_once > 1)
    notes += [f"{counted(trials, 'tuning trial')} per arm included"] * (trials > 0)
    times = Table(
        title=f"{counted(len(plans), 'arm')} × {counted(seeds, 'seed')} on {design.data}"
        + (f": {between(least, greatest, 1)} min of training" if timed else "")
        + (f" ({', '.join(notes)})" if notes and timed else ""),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    sizes = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        caption=f"budget: equal {design.budget}"
        + (
            "; measured on this machine over a few steps; evaluation comes on top"
            if timed
            else "; not timed here"
        ),
        caption_justify="left",
    )
    modality = leading(cost.passes for _, cost in priced.values())
    gaps = any(cost.left_out for _, cost in priced.values())
    rows = ["rows"] if gaps else []
    passes = [f"{modality} passes a step", f"{modality} passes a run"]
    for table, headings in (
        (times, [*rows, "steps", "seconds a run", *passes]),
        (sizes, ["negatives per anchor", "parameters", "peak memory"]),
    ):
        table.add_column("arm", no_wrap=True)
        for heading in headings:
            table.add_column(heading, justify="right")
    short = short_names(list(priced))
    names = shorten(list(short.values()), NAME)
    for arm, (steps, cost) in priced.items():
        times.add_row(
            names[short[arm]],
            *([share_in_words(cost.rows, cost.left_out)] if gaps else []),
            f"{steps:,}",
            between(*ranges[arm]) if timed else "",
            f"{cost.passes.get(modality, 0):g} × {cost.batch_size}",
            f"{round(cost.passes_of_run(modality, steps)):,}",
        )
        sizes.add_row(
            names[short[arm]],
            negatives_in_words(cost.negatives),
            f"{cost.parameters / 1e6:.1f} M",
            f"{cost.peak_memory_bytes / 2**30:.1f} GB",
        )
    return times, sizes


def show_standings(console: Any, summary: TrainingSummary, preset: StudyPreset) -> None:
    """Print the arms by their mean rank over the preset's tasks, where there are several and its baseline is there."""
    from ..methods.arm import Arm
    from ..study.words.standings import mean_ranks, of_arms
    from ..study.words.terminal import standings_table

    ranked = [arm for arm in summary.arms if Arm.parse(arm.name).method not in preset.pairwise]
    scores = of_arms(ranked, preset.tasks)
    if preset.baseline not in scores:
        return
    count = len(scores[preset.baseline])
    if count > 1:  # the order by one task is that of the table above
        console.print(standings_table(mean_ranks(scores, preset.baseline), preset))
    elif not count:
        console.print(f"no mean ranks: some arms lack numbers that {preset.baseline} has on {preset.name}")
