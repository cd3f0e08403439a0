"""Checkpoints: a folder per step, complete or absent; safetensors for tensors, JSON for the rest."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..files import latest_checkpoint


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read; the message says what is still safe and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on: ``step`` steps are done; ``scaler`` holds the scale of the loss, if it has one."""

    step: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    scaler: dict[str, float]


def save(
    folder: Path,
    step: int,
    module: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    scaler: torch.amp.GradScaler | None = None,
) -> Path:
    """Write ``folder/step-N``, then delete older ones. A failure leaves the older ones as they were.

    Raises:
        CheckpointError: if it cannot be written (a full disk, no permission).
    """
    target, part = folder / f"step-{step:07d}", folder / f".step-{step:07d}.part"
    previous = latest_checkpoint(folder)
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        save_file(_contiguous(module.state_dict()), part / "model.safetensors")
        if optimizer is not None:
            save_file(_optimizer_tensors(module, optimizer), part / "optimizer.safetensors")
        state = {"format": 1, "step": step, "scaler": scaler.state_dict() if scaler else {}}
        (part / "trainer.json").write_text(json.dumps(state), encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        os.replace(part, target)
    except Exception as error:
        # safetensors reports a full disk as its own error type, so every failure is handled alike.
        shutil.rmtree(part, ignore_errors=True)
        kept = f"the checkpoint {previous.name} is intact" if previous else "there was no earlier checkpoint"
        raise CheckpointError(
            f"could not write the checkpoint of step {step} to {folder}: {error}; {kept}. "
            "Free some space or fix the permissions, then run the same command again: it goes on from there."
        ) from error
    for old in folder.glob("step-*"):
        if old != target:
            shutil.rmtree(old, ignore_errors=True)
    return target


def load(folder: Path) -> Checkpoint | None:
    """The newest checkpoint in a folder, or None where there is none.

    Raises:
        CheckpointError: if it is there but cannot be read.
    """
    path = latest_checkpoint(folder)
    if path is None:
        return None
    try:
        state: dict[str, Any] = json.loads((path / "trainer.json").read_text(encoding="utf-8"))
        optimizer = path / "optimizer.safetensors"
        return Checkpoint(
            step=int(state["step"]),
            model=load_file(path / "model.safetensors"),
            optimizer=load_file(optimizer) if optimizer.exists() else {},
            scaler=state.get("scaler", {}),
        )
    except Exception as error:
        raise CheckpointError(
            f"the checkpoint {path} cannot be read: {error}. Delete that folder to start from an earlier one."
        ) from error


def restore(
    checkpoint: Checkpoint,
    module: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    """Put a checkpoint's tensors back, by name; a name or a shape that does not fit is an error."""
    _load_exactly(module, checkpoint.model)
    if scaler is not None and checkpoint.scaler:
        scaler.load_state_dict(checkpoint.scaler)
    if optimizer is None or not checkpoint.optimizer:
        return
    names = _trainable_names(module)
    order = [id(p) for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in checkpoint.optimizer.items():
        parameter, _, slot = key.rpartition("/")
        state.setdefault(order.index(names[parameter]), {})[slot] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _load_exactly(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    own = module.state_dict()
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    wrong = [k for k in own.keys() & tensors.keys() if own[k].shape != tensors[k].shape]
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


def _optimizer_tensors(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    names = {identity: name for name, identity in _trainable_names(module).items()}
    tensors = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            for slot, value in optimizer.state.get(parameter, {}).items():
                tensors[f"{names[id(parameter)]}/{slot}"] = torch.as_tensor(value)
    return _contiguous(tensors)


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # safetensors refuses tensors that share memory, and loses channels-last strides; clones have neither problem.
    return {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
