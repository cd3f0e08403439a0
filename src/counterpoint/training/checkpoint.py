"""Checkpoints: a folder per step, whole or absent: safetensors for tensors, JSON for the rest, digests of both.

While the ranks of a run have a part each of its model, its checkpoints are in parts, too (see
`counterpoint.training.parts`); the last one is not.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..files import (
    FORMAT,
    Damaged,
    check_manifest,
    checkpoints_in,
    put_in_place,
    read_json,
    write_json,
    writing_folder,
)
from ..pairwise.ranks import Ranks
from ..reasons import sized
from . import parts
from .distributed import is_part, like, whole

KEPT = 2
"""Checkpoints that a folder holds: the newest, and one to go on from should it be damaged."""
_MODEL, _OPTIMIZER, _TRAINER = "model.safetensors", "optimizer.safetensors", "trainer.json"
LAST = _TRAINER
"""The file of a checkpoint that is written and copied behind the others."""
_MODEL_PART, _OPTIMIZER_PART = "model/", "optimizer/"
_PARTS = ".step-{}.parts.part"
"""The name of a checkpoint in parts until all are written, by its step."""


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read; the message says what is still safe and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on.

    Attributes:
        step: how many steps are done.
        seconds: time that they took.
        model: the tensors of the module by name.
        optimizer: those of the optimiser by parameter and slot; None where it was saved without one.
        scaler: the scale of the loss, if it has one.
    """

    step: int
    seconds: float
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor] | None
    scaler: dict[str, int | float]

    def of_today(self, earlier: Mapping[str, str]) -> Checkpoint:
        """Return the checkpoint with today's names of tensors.

        Args:
            earlier: of names that changed, how they began and begin today; nothing for tensors that went.
        """

        def renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            names = {name: _of_today(name, earlier) for name in tensors}
            return {names[name]: tensor for name, tensor in tensors.items() if names[name]}

        return replace(
            self,
            model=renamed(self.model),
            optimizer=None if self.optimizer is None else renamed(self.optimizer),
        )


def _of_today(name: str, earlier: Mapping[str, str]) -> str:
    for before, now in earlier.items():
        if name.startswith(before):
            return now and now + name.removeprefix(before)
    return name


class _Trainer(BaseModel):
    """``trainer.json``; ``parts`` are the files of the ranks, with their sizes in bytes."""

    model_config = ConfigDict(extra="forbid")
    format: int = FORMAT
    step: int
    seconds: float = 0.0
    scaler: dict[str, int | float] = {}
    parts: dict[str, int] = {}


