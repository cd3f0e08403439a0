"""Checkpoints: a folder per step, whole or absent: safetensors for tensors, JSON for the rest, digests of both.

While the ranks of a run have a part each of its model, its checkpoints are in parts, too (see
`counterpoint.training.saving.parts`); the last one is not.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ...files import FORMAT, DamagedFileError, check_manifest, checkpoints_in, read_json
from ..sharing.distributed import is_part, like
from . import parts

KEPT = 2
"""Checkpoints that a folder holds: the newest, and one to go on from should it be damaged."""
MODEL, OPTIMIZER, TRAINER = "model.safetensors", "optimizer.safetensors", "trainer.json"
"""The files of a checkpoint; the last of them is written and copied behind the others."""
MODEL_PART, OPTIMIZER_PART = "model/", "optimizer/"


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


class Trainer(BaseModel):
    """``trainer.json``; ``parts`` are the files of the ranks, with their sizes in bytes."""

    model_config = ConfigDict(extra="forbid")
    format: int = FORMAT
    step: int
    seconds: float = 0.0
    scaler: dict[str, int | float] = {}
    parts: dict[str, int] = {}


def load(
    folder: Path,
    optimizer: bool = True,
    chosen: Path | None = None,
    like: Mapping[str, Tensor] = MappingProxyType({}),
) -> Checkpoint | None:
    """Return the newest intact checkpoint of a folder, or the chosen one; None where there is none at all.

    The digests of the files must be those that were noted when they were written.

    Args:
        folder: of the checkpoints.
        optimizer: also read and check the optimiser's state, which only training needs.
        chosen: the only one that is read; the newest that is intact unless given.
        like: parameters by name; of those that ranks have parts of, this rank's alone are read where they can be.

    Warns:
        UserWarning: where a newer one is damaged.

    Raises:
        CheckpointError: if there are some, and all are damaged, or the chosen one is.
    """
    damaged: list[DamagedFileError] = []
    for path in checkpoints_in(folder) if chosen is None else [chosen]:
        try:
            checkpoint = _read(path, optimizer, like)
        except DamagedFileError as error:
            damaged.append(error)
            continue
        if damaged:
            warnings.warn(
                f"{damaged[0].path} is damaged ({damaged[0].reason}): the checkpoint before it, {path.name}, is used",
                stacklevel=2,
            )
        return checkpoint
    if chosen is not None and damaged:
        others = [path for path in checkpoints_in(folder) if path != chosen]
        remedy = (
            f"name another checkpoint, {others[0]}" if others else "restore it from a copy, or train again"
        )
        raise CheckpointError(f"{damaged[0].path} is damaged ({damaged[0].reason}): {remedy}")
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
    names, parameters = trained_parameters(module), dict(module.named_parameters())
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
        check_manifest(path, remedy, () if optimizer else (MODEL, TRAINER))
    trainer = read_json(path / TRAINER, Trainer, remedy)
    # A folder that was copied or renamed would be gone on from at the wrong step.
    if trainer.step != int(path.name.removeprefix("step-")):
        raise DamagedFileError(path / TRAINER, f"it is of step {trainer.step}", remedy)
    for name, size in trainer.parts.items():
        there = (path / name).stat().st_size if (path / name).exists() else 0
        if there != size:
            raise DamagedFileError(path / name, f"it has {there:,} of {size:,} bytes", remedy)
    model = _of_parts(path, MODEL_PART, like, remedy) if in_parts else _tensors(path / MODEL, remedy)
    moments = None
    if optimizer and in_parts:
        moments = _of_parts(path, OPTIMIZER_PART, like, remedy)
    elif optimizer and (path / OPTIMIZER).exists():
        moments = _tensors(path / OPTIMIZER, remedy)
    return Checkpoint(trainer.step, trainer.seconds, model, moments, trainer.scaler)


def _of_parts(path: Path, beginning: str, like: Mapping[str, Tensor], remedy: str) -> dict[str, Tensor]:
    wanted = {name: p for name, p in like.items() if is_part(p)}
    if beginning == OPTIMIZER_PART:
        wanted = {f"{name}/{slot}": p for name, p in wanted.items() for slot in ("exp_avg", "exp_avg_sq")}
    try:
        return parts.read(path, beginning, wanted)
    except BaseException as error:  # torch tells of what it cannot read in many ways
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise DamagedFileError(path, str(parts.failure(error)), remedy) from None


def _tensors(path: Path, remedy: str) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DamagedFileError(path, str(error), remedy) from None
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


def trained_parameters(module: nn.Module) -> dict[str, int]:
    """Return the identities of a module's trained parameters by their names."""
    return {name: id(p) for name, p in module.named_parameters() if p.requires_grad}
