"""A judge of replies: a reward for each token, learned from true replies and from replies with an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..networks.base import Towers
from ..networks.bridges.base import Given
from ..networks.towers.chat import EXCHANGE, REPLY, TOKEN
from ..networks.towers.language import trimmed
from ..pairwise import moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..raw import changed_words
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Prompt, StepInfo
from ._speaking import SpeakingMethod, TuneImage
from .needs import Needs


class TLDR(SpeakingMethod):
    """Rewards of tokens: the probability that each token of a reply is true of the picture.

        g_t = σ(w · h_t + b),   L = −mean [y_t log g_t + (1 − y_t) log(1 − g_t)]

    h_t is the state of the language model behind token t itself, not the state that predicts it. y_t is 0 where the
    token belongs to a word of the worse reply that the good reply does not have in its place, and 1 otherwise; whole
    words count. Both replies of a pair are read in every step, so that half of the replies are without an error. A pair
    whose worse reply has no such word, because words are missing from it, is left out.

    The worse replies are a further column of conversations with the same requests (``tldr,worse=injected``). `judge`
    gives the reward of each word.

    Args:
        towers: of pictures, with features of patches, and of conversations, twice.
        recipe: unused: the bridge is as wide as the towers.
        blind: no token attends to the picture, neither in training nor in `judge`. The control: what such a model finds
            is known from the words alone.
        last: one reward a reply, of its last token, with the label 0 where any word is changed.
        bridge, tokens, tune_image: as for `SFT`.

    Raises:
        UnknownNameError: for a bridge that there is none of.
        ValueError: for a number of tokens that the bridge cannot give, and in a run for rows with several exchanges.
        LookupError: for a picture tower without features of patches.

    Source: Fu et al., "TLDR: Token-Level Detective Reward Model for Large Vision Language Models" (2024), arXiv
    2410.04734; described from memory.
    """

    family = "speaking"
    papers = ("tldr",)
    needs: ClassVar[Needs] = Needs(3, 3, modalities=("image", "talk", "talk"))

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        blind: bool = False,
        last: bool = False,
        bridge: str = "linear",
        tokens: int | None = None,
        tune_image: TuneImage | None = None,
    ) -> None:
        super().__init__(towers, bridge, tokens, tune_image)
        _, _, self.worse = towers
        self.blind, self.last = blind, last
        self.reward_projections = nn.ModuleDict({self.talk: nn.Linear(self.language.width, 1)})

    def encode(self, batch: Batch) -> Embeddings:
        patches = self.speaker.patches(batch[self.picture])
        given = self.speaker.given(patches)
        rewards = {column: self._rewards(batch[column], given) for column in (self.talk, self.worse)}
        return {self.picture: patches.mean(1), **rewards}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        good, worse = batch[self.talk], batch[self.worse]
        if bool((worse[:, EXCHANGE] > 1).any()):
            raise ValueError(
                "tldr compares one exchange a row, and a row has several: take one exchange of each row, as "
                "counterpoint data replies does"
            )
        changed = self._changed(good, worse)
        spoken = torch.cat([good, worse])[:, REPLY] > 0
        wrong = torch.cat([torch.zeros_like(changed), changed])
        if self.last:
            spoken = last_of(spoken)
            wrong = wrong.any(1, keepdim=True).expand_as(wrong)
        logits = torch.cat([z[self.talk], z[self.worse]])
        terms = F.binary_cross_entropy_with_logits(logits, (~wrong).to(logits.dtype), reduction="none")
        count = (spoken & changed.any(1).repeat(2)[:, None]).sum(1).to(logits.dtype)
        of_row = (terms * spoken).sum(1) / count.clamp_min(1)
        return {"tldr": moments.mean(of_row, count, ranks=Ranks.present())}

    @torch.no_grad()
    def judge(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[Float[Tensor, " words"]]:
        """Return the probability that each word of each reply is true: the least of its tokens.

        Args:
            prompts: what was asked; of a prompt without a picture the words alone are judged.
            replies: one for each prompt. Words that the context cuts have no probability.
        """
        rows = [self._conversation(prompt, reply) for prompt, reply in zip(prompts, replies, strict=True)]
        judged: list[Tensor] = []
        for talk, logits in self._of_tokens([prompt.picture for prompt in prompts], rows, self._rewards):
            for (tokens, spoken, _), of_row in zip(talk, logits, strict=True):
                words = torch.tensor(self.language.chat.words(tokens[spoken > 0]), dtype=torch.long)
                rewards = of_row[spoken > 0].sigmoid()
                if self.last:
                    rewards = rewards[-1:].expand_as(rewards)
                of_words = rewards.new_ones(int(words.max()) + 1 if len(words) else 0)
                judged.append(of_words.scatter_reduce(0, words[words >= 0], rewards[words >= 0], "amin"))
        return judged

    def _rewards(self, talk: Int[Tensor, "B 3 L"], given: Given | None) -> Float[Tensor, "B L"]:
        """Return the logit of the reward of each token of a reply; 0 for all other tokens."""
        read = trimmed(talk)
        spoken = read[:, REPLY] > 0
        states = self.speaker.states(read[:, TOKEN], given, hidden=self.blind and given is not None)
        logits = upcast(self.reward_projections[self.talk](states[spoken])[:, 0])
        where = F.pad(spoken, (0, talk.shape[2] - read.shape[2]))
        return logits.new_zeros(where.shape).masked_scatter(where, logits)

    def _changed(self, good: Int[Tensor, "B 3 L"], worse: Int[Tensor, "B 3 L"]) -> Bool[Tensor, "B L"]:
        """Return which tokens of worse replies belong to words that the good ones do not have in their place."""
        chat = self.language.chat
        changed = torch.zeros(len(worse), worse.shape[2], dtype=torch.bool)
        for row, (right, other) in enumerate(zip(good.cpu(), worse.cpu(), strict=True)):
            tokens = [talk[TOKEN][talk[REPLY] > 0] for talk in (right, other)]
            words = changed_words(*map(chat.decode, tokens))
            changed[row, other[REPLY] > 0] = torch.tensor(
                [number >= 0 and words[number] for number in chat.words(tokens[1])], dtype=torch.bool
            )
        return changed.to(worse.device)


def last_of(mask: Bool[Tensor, "B L"]) -> Bool[Tensor, "B L"]:
    """Return a mask with the last place of each row of a mask alone.

    >>> last_of(torch.tensor([[True, True, False]])).tolist()
    [[False, True, False]]
    """
    return mask & (mask.flip(1).cumsum(1).flip(1) == 1)
