"""DualCoOp: a positive and a negative prompt of each tag, compared where a picture shows the tag."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, Unpack

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import BelowOne, Count, NonNegative, Positive
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import Target
from ._adapting import Adapting, AdaptingOptions, descend
from ._prompts import PromptLearner

_SHARPNESS = 20.0
"""The scale of cosines in the softmax over patches."""
_SCALE = 100.0
"""The scale of the pooled cosines."""
_LEAST = 1e-6
"""The smallest argument of a logarithm."""


class DualCoOp(Adapting):
    """``p_c = σ(z⁺_c − z⁻_c)``: two prompts of each tag are compared, so that no threshold has to be chosen.

        w_cl = softmax_l(20 p_l·t⁺_c),   z^±_c = 100 Σ_l w_cl p_l·t^±_c

    t⁺_c and t⁻_c are what the text tower says of learned vectors, the name of tag c and a full stop. All tags share the
    positive vectors and the negative ones. p_l are the features of the patches in the pair's common space, and p_0 is
    the feature of the whole picture. Both cosines are pooled with the weights of the positive prompt, through which
    gradients flow. The loss is `tag_loss` of known tags, summed over tags and examples, and is minimised by SGD with a
    momentum of 0.9 in batches of 32.

    The patches must have features in the common space: those of a tower that pools by their mean do. The published
    method removes the attention pooling of a ResNet but for its value and output projections, which is not done here.

    Args:
        towers: the tower of the pictures, and that of texts.
        recipe: gives the width of the pair's common space.
        target: the label, of tags.
        reads: ``patches``; with ``feature`` the feature of the whole picture is alone, which is global pooling.
        gamma_positive, gamma_negative, margin: of `tag_loss`.
        weight: of the loss; 0.03 for COCO with half of the labels.
        words: that the vectors start from; ``none`` for vectors that are drawn.
        vectors: the number of vectors that are drawn.
        lr: the highest rate; 0.002 for COCO, 0.001 for VOC and NUS-WIDE.
        epochs: over the labelled examples.
        steps: at most; the published schedule has no such limit.
        options: see `Adapting`; the template is not used.

    Attributes:
        negative_texts: t⁻; t⁺ are `texts`.

    Raises:
        LookupError: for a column that is not of pictures, and a tower without features of patches.

    Source: Sun et al., "DualCoOp: Fast Adaptation to Multi-Label Recognition with Limited Annotations" (2022), arXiv
    2206.09541, and its code, sunxm2357/DualCoOp.
    """

    family = "few labels"
    papers = ("dualcoop",)
    learns = ("tags",)
    default_label = "tags"
    starts_as_zero_shot = False
    renames = True
    negative_texts: Tensor

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        reads: Literal["feature", "patches"] = "patches",
        gamma_positive: NonNegative = 1.0,
        gamma_negative: NonNegative = 2.0,
        margin: BelowOne = 0.05,
        weight: Positive = 1.0,
        words: str | None = None,
        vectors: Count = 16,
        lr: Positive = 2e-3,
        epochs: Count = 50,
        steps: Count = 400,
        **options: Unpack[AdaptingOptions],
    ) -> None:
        super().__init__(towers, recipe, target=target, **options)
        if reads == "patches":
            self.read_patches()
        self.lr, self.epochs, self.steps, self.weight = lr, epochs, steps, weight
        self.tag_loss = partial(
            tag_loss, gamma_positive=gamma_positive, gamma_negative=gamma_negative, margin=margin
        )
        self.positive = PromptLearner(self.text_tower, words, vectors)
        self.negative = PromptLearner(self.text_tower, words, vectors)
        self.positive.prompts(
            self.text_tower, self.required_target().classes
        )  # refuses names that are too long
        self.register_buffer("negative_texts", torch.zeros_like(self.texts))

    def begin(self) -> None:
        self.positive.begin(self.text_tower)
        self.negative.begin(self.text_tower)
        if self.positive.words is not None:
            # From the same words both prompts would be equal, and would stay so where all gradients cancel.
            self.negative.context.add_(0.02 * torch.randn(self.negative.context.shape).to(self.texts))
        super().begin()

    def begin_names(self) -> None:
        positive, negative = self._texts(self.required_target().classes)
        self.texts.copy_(positive)
        # Assigned, as the number of names is another one in a renamed copy.
        self.negative_texts = negative.to(self.texts)

    def class_features(self, names: Sequence[str]) -> Float[Tensor, "C d"]:
        """Return the unit-norm features of the positive prompts."""
        return self._texts(names)[0]

    def _texts(self, names: Sequence[str]) -> tuple[Float[Tensor, "C d"], Float[Tensor, "C d"]]:
        """Return the unit-norm features of the positive and the negative prompts."""
        tower = self.text_tower
        prompts = self.positive.prompts(tower, names)
        contexts = [
            learner.context.expand(len(prompts), -1, -1) for learner in (self.positive, self.negative)
        ]
        said = self.positive.features(tower, prompts.repeat(2, 1), torch.cat(contexts))
        positive, negative = self.projected_texts(said).chunk(2)
        return positive, negative

    def fit(self, z: Float[Tensor, "N *p w"], labels: Int[Tensor, "N C"]) -> None:
        patches, names = self._patches(z).detach(), self.required_target().classes

        def loss(rows: Int[Tensor, " B"]) -> Float[Tensor, ""]:
            margins = pooled_margin(patches[rows], *self._texts(names))
            return self.weight * self.tag_loss(margins, labels[rows])

        descend(
            [self.positive.context, self.negative.context],
            loss,
            len(patches),
            lr=self.lr,
            epochs=self.epochs,
            batch=32,
            most=self.steps,
            warm_up=1e-5,
        )
        with torch.no_grad():
            self.begin_names()

    def scores(self, z: Float[Tensor, "B *p w"]) -> Float[Tensor, "B C"]:
        return pooled_margin(self._patches(z), self.texts, self.negative_texts)

    def _patches(self, z: Float[Tensor, "B *p w"]) -> Float[Tensor, "B l d"]:
        return self.shared_patches(z if self.reads == "patches" else z[:, None])


def pooled_margin(
    patches: Float[Tensor, "B l d"], positive: Float[Tensor, "C d"], negative: Float[Tensor, "C d"]
) -> Float[Tensor, "B C"]:
    """Return ``z⁺ − z⁻``, see `DualCoOp`, of unit-norm features."""
    cosines = patches @ positive.T
    return _SCALE * ((_SHARPNESS * cosines).softmax(1) * (cosines - patches @ negative.T)).sum(1)


def tag_loss(
    margins: Float[Tensor, "B C"],
    labels: Int[Tensor, "B C"],
    *,
    gamma_positive: float,
    gamma_negative: float,
    margin: float,
) -> Float[Tensor, ""]:
    """Compute the asymmetric loss of DualCoOp, summed over known tags.

        −Σ_{c ∈ P} (1 − p_c)^γ₊ log p_c − Σ_{c ∈ N} (1 − q_c)^γ₋ log q_c,   q_c = min(1, 1 − p_c + m)

    The focusing weights take no gradient, unlike those of `AsymmetricLoss`, and arguments of logarithms are at least
    1e-6.

    Args:
        margins: the logits of p.
        labels: 1, 0, or −1 where it is not known whether the tag applies.
        gamma_positive, gamma_negative, margin: γ₊, γ₋ and m.
    """
    true = labels == 1
    p = torch.where(true, margins.sigmoid(), ((-margins).sigmoid() + margin).clamp_max(1.0))
    gamma = torch.where(true, gamma_positive, gamma_negative)
    terms = (1 - p.detach()) ** gamma * p.clamp_min(_LEAST).log()
    return -terms.masked_fill(labels < 0, 0.0).sum()
