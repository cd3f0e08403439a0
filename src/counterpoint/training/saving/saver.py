"""Checkpoints as they are written: by the first rank, or, of a model in parts, by all and in the background."""

from __future__ import annotations

import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, final

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ...files import checkpoints_in, put_in_place, write_json, writing_folder
from ...pairwise.ranks import Ranks
from ...room import unwritten
from ..sharing.distributed import is_part, whole
from . import parts
from .checkpoint import (
    KEPT,
    MODEL,
    MODEL_PART,
    OPTIMIZER,
    OPTIMIZER_PART,
    TRAINER,
    CheckpointError,
    Trainer,
    trained_parameters,
)

_PARTS = ".step-{}.parts.part"
"""The name of a checkpoint in parts until all are written, by its step."""


@final
class Saver:
    """Writer of a run's checkpoints: by the first rank, or, of a model in parts, by all and in the background.

    Args:
        folder: of the checkpoints; there is one saver of a folder at a time.
        module: what is saved.
        scaler: of the loss, if it has one.
    """

    def __init__(self, folder: Path, module: nn.Module, scaler: torch.amp.GradScaler | None = None) -> None:
        self.folder, self.module, self.scaler = folder, module, scaler
        self.in_parts = any(is_part(p) for p in module.parameters())
        self._first = Ranks.present().rank == 0
        self._pool = ThreadPoolExecutor(1, "checkpoint")
        self._pending: tuple[int, int, Future[None]] | None = None
        if self._first:
            for left in folder.glob(_PARTS.format("*")):
                shutil.rmtree(left, ignore_errors=True)

    def save(self, step: int, optimizer: torch.optim.Optimizer, seconds: float, last: bool = False) -> None:
        """Write a checkpoint, or begin to; one of parts that is still being written is waited for.

        Args:
            step: how many steps are done.
            optimizer: the optimiser that made the last of them.
            seconds: that they took.
            last: the run is over: the checkpoint is whole, whatever those before it were.

        Raises:
            CheckpointError: if this one or the one before it cannot be written.
        """
        self.finish()
        if last or not self.in_parts:
            save(self.folder, step, self.module, optimizer, self.scaler, seconds)
            return
        tensors = {f"{MODEL_PART}{name}": t for name, t in self.module.state_dict().items()}
        moments = _moments(self.module, optimizer)
        tensors |= {f"{OPTIMIZER_PART}{name}": t for name, t in moments.items()}
        size = sum(t.numel() * t.element_size() for t in tensors.values())
        part = self.folder / _PARTS.format(step)
        self.folder.mkdir(parents=True, exist_ok=True)
        written = parts.begin({name: t.detach() for name, t in tensors.items()}, part)
        self._pending = step, size, self._pool.submit(self._end, written, part, step, seconds)

    def _end(self, written: Future[Any], part: Path, step: int, seconds: float) -> None:
        """Wait for the parts, and let the first rank give them their name."""
        written.result()
        if self._first:
            sizes = {file.name: file.stat().st_size for file in part.iterdir()}
            trainer = Trainer(step=step, seconds=seconds, parts=sizes)
            write_json(part / TRAINER, trainer.model_dump())
            target = self.folder / f"step-{step:07d}"
            put_in_place(part, target)
            _forget(self.folder, target)

    def finish(self) -> None:
        """Wait for what is being written.

        Raises:
            CheckpointError: if it cannot be.
        """
        if self._pending is None:
            return
        step, size, ended = self._pending
        self._pending = None
        try:
            ended.result()
        except BaseException as error:  # torch tells of failed ranks in what is no Exception
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            failure = parts.failure(error)
            if isinstance(failure, Exception):
                failure = unwritten(failure, self.folder / f"step-{step:07d}", size)
            raise _unwritten(self.folder, step, failure) from error


def save(
    folder: Path,
    step: int,
    module: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    scaler: torch.amp.GradScaler | None = None,
    seconds: float = 0.0,
) -> None:
    """Write ``folder/step-N``, then delete all but it and the one before. A failure leaves the older ones as they were.

    All ranks call it, and the first writes.

    Raises:
        CheckpointError: if it cannot be written (a full disk, no permission).
    """
    model = _contiguous(module.state_dict())
    moments = None if optimizer is None else _contiguous(_moments(module, optimizer))
    if Ranks.present().rank > 0:
        return
    target = folder / f"step-{step:07d}"
    size = sum(t.numel() * t.element_size() for t in (*model.values(), *(moments or {}).values()))
    try:
        with writing_folder(target, size) as part:
            save_file(model, part / MODEL)
            if moments is not None:
                save_file(moments, part / OPTIMIZER)
            scale = scaler.state_dict() if scaler else {}
            write_json(part / TRAINER, Trainer(step=step, seconds=seconds, scaler=scale).model_dump())
    except Exception as error:  # whatever it is, the user is told what is still there
        raise _unwritten(folder, step, error) from error
    _forget(folder, target)


def _forget(folder: Path, target: Path) -> None:
    """Delete all checkpoints but one that is whole now and those before it that are kept."""
    before = [path for path in checkpoints_in(folder) if path.name < target.name]
    # A leftover that cannot be deleted is no reason to end a run.
    for old in set(checkpoints_in(folder)) - {target, *before[: KEPT - 1]}:
        shutil.rmtree(old, ignore_errors=True)


def _unwritten(folder: Path, step: int, error: BaseException) -> CheckpointError:
    """Say that a checkpoint could not be written, and what is still there."""
    before = [path for path in checkpoints_in(folder) if path.name < f"step-{step:07d}"]
    kept = f"the checkpoint {before[0].name} is intact" if before else "there was no earlier checkpoint"
    said = error.strerror if isinstance(error, OSError) and error.strerror else error
    return CheckpointError(
        f"could not write the checkpoint of step {step} to {folder}: {said}; {kept}. "
        "Free some space or fix the permissions, then run the same command again: it goes on from there."
    )


def _moments(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return what an optimiser remembers, by parameter and slot."""
    names = {identity: name for name, identity in trained_parameters(module).items()}
    return {
        f"{names[id(parameter)]}/{slot}": torch.as_tensor(value)
        for group in optimizer.param_groups
        for parameter in group["params"]
        for slot, value in optimizer.state.get(parameter, {}).items()
    }


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # safetensors refuses tensors that share memory, and loses channels-last strides; clones have neither problem.
    # Ranks bring parts together one by one, and the first alone keeps them.
    kept, first = {}, Ranks.present().rank == 0
    for name, tensor in tensors.items():
        entire = whole(tensor.detach())
        if first:
            kept[name] = entire.cpu().contiguous().clone()
    return kept
