"""The model's own replies about noisy pictures, which follow its habits more than the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, final

from ...decoding.pictures import diffuse
from ...types import Assistant, Picture
from ._maker import ReplyRequest

STEP = 900
"""Of 1000 of the schedule of VCD, where 0.365 of the picture's amplitude is left."""


@final
class Noise:
    """The reply to the same request about the picture behind noise, and about nothing else.

    Source: Pi et al., "Strengthening Multimodal Large Language Model with Bootstrapped Preference Optimization" (2024),
    arXiv 2403.08730, by its text. The released script contrasts the clean picture with the noisy one instead, which
    moves away from the noisy reply.
    """

    papers: ClassVar[tuple[str, ...]] = ("bpo",)

    def __call__(self, assistant: Assistant, asked: Sequence[ReplyRequest], seed: int) -> list[str | None]:
        """Return the assistant's replies; None for a request without a picture."""
        shown = [one for one in asked if one.prompt.picture is not None]
        prompts = [replace(one.prompt, picture=noisy(one.prompt.picture, seed)) for one in shown]
        replies = iter(assistant.reply(prompts, seed=seed))
        return [None if one.prompt.picture is None else next(replies) for one in asked]


def noisy(picture: Picture | None, seed: int) -> Picture:
    """Return a picture behind noise, which follows from the picture and the seed.

    Noise is added to pixels scaled to ±1. Values beyond the range are cut off.
    """
    assert picture is not None
    scaled = picture.float() / 127.5 - 1
    return ((diffuse(scaled, STEP, seed) + 1) * 127.5).clamp(0, 255).round().to(picture.dtype)
