"""Likelihoods of replies, and replies, of models that read a picture and a request."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from ..decoding.prompts import pictures_of
from ..decoding.sampling import HIDING, generators_of
from ..forms import Count, Fraction, Positive, Share
from ..modalities import MODALITIES, resolve
from ..networks.bridges.base import Given
from ..networks.speaker import Speaker, replied
from ..networks.towers.chat import EXCHANGE, REPLY, TOKEN
from ..networks.towers.language import LanguageTower
from ..raw import Conversation, Exchange
from ..reasons import counted
from ..types import Prompt, ReplyAttention
from ._picture_positions import positions_of
from ._reply_attention import attention_to_pictures
from .tower_method import TowerMethod

_AT_ONCE = 64
"""Conversations that are read or written at once."""


class ReplyingMethod(TowerMethod):
    """A method whose model judges and writes replies: what is asked of it, beside what it learns.

    Attributes:
        picture: the column of pictures.
        pictures: all columns of pictures that a request shows.
    """

    picture: str
    pictures: tuple[str, ...]

    @property
    @abstractmethod
    def language(self) -> LanguageTower:
        """The language model."""

    @property
    @abstractmethod
    def speaker(self) -> Speaker:
        """The picture tower, the bridge and the language model as one."""

    @torch.no_grad()
    def log_p(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> Float[Tensor, " n"]:
        """Return the log-likelihood of each reply, its end included, behind its prompt.

        Raises:
            ValueError: for pictures in earlier turns.
        """
        if any(turn.picture is not None for prompt in prompts for turn in prompt.turns):
            raise ValueError(
                "the likelihood of replies is that behind one picture, and an earlier turn has one"
            )
        rows = [self._conversation(prompt, reply) for prompt, reply in zip(prompts, replies, strict=True)]
        pictures = [prompt.picture for prompt in prompts]
        return torch.cat([part.sum(1) for _, part in self._of_tokens(pictures, rows, self._likelihoods)])

    @torch.no_grad()
    def log_likelihood_of_words(
        self, pictures: Sequence[UInt8[Tensor, "*n 3 H W"] | None], exchanges: Sequence[Exchange]
    ) -> list[Float[Tensor, " words"]]:
        """Return the log-likelihood of each word of each reply, and behind them that of the reply's end.

        Args:
            pictures: one for each exchange, of several columns as one tensor; None for an exchange without a picture.
            exchanges: requests with replies; words that the context cuts have none.
        """
        scored = []
        for talk, log_p in self._of_tokens(pictures, [(one,) for one in exchanges], self._likelihoods):
            for (tokens, reply, _), of_row in zip(talk, log_p, strict=True):
                words = torch.tensor(self.language.chat.words(tokens[reply > 0]), dtype=torch.long)
                count = int(words.max()) + 1 if len(words) else 0
                sums = of_row.new_zeros(count + 1)
                scored.append(sums.index_add(0, torch.where(words < 0, count, words), of_row[reply > 0]))
        return scored

    @torch.no_grad()
    def reply(
        self,
        prompts: Sequence[Prompt],
        *,
        seed: int = 0,
        beams: Count = 1,
        sample: bool = False,
        temperature: Positive = 1.0,
        top_p: Share = 1.0,
        max_tokens: Count = 64,
        beginnings: Sequence[str] | None = None,
        hidden: Fraction = 0.0,
    ) -> list[str]:
        """Write a reply to each prompt: the likeliest token at a time, by beam search, or sampled.

        Args:
            prompts: what is asked.
            seed: of the sampling and of the draws of hidden tokens. A prompt draws for itself, so that others beside
                it change nothing.
            beams: replies that are followed at once; 1 takes the likeliest token.
            sample: draws tokens.
            temperature: of the sampling.
            top_p: draws from the likeliest tokens that together have this probability.
            max_tokens: tokens after which a reply is cut off.
            beginnings: of the replies; what is returned follows them. Each reply is its own from its start unless
                given.
            hidden: share of the picture's tokens that no text attends to, drawn for each prompt by itself.

        Raises:
            ValueError: for earlier turns that the context of the language model cuts, for pictures in earlier turns
                with a bridge that changes layers or with hidden tokens, and for beams with sampling or hidden tokens.
        """
        from ..networks.caption_generation import generate

        if beams > 1 and (hidden or sample):
            raise ValueError(f"{'sample' if sample else 'hidden'} takes one beam, got beams={beams}")
        replies = [""] * len(prompts)
        for index, tokens, patches, at in self._prompted(prompts, beginnings):
            some = [prompts[number] for number in index]
            next_logits = partial(self.next_logits, at=at)
            if hidden:
                count = len(self.pictures) * self.speaker.bridge.tokens
                drawn = [
                    torch.rand(count, generator=it) < hidden for it in generators_of(some, seed + HIDING)
                ]
                next_logits = partial(next_logits, hidden=torch.stack(drawn).to(self._device))
            made = self._evaluated(
                generate,
                next_logits,
                patches,
                prompts=tokens,
                end=self.language.chat.end,
                length=max_tokens,
                beams=beams,
                sample=sample,
                temperature=temperature,
                top_p=top_p,
                generators=generators_of(some, seed),
            )
            for number, of_one in zip(index, made, strict=True):
                replies[number] = self.language.chat.decode(of_one)
        return replies

    @torch.no_grad()
    def attention(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[ReplyAttention]:
        """Return where in the pictures the model attends as it writes replies, and how likely it finds them.

        Raises:
            ValueError: for prompts without a picture, pictures in earlier turns, a bridge that changes layers, and a
                language model without attention.
        """
        if any(prompt.picture is None for prompt in prompts):
            raise ValueError("attention to pictures is asked of prompts with a picture, and one has none")
        if any(turn.picture is not None for prompt in prompts for turn in prompt.turns):
            raise ValueError(
                "attention is that to the pictures of the last request, and an earlier turn has one"
            )
        rows = [self._conversation(prompt, reply) for prompt, reply in zip(prompts, replies, strict=True)]
        made = []
        for start in range(0, len(rows), _AT_ONCE):
            talk = self._last_replies(rows[start : start + _AT_ONCE]).to(self._device)
            patches = self._patches([prompt.picture for prompt in prompts[start : start + _AT_ONCE]])
            made += self._evaluated(self._attention, patches, talk)
        return made

    @torch.no_grad()
    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Float[Tensor, "n w"]:
        """Return how strongly each word begins the reply; probabilities of a small and a capital letter add up.

        Raises:
            ValueError: if two words begin with the same token.
        """
        chat = self.language.chat
        firsts = []
        for word in words:
            spelled = {word, word.capitalize(), word[:1].lower() + word[1:]}
            firsts.append(
                sorted({chat.tokenizer(one, add_special_tokens=False)["input_ids"][0] for one in spelled})
            )
        flat = [token for tokens in firsts for token in tokens]
        if len(set(flat)) < len(flat):
            raise ValueError(f"two of the words {', '.join(words)} begin with the same token")
        result = torch.zeros(len(prompts), len(words))
        for index, tokens, patches, at in self._prompted(prompts):
            logits = self._evaluated(self.next_logits, tokens, patches, at)
            result[index] = torch.stack([logits[:, ids].logsumexp(-1) for ids in firsts], 1).cpu().float()
        return result

    def _conversation(self, prompt: Prompt, reply: str = "") -> Conversation:
        turns = tuple(Exchange(turn.text, turn.reply) for turn in prompt.turns)
        return (*turns, Exchange(prompt.text, reply))

    def _prompted(
        self, prompts: Sequence[Prompt], beginnings: Sequence[str] | None = None
    ) -> Iterator[tuple[list[int], Int[Tensor, "b L"], Float[Tensor, "b n w"], tuple[int, ...]]]:
        """Yield the tokens of prompts of one length, with their numbers, and the patches of their pictures.

        Of prompts with pictures in earlier turns come the places of all pictures too.

        Args:
            prompts: what is asked.
            beginnings: of the replies.
        """
        texts = [""] * len(prompts) if beginnings is None else beginnings
        rows = list(map(self._conversation, prompts, texts))
        talk = self.language.chat(rows)
        last = (talk[:, REPLY] > 0) & (talk[:, EXCHANGE] == talk[:, EXCHANGE].amax(1, keepdim=True))
        # A beginning ends before the end token, which is the last one of its reply.
        lengths = [
            int(spoken.nonzero()[-1]) if text and bool(spoken.any()) else int((row[EXCHANGE] > 0).sum())
            for text, spoken, row in zip(texts, last, talk, strict=True)
        ]
        full = [len(row) > 1 and length == talk.shape[2] for row, length in zip(rows, lengths, strict=True)]
        if (
            any(full)
            and self.language.chat.too_long([row for row, it in zip(rows, full, strict=True) if it]).any()
        ):
            raise ValueError(
                f"a prompt with earlier turns is longer than the {talk.shape[2]} tokens that the language model reads: "
                "train with a larger context (--towers.talk_context), or show fewer examples"
            )
        alike: dict[tuple[int, tuple[int, ...], bool], list[int]] = {}
        for number, (of_row, length, prompt) in enumerate(zip(talk, lengths, prompts, strict=True)):
            at = positions_of(self.language.chat, of_row, prompt)
            alike.setdefault((length, at, prompt.picture is None), []).append(number)
        for (length, at, _), numbers in alike.items():
            for start in range(0, len(numbers), _AT_ONCE):
                index = numbers[start : start + _AT_ONCE]
                asked = talk[index].to(self._device)
                shown = [
                    pictures_of(prompts[number]) if at else [prompts[number].picture] for number in index
                ]
                patches = self._patches([picture for pictures in shown for picture in pictures])
                count = len(patches) // len(index) * patches.shape[1]
                patches = patches.reshape(len(index), count, patches.shape[2])
                yield index, asked[:, TOKEN, :length], self._evaluated(self.shown, patches, asked), at

    def given(self, patches: Float[Tensor, "b n w"], talk: Int[Tensor, "b 3 L"]) -> Given:
        """Return what the language model reads of the pictures of conversations."""
        return self.speaker.given(patches)

    def shown(self, patches: Float[Tensor, "b n w"], talk: Int[Tensor, "b 3 L"]) -> Float[Tensor, "b m v"]:
        """Return what `next_logits` reads of the pictures of prompts, the same for each token of a reply."""
        return patches

    def next_logits(
        self,
        tokens: Int[Tensor, "b L"],
        shown: Float[Tensor, "b m v"],
        at: Sequence[int] = (),
        hidden: bool | Bool[Tensor, "b k"] = False,
    ) -> Float[Tensor, "b V"]:
        """Return the logits of the token behind some tokens, as `Speaker.next_logits` does of patches."""
        return self.speaker.next_logits(tokens, shown, at, hidden)

    def _likelihoods(self, talk: Int[Tensor, "b 3 L"], given: Given | None) -> Float[Tensor, "b L"]:
        """Return the log-probability of each token of a reply; 0 for all other tokens."""
        return self.speaker.log_p(talk, given)

    def _attention(self, patches: Float[Tensor, "b n w"], talk: Int[Tensor, "b 3 L"]) -> list[ReplyAttention]:
        given, bridge = self.given(patches, talk), self.speaker.bridge
        weights = attention_to_pictures(self.language, given, talk).float().cpu()
        weights = weights.reshape(len(talk), len(self.pictures), -1)
        # Tokens without a place of their own are counted together.
        grid = bridge.grid if bridge.placed else (1, 1)
        weights = weights if bridge.placed else weights.nansum(2, keepdim=True)
        likely = self._likelihoods(talk, given).sum(1) / replied(talk).clamp_min(1)
        return [
            ReplyAttention(of.reshape(-1, *grid), value)
            for of, value in zip(weights, likely.tolist(), strict=True)
        ]

    def _last_replies(self, rows: Sequence[Conversation]) -> Int[Tensor, "b 3 L"]:
        """Return conversations as tokens, in which the last replies alone are replies."""
        talk = self.language.chat(rows)
        talk[:, REPLY] *= talk[:, EXCHANGE] == talk[:, EXCHANGE].amax(1, keepdim=True)
        return talk

    def _of_tokens(
        self,
        pictures: Sequence[Tensor | None],
        rows: Sequence[Conversation],
        read: Callable[[Tensor, Given | None], Tensor],
    ) -> Iterator[tuple[Int[Tensor, "b 3 L"], Float[Tensor, "b L"]]]:
        """Yield conversations as tokens with a number of each token of their last replies, some rows at a time.

        Args:
            pictures: of the rows; None for a row without one.
            rows: conversations.
            read: from conversations and what is read of their pictures to a number of each token.
        """
        for start in range(0, len(rows), _AT_ONCE):
            talk = self._last_replies(rows[start : start + _AT_ONCE])
            shown = pictures[start : start + _AT_ONCE]
            of_tokens = torch.zeros(len(talk), talk.shape[2])
            for with_picture in (True, False):
                index = [n for n, picture in enumerate(shown) if (picture is not None) is with_picture]
                if index:
                    patches = self._patches([shown[n] for n in index])
                    of_some = talk[index].to(self._device)
                    given = self._evaluated(self.given, patches, of_some) if with_picture else None
                    part = self._evaluated(read, of_some, given)
                    of_tokens[index] = part.cpu().float()
            yield talk, of_tokens

    def _patches(self, pictures: Sequence[Tensor | None]) -> Float[Tensor, "b n w"]:
        """Return the patches of pictures, which are all there or all missing; none of missing pictures.

        Those of several pictures of one request stand one behind the other.
        """
        tower, made, modality = self.image_tower, self.inputs[self.picture], MODALITIES.get("image")
        count = len(self.pictures)
        if any(it is not None and (len(it) if it.ndim == 4 else 1) != count for it in pictures):
            raise ValueError(f"a request is about {counted(count, 'picture')} ({', '.join(self.pictures)})")
        if pictures[0] is None:
            return torch.zeros(len(pictures), 0, tower.width, device=self._device)
        # One by one, as they may be of several sizes.
        prepared = [
            made(resolve(modality.check)(picture if picture.ndim == 4 else picture[None]))
            for picture in pictures
            if picture is not None
        ]
        patches = self._evaluated(self.speaker.patches, torch.cat(prepared).to(self._device))
        return patches.unflatten(0, (-1, count)).flatten(1, 2)

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device

    def _evaluated(self, function: Any, *args: Any, **options: Any) -> Any:
        """Call a function in evaluation mode."""
        was_training = self.training
        self.eval()
        try:
            return function(*args, **options)
        finally:
            self.train(was_training)
