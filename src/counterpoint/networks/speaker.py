"""A picture tower, a bridge and a language model: likelihoods of replies, and the next token."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..pairwise.inputs import upcast
from .base import ImageTower
from .bridges.base import Bridge, ChangeBehind, Given, Seen
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
        tiles: g, for pictures of g times the tower's side: patches of the whole picture in the tower's size come first,
            then those of a grid of g × g tiles, stitched to one map.
        language: reads and writes.
    """

    image: ImageTower
    bridge: Bridge
    language: LanguageTower
    tiles: int = 1

    def patches(self, pictures: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B n w"]:
        """Return the features of the pictures' patches, row by row of the grid, coarse ones before fine ones."""
        if self.tiles == 1:
            return self.image.patches(pictures).flatten(2).mT
        side, g = self.image.size, self.tiles
        coarse = self.image.patches(F.interpolate(pictures, (side, side), mode="area")).flatten(2)
        tiles = pictures.reshape(len(pictures), 3, g, side, g, side).permute(0, 2, 4, 1, 3, 5)
        maps = self.image.patches(tiles.flatten(0, 2))
        maps = maps.reshape(len(pictures), g, g, *maps.shape[1:])
        stitched = maps.permute(0, 3, 1, 4, 2, 5).flatten(2)
        return torch.cat([coarse, stitched], 2).mT

    def given(self, patches: Float[Tensor, "B n w"]) -> Given:
        """Return what the language model reads of pictures."""
        rows, columns = self.bridge.grid
        count = rows * columns
        fine = patches[:, count:] if self.tiles > 1 else None
        return self.bridge(Seen((patches[:, :count],), self.bridge.grid, fine))

    def states(self, tokens: Int[Tensor, "B L"], given: Given | None) -> Float[Tensor, "B L W"]:
        """Return the state of each token of conversations, behind a picture or without one."""
        embedded = self.language.embed(tokens)
        if given is None:
            return self.language.token_states(embedded)
        opening, count = self.language.chat.opening, given.tokens.shape[1]
        parts = (embedded[:, :opening], given.tokens.to(embedded.dtype), embedded[:, opening:])
        before = {number: partial(_behind, change, opening) for number, change in given.before.items()}
        states = self.language.token_states(torch.cat(parts, 1), before=before)
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


def _behind(change: ChangeBehind, opening: int, states: Float[Tensor, "B L W"]) -> Float[Tensor, "B L W"]:
    return change(states, opening)


def replied(talk: Int[Tensor, "B 3 L"]) -> Int[Tensor, " B"]:
    """Return the number of tokens of the replies of each conversation."""
    return ((talk[:, REPLY] > 0) & (talk[:, EXCHANGE] > 0)).sum(1)
