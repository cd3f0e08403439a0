"""Outputs of the attention heads of a language model: recorded before the output projection, and replaced there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .towers.language import LanguageTower

PAPERS = {"multimodal-task-vectors": ("AttentionHeads",)}
_NAMES = ("o_proj", "out_proj", "c_proj", "dense", "wo")
"""Names of the output projection of attention in transformers."""


@final
class AttentionHeads:
    """The attention heads of a language model, layer by layer.

    The output of a head is its slice of the input of the output projection, so that heads are not mixed.

    Args:
        language: a Transformer.

    Attributes:
        layers: how many there are.
        count: heads of a layer.
        width: of a head's output.

    Raises:
        LookupError: for a model whose layers have no output projection of attention.
    """

    def __init__(self, language: LanguageTower) -> None:
        self.count = int(getattr(language.model.config, "num_attention_heads", 0))
        of_layers = [_projection(layer) for layer in language.layers]
        self.projections = [projection for projection in of_layers if projection is not None]
        self.layers = len(self.projections)
        if not self.count or not self.layers or self.layers < len(of_layers):
            raise LookupError(f"the language model {language.name!r} has layers without attention heads")
        self.width = int(self.projections[0].in_features) // self.count

    @contextmanager
    def recorded(self) -> Iterator[list[Float[Tensor, "B M H d"]]]:
        """Record the outputs of all heads inside a ``with`` block, layer by layer."""
        outputs: list[Tensor] = []

        def record(_: int, x: Tensor) -> None:
            outputs.append(self._split(x).detach())

        with self._hooked(record):
            yield outputs

    @contextmanager
    def replaced(
        self,
        values: Float[Tensor, "layers H d"],
        chosen: Bool[Tensor, "*B layers H"],
        where: int | Bool[Tensor, "B M"],
    ) -> Iterator[None]:
        """Replace the outputs of some heads inside a ``with`` block.

        Args:
            values: in their stead.
            chosen: the heads; of each row of the batch, where there is a further axis in front.
            where: the positions, or how many of the last ones.
        """
        own = chosen if chosen.ndim == 3 else chosen[None]

        def replace(layer: int, x: Tensor) -> Tensor:
            outputs = self._split(x)
            if isinstance(where, int):
                positions = torch.arange(x.shape[1], device=x.device)[None] >= x.shape[1] - where
            else:
                positions = where.to(x.device)
            on = positions[:, :, None] & own[:, None, layer].to(x.device)
            return torch.where(on[..., None], values[layer].to(x), outputs).flatten(-2)

        with self._hooked(replace) if bool(chosen.any()) else _nothing():
            yield

    def _split(self, x: Float[Tensor, "B M D"]) -> Float[Tensor, "B M H d"]:
        return x.reshape(*x.shape[:2], self.count, self.width)

    @contextmanager
    def _hooked(self, change: Callable[[int, Tensor], Tensor | None]) -> Iterator[None]:
        def hook(layer: int) -> Any:
            def changed(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
                x = change(layer, args[0])
                return None if x is None else (x, *args[1:])

            return changed

        handles = [
            projection.register_forward_pre_hook(hook(layer))
            for layer, projection in enumerate(self.projections)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _projection(layer: nn.Module) -> Any:
    """Return the output projection of the attention of a layer; None without one."""
    for name, module in layer.named_modules():
        parents, _, last = name.rpartition(".")
        if last in _NAMES and "att" in parents:
            return module
    return None


@contextmanager
def _nothing() -> Iterator[None]:
    yield
