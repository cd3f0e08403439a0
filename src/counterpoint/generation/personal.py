"""A painter learns new words from a few pictures: vectors, and additions to the keys and values that read them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..networks.base import Tokenizer
from ..networks.fingerprint import fingerprint
from ..networks.painter import PaintingNetwork
from ..networks.towers.parts.pooling import inside
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from .attention import (
    AttentionMaps,
    Box,
    BoxedConcept,
    cross_attention,
    positions_of,
    recorded_attention,
    regional_attention,
)

Guidance = Literal["hard", "soft"]
_NEW = re.compile(r"<[\w-]+>")
_AT_ONCE = 64
"""Pictures that are drawn together, at most."""


def words_in(prompt: str) -> tuple[str, ...]:
    """Return the new words of a text, those in angle brackets, each once.

    >>> words_in("a <one> and a <two> beside a <one>")
    ('<one>', '<two>')
    """
    return tuple(dict.fromkeys(_NEW.findall(prompt)))


def classes_of(words: Sequence[str], classes: Sequence[str]) -> tuple[int, ...]:
    """Return the class of each word in a map: that of its name, or, unless all have one, those behind the background.

    >>> classes_of(["<dog>"], ["background", "cat", "dog"]), classes_of(["<one>"], ["background", "cat", "dog"])
    ((2,), (1,))
    """
    own = [word.strip("<>") for word in words]
    known = all(name in classes for name in own)
    return tuple(list(classes).index(name) for name in own) if known else tuple(range(1, len(own) + 1))


def tokens_with(tokenizer: Tokenizer, texts: Sequence[str], names: Sequence[str]) -> Int[Tensor, "B L"]:
    """Return ids of texts, in which new words have ids from the vocabulary on, in the order of their names.

    Raises:
        ValueError: for a new word that is not among the names, and a text that is too long.
    """
    first, rows = tokenizer([""])[0], []
    begins = first[: int((first == tokenizer.end).long().argmax())].tolist()
    for text in texts:
        row = [*begins]
        for piece in re.split(r"(<[\w-]+>)", text):
            if not _NEW.fullmatch(piece):
                row += _ids(tokenizer, piece.strip()) if piece.strip() else []
            elif piece in names:
                row.append(tokenizer.vocabulary + list(names).index(piece))
            else:
                raise ValueError(f"{text!r}: {piece} was not learned; the new words are {', '.join(names)}")
        row.append(tokenizer.end)
        if len(row) > tokenizer.context:
            raise ValueError(f"{text!r} has {len(row)} tokens, and the painter reads {tokenizer.context}")
        rows.append(row)
    longest = max(map(len, rows), default=0)
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows])


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    tokens, begins = tokenizer([text, ""]), int((tokenizer([""])[0] == tokenizer.end).long().argmax())
    own: list[int] = tokens[0][inside(tokens, tokenizer.end)[0]].tolist()
    return own[begins:-1]


class NewWords(nn.Module):
    """Vectors of words that a tokenizer does not have, in a matrix of their own.

    Args:
        tokenizer: of the texts.
        table: of the vectors of its tokens.
        prompt: a text with new words, each in angle brackets.
        like: words that the vectors begin as, one for each new word, with + between them; one for all. Unless given,
            vectors are drawn with the mean and the deviation of all.

    Attributes:
        names: of the new words, in the order in which the prompt has them.
        like: for each of them the word that it begins as; empty where none was given.
        vectors: that move.

    Raises:
        ValueError: for a prompt without a new word, other numbers of words, and a word of several tokens.
    """

    start: Tensor
    deviation: Tensor

    def __init__(
        self, tokenizer: Tokenizer, table: Float[Tensor, "V w"], prompt: str, like: str = ""
    ) -> None:
        super().__init__()
        self.tokenizer, self.prompt, self.names = tokenizer, prompt, words_in(prompt)
        if not self.names:
            raise ValueError(f"prompt={prompt!r} has no new word: write one in angle brackets, 'a <one>'")
        self.like = tuple(like.split("+") * (len(self.names) if "+" not in like else 1))
        if len(self.like) != len(self.names):
            raise ValueError(
                f"like={like} names {len(self.like)} words, and the prompt has {len(self.names)} new ones"
            )
        rows = []
        for word in self.like:
            ids = _ids(tokenizer, word) if word else []
            if word and len(ids) != 1:
                raise ValueError(f"like={like}: {word!r} is not one token; name a word that the painter has")
            rows.append(table[ids[0]] if word else table.mean(0))
        # Both follow from the painter.
        self.register_buffer("start", torch.stack(rows).detach().clone(), persistent=False)
        deviation = torch.zeros_like(self.start) if all(self.like) else table.std(0).expand_as(self.start)
        self.register_buffer("deviation", deviation.detach().clone(), persistent=False)
        self.vectors = nn.Parameter(self.start.clone())

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.vectors.copy_(self.start + self.deviation * torch.randn_like(self.start))

    def tokens(self, texts: Sequence[str]) -> Int[Tensor, "B L"]:
        """Return ids of texts, in which new words have ids from the vocabulary on; see `tokens_with`."""
        return tokens_with(self.tokenizer, texts, self.names)

    @property
    def plain(self) -> str:
        """The prompt with the words that the new ones begin as; empty where there are none."""
        return _said(self.prompt, dict(zip(self.names, self.like, strict=True))) if all(self.like) else ""


def _said(text: str, words: Mapping[str, str]) -> str:
    return _NEW.sub(lambda match: words.get(match[0], match[0]), text)


class Additions(nn.Module):
    """Additions to weights of attention layers, 0 at first.

    Args:
        sizes: rows and columns of each, by the names of layers.
    """

    def __init__(self, sizes: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()
        for name, size in sizes.items():
            # Names of parameters have no dots.
            self.register_parameter(name.replace(".", "|"), nn.Parameter(torch.zeros(size)))

    def reset_parameters(self) -> None:
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()

    def named(self) -> dict[str, Float[Tensor, "d w"]]:
        """Return them by the names of layers."""
        return {name.replace("|", "."): parameter for name, parameter in self.named_parameters()}


@dataclass(frozen=True, eq=False)
class Reading:
    """What a painter with new words made of noisy pictures.

    Attributes:
        gaps: predicted less true velocities.
        states: of the text.
        positions: of the new words in it.
        maps: of cross-attention, with gradient.
    """

    gaps: Float[Tensor, "B 3 H W"]
    states: Float[Tensor, "B context w"]
    positions: Int[Tensor, "B N"]
    maps: AttentionMaps

    def errors(self) -> Float[Tensor, " B"]:
        """Return the mean squared error of each picture."""
        return self.gaps.square().flatten(1).mean(1)

    def attended(self, side: int | None = None) -> Float[Tensor, "B N s s"]:
        """Return the map of each new word, as `AttentionMaps.of` averages it."""
        return torch.stack([self.maps.of(it, side) for it in self.positions.unbind(1)], 1)


class LearnedWords(nn.Module):
    """A frozen painter with vectors of new words, and additions to keys and values of cross-attention.

    The painter is shared, not copied, and is no part of the module: its weights are neither trained nor saved. A digest
    of them is saved, and what was learned of one painter is refused by another.

    A subclass may make the vectors and the additions of something else: `vectors` and `additions` return them.

    Args:
        painter: that is frozen.
        prompt: of the pictures to learn from, with new words in angle brackets.
        like: words of the painter that the new ones begin as, with + between them; drawn unless given.
        keys: whether keys and values learn.

    Raises:
        ValueError: for a prompt without a new word or too long, other numbers of words, and a word of several tokens.

    >>> from counterpoint.networks.towers.tokenizer import BytePairTokenizer
    >>> tokenizer = BytePairTokenizer.train(["a red cat"], 300, 8)
    >>> small = PaintingNetwork(tokenizer, 8, width=4, blocks=2, text_width=8, text_layers=1)
    >>> learned = LearnedWords(small, "a <one> a", like="a")
    >>> learned.words.names, learned.draw(["a <one>"], steps=2).shape
    (('<one>',), torch.Size([1, 3, 8, 8]))
    """

    base: Tensor

    def __init__(self, painter: PaintingNetwork, prompt: str, like: str = "", *, keys: bool = False) -> None:
        super().__init__()
        painter.eval().requires_grad_(False)
        self._held = (painter,)  # in a tuple, and so no module of this one
        self.words = NewWords(painter.tokenizer, painter.text.get_input_embeddings().weight, prompt, like)
        self.words.tokens([prompt])  # a prompt that is too long is refused here
        layers = cross_attention(painter.unet) if keys else {}
        self.keys, self.values = Additions(layers), Additions(layers)
        digest = bytes.fromhex(fingerprint(painter, {}))
        self.register_buffer("base", torch.tensor([*digest], dtype=torch.uint8))

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args: object) -> None:
        saved = state_dict.get(f"{prefix}base")
        if saved is not None and not torch.equal(saved.cpu(), self.base.cpu()):
            raise ValueError(
                f"{', '.join(self.words.names)}: the words were learned from another painter, or its weights have "
                "changed since; give the painter that they were learned from"
            )
        super()._load_from_state_dict(state_dict, prefix, *args)

    @property
    def painter(self) -> PaintingNetwork:
        """The painter, where the words are, and as precise."""
        return self._held[0].to(self.words.start)

    def vectors(self) -> Float[Tensor, "N w"]:
        """Return the vectors of the new words, with gradient."""
        return self.words.vectors

    def additions(self) -> tuple[dict[str, Float[Tensor, "d w"]], dict[str, Float[Tensor, "d w"]]]:
        """Return what is added to the weights of keys and of values, by the names of attention layers."""
        return self.keys.named(), self.values.named()

    def states(self, texts: Sequence[str]) -> Float[Tensor, "B context w"]:
        """Return the states of texts with new words, with gradient."""
        return self.painter.states(self.words.tokens(texts).to(self.base.device), self.vectors())

    def read(
        self,
        pictures: Float[Tensor, "B 3 H W"],
        noise: Float[Tensor, "B 3 H W"],
        times: Int[Tensor, " B"],
        text: str = "",
    ) -> Reading:
        """Return what the painter makes of pictures with values in [0, 1], at some levels of noise.

        Args:
            pictures, noise, times: see `PaintingNetwork.noised`.
            text: that it reads; the prompt unless given.
        """
        painter = self.painter
        tokens = self.words.tokens([text or self.words.prompt]).to(self.base.device)
        said = words_in(text or self.words.prompt)
        ids = [painter.tokenizer.vocabulary + self.words.names.index(name) for name in said]
        positions = torch.stack([positions_of(tokens, it) for it in ids], 1) if ids else tokens[:, :0]
        noisy, velocity = painter.noised(pictures, noise, times)
        states = painter.states(tokens, self.vectors()).expand(len(pictures), -1, -1)
        with recorded_attention(painter.unet, *self.additions()) as maps:
            predicted = painter(noisy, times, states)
        return Reading(predicted - velocity, states, positions.expand(len(pictures), -1), maps)

    @torch.no_grad()
    def attended(
        self, pictures: Float[Tensor, "n 3 H W"], *, time: int = 400, seed: int = 0
    ) -> Float[Tensor, "n N s s"]:
        """Return the map of each new word on pictures at one level of noise, with the same noise for all."""
        noise = torch.randn(pictures.shape[1:], generator=torch.Generator().manual_seed(seed))
        noise = noise.to(pictures).expand_as(pictures)
        return self.read(pictures, noise, torch.full((len(pictures),), time).to(noise.device)).attended()

    def draw(
        self,
        texts: Sequence[str],
        *,
        seeds: Sequence[int] | None = None,
        steps: int = 12,
        guidance: float = 3.0,
    ) -> Float[Tensor, "n 3 H W"]:
        """Draw a picture of each text, which may have new words; the options are those of `PaintingNetwork.draw`.

        Raises:
            ValueError: for a new word that was not learned, and a text that is too long.
        """
        return draw_words([self], texts, seeds=seeds, steps=steps, guidance=guidance)


@torch.no_grad()
def draw_words(
    learned: Sequence[LearnedWords],
    texts: Sequence[str],
    *,
    boxes: Mapping[str, Box] = MappingProxyType({}),
    prompts: Mapping[str, str] = MappingProxyType({}),
    seeds: Sequence[int] | None = None,
    steps: int = 12,
    guidance: float = 3.0,
) -> Float[Tensor, "n 3 H W"]:
    """Draw pictures of texts with words that were learned apart, by one painter.

    Without boxes, the additions to keys and values of all are summed. With boxes, a cell in a word's box reads a text
    of that word alone, with the additions of that word, and a cell in no box reads the text without any; see
    `regional_attention`.

    Args:
        learned: each with words of its own.
        texts: what to draw.
        boxes: of words.
        prompts: what the box of a word is a picture of; ``a <word>`` unless given.
        seeds, steps, guidance: those of `PaintingNetwork.draw`.

    Raises:
        ValueError: for words of different painters, two of one name, a word that was not learned, a box outside of
            pictures or of a word that a text lacks, and a text that is too long.
    """
    painter, names = learned[0].painter, [name for it in learned for name in it.words.names]
    if len({bytes(it.base.tolist()) for it in learned}) > 1:
        raise ValueError(f"{', '.join(names)} were learned from different painters, and one alone can draw")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two words are called {twice[0]}: learn one of them under another name")
    for name in boxes:
        if name not in names:
            raise ValueError(f"the box of {name}: the words that were learned are {', '.join(names)}")
        if lacking := [text for text in texts if name not in words_in(text)]:
            raise ValueError(f"{name} has a box, and {lacking[0]!r} lacks the word")
    device, vectors = learned[0].base.device, torch.cat([it.vectors() for it in learned])

    def states(text: str) -> Float[Tensor, "1 context w"]:
        return painter.states(tokens_with(painter.tokenizer, [text], names).to(device), vectors)

    concepts = []
    for it in learned:
        keys, values = it.additions()
        concepts += [
            BoxedConcept(states(prompts.get(name, f"a {name}")), boxes[name], keys, values)
            for name in it.words.names
            if name in boxes
        ]
    seeds = range(len(texts)) if seeds is None else seeds
    empty = painter.states(painter.tokenizer([""]).to(device))
    drawn: list[Tensor] = []
    # Those of one text together, as the additions of all words are told apart by texts.
    for text, group in groupby(zip(texts, seeds, strict=True), key=lambda pair: pair[0]):
        of_text, those = states(text), [seed for _, seed in group]
        here = concepts or _whole(learned, of_text)
        for at in range(0, len(those), _AT_ONCE):
            part = those[at : at + _AT_ONCE]
            with regional_attention(painter.unet, here, guided=guidance != 1):
                shown = of_text.expand(len(part), -1, -1)
                drawn.append(painter.sample(shown, empty, seeds=part, steps=steps, guidance=guidance))
    return torch.cat(drawn)


def _whole(learned: Sequence[LearnedWords], states: Float[Tensor, "1 context w"]) -> list[BoxedConcept]:
    """Return the summed additions of all as what is drawn everywhere; none where nothing is added."""
    keys: dict[str, Tensor] = {}
    values: dict[str, Tensor] = {}
    for it in learned:
        for total, own in zip((keys, values), it.additions(), strict=True):
            for layer, addition in own.items():
                total[layer] = total[layer] + addition if layer in total else addition
    return [BoxedConcept(states, (0, 0, 1, 1), keys, values)] if keys or values else []


def attention_loss(
    maps: Float[Tensor, "B N s s"], masks: Bool[Tensor, "B N H W"], guidance: Guidance = "hard"
) -> Float[Tensor, ""]:
    """Return how far maps of words are from the masks of what they name; the mean over words and pictures.

        hard: mean over cells (A − M)²;   soft: mean over all cells of 1[M = 0] A²

    Maps are enlarged to the side of masks. Masks are binary: resized ones have soft borders, which are no background.
    A word without a mask in a picture, one whose mask is empty, has no loss there. Under ``soft``, a mask that is full
    asks nothing.

    Source: Shentu, Watson and Al Moubayed, "Textual Localization: Decomposing Multi-concept Images for Subject-Driven
    Text-to-Image Generation" (2024), arXiv 2402.09966.

    >>> mask = torch.tensor([[[[True, False], [False, False]]]])
    >>> maps = torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]])
    >>> attention_loss(maps, mask, "hard").item(), attention_loss(maps, mask, "soft").item()
    (0.5, 0.25)
    """
    enlarged = F.interpolate(maps, masks.shape[2:], mode="bilinear")
    gaps = (enlarged - masks.to(enlarged)).square()
    if guidance == "soft":
        gaps = gaps * ~masks
    shown = masks.flatten(2).any(2)
    return moments.mean(gaps.mean((2, 3)).flatten(), shown.flatten().to(gaps), ranks=Ranks.present())
