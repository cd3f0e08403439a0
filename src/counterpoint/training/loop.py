"""The loop: one step after another until the budget is spent, resumable at any of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.loading.examples import AllExamples
from ..data.loading.loader import Loader
from ..data.views import key as view_key
from ..execution import StopRequest, postponed
from ..execution.lease import check_held
from ..methods.base import Method
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, NonFiniteLossError, StepInfo
from .record.broken import ASKED, Budget
from .record.metrics import balanced_scalars, learnt_scalars
from .saving import checkpoint as checkpoints
from .saving.saver import Saver
from .sharing.distributed import device_of
from .speed.pace import Pace, Stopwatch, memory_in_use
from .step import caching
from .step.between import Between
from .step.precision import Precision
from .step.stages import Course
from .trackers import MetricLog


@dataclass(frozen=True)
class TrainingProgress:
    """The progress that a run tells while it trains.

    Attributes:
        step: steps that are done.
        steps: steps that there are.
        loss: of the last step; NaN before the first of this process.
        seconds: that the run has trained for, in earlier processes too.
        waited: of them, those that this process waited for data.
        lr: the learning rate of the last step; NaN before the first.
        pace: of the last half minute.
        memory: bytes that this process holds, on the GPU where it trains on one.
    """

    step: int
    steps: int
    loss: float = math.nan
    seconds: float = 0.0
    waited: float = 0.0
    lr: float = math.nan
    pace: Pace = field(default_factory=Pace)
    memory: int = 0


Validate = Callable[[Method], dict[str, float]]


def fit(
    method: Method,
    loader: Loader,
    recipe: Recipe,
    folder: Path | None = None,
    *,
    seed: int = 0,
    validate: Validate | None = None,
    on_step: Callable[[TrainingProgress], None] | None = None,
    accelerator: str = "auto",
    track: Sequence[str] = (),
) -> Method:
    """Train a method for the recipe's steps.

    With a folder, it goes on from the folder's newest checkpoint if there is one (bit-exactly on CPU: the batch and
    the dropout of a step follow from the seed and the step), and writes ``metrics.parquet`` and ``checkpoint/``.
    Ctrl-C, SIGTERM and SIGHUP finish the step, write a checkpoint and then raise `StopRequest`.

    In a process group (see `counterpoint.training.sharing.distributed`) each rank trains on its part of every batch,
    and all make the same step, that of one process. The first alone writes. All validate, each on everything: so none
    waits long for another, which a process group takes for a failure.

    Args:
        method: what to train, in place.
        loader: its batches; on several ranks, of this rank's ``rank`` and ``world``.
        recipe: how.
        folder: the run folder; without one nothing is written.
        seed: of dropout and whatever else draws from torch's generator.
        validate: called every ``recipe.validate_every`` steps and at the end; its numbers go into the metrics.
        on_step: called after every step, and at once where a run that goes on stands.
        accelerator: ``"cpu"``, ``"cuda"``, ``"mps"``, or ``"auto"``, the fastest there is.
        track: trackers besides Parquet (`counterpoint.training.trackers`), which the folder's numbers go to as well.

    Raises:
        ValueError: if the loader is of another number of ranks than there are, for ``fsdp`` where it cannot be, or for
            stages and rates of parameters that there are not.
        NonFiniteLossError: if a loss is NaN or infinite.
        CheckpointError: if a checkpoint cannot be written or read.
        LeaseLostError: if another process took the folder while this one was suspended.
        TooManyReplacementsError: if more examples had to be replaced than the data allows; the run stands at a
            checkpoint.
    """
    ranks = Ranks.present()
    if (loader.rank, loader.world) != (ranks.rank, ranks.size):
        raise ValueError(
            f"the loader is of rank {loader.rank} of {loader.world}, but this process is rank {ranks.rank} of "
            f"{ranks.size}: give it rank={ranks.rank}, world={ranks.size}"
        )
    device = device_of(accelerator)
    precision = Precision(recipe.precision, device)
    method.to(device)
    # Of all that a run learns, also of what moves in a later stage alone.
    begins = learnt_scalars(method)
    if method.wise is not None and recipe.parallel.mode == "fsdp":
        raise ValueError("wise blends whole weights, and under fsdp each process has a part of them: use ddp")
    # Before a checkpoint is read: what the run continued from.
    between = None if method.wise is None else Between(method, method.wise)
    course = Course(method, recipe, device, loader.batch_size)
    first = ranks.rank == 0
    # Of the largest part, so that all ranks either encode in microbatches or not.
    in_parts = 0 < recipe.microbatch < -(-loader.batch_size // ranks.size)
    start, spent = 0, 0.0
    # Of parts each rank reads its own.
    like = dict(method.named_parameters())
    start_anew = True
    if folder is not None and (saved := checkpoints.load(folder / "checkpoint", like=like)) is not None:
        start, spent, start_anew = saved.step, saved.seconds, False
        course.reach(start)
        # Moments that were saved at the end of a stage are not the next one's.
        optimizer = None if start == course.span.first else course.optimizer
        checkpoints.restore(saved, method, optimizer, precision.scaler)
        if on_step is not None:
            on_step(TrainingProgress(start, recipe.total_steps, seconds=spent))
    log = MetricLog(folder if first else None, track, start)
    if start == 0:
        # Where each scalar begins, and where it would balance: by these a study tells those that could not move.
        log.add(0, begins | balanced_scalars(method, loader.batch_size))
    part = -(-loader.batch_size // ranks.size)
    broken = Budget(loader.data.broken, loader.order.examples, folder, start, part, ranks.rank, ranks.size)
    method.train()
    # As if the run had never been interrupted: its seconds are those of all its processes.
    began, watch = time.perf_counter() - spent, Stopwatch(loader.batch_size)

    saver = None
    if folder is not None:
        saver = Saver(folder / "checkpoint", method, precision.scaler)

    def save(step: int, last: bool) -> None:
        if saver is not None and folder is not None:
            check_held(folder)
            log.save()
            saver.save(step, course.optimizer, time.perf_counter() - began if step else 0.0, last)

    def start_epoch(clock: StepInfo) -> None:
        watch.go()  # this is no waiting for data
        examples = AllExamples(loader, clock, device, recipe.microbatch if in_parts else part)
        _seeded(device, seed, clock.step, "look")
        method.eval()
        with torch.no_grad(), precision.autocast():
            method.on_epoch_start(examples, clock)
        method.train()
        watch.wait()

    # A method with nothing to train is saved as it starts, so that it can be evaluated beside others.
    steps = recipe.total_steps if course.trains else start
    with log, course, threads(recipe.threads), postponed() as stop:
        watch.wait()
        for batch, clock in _batches(loader, method, course, start, steps, start_epoch):
            watch.go()
            broken.add(clock.step, len(batch.ids), loader.replaced)
            # The same on all ranks, as what is chosen of a batch must be.
            _seeded(device, seed, clock.step, "prepare")
            with torch.no_grad(), precision.autocast():
                batch = method.prepare(batch.to(device), clock)
            # The step's own seed makes dropout a function of (seed, step), which is what makes resuming exact.
            _seeded(device, seed, clock.step, "step", ranks.rank)
            rate = course.rate(clock.step)
            # None and not zeros: the optimiser leaves alone, undecayed too, what no loss of this step reaches.
            method.zero_grad(set_to_none=True)

            if in_parts:
                losses, z = caching.backward(
                    method,
                    batch,
                    clock,
                    recipe.microbatch,
                    propagate=precision.backward,
                    autocast=precision.autocast,
                    parallel=course.parallel,
                )
            else:
                with precision.autocast():
                    losses, z = forward(method, batch, clock)
                total = torch.stack(list(losses.values())).sum()
                course.parallel.last([total])
                precision.backward(total)
            # Before the norm is clipped: it is that of the whole batch's gradient, the same on every rank.
            course.parallel.average()
            overflow = precision.unscale(course.optimizer, recipe.optimizer.clip_norm)
            now = step_numbers(losses, overflow, max(stop.number or 0, broken.asks), ranks)
            # Before the optimiser steps, so that no NaN gets into weights or moments; what led here is still written.
            if not now.finite:
                log.save()
                raise _non_finite(now.terms, batch, clock)
            precision.step(course.optimizer, now.overflow)
            # Copies and queues stay where the weights do. The end of a task comes, its last step taken or not.
            if not now.overflow or clock.ends_task:
                with torch.no_grad():
                    method.after_step({k: v.detach() for k, v in z.items()}, batch, clock)
            done = clock.step + 1
            if between is not None and done == clock.steps:
                between.apply()
            seconds, numbers = time.perf_counter() - began, dict[str, float]()
            if done % recipe.log_every == 0 or done == clock.steps:
                numbers |= {"loss": now.loss, "lr": rate, "seconds": seconds}
                numbers |= {f"loss/{name}": term for name, term in now.terms.items()}
                numbers |= learnt_scalars(method) | method.numbers()
            if validate is not None and (done % recipe.validate_every == 0 or done == clock.steps):
                numbers |= {f"validation/{k}": v for k, v in validate(method).items()}
                method.train()
            if numbers:
                log.add(done, numbers)
            if on_step is not None:
                pace, memory = watch.step(clock.steps - done), memory_in_use(device)
                on_step(
                    TrainingProgress(done, clock.steps, now.loss, seconds, watch.waited, rate, pace, memory)
                )
            if done % recipe.checkpoint_every == 0 or done == clock.steps or now.ends:
                save(done, last=done == clock.steps)
            if now.ends:
                if saver is not None:
                    saver.finish()
                raise broken.error() if now.ends == ASKED else StopRequest(now.ends)
            watch.wait()
        if not course.trains:
            if method.closed and start_anew:
                start_epoch(course.clock(StepInfo(0, recipe.total_steps)))
                if on_step is not None:
                    on_step(TrainingProgress(0, recipe.total_steps, seconds=time.perf_counter() - began))
            save(0, last=True)
        stop.check()  # it may have been asked since the last step
        log.close()
    return method


def _batches(
    loader: Loader,
    method: Method,
    course: Course,
    start: int,
    steps: int,
    start_epoch: Callable[[StepInfo], None],
) -> Iterator[tuple[Batch, StepInfo]]:
    """Yield the batches of steps ``start`` to ``steps - 1``; looks come before the batches that they say something of.

    Where a method makes batches of groups, those behind a look are loaded anew; before the first one of this process,
    the groups are those that an earlier one left.
    """
    source = loader.batches(start, steps)
    if method.regroups:
        loader.regroup(method.groups, method.group_sampler)
    for step in range(start, steps):
        course.reach(step)
        clock = course.clock(loader.order.clock(step, steps))
        if course.starts_epoch(clock, loader.order):
            start_epoch(clock)
            if method.regroups:
                loader.regroup(method.groups, method.group_sampler)
                source = loader.batches(step, steps)
        batch, batch_clock = next(source)
        yield batch, course.clock(batch_clock)


def _seeded(device: torch.device, seed: int, step: int, purpose: str, rank: int = 0) -> None:
    """Let torch's generators draw what follows from the seed and the step."""
    key = int(view_key(seed, step, np.array([rank]), purpose)[0] >> np.uint64(1))
    if device.type == "cpu":
        # For accelerators that are not in use `torch.manual_seed` writes down its callers, a hundredth of a step.
        torch.default_generator.manual_seed(key)
    else:
        torch.manual_seed(key)


