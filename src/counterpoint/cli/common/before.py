"""Lines that are printed before the first step of a run: what it will hold, how fast it will be, what would mend it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from ...reasons import a_second, counted, sized
from ...recipes import Recipe
from .progress import in_words
from .terminal import Terminal

if TYPE_CHECKING:
    from ...training.run import Run
    from ...training.speed.memory import MemoryReport


def show_memory(console: Terminal, run: Run, asked: Recipe) -> tuple[MemoryReport, int | None]:
    """Print what to know before the first step, what a step will hold, and the largest batch that would fit.

    Args:
        console: where to.
        run: that is to begin, with its number of steps.
        asked: the recipe as it was given, in which steps may follow the data.

    Returns:
        The memory by holder, and the bytes that are free for each process; None where the system does not tell.
    """
    import torch

    from ...study.gate import check_batch
    from ...study.opened import open_data
    from ...study.training.cost import cut_captions
    from ...study.words.remarks import cut_in_words, gaps_in_words, length_in_words, random_starts
    from ...training.drawn import drawn
    from ...training.record.negatives import negatives_in_words, negatives_per_anchor
    from ...training.sharing.distributed import first_alone
    from ...training.speed.memory import available, measure
    from ...training.start import prepare
    from ...training.trained import trained_rows

    recipe = run.recipe
    with first_alone():
        data = open_data(run)
        data = drawn(run, data)
        method, loader = prepare(run, data)
    # Before anything is measured: the run would refuse a batch of one, and say that a batch holds all rows.
    check_batch(method, run.arm, recipe, data)
    trained = trained_rows(run.arm, data)
    method.check_start(len(trained))
    for line in (
        *gaps_in_words({run.arm: (len(trained), len(data.splits.train) - len(trained))}),
        *length_in_words(asked, len(trained), loader.batch_size, recipe.total_steps),
        *cut_in_words({run.arm: cut_captions(method, data)}),
        *random_starts(recipe, {run.arm: sum(p.numel() for p in method.parameters())}, data.columns),
    ):
        console.print(f"! {line}", style="yellow", soft_wrap=True)
    negatives = negatives_per_anchor(method, loader)
    console.print(
        f"negatives per anchor: {negatives_in_words(negatives)}, in a batch of {loader.batch_size:,}"
    )
    report, ranks = measure(method, loader, recipe.microbatch), loader.world
    parts = report.at(-(-loader.batch_size // ranks), recipe.microbatch)
    held = ", ".join(f"{name} {sized(count)}" for name, count in parts.items())
    each = f" of each of {ranks} processes" if ranks > 1 else ""
    console.print(f"memory of a step{each}, measured on a few examples: {held}", soft_wrap=True)
    free = None
    with suppress(OSError):
        free = available("cuda") if torch.cuda.is_available() else available() // ranks
        largest = ranks * report.largest(free, recipe.microbatch)
        console.print(f"largest batch that fits into the {sized(free)} free: {largest:,}")
    return report, free


def show_forecast(console: Terminal, run: Run, report: MemoryReport, free: int | None) -> None:
    """Print what the loader delivers and the model takes, the range of the run's time, and what would make it faster.

    Args:
        console: where to.
        run: with its number of steps.
        report: the memory of its steps.
        free: bytes that are free for each process; None where the system does not tell.
    """
    from ...pairwise.ranks import Ranks
    from ...study.opened import open_data
    from ...training.drawn import drawn
    from ...training.forecast import Forecast, Speed, cores, measured
    from ...training.trained import trained_rows

    recipe, ranks = run.recipe, Ranks.present().size
    data = drawn(run, open_data(run))
    batch = min(recipe.batch_size, len(trained_rows(run.arm, data)))
    with console.status("timing a few steps"):
        speeds = measured(run, data)
    speed = Speed(
        median(each.prepared for each in speeds), median(each.taken for each in speeds), speeds[0].examples
    )
    share = -(-batch // ranks)
    forecast = Forecast(
        speed,
        steps=recipe.total_steps,
        batch_size=batch,
        workers=recipe.workers,
        cores=max(cores() // ranks, 1),
        memory=sum(report.at(share, recipe.microbatch).values()),
        free=free,
        microbatch=recipe.microbatch,
        fitting=0 if free is None else report.encoded(free, share),
    )
    by = f"{counted(recipe.workers, 'worker')}" if recipe.workers else "the training process"
    console.print(f"loader: {a_second(forecast.delivered)} pairs/s from {by}")
    console.print(f"model: {a_second(speed.taken)} pairs/s, measured in steps of {speed.examples:,}")
    for line in forecast.advice():
        console.print(f"! {line}", style="yellow", soft_wrap=True)
    hours = [replace(forecast, speed=each).hours for each in speeds]
    least, greatest = in_words(3600 * min(hours)), in_words(3600 * max(hours))
    console.print(
        f"{least if least == greatest else f'{least} to {greatest}'} for {recipe.total_steps:,} steps of {batch:,}, "
        f"at {a_second(forecast.pairs)} pairs/s; evaluation comes on top",
        soft_wrap=True,
    )
