"""A model's embeddings of a data set, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from ..modalities import PAIR
from ..types import ColumnEmbedder, Embedder, JointEmbedder, PairScorer, PairStates
from .base import Data, Rows
from .columns import TEXT, parts_of
from .labels import Classes

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
        data: whose rows are embedded.

    Attributes:
        columns: what the model embeds, each with its modality; a model that does not say is asked for anything.

    Raises:
        ValueError: as soon as an embedding is not finite, or the model answers with another shape than ``(n,
            d)``.
    """

    def __init__(self, model: Embedder, data: Data) -> None:
        self.model, self.data = model, data
        self.heads = model.heads
        # One that does not say is asked for the columns that there are, and for pictures and texts.
        embeds = model.embeds if isinstance(model, ColumnEmbedder) else tuple({**data.columns, **PAIR})
        self.columns = {column: data.columns.get(column, column) for column in embeds}
        self._known: dict[Hashable, Any] = {}
        self._rows: dict[tuple[str, str], _Memo[int]] = {}
        self._texts: dict[tuple[str, str], _Memo[str]] = {}

    @classmethod
    def of(cls, model: Embedder, data: Data) -> EmbeddingCache:
        """Return the model itself if it is the cache of this data already, else its cache."""
        return model if isinstance(model, cls) and model.data is data else cls(model, data)

    @property
    def embeds(self) -> tuple[str, ...]:
        return tuple(self.columns)

    @property
    def shared(self) -> dict[str, str]:
        """The columns that data and model have both, each with its modality, in the order of the data."""
        return {column: it for column, it in self.data.columns.items() if column in self.columns}

    @property
    def joint(self) -> dict[str, tuple[str, ...]]:
        """The joint columns of the model whose columns the data has, each with these."""
        names = self.model.joint_columns if isinstance(self.model, JointEmbedder) else ()
        joint = {name: parts_of(name) for name in names}
        return {name: parts for name, parts in joint.items() if {*parts} <= self.shared.keys()}

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        """Return which rows have a value in a column, in all columns of a joint one."""
        parts = self.joint.get(column, (column,))
        return np.logical_and.reduce([self.data.present(part, rows) for part in parts])

    def column(self, column: str, rows: Rows, head: str = "default") -> Float[Tensor, "n d"]:
        """Return embeddings of some rows of a column of the data or of a joint one, as evaluation sees them."""
        if self.data.columns.get(column) == TEXT:
            return self.texts(self.data.read(column, rows), head, column)
        head = self._head(head)
        if (column, head) not in self._rows:
            self._rows[column, head] = _Memo(lambda part: self._of_rows(column, np.array(part), head))
        return self._rows[column, head]([int(row) for row in rows])

    def _of_rows(self, column: str, rows: Rows, head: str) -> Float[Tensor, "n d"]:
        if column not in self.joint:
            return self.raw(column, self.data.read(column, rows), head)
        inputs = {part: self.data.read(part, rows) for part in self.joint[column]}
        return self._checked(self.model.embed(column, inputs, head), len(rows), column, head)

    def images(self, rows: Rows, head: str = "default") -> Float[Tensor, "n d"]:
        """Return embeddings of the rows' pictures."""
        return self.column("image", rows, head)

    def texts(self, texts: Sequence[str], head: str = "default", column: str = "") -> Float[Tensor, "n d"]:
        """Return embeddings of some strings, by the first column of texts that the model embeds unless given."""
        column = column or next((name for name, it in self.columns.items() if it == TEXT), TEXT)
        head = self._head(head)
        if (column, head) not in self._texts:
            self._texts[column, head] = _Memo(lambda part: self._embed(column, part, head))
        return self._texts[column, head](texts)

    def classes(self, labels: Classes, head: str = "default") -> Float[Tensor, "k d"]:
        """Return one embedding per class: every template with the class's name, normalised, averaged, normalised.

        Source: evaluation of CLIP-like models, as in ``clip-rocket``.
        """
        templates = labels.templates or ("{}",)
        prompts = [template.format(name) for name in labels.names for template in templates]
        z = F.normalize(self.texts(prompts, head), dim=-1)
        return F.normalize(z.reshape(len(labels.names), len(templates), -1).mean(1), dim=-1)

    def pictures(self, pictures: UInt8[Tensor, "n 3 H W"], head: str = "default") -> Float[Tensor, "n d"]:
        """Return embeddings of any pictures; nothing is kept."""
        return self.raw("image", pictures, head)

    def raw(self, column: str, raw: Any, head: str = "default") -> Float[Tensor, "n d"]:
        """Return embeddings of any examples of a column, in their raw form; nothing is kept."""
        starts = range(0, max(len(raw), 1), BATCH)
        return torch.cat([self._embed(column, raw[at : at + BATCH], self._head(head)) for at in starts])

    @property
    def pair_heads(self) -> tuple[str, ...]:
        """The joint scores of pairs that the model has; none of a model that compares embeddings alone."""
        return self.model.pair_heads if isinstance(self.model, PairScorer) else ()

    def pair_states(self, column: str, raw: Any) -> PairStates:
        """Return what a joint score needs of examples of a column, in their raw form; nothing is kept."""
        assert isinstance(self.model, PairScorer)
        starts = range(0, max(len(raw), 1), BATCH)
        parts = [self.model.pair_states(column, raw[at : at + BATCH]) for at in starts]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    @torch.no_grad()
    def pair_scores(
        self, a: PairStates, b: PairStates, pairs: Int[Tensor, "n 2"]
    ) -> Float[Tensor, "n heads"]:
        """Return the joint scores of pairs of an example of ``a`` and one of ``b``, given their positions.

        Raises:
            ValueError: for scores that are NaN, which are neither above nor below anything.
        """
        assert isinstance(self.model, PairScorer)
        parts = []
        for of_a, of_b in (part.T for part in torch.split(pairs, BATCH)):
            one, other = (
                {name: t[of] for name, t in states.items()} for states, of in ((a, of_a), (b, of_b))
            )
            parts.append(self.model.pair_scores(one, other).float().cpu())
        scores = torch.cat(parts)
        if torch.isnan(scores).any():
            raise ValueError("the model's joint score is NaN, so no rank means anything")
        return scores

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return the result of ``compute``, which is computed once, at the first call with this key."""
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    def embed(self, column: str, inputs: Any, head: str = "default") -> Tensor:
        return self.model.embed(column, inputs, head)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return self.model.similarity(a, b)

    def _head(self, head: str) -> str:
        return self.heads[0] if head == "default" else head

    @torch.no_grad()
    def _embed(self, column: str, inputs: Any, head: str) -> Float[Tensor, "n d"]:
        return self._checked(self.model.embed(column, inputs, head), len(inputs), column, head)

    def _checked(self, z: Tensor, count: int, column: str, head: str) -> Float[Tensor, "n d"]:
        if z.ndim != 2 or len(z) != count:
            raise ValueError(
                f"the model embedded {count} {column} inputs as a tensor of shape {tuple(z.shape)}; "
                f"it must be ({count}, d)"
            )
        if not torch.isfinite(z).all():
            bad = int((~torch.isfinite(z)).any(1).sum())
            raise ValueError(
                f"{bad} of {len(z)} {column} embeddings (head {head!r}) are NaN or infinite, so no score "
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


def uncached(model: Any) -> Any:
    """Return the model behind a cache, for what it can do beside embedding; any other model as it is."""
    return model.model if isinstance(model, EmbeddingCache) else model