def forward(method: Method, batch: Batch, clock: StepInfo) -> tuple[dict[str, Tensor], Embeddings]:
    """Return the losses of a batch and what they are of, with the graph of the whole batch."""
    with torch.no_grad():
        z = method.targets(batch)
    z = method.second_round(z | method.encode(batch), batch)
    return method.losses(z, batch, clock), z


@dataclass(frozen=True)
class StepNumbers:
    """The numbers of a step that the processor must know.

    Attributes:
        terms: the losses by name.
        loss: their sum.
        finite: every term is, on all ranks.
        overflow: gradients of float16 do, on any rank.
        ends: the signal that this step is the last for, on any rank, or `ASKED`; 0 for none.
    """

    terms: dict[str, float]
    loss: float
    finite: bool
    overflow: bool
    ends: int


def step_numbers(losses: dict[str, Tensor], overflow: Tensor, asks: int, ranks: Ranks) -> StepNumbers:
    """Bring a step's numbers from the device and from all ranks, in the step's one wait for either.

    All ranks stop behind the same step: one that went on alone would wait for the others for ever.

    >>> step_numbers({"a": torch.tensor(1.0), "b": torch.tensor(0.5)}, torch.zeros(()), 0, Ranks())
    StepNumbers(terms={'a': 1.0, 'b': 0.5}, loss=1.5, finite=True, overflow=False, ends=0)
    """
    terms = torch.stack([term.detach() for term in losses.values()])
    here = torch.cat([terms, terms.sum()[None], overflow[None].to(terms), torch.full_like(terms[:1], asks)])
    every = torch.stack(ranks.stack(here)).tolist()
    *values, loss, _, _ = every[ranks.rank]
    return StepNumbers(
        dict(zip(losses, values, strict=True)),
        loss,
        finite=all(np.isfinite(value) for row in every for value in row),
        overflow=any(row[-2] for row in every),
        ends=max(int(row[-1]) for row in every),
    )


def _non_finite(terms: dict[str, float], batch: Batch, clock: StepInfo) -> NonFiniteLossError:
    bad = [name for name, value in terms.items() if not np.isfinite(value)] or list(terms)
    inputs = [
        name for name, view in batch.views.items() if view.is_floating_point() and not view.isfinite().all()
    ]
    cause = "the inputs are finite: a smaller learning rate, a longer warm-up or a lower temperature bound may help"
    if inputs:
        cause = f"the inputs {inputs} hold NaN or infinite values: check the data of these examples"
    elif clock.step == 0:
        cause = "nothing has been learnt yet and the inputs are finite: check the loss itself and its options"
    return NonFiniteLossError(
        f"the loss is not finite at step {clock.step}: term {', '.join(bad)} of {terms}; {cause}. "
        f"Ids of the batch: {batch.ids.tolist()}"
    )


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use a number of threads inside the block; 0 leaves it as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
