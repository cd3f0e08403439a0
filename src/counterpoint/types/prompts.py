"""Requests to models that answer in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, UInt8
from torch import Tensor

Picture = UInt8[Tensor, "3 H W"]


@dataclass(frozen=True)
class Turn:
    """An earlier turn of a conversation: what was asked, about which picture, and the reply.

    Attributes:
        text: what was asked.
        reply: what was answered.
        picture: None where the turn has none.
    """

    text: str
    reply: str
    picture: Picture | None = None


@dataclass(frozen=True)
class Prompt:
    """One request to a model that answers in words.

    Attributes:
        text: what is asked.
        picture: what it is about; several pictures that are shown together are one tensor. None asks without a picture.
        turns: shown before it, the first one first: examples in context, or the conversation so far.
        neutral: the same request without the lead that ``text`` has; None where it has none.
    """

    text: str
    picture: Picture | UInt8[Tensor, "n 3 H W"] | None = None
    turns: tuple[Turn, ...] = ()
    neutral: str | None = None


class ReplyAttention(NamedTuple):
    """Where in its pictures a model attends as it writes a reply.

    Attributes:
        weights: attention to the tokens of each picture, in the form of the grid of a picture's tokens; a single cell
            for each picture whose tokens have no place in it. The mean over layers, heads, and the tokens of the reply.
            NaN for a token that is an attention sink.
        log_likelihood: of a token of the reply, the mean with that of the reply's end.
    """

    weights: Float[Tensor, "n h w"]
    log_likelihood: float


@runtime_checkable
class Assistant(Protocol):
    """A model that answers in words.

    Both calls give the same for a prompt whichever others stand beside it, up to the rounding of a batch.
    """

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        """Return a reply to each prompt, without special tokens.

        Args:
            prompts: what is asked.
            seed: of the sampling, where the assistant samples.
        """
        ...

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Float[Tensor, "n w"]:
        """Compute how strongly each word begins the reply: the logit of its first token at the reply's first position.

        Words may begin with a small or a capital letter; where these are different tokens their probabilities add up.

        Raises:
            ValueError: if two words begin with the same token, so that they cannot be told apart.
        """
        ...
