"""Brote: a first pass over all pictures and the request conditions how each picture is read in a second pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..forms import Count
from ..networks.base import Towers
from ..networks.bridges.base import Given
from ..networks.bridges.qformer import QFormerBridge
from ..networks.heads import Linear
from ..networks.towers.chat import EXCHANGE, REPLY, TOKEN
from ..networks.towers.language import trimmed
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from ._speaking import SpeakingMethod, TuneImage
from .base import Ranges
from .needs import Needs

_BROWSED = "browsed."


class Brote(SpeakingMethod):
    """Supervised fine-tuning on requests about one picture or several, which are read twice.

        browse:       c = state of the language model at the last token of the prompt, behind Q(picture) of each picture
        concentrate:  L = −Σ log p(y_t | y_<t, request, Q(picture; W c) of each picture) / number of tokens

    Q is the Q-Former with K queries and a linear layer. W c is added to all of its queries in front of its first
    normalisation, for each picture of the request the same. In the browse pass nothing is added. No gradient goes
    through the browse pass, whose weights are those of the second one, and it reads no token of the last reply.

    All columns of pictures have a part: the second and later ones stand behind the first in the sequence. Of a
    conversation the last exchange counts; earlier turns have no pictures.

    Args:
        towers: of pictures, with features of patches, of conversations, and of further pictures.
        recipe: unused: the bridge is as wide as the towers.
        condition: ``browse``; ``zero``, a control with both passes in which c is 0; or ``shuffled``, a control in which
            c is that of the row before in the batch. With that one, each request has its own c in use.
        tokens: K, of each picture; 8 unless given. The paper has 32.
        tune_image: as for `SFT`.

    Raises:
        LookupError: for a picture tower without features of patches.

    Source: Wang et al., "Browse and Concentrate: Comprehending Multimodal Content via prior-LLM Context Fusion" (2024),
    arXiv 2402.12195: its variant Brote-IM with the condition added. There the language model has an encoder, whose
    state at the end token is c, the Q-Former reads the request too, and pictures or texts of one pass are dropped. The
    second condition, of a middle layer, and the first stage, on captions, are left out.
    """

    family = "speaking"
    papers = ("browse-and-concentrate",)
    needs: ClassVar[Needs] = Needs(2, None, modalities=("image", "talk"), more="image")
    tunable: ClassVar[Ranges] = {}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        condition: Literal["browse", "zero", "shuffled"] = "browse",
        tokens: Count | None = None,
        tune_image: TuneImage | None = None,
    ) -> None:
        super().__init__(towers, "qformer", tokens, tune_image)
        _, _, *further = towers
        self.pictures = (self.picture, *further)
        self.condition = condition
        self.ordered = condition == "shuffled"
        width = self.language.width
        self.condition_projections = nn.ModuleDict({self.talk: Linear(width, width)})

    @property
    def bridge(self) -> QFormerBridge:
        """The Q-Former."""
        bridge = self.speaker.bridge
        assert isinstance(bridge, QFormerBridge)
        return bridge

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Give each row what the row before it would browse, where conditions are shuffled."""
        if self.condition != "shuffled":
            return batch
        ranks = Ranks.present()
        counts = ranks.counts(len(batch), batch[self.talk].device)
        here = ranks.rows(counts)
        others = {
            _BROWSED + column: ranks.gather(batch[column], counts).roll(1, 0)[here]
            for column in (*self.pictures, self.talk)
        }
        return replace(batch, views={**batch.views, **others})

    def encode(self, batch: Batch) -> Embeddings:
        patches, talk = self._patches_of(batch), batch[self.talk]
        browsed = patches, talk
        if _BROWSED + self.talk in batch.views:
            with torch.no_grad():
                browsed = self._patches_of(batch, _BROWSED), batch[_BROWSED + self.talk]
        given = self.concentrated(patches, self.browsed(*browsed))
        return {**self._means(patches), self.talk: self.speaker.log_p(talk, given)}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        return {"nll": self.mean_over_tokens(z[self.talk], batch[self.talk])}

    @torch.no_grad()
    def browsed(self, patches: Float[Tensor, "B n w"], talk: Int[Tensor, "B 3 L"]) -> Float[Tensor, "B W"]:
        """Return the state at the last token of each prompt; 0 for the control.

        Args:
            patches: of all pictures of a row, one behind the other.
            talk: whose last exchange counts.
        """
        read = trimmed(talk)
        states = self.speaker.states(read[:, TOKEN], self.concentrated(patches, None))
        state = states[torch.arange(len(read), device=read.device), prompt_ends(read)]
        return 0 * state if self.condition == "zero" else state

    def concentrated(self, patches: Float[Tensor, "B n w"], condition: Float[Tensor, "B W"] | None) -> Given:
        """Return what the language model reads of the pictures of each row, all of them under its condition."""
        own, width = self.bridge.level_sizes[0], patches.shape[2]
        count = patches.shape[1] // own
        if condition is not None:
            projected: Tensor = self.condition_projections[self.talk](condition)
            condition = projected.repeat_interleave(count, 0)
        queries, _ = self.bridge.query_states(patches.reshape(-1, own, width), condition=condition)
        tokens = self.bridge.out(queries)
        return Given(tokens.reshape(len(patches), count * tokens.shape[1], tokens.shape[2]))

    def given(self, patches: Float[Tensor, "b n w"], talk: Int[Tensor, "b 3 L"]) -> Given:
        return self.concentrated(patches, self.browsed(patches, talk))

    def shown(self, patches: Float[Tensor, "b n w"], talk: Int[Tensor, "b 3 L"]) -> Float[Tensor, "b m v"]:
        return self.given(patches, talk).tokens if patches.shape[1] else patches

    def next_logits(
        self,
        tokens: Int[Tensor, "b L"],
        shown: Float[Tensor, "b m v"],
        at: Sequence[int] = (),
        hidden: bool | Bool[Tensor, "b k"] = False,
    ) -> Float[Tensor, "b V"]:
        if at:
            raise ValueError("brote reads the pictures of the last request, and an earlier turn has one")
        return self.speaker.logits_behind(tokens, Given(shown) if shown.shape[1] else None, hidden)

    def passes(self) -> dict[str, float]:
        passes = super().passes()
        image, talk = self.image_tower.modality, self.language.modality
        again = passes[image] if self.condition == "shuffled" else 0
        return {**passes, image: passes[image] + again, talk: 2 * passes[talk]}


def prompt_ends(talk: Int[Tensor, "B 3 L"]) -> Int[Tensor, " B"]:
    """Return the position of the last token in front of the reply of each conversation's last exchange.

    >>> tokens, reply, exchange = [5, 6, 7, 8, 0], [0, 0, 1, 1, 0], [1, 1, 1, 1, 0]
    >>> prompt_ends(torch.tensor([[tokens, reply, exchange]])).tolist()
    [1]
    """
    exchange = talk[:, EXCHANGE]
    reply = (talk[:, REPLY] > 0) & (exchange == exchange.amax(1, keepdim=True))
    end = torch.where(reply.any(1), reply.int().argmax(1), (exchange > 0).sum(1))
    return (end - 1).clamp_min(0)
