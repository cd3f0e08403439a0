"""CoSMo: a language model whose first half encodes texts and whose second half reads pictures, with contrast."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import Count, NonNegative, Positive
from ..losses import InfoNCELoss
from ..networks.base import Towers
from ..networks.bridges.base import Given
from ..networks.bridges.crossed import CrossedBridge
from ..networks.fusion.cross_attention import CrossAttentionBlock
from ..networks.heads import Linear
from ..networks.towers.chat import EXCHANGE, TOKEN
from ..networks.towers.language import trimmed
from ..networks.towers.transformer import Embedding
from ..pairwise import Temperature
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from ._speaking import SpeakingMethod, TuneImage
from .base import Ranges

_LIKELIHOOD = "likelihood."


class CoSMo(SpeakingMethod):
    """Supervised fine-tuning through gated cross-attention, and contrast between pictures and texts in one pass.

        c, m_1 … m_K = resampler(patches)
        h = states of the conversation after n/2 − 1 of the n layers of the language model
        t = norm(block(q, [h; q])),   q one learned query
        second half: every second layer attends to m by gated cross-attention
        L = nll + contrast · InfoNCE(nz(W_i c), nz(W_t t))

    The first half reads no picture, so that the vector of a text does not depend on it. ``nll`` is the loss of `SFT`.
    A conversation is embedded as a whole: requests, replies and the picture's learned tokens, without padding. The
    language model is frozen in the paper: ``tune=frozen``.

    Args:
        towers: of pictures, with features of patches, and of conversations.
        recipe: gives the width of the embedding.
        contrast: the weight of InfoNCE; with 0 it is left out.
        latents: K.
        every: the distance between layers with cross-attention.
        compression: divides the inner widths of cross-attention.
        tokens: learned, of a picture in the sequence.
        tune_image: as for `SFT`.
        temperature: where τ starts; learned. In the paper it is exp(−0.2), which gives a flat softmax.

    Raises:
        ValueError: for a language model of one layer, and for a compression that does not divide its width.
        LookupError: for a picture tower without features of patches.

    Source: Wang et al., "COSMO: COntrastive Streamlined MultimOdal Model with Interleaved Pre-Training" (2024), arXiv
    2401.00849, and its code. There padding has a part in the vector of a text, and the resampler has 6 blocks; here it
    has those of `counterpoint.networks.bridges.resampler.ResamplerBridge`. Sequences of several pictures, weights of
    loaders and the guard against spikes of the loss are left out.
    """

    family = "speaking"
    papers = ("cosmo",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 1.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        contrast: NonNegative = 1.0,
        latents: Count = 64,
        every: Count = 2,
        compression: Count = 2,
        tokens: Count = 1,
        tune_image: TuneImage | None = None,
        temperature: Positive = 0.8187,
    ) -> None:
        _, talk, *_ = towers
        layers = len(getattr(towers[talk], "layers", ()))
        if layers < 2:
            raise ValueError(
                "cosmo halves the language model, which has one layer: take --towers.talk_layers 2"
            )
        self.depth = layers // 2
        super().__init__(
            towers,
            "crossed",
            tokens,
            tune_image,
            first=self.depth,
            every=every,
            compression=compression,
            latents=latents,
        )
        width = self.language.width
        self.contrast = contrast
        self.query = Embedding(1, width, std=1.0)
        self.pooling = CrossAttentionBlock(width, math.gcd(width, 4))
        self.pooled_norm = nn.LayerNorm(width, bias=False)
        self.projections = nn.ModuleDict(
            {
                self.columns[column]: Linear(width, recipe.widths.embedding)
                for column in (self.picture, self.talk)
            }
        )
        self.objective = InfoNCELoss(Temperature(temperature))
        if not contrast:
            unused: list[nn.Module] = [self.query, self.pooling, self.pooled_norm, self.projections]
            for part in (*unused, self.objective):
                part.requires_grad_(False)

    @property
    def embeds(self) -> tuple[str, ...]:
        return (self.picture, self.talk)

    @property
    def width(self) -> int:
        head = self.projections[self.columns[self.picture]]
        assert isinstance(head, Linear)
        return head.out_features

    @property
    def bridge(self) -> CrossedBridge:
        """The learned tokens, the resampler and the blocks of cross-attention."""
        bridge = self.speaker.bridge
        assert isinstance(bridge, CrossedBridge)
        return bridge

    def encode(self, batch: Batch) -> Embeddings:
        speaker, talk = self.speaker, batch[self.talk]
        given = speaker.given(speaker.patches(batch[self.picture]))
        assert given.summary is not None
        noted, noting = self._noting(given)
        log_p = speaker.log_p(talk, noting)
        return {
            self.picture: given.summary,
            self.talk: self._pooled(noted[0], talk),
            _LIKELIHOOD + self.talk: log_p,
        }

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        losses = {"nll": self.mean_over_tokens(z[_LIKELIHOOD + self.talk], batch[self.talk])}
        if self.contrast:
            x, y = (
                F.normalize(self.project(column, z[column], "global"), dim=-1)
                for column in (self.picture, self.talk)
            )
            losses["contrast"] = self.contrast * self.objective(x, y)
        return losses

    def features(self, column: str, inputs: Tensor) -> Tensor:
        """Return the vectors that contrast reads: the first latent of pictures, the pooled states of conversations."""
        speaker = self.speaker
        if column == self.picture:
            summary = speaker.given(speaker.patches(inputs)).summary
            assert summary is not None
            return summary
        noted, noting = self._noting(Given(self.bridge.learned_tokens(len(inputs))))
        speaker.states(trimmed(inputs)[:, TOKEN], noting)
        return self._pooled(noted[0], inputs)

    def _noting(self, given: Given) -> tuple[list[Float[Tensor, "B t W"]], Given]:
        """Return a list, and what is given with a function that adds the states that `_pooled` reads to the list."""
        noted: list[Tensor] = []
        return noted, replace(given, before={**given.before, self.depth - 1: partial(_note, noted)})

    def _pooled(self, states: Float[Tensor, "B t W"], talk: Int[Tensor, "B 3 L"]) -> Float[Tensor, "B W"]:
        """Return what the learned query reads of the states of conversations with a picture's tokens."""
        opening, count = self.language.chat.opening, self.bridge.tokens
        inside = talk[:, EXCHANGE] > 0
        inside = torch.cat([inside[:, :opening], inside.new_ones(len(inside), count), inside[:, opening:]], 1)
        query = self.query.weight.expand(len(states), 1, -1)
        mask = F.pad(inside[:, : states.shape[1]], (0, 1), value=True)
        pooled: Tensor = self.pooled_norm(self.pooling(query, torch.cat([states, query], 1), mask))
        return pooled[:, 0]


def _note(noted: list[Tensor], states: Float[Tensor, "B t W"], opening: int) -> Float[Tensor, "B t W"]:
    noted.append(states)
    return states
