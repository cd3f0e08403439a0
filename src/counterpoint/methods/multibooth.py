"""MultiBooth: a word made from pictures by a Q-Former, with low-rank keys and values that are combined in boxes."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Unpack

from torch import Tensor

from ..forms import Count, NonNegative
from ..generation import ConceptWords, picture_features
from ..networks.base import Towers
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, TrainingExamples
from ._personal import ERRORS, Personal, PersonalOptions
from .base import ONCE, Ranges
from .painter import NOISE, TIME

FEATURES, NORMS = "features.", "norms."
"""Prefixes of what the painter's U-Net says of pictures, and of the squared norms of words that are made of it."""


class MultiBooth(Personal):
    """The vector of a word comes from a picture and the name of its kind, and keys and values have low-rank additions.

        u = mean of the outputs of a Q-Former,   word = u · ‖kind‖ / ‖u‖
        L = E ‖v − v_θ(x_t, t, c(word))‖² + penalty · E ‖u‖²

    In training each picture has the word that is made from it. Drawings have the one of the mean of u over the first
    ``pictures`` training pictures. Concepts that were learned in runs of their own are drawn together by
    `counterpoint.generation.draw_words`: each in a box, with keys and values of its own, or with all additions summed.

    Args:
        towers, recipe, painter: as for `Personal`.
        penalty: its weight. It acts on u as it comes: without it u would grow, and be divided by more and more.
        rank: of the additions.
        queries: of the Q-Former.
        pictures: from which the word is made in the end.
        options: of `Personal`. ``like`` names the kind, which is needed, and may be several tokens. The prompt is
            ``a <NAME> KIND`` unless given.

    Raises:
        ValueError: without ``like``.

    Source: Zhu et al., "MultiBooth: Towards Generating All Your Concepts in an Image from Text" (2024), arXiv
    2404.14239. It gives CLIP's features of pictures to a pretrained Q-Former; here the features are those of the
    painter's U-Net, so that no other model is needed, and the Q-Former starts from random weights. The first token's
    key and value have no gradient, as in `CustomDiffusion`.
    """

    family = "images"
    papers = ("multibooth",)
    tunable: ClassVar[Ranges] = {"penalty": (1e-4, 0.1)}
    epoch_start_every = ONCE
    learned: ConceptWords

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        painter: str,
        penalty: NonNegative = 0.01,
        rank: Count = 16,
        queries: Count = 4,
        pictures: Count = 5,
        **options: Unpack[PersonalOptions],
    ) -> None:
        kinds, prompt = options.get("like", ""), options.get("prompt", "")
        if not kinds:
            raise ValueError(
                "multibooth reads the kind of the subject: name a word of the painter, like=WORD"
            )
        super().__init__(towers, recipe, painter=painter, prompt=prompt)
        network, words, said = self.painter, self.words, self.learned.words.prompt
        names = kinds.split("+") * (len(words) if "+" not in kinds else 1)
        if not prompt:
            for word, kind in zip(words, names, strict=False):
                said = said.replace(word, f"{word} {kind}")
        self.learned = ConceptWords(network, said, kinds, queries=queries, rank=rank, pictures=pictures)
        self.penalty = penalty

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        self.learned.remember(examples.map(lambda it: picture_features(self.painter, it[self.picture])))

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        batch = super().prepare(batch, clock)
        features = picture_features(self.painter, batch[self.picture])
        return replace(batch, views={**batch.views, FEATURES + self.picture: features})

    def encode(self, batch: Batch) -> Embeddings:
        extracted = self.learned.extracted(batch[FEATURES + self.picture])
        words = self.learned.matched(extracted)
        reading = self.learned.read_with(batch[self.picture], batch[NOISE], batch[TIME], words)
        return {**self.features_of(reading), NORMS + self.picture: extracted.square().sum(2).mean(1)}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        ranks = Ranks.present()
        losses = {"noise": moments.mean(z[ERRORS + self.picture], ranks=ranks)}
        if self.penalty:
            losses["norm"] = self.penalty * moments.mean(z[NORMS + self.picture], ranks=ranks)
        return losses

    def passes(self) -> dict[str, float]:
        return {"image": 2.0}

    def passes_of_all(self) -> dict[str, float]:
        return {"image": 1.0}
