"""A model's embeddings of a data set, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from ..types import Embedder
from .base import Labels, Pictured, Rows

BATCH = 256
"""Inputs per call of a model."""

Key = TypeVar("Key", bound=Hashable)
T = TypeVar("T")


class EmbeddingCache:
    """A model's embeddings of a data set, each computed once, however many tasks ask for it.

    It is itself an embedder, so that whatever takes a model takes its features, and passes them on.
    Embeddings are kept in float32 on the CPU.

    Args:
        model: what embeds.
        data: whose rows and captions are embedded.

    Raises:
        ValueError: as soon as an embedding is not finite, or the model answers with another shape than ``(n,
            d)``.
    """

    def __init__(self, model: Embedder, data: Pictured) -> None:
        self.model, self.data = model, data
        self.heads = model.heads
        self.embeds: tuple[str, ...] = getattr(model, "embeds", ("image", "text"))
        self._known: dict[Hashable, Any] = {}
        self._images: dict[str, _Memo[int]] = {}
        self._texts: dict[str, _Memo[str]] = {}

    @classmethod
    def of(cls, model: Embedder, data: Pictured) -> EmbeddingCache:
        """Return the model itself if it is the cache of this data already, else its cache."""
        return model if isinstance(model, cls) and model.data is data else cls(model, data)

    def images(self, rows: Rows, head: str = "default") -> Float[Tensor, "n d"]:
        """Return embeddings of the rows' pictures."""
        head = self._head(head)
        if head not in self._images:
            self._images[head] = _Memo(lambda part: self.pictures(self.data.images(np.array(part)), head))
        return self._images[head]([int(row) for row in rows])

    def texts(self, texts: Sequence[str], head: str = "default") -> Float[Tensor, "n d"]:
        """Return embeddings of some strings."""
        head = self._head(head)
        if head not in self._texts:
            self._texts[head] = _Memo(lambda part: self._embed("text", part, head))
        return self._texts[head](texts)

    def classes(self, labels: Labels, head: str = "default") -> Float[Tensor, "k d"]:
        """Return one embedding per class: every template with the class's name, normalised, averaged, normalised.

        Source: evaluation of CLIP-like models, as in ``clip-rocket``.
        """
        prompts = [template.format(name) for name in labels.names for template in labels.templates]
        z = F.normalize(self.texts(prompts, head), dim=-1)
        return F.normalize(z.reshape(len(labels.names), len(labels.templates), -1).mean(1), dim=-1)

    def pictures(self, pictures: UInt8[Tensor, "n 3 H W"], head: str = "default") -> Float[Tensor, "n d"]:
        """Return embeddings of any pictures; nothing is kept."""
        return torch.cat(
            [self._embed("image", part, self._head(head)) for part in torch.split(pictures, BATCH)]
        )

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return the result of ``compute``, which is computed once, at the first call with this key."""
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        return self.model.embed(modality, inputs, head)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return self.model.similarity(a, b)

    def _head(self, head: str) -> str:
        return self.heads[0] if head == "default" else head

    @torch.no_grad()
    def _embed(self, modality: str, inputs: Any, head: str) -> Float[Tensor, "n d"]:
        z = self.model.embed(modality, inputs, head)
        if z.ndim != 2 or len(z) != len(inputs):
            raise ValueError(
                f"the model embedded {len(inputs)} {modality} inputs as a tensor of shape {tuple(z.shape)}; "
                f"it must be ({len(inputs)}, d)"
            )
        if not torch.isfinite(z).all():
            bad = int((~torch.isfinite(z)).any(1).sum())
            raise ValueError(
                f"{bad} of {len(z)} {modality} embeddings (head {head!r}) are NaN or infinite, so no score "
                f"means anything: the model has diverged, or an input is broken"
            )
        return z.detach().float().cpu()


class _Memo(Generic[Key]):
    """A map from keys to rows of one growing table; ``compute`` is asked only for new keys, a batch at a time."""

    def __init__(self, compute: Callable[[list[Key]], Tensor]) -> None:
        self.compute = compute
        self.position: dict[Key, int] = {}
        self.table = torch.empty(0, 0)

    def __call__(self, keys: Sequence[Key]) -> Tensor:
        new = [key for key in dict.fromkeys(keys) if key not in self.position]
        if new:
            parts = [self.compute(new[i : i + BATCH]) for i in range(0, len(new), BATCH)]
            self.table = torch.cat([self.table, *parts] if self.position else parts)
            self.position |= {key: len(self.position) + i for i, key in enumerate(new)}
        return self.table[[self.position[key] for key in keys]]
