"""The largest tensor of a computation: for claims that a loss forms no matrix of all pairs."""

from __future__ import annotations

from typing import Any, final

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


@final
class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch leaves it untyped
    """Notes the largest tensor that any operation gives, in elements."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for t in tree_flatten(result)[0]:
            if isinstance(t, Tensor):
                self.elements = max(self.elements, t.numel())
        return result
