"""Methods whose model reads a picture and a request, and writes a reply."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..decoding.sampling import HIDING, generators_of
from ..forms import Count, Fraction, Positive, Share
from ..modalities import MODALITIES, resolve
from ..networks.base import Input, Towers
from ..networks.bridges import BRIDGES
from ..networks.bridges.base import Bridge, Given, Grouping
from ..networks.speaker import Speaker, replied
from ..networks.towers.chat import EXCHANGE, REPLY, TOKEN
from ..networks.towers.language import LanguageTower
from ..networks.towers.parts.regions import grid
from ..networks.tuning import tune
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from ..raw import Conversation, Exchange
from ..types import Batch, Embeddings, Prompt
from .needs import Needs
from .tower_method import TowerMethod, paired

_AT_ONCE = 64
"""Conversations that are read or written at once."""
TuneImage = Literal["full", "lora", "biases", "frozen"]


class SpeakingMethod(TowerMethod):
    """A bridge between a tower of pictures and a language model.

    `encode` gives log-probabilities of the tokens of replies, row by row. The embedding of a picture is its tower's
    feature.

    Args:
        towers: of pictures, with features of patches, and of conversations.
        bridge: the name of a bridge (`counterpoint.networks.bridges`).
        tokens: of a picture; the bridge's own number unless given.
        tune_image: what moves of the tower of pictures; nothing of a pretrained one and all of another unless given.
        image_tiles: g: the picture is read as a whole and in g × g tiles of the tower's size.
        groups: of the patches of tiles; see `counterpoint.networks.bridges.stacked.StackedBridge`.

    Raises:
        UnknownNameError: for a bridge that there is none of.
        ValueError: for a number of tokens that the bridge cannot give, for tiles with a bridge that reads none or
            without tiles for one that does, and for a language model with too few layers.
        LookupError: for a picture tower without features of patches.
    """

    family = "speaking"
    needs: ClassVar[Needs] = Needs(modalities=("image", "talk"))
    tuned_modalities: ClassVar[tuple[str, ...]] = ("talk",)

    def __init__(
        self,
        towers: Towers,
        bridge: str = "linear",
        tokens: int | None = None,
        tune_image: TuneImage | None = None,
        image_tiles: int = 1,
        groups: Grouping = "strided",
    ) -> None:
        super().__init__(towers)
        kind: type[Bridge] = BRIDGES.get(bridge)
        if kind.fine != (image_tiles > 1):
            raise ValueError(
                f"image_tiles={image_tiles}: bridge={bridge} reads "
                + ("tiles of the picture, so take image_tiles=2" if kind.fine else "the whole picture alone")
            )
        self.tiles = image_tiles
        self.picture, self.talk, *_ = towers
        self.views = paired(towers)
        image, language = self.image_tower, self.language
        places = grid(image)
        tune(image, tune_image or ("frozen" if image.pretrained else "full"))
        std = float(language.embed(torch.arange(language.chat.vocabulary)[None]).detach().std())
        stacking: dict[str, Any] = {"tiles": image_tiles, "groups": groups} if kind.fine else {}
        made = kind(image.width, language.width, places, tokens, std, **stacking)
        if made.deepest >= len(language.layers):
            raise ValueError(
                f"bridge={bridge} changes the input of layer {made.deepest}, and the language model has "
                f"{len(language.layers)}: give it {made.deepest + 1} (--towers.talk_layers) or fewer tiles"
            )
        # Named as heads are, so that an arm that goes on from a run has its bridge too.
        self.bridge_projections = nn.ModuleDict({self.picture: made})

    @property
    def embeds(self) -> tuple[str, ...]:
        return (self.picture,)

    @property
    def language(self) -> LanguageTower:
        """The language model."""
        tower = self.tower(self.talk)
        assert isinstance(tower, LanguageTower)
        return tower

    @property
    def speaker(self) -> Speaker:
        """The picture tower, the bridge and the language model as one."""
        bridge = self.bridge_projections[self.picture]
        assert isinstance(bridge, Bridge)
        return Speaker(self.image_tower, bridge, self.language, self.tiles)

    @property
    def inputs(self) -> Mapping[str, Input]:
        shown = self.image_tower.input
        return {**super().inputs, self.picture: shown.scaled(self.tiles) if self.tiles > 1 else shown}

    def features(self, column: str, inputs: Tensor) -> Tensor:
        if column == self.picture and self.tiles > 1:
            inputs = F.interpolate(inputs, (self.image_tower.size,) * 2, mode="area")
        return super().features(column, inputs)

    def encode(self, batch: Batch) -> Embeddings:
        speaker = self.speaker
        patches = speaker.patches(batch[self.picture])
        log_p = speaker.log_p(batch[self.talk], speaker.given(patches))
        return {self.picture: patches.mean(1), self.talk: log_p}

    def passes(self) -> dict[str, float]:
        passes = super().passes()
        modality = self.image_tower.modality
        return passes | {modality: passes[modality] * (1 + self.tiles**2 if self.tiles > 1 else 1)}

    def mean_over_tokens(self, log_p: Float[Tensor, "B L"], talk: Int[Tensor, "B 3 L"]) -> Float[Tensor, ""]:
        """Return the negative log-likelihood of a token, the mean over the replies of all ranks."""
        count = replied(talk).to(log_p.dtype)
        return moments.mean(-log_p.sum(1) / count.clamp_min(1), count, ranks=Ranks.present())

    def embed(self, column: str, inputs: Any, head: str = "default") -> Tensor:
        if column == self.talk:
            raise ValueError(f"this model writes {column} and has no {column} embeddings")
        return super().embed(column, inputs, head)

    @torch.no_grad()
    def log_p(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> Float[Tensor, " n"]:
        """Return the log-likelihood of each reply, its end included, behind its prompt."""
        rows = [self._conversation(prompt, reply) for prompt, reply in zip(prompts, replies, strict=True)]
        return torch.cat(
            [
                part.sum(1)
                for _, part in self._of_tokens([p.picture for p in prompts], rows, self.speaker.log_p)
            ]
        )

    @torch.no_grad()
    def log_likelihood_of_words(
        self, pictures: Sequence[Tensor | None], exchanges: Sequence[Exchange]
    ) -> list[Float[Tensor, " words"]]:
        """Return the log-likelihood of each word of each reply, and behind them that of the reply's end.

        Args:
            pictures: one for each exchange; None for an exchange without a picture.
            exchanges: requests with replies; words that the context cuts have none.
        """
        scored = []
        for talk, log_p in self._of_tokens(pictures, [(one,) for one in exchanges], self.speaker.log_p):
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
            ValueError: for pictures in earlier turns, and for beams with sampling or hidden tokens.
        """
        from ..networks.caption_generation import generate

        if beams > 1 and (hidden or sample):
            raise ValueError(f"{'sample' if sample else 'hidden'} takes one beam, got beams={beams}")
        replies = [""] * len(prompts)
        for index, tokens, patches in self._prompted(prompts, beginnings):
            some = [prompts[number] for number in index]
            next_logits = self.speaker.next_logits
            if hidden:
                count = self.speaker.bridge.tokens
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
        for index, tokens, patches in self._prompted(prompts):
            logits = self._evaluated(self.speaker.next_logits, tokens, patches)
            result[index] = torch.stack([logits[:, ids].logsumexp(-1) for ids in firsts], 1).cpu().float()
        return result

    def _conversation(self, prompt: Prompt, reply: str = "") -> Conversation:
        if any(turn.picture is not None for turn in prompt.turns):
            raise ValueError("this model reads one picture a conversation, and an earlier turn has one")
        turns = tuple(Exchange(turn.text, turn.reply) for turn in prompt.turns)
        return (*turns, Exchange(prompt.text, reply))

    def _prompted(
        self, prompts: Sequence[Prompt], beginnings: Sequence[str] | None = None
    ) -> Iterator[tuple[list[int], Int[Tensor, "b L"], Float[Tensor, "b n w"]]]:
        """Yield the tokens of prompts of one length, with their numbers and the patches of their pictures.

        Args:
            prompts: what is asked.
            beginnings: of the replies.
        """
        texts = [""] * len(prompts) if beginnings is None else beginnings
        talk = self.language.chat(list(map(self._conversation, prompts, texts)))
        last = (talk[:, REPLY] > 0) & (talk[:, EXCHANGE] == talk[:, EXCHANGE].amax(1, keepdim=True))
        # A beginning ends before the end token, which is the last one of its reply.
        lengths = [
            int(spoken.nonzero()[-1]) if text and bool(spoken.any()) else int((row[EXCHANGE] > 0).sum())
            for text, spoken, row in zip(texts, last, talk, strict=True)
        ]
        alike: dict[tuple[int, bool], list[int]] = {}
        for number, (length, prompt) in enumerate(zip(lengths, prompts, strict=True)):
            alike.setdefault((length, prompt.picture is None), []).append(number)
        for (length, _), numbers in alike.items():
            for start in range(0, len(numbers), _AT_ONCE):
                index = numbers[start : start + _AT_ONCE]
                tokens = talk[index, TOKEN, :length].to(self._device)
                yield index, tokens, self._patches([prompts[number].picture for number in index])

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
            talk = self.language.chat(rows[start : start + _AT_ONCE])
            last = talk[:, EXCHANGE].amax(1, keepdim=True)
            talk[:, REPLY] *= talk[:, EXCHANGE] == last
            shown = pictures[start : start + _AT_ONCE]
            of_tokens = torch.zeros(len(talk), talk.shape[2])
            for with_picture in (True, False):
                index = [n for n, picture in enumerate(shown) if (picture is not None) is with_picture]
                if index:
                    patches = self._patches([shown[n] for n in index])
                    given = self._evaluated(self.speaker.given, patches) if with_picture else None
                    part = self._evaluated(read, talk[index].to(self._device), given)
                    of_tokens[index] = part.cpu().float()
            yield talk, of_tokens

    def _patches(self, pictures: Sequence[Tensor | None]) -> Float[Tensor, "b n w"]:
        """Return the patches of pictures, which are all there or all missing; none of missing pictures."""
        tower, made, modality = self.image_tower, self.inputs[self.picture], MODALITIES.get("image")
        if pictures[0] is None:
            return torch.zeros(len(pictures), 0, tower.width, device=self._device)
        # One by one, as they may be of several sizes.
        prepared = [
            made(resolve(modality.check)(picture[None])) for picture in pictures if picture is not None
        ]
        return self._evaluated(self.speaker.patches, torch.cat(prepared).to(self._device))

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
