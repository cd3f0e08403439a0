"""Tip-Adapter: the pair's scores, and a cache of the labelled examples."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Unpack

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import Count, NonNegative, Positive
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import Target
from ._adapting import Adapting, AdaptingOptions, descend
from .base import Ranges


class _ExampleCache(nn.Module):
    """The features of labelled examples and their classes, however many a checkpoint holds."""

    keys: Tensor
    classes: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.set(torch.zeros(0, width), torch.zeros(0, dtype=torch.long))

    def set(self, keys: Float[Tensor, "N d"], classes: Int[Tensor, " N"]) -> None:
        """Hold other examples."""
        self.register_buffer("keys", keys)
        self.register_buffer("classes", classes)

    def _load_from_state_dict(self, state: Mapping[str, Any], prefix: str, *others: Any) -> None:
        if f"{prefix}keys" in state:
            self.set(torch.empty_like(state[f"{prefix}keys"]), torch.empty_like(state[f"{prefix}classes"]))
        super()._load_from_state_dict(state, prefix, *others)


class TipAdapter(Adapting):
    """``s_c = v·t_c / τ + α Σ_j exp(−β (1 − v·k_j)) [y_j = c]``, with a key k_j for each labelled example.

    The keys are the unit-norm features of the examples. With ``tuned=true`` (Tip-Adapter-F) they learn, by AdamW with
    ε = 1e-4 and a rate that falls by a cosine, in batches of 256. With α = 0 it is `ZeroShotPair`. The released code
    makes each key of ten augmented copies and chooses α, β and the epoch on further labels; here each key is of the
    example as it is, and the last step counts.

    Args:
        towers: the tower of the column, and that of texts.
        recipe: gives the width of the pair's common space.
        target: the label.
        alpha: α, the weight of the cache; the released code has a value for each data set.
        beta: β.
        tuned: let the keys learn.
        lr: the highest rate of the keys.
        epochs: over the labelled examples.
        options: see `Adapting`.

    Source: Zhang et al., "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification" (2022), arXiv
    2207.09519, and its code, gaopengcuhk/Tip-Adapter.
    """

    family = "few labels"
    tunable: ClassVar[Ranges] = {"alpha": (0.25, 4.0), "beta": (0.5, 8.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        alpha: NonNegative = 1.0,
        beta: Positive = 1.0,
        tuned: bool = False,
        lr: Positive = 1e-3,
        epochs: Count = 20,
        **options: Unpack[AdaptingOptions],
    ) -> None:
        super().__init__(towers, recipe, target=target, **options)
        self.alpha, self.beta, self.tuned, self.lr, self.epochs = alpha, beta, tuned, lr, epochs
        self.cache = _ExampleCache(self.texts.shape[1])

    def fit(self, z: Float[Tensor, "N w"], classes: Int[Tensor, " N"]) -> None:
        v = self.shared(z).detach()
        self.cache.set(v.clone(), classes)
        if self.tuned:
            descend(
                [self.cache.keys],
                lambda rows: F.cross_entropy(self._scores(v[rows]), classes[rows]),
                len(v),
                lr=self.lr,
                epochs=self.epochs,
                batch=256,
                optimizer=partial(torch.optim.AdamW, eps=1e-4, weight_decay=0.01),
            )

    def scores(self, z: Float[Tensor, "B w"]) -> Float[Tensor, "B C"]:
        return self._scores(self.shared(z))

    def _scores(self, v: Float[Tensor, "B d"]) -> Float[Tensor, "B C"]:
        own = F.one_hot(self.cache.classes, len(self.texts)).to(v.dtype)
        cached = (-self.beta * (1 - v @ self.cache.keys.T)).exp() @ own
        return self.zero_shot_scores(v) + self.alpha * cached
