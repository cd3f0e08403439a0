"""The numbers that a step computes in: float32, or mixed with bfloat16 or float16."""

from __future__ import annotations

import torch
from torch import Tensor

from ..sharing.distributed import clip_gradients

DTYPES = {"32": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Precision:
    """Autocast, and for float16 a scaled loss, so that small gradients do not vanish.

    Weights, their gradients and the optimiser's moments stay in float32. Where a scaled gradient of float16 overflows,
    the scale is lowered and that step's update is left out.

    Args:
        name: as recipes call it, one of `DTYPES`.
        device: of the step.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.device, self.dtype = device, DTYPES[name]
        # bfloat16 reaches as far down as float32, and needs no scale.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype is torch.float16)

    def autocast(self) -> torch.autocast:
        """Return a context whose products are computed in half precision, if any is."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss, scaled, to those of its parameters."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call] # torch's

    def unscale(self, optimizer: torch.optim.Optimizer, clip_norm: float) -> Tensor:
        """Unscale the gradients and clip them to a norm (0: to none).

        Returns:
            1 if gradients of float16 overflow, else 0, on their device.
        """
        # First, as the norm that is clipped is that of the gradients themselves.
        self.scaler.unscale_(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        overflow = torch.zeros((), device=self.device)
        if self.scaler.is_enabled():
            norms = [torch.linalg.vector_norm(p.grad, torch.inf) for p in parameters if p.grad is not None]
            overflow = (~torch.stack(norms).isfinite()).any().float()
        if clip_norm:
            clip_gradients(parameters, clip_norm)
        return overflow

    def step(self, optimizer: torch.optim.Optimizer, overflow: bool) -> None:
        """Let the optimiser step unless gradients overflow, and set the next scale accordingly."""
        # Not the scaler's own step, which would wait for the device to learn of the overflow.
        if not overflow:
            optimizer.step()
        self.scaler.update()
