"""The best of several pictures of one description, and how different they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ..types import Embedder, Picture

PAPERS = {"pmt2i": ("CandidatePictures",)}


@runtime_checkable
class Generator(Protocol):
    """Makes a picture of what a prompt says."""

    def __call__(self, prompt: str, seed: int) -> Picture: ...


@dataclass(frozen=True)
class CandidatePictures:
    """Several pictures of one description.

        best = argmax_k s(picture_k, text)

    Attributes:
        text: the description in English, whatever the prompts.
        prompts: of each picture.
        pictures: ``(k, 3, H, W)``.
    """

    text: str
    prompts: tuple[str, ...]
    pictures: UInt8[Tensor, "k 3 H W"]

    @torch.no_grad()
    def scores(self, scorer: Embedder) -> Float[Tensor, " k"]:
        """Score how well each picture fits the English description: their similarity, by an embedder of both.

        The prompts are not asked about: those in several languages would favour pictures made from themselves.
        """
        pictures, text = scorer.embed("image", self.pictures), scorer.embed("text", [self.text])
        return scorer.similarity(pictures, text)[:, 0]

    def best(self, scorer: Embedder) -> int:
        """Return the place of the picture that fits best, the first one of equals.

        Judge what comes of it by another embedder: to choose by one and to be judged by it is a gain of its own.
        """
        return int(self.scores(scorer).argmax())

    @torch.no_grad()
    def diversity(self, embedder: Embedder) -> float:
        """Measure how different the pictures are: the mean of 1 − cosine over pairs of pictures.

        Raises:
            ValueError: for fewer than two pictures.
        """
        k = len(self.pictures)
        if k < 2:
            raise ValueError(f"diversity is of two pictures or more, got {k}")
        z = embedder.embed("image", self.pictures)
        total = (z.sum(0).square().sum() - z.square().sum()) / (k * (k - 1))
        return 1 - float(total)


def draw(generate: Generator, text: str, prompts: Sequence[str], seeds: Sequence[int]) -> CandidatePictures:
    """Draw a picture for each prompt and its seed.

    A fair control for prompts in several languages is as many pictures of the plain description:
    ``draw(generate, text, [text] * k, range(k))``.

    Args:
        generate: from a prompt and a seed to a picture; all pictures of one size.
        text: the description in English.
        prompts: of the pictures, e.g. `variants`.
        seeds: of the pictures.

    Raises:
        ValueError: for no prompts, or not as many seeds, or pictures of different sizes.

    >>> class Grey:
    ...     def __call__(self, prompt, seed):
    ...         return torch.full((3, 2, 2), 100 + seed, dtype=torch.uint8)
    >>> draw(Grey(), "a cat", ["a cat", "English: a cat"], [0, 1]).pictures[:, 0, 0, 0]
    tensor([100, 101], dtype=torch.uint8)
    """
    if not prompts or len(prompts) != len(seeds):
        raise ValueError(f"give at least one prompt and a seed for each, got {len(prompts)} and {len(seeds)}")
    pictures = [generate(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
    sizes = {tuple(picture.shape) for picture in pictures}
    if len(sizes) > 1:
        raise ValueError(f"pictures to choose among must be of one size, got {sorted(sizes)}")
    return CandidatePictures(text, tuple(prompts), torch.stack(pictures))
