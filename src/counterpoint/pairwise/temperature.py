"""The temperature of a softmax or a sigmoid: one object for every loss."""

from __future__ import annotations

import math
from collections.abc import Set as AbstractSet
from typing import Any, Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import Positive
from ..ranges import Checked
from .after_step import follow

Form = Literal["log", "scale", "direct"]


class Temperature(Checked, nn.Module):
    """τ, by which similarities are divided.

    ``form`` says what is learned: ``"log"`` the logarithm of the scale 1/τ (CLIP, SigLIP), ``"scale"`` the
    scale itself, ``"direct"`` τ (FuseMix).

    Args:
        init: the starting τ, > 0.
        learnable: whether it is a parameter; a fixed one is an exact constant.
        form: ``"log"``, ``"scale"`` or ``"direct"``.
        bounds: the lowest and highest τ; None on a side (or in all) leaves it free. A τ that a step of a
            `torch.optim` optimizer moves outside is set to the bound after that step. Loops that change weights
            without such an optimizer call `clamp_`.

    Raises:
        ValueError: if ``init`` is not positive or lies outside the bounds.

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021),
    for the learned log scale between ln 1 and ln 100.

    >>> temperature = Temperature(0.07, bounds=(0.01, 1.0))
    >>> round(temperature.value.item(), 4)
    0.07
    >>> temperature.scale(torch.tensor([0.7])).item()
    10.0
    """

    def __new__(cls, *args: Any, **options: Any) -> Self:
        temperature = super().__new__(cls, *args, **options)
        follow(temperature)
        return temperature

    def __init__(
        self,
        init: Positive = 0.07,
        *,
        learnable: bool = True,
        form: Form = "log",
        bounds: tuple[float | None, float | None] | None = None,
    ) -> None:
        super().__init__()
        low, high = bounds or (None, None)
        if (low is not None and not 0 < low <= init) or (high is not None and init > high):
            raise ValueError(f"temperature bounds {bounds} must be positive and hold init={init}")
        self.form = form
        self.bounds = (low, high)
        self.init = init
        self.parameter = nn.Parameter(torch.tensor(self._learned(init))) if learnable else None

    @classmethod
    def of(cls, temperature: float | Temperature | None, default: Temperature) -> Temperature:
        """Make a temperature of what losses accept: a number is fixed, a `Temperature` used as is, None the default."""
        if temperature is None:
            return default
        return temperature if isinstance(temperature, Temperature) else cls(temperature, learnable=False)

    def inverse(self, dtype: torch.dtype | None = None) -> Float[Tensor, ""]:
        """Return 1/τ, computed in ``dtype``."""
        if self.parameter is None:
            # Without axes, so that it multiplies tensors of every device.
            return torch.tensor(1 / self.init, dtype=dtype)
        parameter = self.parameter if dtype is None else self.parameter.to(dtype)
        if self.form == "direct":
            return 1 / parameter
        return parameter.exp() if self.form == "log" else parameter

    @property
    def value(self) -> Float[Tensor, ""]:
        """τ, without gradient."""
        return 1 / self.inverse().detach()

    def scale(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return ``x / τ``."""
        # Divided, as τ may be exact where 1/τ is rounded.
        return x / self.init if self.parameter is None else x * self.inverse(x.dtype)

    @torch.no_grad()
    def clamp_(self) -> None:
        """Set a τ outside its bounds to the nearer bound."""
        if self.parameter is None:
            return
        low, high = (None if tau is None else self._learned(tau) for tau in self.bounds)
        # Log and scale fall as τ rises: its lowest value is their highest.
        if self.form != "direct":
            low, high = high, low
        if low is not None or high is not None:
            self.parameter.clamp_(min=low, max=high)

    def after_step(self, stepped: AbstractSet[int]) -> None:
        """Clamp τ after a step of the optimizer that holds its parameter."""
        if id(self.parameter) in stepped:
            self.clamp_()

    def _learned(self, tau: float) -> float:
        """Return the parameter at which τ is ``tau``."""
        return {"log": math.log(1 / tau), "scale": 1 / tau, "direct": tau}[self.form]

    def extra_repr(self) -> str:
        kind = "fixed" if self.parameter is None else "learnable"
        return f"{float(self.value):.4g}, {kind}, form={self.form!r}, bounds={self.bounds}"
