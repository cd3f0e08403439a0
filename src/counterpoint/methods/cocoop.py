"""CoCoOp: learned vectors before the name of a class, which a picture shifts."""

from __future__ import annotations

from typing import ClassVar, Unpack

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import Count, Positive
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import Target
from ._adapting import Adapting, AdaptingOptions, descend
from ._prompts import PromptLearner
from .base import Ranges

_PROMPTS = 1024
"""Prompts that go through the text tower together, at most."""


class CoCoOp(Adapting):
    """``s_c = v·t_c(v) / τ``: the context of every prompt is shifted by ``h(v) = W_2 relu(W_1 v + b_1) + b_2``.

    One shift is added to each context vector of every class. W_1 leads to a sixteenth of the width. With h = 0 it is
    `CoOp`. The loss is cross-entropy, and is minimised by SGD with a momentum of 0.9, an example at a time.

    Args:
        towers: the tower of the column, and that of texts.
        recipe: gives the width of the pair's common space.
        target: the label.
        words: that the vectors start from; ``none`` for vectors that are drawn.
        vectors: the number of vectors that are drawn.
        lr: the highest rate.
        epochs: over the labelled examples.
        steps: at most; the published schedule has no such limit.
        options: see `Adapting`; the template is not used.

    Source: Zhou et al., "Conditional Prompt Learning for Vision-Language Models" (2022), arXiv 2203.05557, and its
    code, KaiyangZhou/CoOp, which trains on augmented pictures.
    """

    family = "few labels"
    tunable: ClassVar[Ranges] = {"lr": (5e-4, 8e-3)}
    starts_as_zero_shot = False
    renames = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        words: str | None = "a photo of a",
        vectors: Count = 4,
        lr: Positive = 2e-3,
        epochs: Count = 10,
        steps: Count = 400,
        **options: Unpack[AdaptingOptions],
    ) -> None:
        super().__init__(towers, recipe, target=target, **options)
        self.lr, self.epochs, self.steps = lr, epochs, steps
        self.prompts = PromptLearner(self.text_tower, words, vectors)
        self.prompts.prompts(
            self.text_tower, self.required_target().classes
        )  # refuses names that are too long
        width, of_word = self.texts.shape[1], self.prompts.context.shape[1]
        hidden = max(width // 16, 1)
        self.shift = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, of_word)
        ).requires_grad_(False)

    def begin(self) -> None:
        self.prompts.begin(self.text_tower)
        super().begin()

    def fit(self, z: Float[Tensor, "N w"], classes: Int[Tensor, " N"]) -> None:
        v = self.shared(z).detach()
        descend(
            [self.prompts.context, *self.shift.parameters()],
            lambda rows: F.cross_entropy(self._scores(v[rows]), classes[rows]),
            len(v),
            lr=self.lr,
            epochs=self.epochs,
            batch=1,
            most=self.steps,
            warm_up=1e-5,
        )

    def scores(self, z: Float[Tensor, "B w"]) -> Float[Tensor, "B C"]:
        at_once = max(_PROMPTS // len(self.texts), 1)
        return torch.cat([self._scores(part) for part in torch.split(self.shared(z), at_once)])

    def _scores(self, v: Float[Tensor, "B d"]) -> Float[Tensor, "B C"]:
        tower, names = self.text_tower, self.required_target().classes
        prompts = self.prompts.prompts(tower, names)
        context = self.prompts.context + self.shift(v)[:, None]
        texts = self.projected_texts(
            self.prompts.features(tower, prompts.repeat(len(v), 1), context.repeat_interleave(len(names), 0))
        )
        return self.objective(torch.einsum("bd,bcd->bc", v, texts.view(len(v), len(names), -1)))
