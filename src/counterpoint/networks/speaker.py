"""A picture tower, a bridge and a language model: likelihoods of replies, and the next token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .base import ImageTower
from .bridges.base import Bridge, ChangeBehind, Given, Seen
from .packing import packed_mask, packed_positions
from .towers.chat import EXCHANGE, REPLY, TOKEN
from .towers.language import LanguageTower, trimmed


@final
@dataclass(frozen=True)
class Speaker:
    """A language model that reads pictures.

    The tokens of a picture stand behind the opening of the conversation's first prompt. In a conversation with pictures
    in earlier turns, those of each stand behind the opening of its own turn.

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
        """Return the features of the pictures' patches, row by row of the grid, coarse ones before fine ones.

        Those of several levels stand one behind the other, the last level last.
        """
        if self.tiles == 1:
            return torch.cat([level.flatten(2).mT for level in self.bridge.read(self.image, pictures)], 1)
        side, g = self.image.size, self.tiles
        coarse = self.image.patches(F.interpolate(pictures, (side, side), mode="area")).flatten(2)
        tiles = pictures.reshape(len(pictures), 3, g, side, g, side).permute(0, 2, 4, 1, 3, 5)
        maps = self.image.patches(tiles.flatten(0, 2))
        maps = maps.reshape(len(pictures), g, g, *maps.shape[1:])
        stitched = maps.permute(0, 3, 1, 4, 2, 5).flatten(2)
        return torch.cat([coarse, stitched], 2).mT

    def given(self, patches: Float[Tensor, "B n w"]) -> Given:
        """Return what the language model reads of pictures, of several pictures of a row one behind the other.

        Raises:
            ValueError: for several pictures with a bridge that changes layers.
        """
        grid, sizes = self.bridge.grid, self.bridge.level_sizes
        count = patches.shape[1] // (sum(sizes) if self.tiles == 1 else sizes[0] * (1 + self.tiles**2))
        if count > 1:
            given = self.given(patches.reshape(len(patches) * count, -1, patches.shape[2]))
            if given.before:
                raise ValueError(f"{type(self.bridge).__name__} reads one picture of a conversation")
            return Given(given.tokens.reshape(len(patches), -1, given.tokens.shape[2]))
        if self.tiles > 1:
            return self.bridge(Seen((patches[:, : sizes[0]],), grid, patches[:, sizes[0] :]))
        return self.bridge(Seen(torch.split(patches, list(sizes), 1), grid))

    def states(
        self,
        tokens: Int[Tensor, "B L"],
        given: Given | None,
        *,
        hidden: bool | Bool[Tensor, "B n"] = False,
        packed: Int[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B L W"]:
        """Return the state of each token of conversations, behind a picture or without one.

        Args:
            tokens: of conversations.
            given: what is read of pictures; None for conversations without one.
            hidden: which of the picture's tokens, or all of them, no other token attends to in any layer. Positions
                stay as they are.
            packed: the number of each token's exchange (0 for padding), where these stand behind the pictures and do
                not see each other; else each sees those in front of it.
        """
        if given is None and packed is None:
            return self.language.token_states(self.language.embed(tokens))
        if given is None:
            given = Given(self.language.embed(tokens)[:, :0])
        whole = self.sequence_states(tokens, given, hidden=hidden, packed=packed)
        return self.without_pictures(whole, given)

    def without_pictures(self, states: Float[Tensor, "B M W"], given: Given) -> Float[Tensor, "B L W"]:
        """Return the states of the tokens of conversations alone."""
        opening = self.language.chat.opening
        return torch.cat([states[:, :opening], states[:, opening + given.tokens.shape[1] :]], 1)

    def embedded(self, tokens: Int[Tensor, "B L"], given: Given) -> Float[Tensor, "B M W"]:
        """Return the vectors of the tokens of conversations and of the pictures in them, in their order."""
        embedded, opening = self.language.embed(tokens), self.language.chat.opening
        return torch.cat([embedded[:, :opening], given.tokens.to(embedded.dtype), embedded[:, opening:]], 1)

    def sequence_states(
        self,
        tokens: Int[Tensor, "B L"],
        given: Given,
        *,
        hidden: bool | Bool[Tensor, "B n"] = False,
        packed: Int[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B M W"]:
        """Return the state of each token of conversations and of the pictures in them; see `states`."""
        whole, mask, positions = self.embedded(tokens, given), None, None
        opening, count = self.language.chat.opening, given.tokens.shape[1]
        # A hidden picture is read in no layer either.
        before = {n: partial(_behind, change, opening) for n, change in given.before.items() if not hidden}
        if packed is not None and (packed.is_meta or bool((packed > 1).any())):
            positions, mask = packed_positions(packed, opening, count), packed_mask(packed, opening, count)
        length, of_picture = whole.shape[1], slice(opening, opening + count)
        if hidden is not False:
            every = torch.ones(len(whole), count, dtype=torch.bool, device=whole.device)
            hidden = every if hidden is True else hidden
            causal = torch.ones(length, length, dtype=torch.bool, device=whole.device).tril()
            mask = causal.repeat(len(whole), 1, 1) if mask is None else mask
            # A picture's token keeps itself, so that no softmax is without a key.
            itself = torch.eye(length, dtype=torch.bool, device=whole.device)[:, of_picture]
            mask[:, :, of_picture] &= ~hidden[:, None] | itself
        of_pictures = torch.zeros(length, dtype=torch.bool, device=whole.device)
        of_pictures[of_picture] = True
        return self.language.token_states(whole, positions, mask, before, of_pictures)

    def reply_states(
        self,
        talk: Int[Tensor, "B 3 L"],
        given: Given | None,
        *,
        hidden: bool = False,
        states: Float[Tensor, "B t W"] | None = None,
        packed: bool = False,
    ) -> tuple[Float[Tensor, "n W"], Int[Tensor, " n"], Bool[Tensor, "B L"]]:
        """Return the state that predicts each token of a reply, these tokens, and their places.

        Args:
            talk: conversations.
            given: what is read of pictures; None for conversations without one.
            hidden: as for `states`.
            states: of the trimmed conversations, where they are known.
            packed: the exchanges of a conversation stand behind its pictures and do not see each other.
        """
        read = trimmed(talk)
        # The end of a prompt is its last token; no reply begins right behind a picture.
        spoken = read[:, REPLY, 1:] > 0
        if states is None:
            numbers = read[:, EXCHANGE] if packed else None
            states = self.states(read[:, TOKEN], given, hidden=hidden, packed=numbers)
        states = states[:, :-1][spoken]
        return states, read[:, TOKEN, 1:][spoken], F.pad(spoken, (1, talk.shape[2] - read.shape[2]))

    def log_p(
        self,
        talk: Int[Tensor, "B 3 L"],
        given: Given | None,
        states: Float[Tensor, "B t W"] | None = None,
        packed: bool = False,
    ) -> Float[Tensor, "B L"]:
        """Return the log-probability of each token of a reply; 0 for all other tokens.

        Logits are computed where replies stand, and no others, in tiles where there are many (`token_log_p`). The
        arguments are those of `reply_states`.
        """
        states, tokens, where = self.reply_states(talk, given, states=states, packed=packed)
        log_p = self.language.log_p(states, tokens)
        return log_p.new_zeros(where.shape).masked_scatter(where, log_p)

    def logits_behind(
        self, tokens: Int[Tensor, "B L"], given: Given | None, hidden: bool | Bool[Tensor, "B m"] = False
    ) -> Float[Tensor, "B V"]:
        """Return the logits of the token behind some tokens; see `states`."""
        return self.language.logits(self.states(tokens, given, hidden=hidden)[:, -1])

    def next_logits(
        self,
        tokens: Int[Tensor, "B L"],
        patches: Float[Tensor, "B n w"],
        at: Sequence[int] = (),
        hidden: bool | Bool[Tensor, "B m"] = False,
    ) -> Float[Tensor, "B V"]:
        """Return the logits of the token behind some tokens; of pictures without patches nothing is read.

        Args:
            tokens: of conversations.
            patches: of a picture for each conversation, or of several, one behind the other.
            at: the places in front of whose tokens the pictures stand; one behind the opening unless given.
            hidden: as for `states`.

        Raises:
            ValueError: for several places with a bridge that changes layers, or with hidden tokens.
        """
        if not at:
            return self.logits_behind(tokens, self.given(patches) if patches.shape[1] else None, hidden)
        given = self.given(patches.reshape(len(tokens) * len(at), -1, patches.shape[2]))
        if given.before:
            raise ValueError(f"{type(self.bridge).__name__} reads one picture of a conversation")
        if not isinstance(hidden, bool) or hidden:
            raise ValueError("tokens of one picture of a conversation can be hidden, and there are several")
        first, *texts = self.language.embed(tokens).tensor_split(list(at), 1)
        pictures = given.tokens.to(first.dtype).reshape(len(tokens), len(at), -1, first.shape[2]).unbind(1)
        parts = [part for pair in zip(pictures, texts, strict=True) for part in pair]
        # Texts and pictures take turns behind the first text.
        kinds = [first.new_full((part.shape[1],), n % 2) for n, part in enumerate([first, *parts])]
        whole, of_pictures = torch.cat([first, *parts], 1), torch.cat(kinds) > 0
        return self.language.logits(self.language.token_states(whole, of_pictures=of_pictures)[:, -1])


def _behind(change: ChangeBehind, opening: int, states: Float[Tensor, "B L W"]) -> Float[Tensor, "B L W"]:
    return change(states, opening)


def replied(talk: Int[Tensor, "B 3 L"]) -> Int[Tensor, " B"]:
    """Return the number of tokens of the replies of each conversation."""
    return ((talk[:, REPLY] > 0) & (talk[:, EXCHANGE] > 0)).sum(1)
