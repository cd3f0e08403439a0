"""The tower of transcripts: a tower of texts on each sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...raw import Subtitles
from ..base import TextTower, Tower
from .parts.temporal import mean_inside
from .tokenizer import BytePairTokenizer

_PARTS = 10**6
"""Parts of a clip's length in which times are counted."""


class SentenceTokens:
    """The input of a tower of transcripts: of each sentence its start, its end and its tokens.

    Times are millionths of the length of the clip, so that they can be compared with frames that are evenly spread over
    it. Behind the last sentence of a row stand zeros.

    >>> from counterpoint.raw import Sentence
    >>> tokens = SentenceTokens(BytePairTokenizer.train(["a red cat"], vocabulary=280, context=6))
    >>> tokens([Subtitles((Sentence(1, 3, "a cat"),), 4)])[0, 0, :2].tolist()
    [250000, 750000]
    """

    file = "sentences.json"

    def __init__(self, tokenizer: BytePairTokenizer) -> None:
        self.tokenizer = tokenizer

    @classmethod
    def fit(cls, transcripts: Sequence[Subtitles], vocabulary: int, context: int) -> Self:
        """Learn the tokens of sentences."""
        texts = (it.text for row in transcripts for it in row.sentences)
        return cls(BytePairTokenizer.train(texts, vocabulary, context))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        return cls(BytePairTokenizer.load(path))

    def save(self, path: str | Path) -> None:
        self.tokenizer.save(path)

    def __call__(self, transcripts: Sequence[Subtitles]) -> Int[Tensor, "B S L"]:
        counts = [len(row.sentences) for row in transcripts]
        whole = torch.zeros(
            len(counts), max([1, *counts]), 2 + self.tokenizer.context, dtype=torch.long
        )  # all tokens of the context: a row has one form, whatever stands beside it
        for number, row in enumerate(transcripts):
            if row.sentences:
                times = torch.tensor([it[:2] for it in row.sentences], dtype=torch.float64) / row.seconds
                tokens = self.tokenizer([it.text for it in row.sentences])
                tokens = F.pad(tokens, (0, self.tokenizer.context - tokens.shape[1]))
                whole[number, : len(tokens)] = torch.cat([(_PARTS * times).round().long(), tokens], 1)
        return whole


def sentence_times(inputs: Int[Tensor, "B S L"]) -> Float[Tensor, "B S 2"]:
    """Return the start and the end of each sentence in shares of the clip's length."""
    return inputs[..., :2] / _PARTS


def is_sentence(inputs: Int[Tensor, "B S L"]) -> Bool[Tensor, "B S"]:
    """Return which sentences are no padding."""
    return inputs[..., 1] > 0


class SentencesTower(Tower):
    """A tower of texts on each sentence; a transcript is the mean of its sentences, and zero without any.

    Args:
        words: the tower of texts.
        tokens: its tokens, with the times of sentences.
    """

    modality: ClassVar[str] = "transcript"

    def __init__(self, words: TextTower, tokens: SentenceTokens) -> None:
        super().__init__()
        self.words, self.tokens, self.width = words, tokens, words.width

    @property
    def input(self) -> SentenceTokens:
        return self.tokens

    @property
    def sizes(self) -> dict[str, int | float | str]:
        return {**self.words.sizes, "text": self.words.name}

    def forward(self, inputs: Int[Tensor, "B S L"]) -> Float[Tensor, "B width"]:
        return mean_inside(self.states(inputs).mT, is_sentence(inputs))

    def states(self, inputs: Int[Tensor, "B S L"]) -> Float[Tensor, "B S width"]:
        """Return features of sentences, in the space of `forward`'s; zero for padding."""
        mask = is_sentence(inputs)
        features = self.words(inputs[mask][:, 2:])
        places = mask.flatten().nonzero()[:, 0]
        states = features.new_zeros(mask.numel(), self.width).index_copy(0, places, features)
        return states.view(*mask.shape, self.width)
