"""Sentences of tokenized texts: which token belongs to which, and their vectors."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..networks.base import Tokenizer
from ..networks.towers.parts.pooling import inside

_MARKS = (".", "!", "?")


class SentenceSplitter:
    """Numbers the tokens of texts by sentence. A sentence ends in a full stop, an exclamation or a question mark.

    A run of marks ends one sentence. What follows the last mark is a sentence too, as the context may cut one. A mark
    between digits ends a sentence where the tokenizer sets it apart.

    >>> from counterpoint.networks import BytePairTokenizer
    >>> tokenizer = BytePairTokenizer.train(["a cat. a dog."], vocabulary=270)
    >>> SentenceSplitter(tokenizer)(tokenizer(["a cat. a dog."])).unique().tolist()
    [-1, 0, 1]
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        ended = tokenizer([f"a{mark}" for mark in _MARKS])
        length = inside(ended, tokenizer.end).sum(1)
        self.marks = ended[torch.arange(len(ended)), length - 2]
        first = tokenizer(["a", "b"])[:, 0]
        self.skipped = int(first[0] == first[1])

    def __call__(self, tokens: Int[Tensor, "B L"]) -> Int[Tensor, "B L"]:
        """Return the number of each token's sentence in its text; −1 for tokens that are no word of the text."""
        words = inside(tokens, self.tokenizer.end) & (tokens != self.tokenizer.end)
        words[:, : self.skipped] = False
        marks = words & torch.isin(tokens, self.marks.to(tokens.device))
        ends = marks.clone()
        ends[:, :-1] &= ~marks[:, 1:]
        number = ends.long().cumsum(1) - ends.long()
        return number.masked_fill(~words, -1)


def sentence_means(
    words: Float[Tensor, "B L W"], number: Int[Tensor, "B L"], count: int
) -> tuple[Float[Tensor, "B K W"], Bool[Tensor, "B K"]]:
    """Return the mean of the words of each of the first sentences of texts, and which sentences there are.

    Args:
        words: the states of tokens.
        number: of each token's sentence.
        count: K; later sentences are left out.

    >>> means, real = sentence_means(torch.tensor([[[1.0], [3.0], [7.0]]]), torch.tensor([[0, 0, -1]]), 2)
    >>> means.flatten().tolist(), real.tolist()
    ([2.0, 0.0], [[True, False]])
    """
    belongs = number[:, None] == torch.arange(count, device=number.device)[:, None]
    length = belongs.sum(2)
    means = belongs.to(words.dtype) @ words / length.clamp_min(1)[..., None]
    return means, length > 0
