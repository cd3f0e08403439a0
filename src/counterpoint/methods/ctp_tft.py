"""CTP-TFT: prompts that the patches of a picture shift class by class, and a feature that the classes shift."""

from __future__ import annotations

from typing import ClassVar, Literal, Unpack

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


class CTPTFT(Adapting):
    """``s_c = v'·t_c(x) / τ``: prompts depend on the picture and the class, the picture's feature on the prompts.

        a_c = softmax_l((W_q u_c)·(W_k p_l) / √d),   π_c = W_o Σ_l a_cl W_v p_l
        t_c = text tower([context + π_c, name of c])
        b = softmax_c((W'_q v)·(W'_k t_c) / √d),     v' = normalise(v + W'_o Σ_c b_c W'_v t_c)

    p_l are the features of patches in the pair's common space, u_c is that of the name of class c in the template, and
    v that of the picture. Inputs of both attentions have the norm √d. π_c is added to each context vector of class c
    (class-aware text prompts, CTP). The second attention runs over the classes that are told apart (text-guided feature
    tuning, TFT), so that a score depends on the whole set of classes. W_o and W'_o start at zero: before it is fitted
    the method is `ZeroShotPair`. The other matrices start at the identity, where attention follows the cosines of the
    pair. The loss is cross-entropy, and is minimised by SGD with a momentum of 0.9.

    The text tower reads the prompts of all classes for each picture.

    Args:
        towers: the tower of the pictures, and that of texts.
        recipe: gives the width of the pair's common space.
        target: the label.
        prompts: the shift of the context: ``class`` for π_c, ``shared`` for its mean over the classes, ``none`` for 0.
        tuning: shift the feature of the picture; without, v' = v.
        words: that the vectors start from; ``none`` for vectors that are drawn.
        vectors: the number of vectors that are drawn.
        lr: the highest rate.
        epochs: over the labelled examples.
        batch: examples of a step.
        steps: at most; the published schedule has no such limit.
        options: see `Adapting`.

    Raises:
        LookupError: for a column that is not of pictures, and a tower without features of patches.

    Source: Hong et al., "Task-Oriented Multi-Modal Mutual Learning for Vision-Language Models" (2023), arXiv
    2303.17169. No code is public. This is a reconstruction: the layout of the attentions, their start and the queries
    are chosen here. The schedule is that of CoCoOp with batches of 8.
    """

    family = "few labels"
    papers = ("ctp-tft",)
    tunable: ClassVar[Ranges] = {"lr": (5e-4, 8e-3)}
    renames = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        prompts: Literal["class", "shared", "none"] = "class",
        tuning: bool = True,
        words: str | None = "a photo of a",
        vectors: Count = 4,
        lr: Positive = 2e-3,
        epochs: Count = 10,
        batch: Count = 8,
        steps: Count = 400,
        **options: Unpack[AdaptingOptions],
    ) -> None:
        super().__init__(towers, recipe, target=target, **options)
        self.read_patches()
        self.shift, self.tuning = prompts, tuning
        self.lr, self.epochs, self.batch, self.steps = lr, epochs, batch, steps
        self.prompts = PromptLearner(self.text_tower, words, vectors)
        self.prompts.prompts(
            self.text_tower, self.required_target().classes
        )  # refuses names that are too long
        width = self.texts.shape[1]
        self.of_patches = _Attention(width, self.prompts.context.shape[1])
        self.of_classes = _Attention(width, width)

    def begin(self) -> None:
        self.prompts.begin(self.text_tower)
        self.of_patches.reset_parameters()
        self.of_classes.reset_parameters()
        super().begin()

    def fit(self, z: Float[Tensor, "N p w"], classes: Int[Tensor, " N"]) -> None:
        features = self.shared_patches(z).detach()
        descend(
            [self.prompts.context, *self.of_patches.parameters(), *self.of_classes.parameters()],
            lambda rows: F.cross_entropy(self._scores(features[rows]), classes[rows]),
            len(features),
            lr=self.lr,
            epochs=self.epochs,
            batch=self.batch,
            most=self.steps,
            warm_up=1e-5,
        )

    def scores(self, z: Float[Tensor, "B p w"]) -> Float[Tensor, "B C"]:
        at_once = max(_PROMPTS // len(self.texts), 1)
        return torch.cat([self._scores(part) for part in torch.split(self.shared_patches(z), at_once)])

    def _scores(self, features: Float[Tensor, "B p d"]) -> Float[Tensor, "B C"]:
        v, patches = features[:, :1], features[:, 1:]
        texts = self._texts(patches)
        if self.tuning:
            v = F.normalize(v + self.of_classes(v, texts), dim=-1)
        return self.objective((v @ texts.mT)[:, 0])

    def _texts(self, patches: Float[Tensor, "B n d"]) -> Float[Tensor, "B C d"]:
        """Return the unit-norm features of the prompts of all classes for each picture."""
        tower, names = self.text_tower, self.required_target().classes
        prompts = self.prompts.prompts(tower, names)
        count = 1 if self.shift == "none" else len(patches)
        context = self.prompts.context.expand(count, len(names), -1, -1)
        if self.shift != "none":
            context = context + self._shifts(patches)[:, :, None]
        texts = self.projected_texts(
            self.prompts.features(tower, prompts.repeat(count, 1), context.flatten(0, 1))
        )
        return texts.view(count, len(names), -1).expand(len(patches), -1, -1)

    def _shifts(self, patches: Float[Tensor, "B n d"]) -> Float[Tensor, "B C w"]:
        """Return what is added to the context of each class for each picture."""
        shifts: Tensor = self.of_patches(self.texts.expand(len(patches), -1, -1), patches)
        return shifts.mean(1, keepdim=True).expand_as(shifts) if self.shift == "shared" else shifts


class _Attention(nn.Module):
    """``W_o softmax((W_q q)·(W_k k) / √d) W_v k`` of unit-norm vectors, which are scaled to the norm √d.

    W_o starts at zero, the others at the identity. Nothing takes gradients unless it is fitted.
    """

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.scale = width**0.5
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.out = nn.Linear(width, out, bias=False)
        self.requires_grad_(False)

    def reset_parameters(self) -> None:
        for layer in (self.query, self.key, self.value):
            nn.init.eye_(layer.weight)
        nn.init.zeros_(self.out.weight)

    def forward(
        self, queries: Float[Tensor, "B q d"], context: Float[Tensor, "B n d"]
    ) -> Float[Tensor, "B q out"]:
        queries, context = self.scale * queries, self.scale * context
        attended = F.scaled_dot_product_attention(self.query(queries), self.key(context), self.value(context))
        return self.out(attended)
