"""Memory as a property: the largest tensor that ever exists, and the bytes kept for the backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


class LargestTensor(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch's
    """A mode that notes the largest storage of any operation's result, in elements."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for t in tree_flatten(result)[0]:
            if isinstance(t, Tensor):
                self.numel = max(self.numel, t.untyped_storage().nbytes() // t.element_size())
        return result


class _Held:
    """The object that autograd holds in place of a tensor; lives as long as it is held."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class Kept:
    """Everything that autograd has been given to keep and has not let go of yet."""

    def __init__(self) -> None:
        self._held: WeakSet[_Held] = WeakSet()

    def hold(self, tensor: Tensor) -> _Held:
        held = _Held(tensor)
        self._held.add(held)
        return held

    @property
    def bytes(self) -> int:
        """Return the bytes of all storages, each counted once, however often it is kept."""
        storages = {h.tensor.untyped_storage().data_ptr(): h.tensor.untyped_storage() for h in self._held}
        return sum(storage.nbytes() for storage in storages.values())


@contextmanager
def kept_bytes() -> Iterator[Kept]:
    kept = Kept()
    with torch.autograd.graph.saved_tensors_hooks(kept.hold, lambda held: held.tensor):
        yield kept
