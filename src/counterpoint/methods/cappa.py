"""CapPa: a picture's tower learns from predicting the caption, word by word or all words at once."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..forms import Count, Fraction
from ..networks.base import Towers
from ..networks.caption_decoder import CaptionDecoder
from ..networks.towers.parts.regions import grid
from ..networks.towers.transformer import Embedding
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from ._captioning import CaptioningMethod
from .base import Ranges


class CapPa(CaptioningMethod):
    """A decoder attends to the patches of a picture and predicts its caption; nothing is contrasted.

        word by word:  L = −Σ_t log p(y_t | y_<t, patches),   at once:  L = −Σ_t log p(y_t | patches)

    The sum goes over the tokens of the batch and is divided by their number. Each example is predicted at once with the
    probability ``parallel``, else word by word; the weights are the same. At once, the position of a token and the
    picture are all that the decoder knows. ``parallel=0`` is Cap, captioning alone. In use likelihoods and captions are
    those word by word, which a model learns from a share 1 − ``parallel`` of its examples.

    Patches get learned positions, as those of a convolutional tower have none. The embedding of a picture is its
    tower's feature. There are no embeddings of texts.

    Args:
        towers: the towers, by column; of that of texts only the tokenizer is used.
        recipe: unused: the decoder is as wide as the tower of pictures.
        parallel: the probability that an example is predicted at once.
        depth: blocks of the decoder.

    Raises:
        LookupError: for an image tower without features of patches.

    Source: Tschannen et al., "Image Captioners Are Scalable Vision Learners Too" (2023), arXiv 2306.07915. Its decoder
    has 6 blocks.
    """

    family = "captioning"
    papers = ("cappa",)
    continues: ClassVar[tuple[str, ...]] = ("positions", "decoder")
    tunable: ClassVar[Ranges] = {}

    def __init__(
        self, towers: Towers, recipe: Recipe, *, parallel: Fraction = 0.75, depth: Count = 3
    ) -> None:
        super().__init__(towers)
        width = self.image_tower.width
        self.parallel = parallel
        self.positions = Embedding(math.prod(grid(self.image_tower)), width, std=0.02)
        self.decoder = CaptionDecoder(
            self.tokenizer.vocabulary, self.length, width, depth, heads=math.gcd(width, 4)
        )

    @property
    def embeds(self) -> tuple[str, ...]:
        return (self.picture,)

    @property
    def _drawn(self) -> str:
        """The name of the view that says which examples are predicted at once."""
        return f"{self.text}.parallel"

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Draw which examples are predicted at once, by draws that do not depend on the number of ranks."""
        if not self.parallel:
            return batch
        ranks, device = Ranks.present(), batch.ids.device
        counts = ranks.counts(len(batch), device)
        drawn = torch.rand(sum(counts))[ranks.rows(counts)] < self.parallel
        return replace(batch, views={**batch.views, self._drawn: drawn.to(device)})

    def encode(self, batch: Batch) -> Embeddings:
        states = self.patch_states(batch[self.picture])
        targets, mask = self.targets_of(batch[self.text])
        drawn = batch.views.get(self._drawn)
        if drawn is None:
            likelihood = self.decoder.log_likelihood(targets, mask, states)
        else:
            likelihood = states.new_zeros(len(targets), 2)
            for parallel, rows in ((True, drawn), (False, ~drawn)):
                index = rows.nonzero()[:, 0]
                of_rows = self.decoder.log_likelihood(targets[index], mask[index], states[index], parallel)
                likelihood = likelihood.to(of_rows.dtype).index_copy(0, index, of_rows)
        return {self.picture: states.mean(1), self.text: likelihood}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        return {"caption": self.mean_over_tokens(z[self.text])}

    def patch_states(self, pictures: Tensor) -> Float[Tensor, "B P D"]:
        return self.image_tower.patches(pictures).flatten(2).mT + self.positions.weight

    def log_likelihood_of_tokens(
        self,
        targets: Int[Tensor, "B L"],
        mask: Bool[Tensor, "B L"],
        states: Float[Tensor, "B P W"],
    ) -> Float[Tensor, "B 2"]:
        return self.decoder.log_likelihood(targets, mask, states)

    def next_logits(self, tokens: Int[Tensor, "B L"], states: Float[Tensor, "B P W"]) -> Float[Tensor, "B V"]:
        return self.decoder.head(self.decoder(tokens, states)[:, -1])
