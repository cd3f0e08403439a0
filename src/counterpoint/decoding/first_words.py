"""Words with which a reply may begin: their first tokens, and how a method scores them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from jaxtyping import Bool
from torch import Tensor

from ..types import Prompt
from .branch import Branch
from .chooser import Logits
from .combine import BranchWeights, combine
from .method import Decoding
from .prompts import Message, chat_text, message, messages_of


def first_tokens(processor: Any, words: Sequence[str]) -> list[list[int]]:
    """Return tokens by which a reply can begin with each word, in the form in which the template writes replies."""
    chat = messages_of(Prompt("?"))
    before = chat_text(processor, chat, add_generation_prompt=True)
    tokens: list[list[int]] = []
    taken: dict[int, str] = {}
    for word in words:
        first = [_first_token(processor, chat, before, each) for each in (word, word[:1].upper() + word[1:])]
        ids = {token for token in first if token is not None}
        if not ids:
            raise ValueError(f"{word!r} begins with no token of the model's; ask for another word")
        for token in ids:
            if token in taken:
                raise ValueError(
                    f"{taken[token]!r} and {word!r} begin with the same token ("
                    f"{processor.tokenizer.convert_ids_to_tokens(token)!r}), so that one position cannot "
                    "tell them apart; ask for words that begin differently"
                )
        taken |= dict.fromkeys(ids, word)
        tokens.append(sorted(ids))
    return tokens


def _first_token(processor: Any, chat: list[Message], before: str, word: str) -> int | None:
    """Return the first token of a word in a reply; None where the model has no token for the word."""
    whole = chat_text(processor, [*chat, message("assistant", word)])
    if not whole.startswith(before):
        whole = before + word
    start, ids = (
        processor.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (before, whole)
    )
    same = next((i for i, (a, b) in enumerate(zip(start, ids, strict=False)) if a != b), len(start))
    if not word or same == len(ids) or ids[same] == processor.tokenizer.unk_token_id:
        return None
    return int(ids[same])


@final
class Combined(Decoding):
    """Plain decoding that remembers the scores of a method."""

    logits: Logits

    def __init__(self, method: Decoding) -> None:
        self.method = method

    def branches(self) -> tuple[Branch, ...]:
        return self.method.branches()

    def weights(self, own: Logits, others: Sequence[Logits]) -> BranchWeights:
        self.logits = combine(own, others, self.method.weights(own, others))
        return BranchWeights([0.0] * len(others))

    def keep(self, own: Logits, others: Sequence[Logits]) -> Bool[Tensor, "b v"]:
        return torch.ones_like(own, dtype=torch.bool)
