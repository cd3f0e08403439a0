"""The hook that tells losses and temperatures that an optimizer has stepped."""

from __future__ import annotations

import itertools
from collections.abc import Set as AbstractSet
from functools import cache
from typing import Any, Protocol
from weakref import WeakValueDictionary

import torch
from torch._compile import _disable_dynamo
from torch.optim.optimizer import register_optimizer_step_post_hook


class Follower(Protocol):
    """A module whose parameters or state change after an optimizer step."""

    def after_step(self, stepped: AbstractSet[int]) -> None:
        """Follow a step of an optimizer.

        Args:
            stepped: the `id` of each parameter of that optimizer.
        """


# By the number of its creation: ranks create modules in the same order, and must update state in the same order, as
# an update may gather from all ranks.
_FOLLOWERS: WeakValueDictionary[int, Follower] = WeakValueDictionary()
_NUMBERS = itertools.count()


def follow(module: Follower) -> None:
    """Call a module's `after_step` after each step of any `torch.optim.Optimizer`, as long as the module lives."""
    _register()
    _FOLLOWERS[next(_NUMBERS)] = module


@cache
def _register() -> None:
    register_optimizer_step_post_hook(_after_step)


@_disable_dynamo  # in a compiled step the hook itself stays plain Python
def _after_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for module in list(_FOLLOWERS.values()):
        module.after_step(stepped)
