"""The prompt learner: vectors that stand in a text tower in place of the words before the name of a class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..networks.base import TextTower
from ..networks.towers.parts.pooling import inside


class PromptLearner(nn.Module):
    """Context vectors before the name of a class and a full stop, shared by all classes or of each class.

    Args:
        tower: of texts, which the vectors are given to; it is no part of the learner.
        words: whose vectors the context starts from; None for vectors that start from N(0, 0.02²).
        vectors: their number, where no words say it.
        classes: the number of classes, each of which gets vectors of its own; None for vectors that all share.

    Raises:
        LookupError: for a tower without a table of the vectors of tokens.
    """

    def __init__(self, tower: TextTower, words: str | None, vectors: int, classes: int | None = None) -> None:
        super().__init__()
        self.words = words
        count = vectors if words is None else len(_own_tokens(tower, words))
        shape = (count, tower.token_table.embedding_dim)
        self.context = nn.Parameter(
            torch.zeros(shape if classes is None else (classes, *shape)), requires_grad=False
        )

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.context)

    @torch.no_grad()
    def begin(self, tower: TextTower) -> None:
        """Set the context to its start."""
        if self.words is None:
            self.context.copy_(0.02 * torch.randn(self.context.shape))
        else:
            self.context.copy_(tower.token_table.weight[_own_tokens(tower, self.words)])

    def prompts(self, tower: TextTower, names: Sequence[str]) -> Int[Tensor, "C L"]:
        """Return the tokens of prompts, with fillers in the places of the context.

        Raises:
            ValueError: for a name that is too long beside the context.
        """
        tokenizer = tower.tokenizer
        count, first = self.context.shape[-2], first_token(tower)
        tokens = tokenizer([f"{name}." for name in names])
        lengths = inside(tokens, tokenizer.end, begins_with_end=tower.begins_with_end).sum(1)
        fits = (lengths + count <= tokenizer.context) & ~tokenizer.too_long([f"{name}." for name in names])
        if not fits.all():
            name = names[int(fits.long().argmin())]
            raise ValueError(
                f"the name {name!r} has too many tokens beside {count} vectors of context: the text tower reads "
                f"{tokenizer.context}; give fewer vectors"
            )
        filler = tokens[:, first : first + 1].expand(-1, count)
        whole = torch.cat([tokens[:, :first], filler, tokens[:, first:]], 1)[:, : tokenizer.context]
        return whole.to(self.context.device)

    def features(
        self, tower: TextTower, prompts: Int[Tensor, "C L"], context: Float[Tensor, "C M w"]
    ) -> Float[Tensor, "C W"]:
        """Return what the tower says of prompts with a context each."""
        first = first_token(tower)
        positions = torch.arange(first, first + context.shape[1], device=prompts.device)
        return tower.with_vectors(prompts, context, positions.expand(len(prompts), -1))


def first_token(tower: TextTower) -> int:
    """Return the position of the first token of a caption that is its own: 1 where a start token comes before it."""
    if tower.begins_with_end:
        return 1
    return int((tower.tokenizer([""])[0] == tower.tokenizer.end).long().argmax())


def _own_tokens(tower: TextTower, words: str) -> Int[Tensor, " M"]:
    """Return the tokens of words, without those that every caption begins and ends with."""
    tokens = tower.tokenizer([words])
    count = int(inside(tokens, tower.tokenizer.end, begins_with_end=tower.begins_with_end).sum()) - 1
    return tokens[0, first_token(tower) : count]
