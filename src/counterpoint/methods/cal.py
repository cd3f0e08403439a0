"""Contrastive alignment: tokens that the picture makes likelier have a larger weight."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..forms import Count, Positive
from ..networks.base import Towers
from ..networks.bridges.base import Given
from ..networks.masking import drawn_for_batch
from ..networks.token_likelihood import shaped_logits
from ..networks.towers.chat import EXCHANGE, REPLY
from ..networks.towers.parts.blocks import dropout_layers
from ..pairwise import moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from ._speaking import SpeakingMethod, TuneImage

SEEN, BLIND, ORDER = "seen.", "blind.", "order."
"""Prefixes of the names of gold logits with the picture and without it, and of a random order of tokens."""


class CAL(SpeakingMethod):
    """The weighted mean negative log-likelihood of the tokens of replies.

        δ_t = z_t[y_t] − z⁰_t[y_t],   w = pool(min(max(δ, low), high)),   L = −Σ w_t log p(y_t) / Σ w_t

    z are the logits with the picture. z⁰ are those without it: the same sequence at the same positions, in which no
    token attends to the picture's tokens in any layer. The weights have no gradient. They are computed from raw logits
    and not from log-probabilities, and in evaluation mode. ``pool`` is a mean over neighbouring tokens of the same
    reply. With ``low=1,high=1`` this is `SFT`.

    Args:
        towers: of pictures, with features of patches, and of conversations.
        recipe: unused: the bridge is as wide as the towers.
        low, high: the bounds of δ.
        window: tokens that are pooled; an odd number.
        shuffled: the weights of each reply are put in a random order, a control.
        bridge, tokens, tune_image: as for `SFT`.

    Raises:
        UnknownNameError: for a bridge that there is none of.
        ValueError: for bounds in the wrong order, an even window, and a number of tokens that the bridge cannot give.
        LookupError: for a picture tower without features of patches.

    Source: Xiao et al., "Seeing the Image: Prioritizing Visual Correlation by Contrastive Alignment" (2024), arXiv
    2405.17871. The released code pools over the flattened batch, so that weights leak from prompts and padding into
    replies; this pools within replies.
    """

    family = "speaking"
    papers = ("cal",)
    packs: ClassVar[bool] = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        low: Positive = 1.0,
        high: Positive = 5.0,
        window: Count = 3,
        shuffled: bool = False,
        bridge: str = "linear",
        tokens: int | None = None,
        tune_image: TuneImage | None = None,
    ) -> None:
        super().__init__(towers, bridge, tokens, tune_image)
        if low > high:
            raise ValueError(f"low={low:g} is above high={high:g}")
        if window % 2 == 0:
            raise ValueError(f"window={window} has no middle: give an odd number")
        self.low, self.high, self.window = low, high, window
        self.shuffled = self.draws = shuffled

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Draw an order of the tokens, for the control."""
        if not self.shuffled:
            return batch
        talk = batch[self.talk]
        length = talk.shape[2]

        def draw(examples: int) -> Tensor:
            return torch.rand(examples, length).argsort(1)

        order = drawn_for_batch(len(talk), talk.device, draw)
        return replace(batch, views={**batch.views, ORDER + self.talk: order})

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        """Return the gold logits without the picture; where there is dropout, also those with it."""
        gold = {BLIND + self.talk: self._evaluated(self._gold, batch, hidden=True)}
        if self._drops:
            gold[SEEN + self.talk] = self._evaluated(self._gold, batch, hidden=False)
        return gold

    def encode(self, batch: Batch) -> Embeddings:
        speaker, talk = self.speaker, batch[self.talk]
        patches = speaker.patches(batch[self.picture])
        states, tokens, where = speaker.reply_states(talk, speaker.given(patches), packed=self.packed)
        log_p = self.language.log_p(states, tokens)
        z = {
            self.picture: patches.mean(1),
            self.talk: log_p.new_zeros(where.shape).masked_scatter(where, log_p),
        }
        if not self._drops:
            gold = self._gold_logits(states.detach(), tokens)
            z[SEEN + self.talk] = gold.new_zeros(where.shape).masked_scatter(where, gold)
        return z

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        contrast = (z[SEEN + self.talk] - z[BLIND + self.talk]).detach()
        spoken = batch[self.talk][:, REPLY] > 0
        weights, exchange = torch.zeros_like(contrast), batch[self.talk][:, EXCHANGE]
        for number in range(1, int(exchange.amax()) + 1 if len(exchange) else 1):
            inside = spoken & (exchange == number)
            of_reply = pooled(contrast.clamp(self.low, self.high), inside, self.window)
            if self.shuffled:
                of_reply = shuffled(of_reply, inside, batch[ORDER + self.talk])
            weights = weights + of_reply
        total = weights.sum(1)
        of_row = -(weights * z[self.talk]).sum(1) / torch.where(total > 0, total, 1.0)
        return {"cal": moments.mean(of_row, total, ranks=Ranks.present())}

    def passes(self) -> dict[str, float]:
        seen = 2 if self._drops else 1
        return {
            modality: count * (seen + (modality == "talk")) for modality, count in super().passes().items()
        }

    @property
    def _drops(self) -> bool:
        """True where a pass in training mode differs from one in evaluation mode."""
        model = self.language.model
        return any(layer.p > 0 for layer in dropout_layers(model)) or bool(
            getattr(model.config, "attention_dropout", 0.0)
        )

    def _gold(self, batch: Batch, hidden: bool) -> Float[Tensor, "B L"]:
        """Return the logit of each token of a reply, by one row of the head a token."""
        speaker, talk = self.speaker, batch[self.talk]
        if hidden:  # what is not attended to need not be computed
            shape = len(talk), speaker.bridge.tokens, self.language.width
            given = Given(self.language.head.weight.new_zeros(shape))
        else:
            given = speaker.given(speaker.patches(batch[self.picture]))
        states, tokens, where = speaker.reply_states(talk, given, hidden=hidden, packed=self.packed)
        gold = self._gold_logits(states, tokens)
        return gold.new_zeros(where.shape).masked_scatter(where, gold)

    @torch.no_grad()
    def _gold_logits(self, states: Float[Tensor, "n W"], tokens: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        head = self.language.head
        gold = upcast((states * head.weight[tokens]).sum(1))
        gold = gold if head.bias is None else gold + head.bias[tokens]
        return shaped_logits(gold, *self.language.logit_shape)


def pooled(values: Float[Tensor, "B L"], mask: Bool[Tensor, "B L"], window: int) -> Float[Tensor, "B L"]:
    """Return the mean over the neighbours inside the mask of each place inside it; 0 outside.

    >>> mask = torch.tensor([[True, True, True, False]])
    >>> pooled(torch.tensor([[1.0, 3.0, 5.0, 9.0]]), mask, 3).tolist()
    [[2.0, 3.0, 4.0, 0.0]]
    """
    inside = mask.to(values.dtype)
    sums, counts = (
        F.avg_pool1d(it[:, None], window, 1, window // 2)[:, 0] for it in (values * inside, inside)
    )
    return torch.where(mask, sums / torch.where(mask, counts, 1.0), 0.0)


def shuffled(values: Float[Tensor, "B L"], mask: Bool[Tensor, "B L"], order: Tensor) -> Float[Tensor, "B L"]:
    """Return the values inside the mask of each row in another order.

    Args:
        values: of all places.
        mask: the places whose values change.
        order: a permutation of the places of each row.
    """
    # Places inside the mask come first, in the drawn order and in their own.
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    drawn = torch.where(mask, rank, order.shape[1]).sort(dim=1, stable=True).indices
    own = torch.where(mask, 0, 1).sort(dim=1, stable=True).indices
    moved = torch.zeros_like(values).scatter_(1, own, values.gather(1, drawn))
    return torch.where(mask, moved, 0.0)
