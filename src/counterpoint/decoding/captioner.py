"""A captioner as a model that answers in words: its caption is the reply to every prompt about a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from ..forms import Count, Positive, Share
from ..ranges import Checked
from ..types import Captioner, Prompt
from .prompts import key_of

_SEEDS = 1 << 31


@final
class CaptioningAssistant(Checked):
    """A captioner as a `counterpoint.types.Assistant`: it describes the picture of a prompt, whatever is asked.

    Sampling draws by a seed of each prompt's own, so that the other prompts of a call change no reply.

    Args:
        captioner: writes the captions.
        beams: captions that are followed at once; 1 takes the likeliest token.
        do_sample: samples; else the likeliest token is taken.
        temperature, top_p: of the sampling.
        max_new_tokens: where a reply is cut off.
    """

    def __init__(
        self,
        captioner: Captioner,
        *,
        beams: Count = 1,
        do_sample: bool = False,
        temperature: Positive = 1.0,
        top_p: Share = 1.0,
        max_new_tokens: Count = 64,
    ) -> None:
        self.captioner, self.do_sample = captioner, do_sample
        self.options: dict[str, float] = {"beams": beams, "sample": do_sample, "max_tokens": max_new_tokens}
        self.options |= {"temperature": temperature, "top_p": top_p} if do_sample else {}

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        """Return a caption of the picture of each prompt.

        Raises:
            ValueError: for a prompt without a picture, or with earlier turns.
        """
        pictures = []
        for prompt in prompts:
            if prompt.picture is None or prompt.turns:
                raise ValueError("a captioner describes one picture a prompt, and takes no earlier turns")
            pictures.append(prompt.picture)
        if self.do_sample:
            seeds = [key_of(prompt, seed) % _SEEDS for prompt in prompts]
            return [
                self.captioner.caption([picture], seed=own, **self.options)[0]
                for picture, own in zip(pictures, seeds, strict=True)
            ]
        return self.captioner.caption(pictures, **self.options) if pictures else []

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Float[Tensor, "n w"]:
        """Return the log-likelihood of each word as the caption of each picture.

        Raises:
            ValueError: for a prompt without a picture.
        """
        if any(prompt.picture is None for prompt in prompts):
            raise ValueError("a captioner describes a picture, and a prompt has none")
        scores = [
            self.captioner.log_likelihood([prompt.picture] * len(words), words)[:, 0] for prompt in prompts
        ]
        return torch.stack(scores) if scores else torch.zeros(0, len(words))