@final
class Saver:
    """Writer of a run's checkpoints: by the first rank, or, of a model in parts, by all and in the background.

    Args:
        folder: of the checkpoints; there is one saver of a folder at a time.
        module: what is saved.
        optimizer: its optimiser.
        scaler: of the loss, if it has one.
    """

    def __init__(
        self,
        folder: Path,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self.folder, self.module, self.optimizer, self.scaler = folder, module, optimizer, scaler
        self.in_parts = any(is_part(p) for p in module.parameters())
        self._first = Ranks.present().rank == 0
        self._pool = ThreadPoolExecutor(1, "checkpoint")
        self._pending: tuple[int, int, Future[None]] | None = None
        if self._first:
            for left in folder.glob(_PARTS.format("*")):
                shutil.rmtree(left, ignore_errors=True)

    def save(self, step: int, seconds: float, last: bool = False) -> None:
        """Write a checkpoint, or begin to; one of parts that is still being written is waited for.

        Args:
            step: how many steps are done.
            seconds: that they took.
            last: the run is over: the checkpoint is whole, whatever those before it were.

        Raises:
            CheckpointError: if this one or the one before it cannot be written.
        """
        self.finish()
        if last or not self.in_parts:
            save(self.folder, step, self.module, self.optimizer, self.scaler, seconds)
            return
        tensors = {f"{_MODEL_PART}{name}": t for name, t in self.module.state_dict().items()}
        moments = _moments(self.module, self.optimizer)
        tensors |= {f"{_OPTIMIZER_PART}{name}": t for name, t in moments.items()}
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
            trainer = _Trainer(step=step, seconds=seconds, parts=sizes)
            write_json(part / _TRAINER, trainer.model_dump())
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
            raise _unwritten(self.folder, step, size, parts.failure(error)) from error


def save(
    folder: Path,
    step: int,
    module: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    scaler: torch.amp.GradScaler | None = None,
    seconds: float = 0.0,
) -> Path:
    """Write ``folder/step-N``, then delete all but it and the one before. A failure leaves the older ones as they were.

    All ranks call it, and the first writes.

    Raises:
        CheckpointError: if it cannot be written (a full disk, no permission).
    """
    model = _contiguous(module.state_dict())
    moments = None if optimizer is None else _contiguous(_moments(module, optimizer))
    if Ranks.present().rank > 0:
        return folder
    target = folder / f"step-{step:07d}"
    try:
        with writing_folder(target) as part:
            save_file(model, part / _MODEL)
            if moments is not None:
                save_file(moments, part / _OPTIMIZER)
            scale = scaler.state_dict() if scaler else {}
            write_json(part / _TRAINER, _Trainer(step=step, seconds=seconds, scaler=scale).model_dump())
    except Exception as error:
        # safetensors reports a full disk as its own error type, so every failure is handled alike.
        size = sum(t.numel() * t.element_size() for t in (*model.values(), *(moments or {}).values()))
        raise _unwritten(folder, step, size, error) from error
    _forget(folder, target)
    return target


def _forget(folder: Path, target: Path) -> None:
    """Delete all checkpoints but one that is whole now and those before it that are kept."""
    before = [path for path in checkpoints_in(folder) if path.name < target.name]
    # A leftover that cannot be deleted is no reason to end a run.
    for old in set(checkpoints_in(folder)) - {target, *before[: KEPT - 1]}:
        shutil.rmtree(old, ignore_errors=True)


def _unwritten(folder: Path, step: int, size: int, error: BaseException) -> CheckpointError:
    """Say that a checkpoint could not be written, how much room it takes, and what is still there."""
    before = [path for path in checkpoints_in(folder) if path.name < f"step-{step:07d}"]
    kept = f"the checkpoint {before[0].name} is intact" if before else "there was no earlier checkpoint"
    try:
        room = f"It takes {sized(size)}, and {sized(shutil.disk_usage(folder).free)} are free there. "
    except OSError:
        room = ""
    return CheckpointError(
        f"could not write the checkpoint of step {step} to {folder}: {error}; {kept}. {room}"
        "Free some space or fix the permissions, then run the same command again: it goes on from there."
    )


def load(
    folder: Path,
    optimizer: bool = True,
    chosen: Path | None = None,
    like: Mapping[str, Tensor] = MappingProxyType({}),
) -> Checkpoint | None:
    """Return the newest checkpoint of a folder that is intact, or None where there is none at all.

    Args:
        folder: of the checkpoints.
        optimizer: also read and check the optimiser's state, which only training needs.
        chosen: one of them; the newest that is intact unless given.
        like: parameters by name; of those that ranks have parts of, this rank's alone are read where they can be.

    Warns:
        UserWarning: where a newer one is damaged.

    Raises:
        CheckpointError: if there are some, and all are damaged.
    """
    damaged: list[Damaged] = []
    for path in checkpoints_in(folder) if chosen is None else [chosen]:
        try:
            checkpoint = _read(path, optimizer, like)
        except Damaged as error:
            damaged.append(error)
            continue
        if damaged:
            warnings.warn(
                f"{damaged[0].path} is damaged ({damaged[0].reason}): the checkpoint before it, {path.name}, is used",
                stacklevel=2,
            )
        return checkpoint
    if damaged:
        reasons = "; ".join(f"{error.path.relative_to(folder)}: {error.reason}" for error in damaged)
        raise CheckpointError(
            f"no checkpoint in {folder} can be read ({reasons}). "
            "Delete that folder, then run the same command again: it begins anew."
        )
    return None


def restore(
    checkpoint: Checkpoint,
    module: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    """Put a checkpoint's tensors back, by name.

    Raises:
        CheckpointError: for a name or a shape that does not fit, or an optimiser whose state was not saved.
    """
    _load_exactly(module, checkpoint.model)
    if scaler is not None and checkpoint.scaler:
        scaler.load_state_dict(checkpoint.scaler)
    if optimizer is None:
        return
    if checkpoint.optimizer is None:
        raise CheckpointError(
            f"the checkpoint of step {checkpoint.step} has no state of the optimiser: a run cannot go on from it"
        )
    names, parameters = _trainable_names(module), dict(module.named_parameters())
    # By name and not by number: numbers change with whatever a later version trains, or trains no more.
    order = [id(p) for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in checkpoint.optimizer.items():
        parameter, _, slot = key.rpartition("/")
        if parameter not in names:
            raise CheckpointError(
                f"the optimiser's state is of {parameter!r}, which the model does not train. "
                "Was the run made with another recipe or version?"
            )
        there = parameters[parameter]
        value = like(value, there) if value.shape == there.shape else value
        state.setdefault(order.index(names[parameter]), {})[slot] = value
    # Moments alone are the checkpoint's: rates and decay are those of the recipe.
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _read(path: Path, optimizer: bool, like: Mapping[str, Tensor]) -> Checkpoint:
    """Read one checkpoint, whose files must be as they were written."""
    remedy = "delete the folder it is in"
    in_parts = (path / parts.INDEX).exists()
    if not in_parts:
        check_manifest(path, remedy, () if optimizer else (_MODEL, _TRAINER))
    trainer = read_json(path / _TRAINER, _Trainer, remedy)
    # A folder that was copied or renamed would be gone on from at the wrong step.
    if trainer.step != int(path.name.removeprefix("step-")):
        raise Damaged(path / _TRAINER, f"it is of step {trainer.step}", remedy)
    for name, size in trainer.parts.items():
        there = (path / name).stat().st_size if (path / name).exists() else 0
        if there != size:
            raise Damaged(path / name, f"it has {there:,} of {size:,} bytes", remedy)
    model = _of_parts(path, _MODEL_PART, like, remedy) if in_parts else _tensors(path / _MODEL, remedy)
    moments = None
    if optimizer and in_parts:
        moments = _of_parts(path, _OPTIMIZER_PART, like, remedy)
    elif optimizer and (path / _OPTIMIZER).exists():
        moments = _tensors(path / _OPTIMIZER, remedy)
    return Checkpoint(trainer.step, trainer.seconds, model, moments, trainer.scaler)


def _of_parts(path: Path, beginning: str, like: Mapping[str, Tensor], remedy: str) -> dict[str, Tensor]:
    wanted = {name: p for name, p in like.items() if is_part(p)}
    if beginning == _OPTIMIZER_PART:
        wanted = {f"{name}/{slot}": p for name, p in wanted.items() for slot in ("exp_avg", "exp_avg_sq")}
    try:
        return parts.read(path, beginning, wanted)
    except BaseException as error:  # torch tells of what it cannot read in many ways
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise Damaged(path, str(parts.failure(error)), remedy) from None


def _tensors(path: Path, remedy: str) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise Damaged(path, str(error), remedy) from None
    return tensors


def _load_exactly(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    expected = module.state_dict()
    missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    wrong = [k for k in expected.keys() & tensors.keys() if expected[k].shape != tensors[k].shape]
    tensors = {k: like(v, expected[k]) if k in expected and k not in wrong else v for k, v in tensors.items()}
    try:
        module.load_state_dict(tensors)  # state that grows takes another shape, anything else refuses it
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights do not fit the model: missing {missing[:3]}, unexpected {extra[:3]}, "
            f"other shapes {wrong[:3]}. "
            "Was the run made with another recipe or version?"
        ) from error


def _trainable_names(module: nn.Module) -> dict[str, int]:
    return {name: id(p) for name, p in module.named_parameters() if p.requires_grad}


def _moments(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return what an optimiser remembers, by parameter and slot."""
    names = {identity: name for name, identity in _trainable_names(module).items()}
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
