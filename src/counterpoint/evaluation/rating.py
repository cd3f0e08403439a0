"""Q-Boost: a score between 0 and 1 from the words with which a vision-language model would begin its reply."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ..types import Assistant, Prompt

PAPERS = {"q-boost": ("rate",)}

Words = Sequence[Sequence[str]]
"""Groups of words for the same levels, each from the best to the worst."""

PROMPT = "Rate the quality of the image."
BINARY: Words = (("good", "poor"),)
"""The baseline, Q-Bench's: Q = softmax(z_good, z_poor)[good]."""
TRIADIC: Words = (("good", "average", "poor"),)
"""Triadic-tone integration: a neutral word between the two."""
ENSEMBLE: Words = (
    ("good", "average", "poor"),
    ("high", "medium", "low"),
    ("fine", "acceptable", "bad"),
)
"""Q-Boost: the neutral words, and three words for each tone."""


def rate(
    assistant: Assistant,
    pictures: Sequence[UInt8[Tensor, "3 H W"] | UInt8[Tensor, "frames 3 H W"]],
    words: Words = ENSEMBLE,
    prompt: str = PROMPT,
) -> Float[Tensor, " n"]:
    """Rate how good each picture is, between 0 and 1, from one pass without training.

    ``Q = softmax(l) · w`` with ``l_k = mean_g z_{g,k}``, the mean over groups of the logits of the words for level k
    at the first position of the reply, and weights w that fall evenly from 1 to 0: 1, ½, 0 for three levels.

    Words differ in how likely they are before any picture is seen; more of them reduce that and do not remove it. Q
    rises with quality only for a model that finds good words likelier for good pictures: look at a blurred series.

    Args:
        assistant: of which the logits are read.
        pictures: to be rated; of the frames of a video, the logits are averaged as those of groups are, as the
            authors' evaluation does.
        words: `ENSEMBLE`, `TRIADIC`, `BINARY`, or others: for any graded question, not only for quality.
        prompt: what is asked.

    Raises:
        ValueError: for groups of different sizes or of fewer than two words, a word that is there twice, a video
            without frames, or (from the assistant) words that begin with the same token.

    Source: Zhang et al., "Q-Boost" (2023), arXiv 2312.15300.

    >>> class Fond:
    ...     def reply(self, prompts, *, seed=0):
    ...         return ["good" for _ in prompts]
    ...     def word_logits(self, prompts, words):
    ...         return torch.tensor([[2.0, 1.0, 0.0]]).expand(len(prompts), -1)
    >>> rate(Fond(), [torch.zeros(3, 4, 4, dtype=torch.uint8)], TRIADIC)
    tensor([0.7876])
    """
    groups, levels = _shape(words)
    frames = [picture if picture.ndim == 4 else picture[None] for picture in pictures]
    for number, each in enumerate(frames):
        if not len(each):
            raise ValueError(f"pictures[{number}] is a video without frames")
    if not frames:
        return torch.zeros(0)
    prompts = [Prompt(prompt, frame) for each in frames for frame in each]
    logits = assistant.word_logits(prompts, [word for group in words for word in group]).float()
    parts = torch.split(logits.view(-1, groups, levels), [len(each) for each in frames])
    return score(torch.stack([part.mean(0) for part in parts]))


def score(logits: Float[Tensor, "n groups levels"]) -> Float[Tensor, " n"]:
    """Return ``softmax(mean over groups) · (1 … 0)``: the expected level, the best one first.

    >>> score(torch.zeros(1, 3, 3))
    tensor([0.5000])
    """
    weights = torch.linspace(1, 0, logits.shape[-1], dtype=logits.dtype, device=logits.device)
    # Of logits, so that one word that is very unlikely counts against its level; a mean of scores would hide it.
    return logits.mean(1).softmax(-1) @ weights


def _shape(words: Words) -> tuple[int, int]:
    sizes = {len(group) for group in words}
    if len(sizes) != 1 or min(sizes) < 2:
        raise ValueError(f"words={words}: give groups of as many words each, two or more, from best to worst")
    flat = [word for group in words for word in group]
    if len(set(flat)) < len(flat):
        raise ValueError(f"words={words}: a word is there twice")
    return len(words), sizes.pop()
