"""CoOp: learned vectors in place of the words before the name of a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Unpack

from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Count, Positive
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import Kind, Target
from ._adapting import Adapting, AdaptingOptions, descend, label_loss
from ._prompts import PromptLearner
from .base import Ranges


class CoOp(Adapting):
    """``s_c = v·t_c / τ``; t_c is what the text tower says of learned vectors, the name of class c and a full stop.

    The vectors are shared by all classes. The loss is cross-entropy, and is minimised by SGD with a momentum of 0.9 in
    batches of 32. Started from words, it begins as `ZeroShotPair` with these words before the name. With tags, the loss
    is the binary cross-entropy of the known tags.

    Args:
        towers: the tower of the column, and that of texts.
        recipe: gives the width of the pair's common space.
        target: the label.
        words: that the vectors start from; ``none`` for vectors that are drawn.
        vectors: the number of vectors that are drawn.
        lr: the highest rate.
        epochs: over the labelled examples; unless given, 50 with one of each class, 100 with up to four, 200 with more.
        steps: at most; the published schedule has no such limit.
        options: see `Adapting`; the template is not used.

    Source: Zhou et al., "Learning to Prompt for Vision-Language Models" (2022), arXiv 2109.01134, and its code,
    KaiyangZhou/CoOp, which trains on augmented pictures.
    """

    family = "few labels"
    tunable: ClassVar[Ranges] = {"lr": (5e-4, 8e-3)}
    learns: ClassVar[tuple[Kind, ...]] = ("classes", "tags")
    renames = True
    context_of_class: ClassVar[bool] = False

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        words: str | None = "a photo of a",
        vectors: Count = 16,
        lr: Positive = 2e-3,
        epochs: Count | None = None,
        steps: Count = 400,
        **options: Unpack[AdaptingOptions],
    ) -> None:
        super().__init__(towers, recipe, target=target, **options)
        self.lr, self.epochs, self.steps = lr, epochs, steps
        names = self.required_target().classes
        self.prompts = PromptLearner(
            self.text_tower, words, vectors, len(names) if self.context_of_class else None
        )
        self.prompts.prompts(self.text_tower, names)  # refuses names that are too long

    def begin(self) -> None:
        self.prompts.begin(self.text_tower)
        super().begin()

    def class_features(self, names: Sequence[str]) -> Float[Tensor, "C d"]:
        tower = self.text_tower
        prompts = self.prompts.prompts(tower, names)
        context = self.prompts.context.expand(len(prompts), -1, -1)
        return self.projected_texts(self.prompts.features(tower, prompts, context))

    def fit(self, z: Float[Tensor, "N w"], labels: Int[Tensor, "N ..."]) -> None:
        v, names = self.shared(z).detach(), self.required_target().classes

        def loss(rows: Int[Tensor, " B"]) -> Float[Tensor, ""]:
            scores = self.objective(v[rows] @ self.class_features(names).T) + self.intercept
            return label_loss(scores, labels[rows])

        if self.of_tags:
            self.calibrate(v, labels)
        shots = -(-len(v) // len(names))
        descend(
            [self.prompts.context],
            loss,
            len(v),
            lr=self.lr,
            epochs=self.epochs or (50 if shots == 1 else 100 if shots <= 4 else 200),
            batch=32,
            most=self.steps,
            warm_up=1e-5,
        )
        self.begin_names()
        if self.of_tags:
            self.calibrate(v, labels)

    def scores(self, z: Float[Tensor, "B w"]) -> Float[Tensor, "B C"]:
        return self.zero_shot_scores(self.shared(z))
