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

    def step(self, optimizer: torch.optim.Optimizer, clip_norm: float) -> bool:
        """Unscale the gradients, clip them to a norm (0: to none) and let the optimiser step.

        Returns:
            Whether it did: where gradients of float16 overflow, it does not.
        """
        # First, as the norm that is clipped is that of the gradients themselves.
        self.scaler.unscale_(optimizer)
        if clip_norm:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            clip_gradients(parameters, clip_norm)
        # The scaler says only by a lower scale that a step was left out, which would be two more waits for the device.
        taken: list[bool] = []
        hook = optimizer.register_step_post_hook(lambda *_: taken.append(True))
        self.scaler.step(optimizer)
        hook.remove()
        self.scaler.update()
        return bool(taken)
