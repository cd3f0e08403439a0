"""A picture tower, a bridge and a language model: likelihoods of replies, and the next token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..pairwise.inputs import upcast
from .base import ImageTower
from .bridges.base import Bridge, Given, Seen
from .towers.chat import EXCHANGE, REPLY, TOKEN
from .towers.language import LanguageTower, trimmed


@final
@dataclass(frozen=True)
class Speaker:
    """A language model that reads pictures.

    The tokens of a picture stand behind the opening of the conversation's first prompt.

    Attributes:
        image: with features of patches.
        bridge: from patches to tokens.
        language: reads and writes.
    """

    image: ImageTower
    bridge: Bridge
    language: LanguageTower

    def patches(self, pictures: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B n w"]:
        """Return the features of the pictures' patches, row by row of the grid."""
        return self.image.patches(pictures).flatten(2).mT

    def given(self, patches: Float[Tensor, "B n w"]) -> Given:
        """Return what the language model reads of pictures."""
        return self.bridge(Seen((patches,), self.bridge.grid))

    def states(self, tokens: Int[Tensor, "B L"], given: Given | None) -> Float[Tensor, "B L W"]:
        """Return the state of each token of conversations, behind a picture or without one."""
        embedded = self.language.embed(tokens)
        if given is None:
            return self.language.token_states(embedded)
        opening, count = self.language.chat.opening, given.tokens.shape[1]
        parts = (embedded[:, :opening], given.tokens.to(embedded.dtype), embedded[:, opening:])
        states = self.language.token_states(torch.cat(parts, 1), before=given.before)
        return torch.cat([states[:, :opening], states[:, opening + count :]], 1)

    def log_p(self, talk: Int[Tensor, "B 3 L"], given: Given | None) -> Float[Tensor, "B L"]:
        """Return the log-probability of each token of a reply; 0 for all other tokens.

        Logits are computed where replies stand, and no others.
        """
        read = trimmed(talk)
        # The end of a prompt is its last token; no reply begins right behind a picture.
        spoken = read[:, REPLY, 1:] > 0
        states = self.states(read[:, TOKEN], given)[:, :-1][spoken]
        wrong = F.cross_entropy(
            upcast(self.language.head(states)), read[:, TOKEN, 1:][spoken], reduction="none"
        )
        log_p = wrong.new_zeros(spoken.shape).masked_scatter(spoken, -wrong)
        return F.pad(log_p, (1, talk.shape[2] - read.shape[2]))

    def next_logits(
        self, tokens: Int[Tensor, "B L"], patches: Float[Tensor, "B n w"]
    ) -> Float[Tensor, "B V"]:
        """Return the logits of the token behind some tokens; of pictures without patches nothing is read."""
        given = self.given(patches) if patches.shape[1] else None
        return upcast(self.language.head(self.states(tokens, given)[:, -1]))


def replied(talk: Int[Tensor, "B 3 L"]) -> Int[Tensor, " B"]:
    """Return the number of tokens of the replies of each conversation."""
    return ((talk[:, REPLY] > 0) & (talk[:, EXCHANGE] > 0)).sum(1)
