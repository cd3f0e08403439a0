"""Where the pictures of prompts to models that speak stand among the tokens."""

from __future__ import annotations

from jaxtyping import Int
from torch import Tensor

from ..networks.towers.chat import EXCHANGE, Chat
from ..types import Prompt


def positions_of(chat: Chat, talk: Int[Tensor, "3 L"], prompt: Prompt) -> tuple[int, ...]:
    """Return the positions of the pictures of a prompt in its tokens; none where no earlier turn has one."""
    if all(turn.picture is None for turn in prompt.turns):
        return ()
    shown = [*(turn.picture for turn in prompt.turns), prompt.picture]
    begins = [int((talk[EXCHANGE] == number).int().argmax()) for number in range(1, len(shown) + 1)]
    return tuple(
        begin + (chat.turn_opening if begin else chat.opening)
        for begin, picture in zip(begins, shown, strict=True)
        if picture is not None
    )
