"""Words of a text that name boxes of a picture by their numbers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..base import Tokenizer

MOST = 9
"""The highest number that names a box."""


class BoxReferences(nn.Module):
    """Which tokens name which box: of ``[2]`` the token with the digit, which names the second box.

    The token of the whole word does, where a tokenizer does not split it. Numbers above `MOST` name no box.

    Args:
        tokenizer: of the texts.

    Raises:
        ValueError: for a tokenizer that gives numbers the same tokens.

    >>> from counterpoint.networks import BytePairTokenizer
    >>> tokenizer = BytePairTokenizer.train(["the cat [1]?"], vocabulary=259, context=20)
    >>> references = BoxReferences(tokenizer)(tokenizer(["the cat [2]?", "2 cats [12]"]))
    >>> [tuple(index) for index in references.nonzero()[:, ::2].tolist()]
    [(0, 1)]
    """

    before: Tensor
    names: Tensor
    continued: Tensor

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()

        def tokens(number: int) -> list[int]:
            return tokenizer([f"[{number}]"])[0].tolist()

        # What stands before every text, as a start token, is not part of a name.
        start = _common(tokenizer([""])[0].tolist(), tokens(1))
        position = _common(tokens(1), tokens(2))
        names = [id_ for number in range(1, MOST + 1) for id_ in tokens(number)[position : position + 1]]
        if len(set(names)) < MOST:
            raise ValueError(
                f"{type(tokenizer).__name__} gives [1] to [{MOST}] tokens that do not tell them apart: take another "
                "text tower"
            )
        longer = [tokens(number)[position : position + 2] for number in range(10, 20)]
        continued = {it[1] for it in longer if len(it) > 1 and it[0] == names[0]}
        for name, ids in (
            ("before", tokens(1)[start:position]),
            ("names", names),
            ("continued", [*continued]),
        ):
            self.register_buffer(name, torch.tensor(ids, dtype=torch.long), persistent=False)

    def forward(self, tokens: Int[Tensor, "B L"]) -> Float[Tensor, "B L boxes"]:
        """Return 1 where a token names a box, by its number less one, and 0 elsewhere."""
        named = tokens[..., None] == self.names
        for distance, token in enumerate(self.before.flip(0), 1):
            earlier = F.pad(tokens, (distance, 0), value=-1)[:, : tokens.shape[1]]
            named = named & (earlier == token)[..., None]
        following = F.pad(tokens, (0, 1), value=-1)[:, 1:]
        named = named & ~torch.isin(following, self.continued)[..., None]
        return named.to(torch.get_default_dtype())


def _common(one: list[int], other: list[int]) -> int:
    """Return how many tokens two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((number for number, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
