"""Examples in context that are nearest to a request's picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ..decoding.prompts import digest_of
from ..types import Embedder, Picture, Prompt
from .in_context_shots import InContextExample
from .task import NotApplicableError

PAPERS = {"invariantselectpr": ("NearestExamples",)}
_AT_ONCE = 64


@final
class NearestExamples:
    """A choice of examples: those whose pictures are nearest to the request's by the similarity of an embedder.

    The nearest example stands last, next to the request. An example with the same picture as the request is never
    chosen. The embedder may be any, as one that ``cci`` trained.

    Args:
        embedder: of pictures.
        pool: the examples.

    >>> class MeanColour:
    ...     heads = ("global",)
    ...     def embed(self, modality, inputs, head="default"):
    ...         return torch.nn.functional.normalize(inputs.float().mean((2, 3)), dim=-1)
    ...     def similarity(self, a, b):
    ...         return a @ b.T
    >>> red, blue = torch.zeros(2, 3, 2, 2, dtype=torch.uint8)
    >>> red[0], blue[2] = 255, 255
    >>> pool = [InContextExample(red, "What is it?", "red"), InContextExample(blue, "What is it?", "blue")]
    >>> choose = NearestExamples(MeanColour(), pool)
    >>> choose(Prompt("What is it?", blue // 2), 2), choose(Prompt("What is it?", blue), 1)
    ([0, 1], [0])
    """

    def __init__(self, embedder: Embedder, pool: Sequence[InContextExample]) -> None:
        self.embedder = embedder
        pictures = [each.picture for each in pool]
        self._digests = [digest_of(picture) for picture in pictures]
        parts = range(0, len(pictures), _AT_ONCE)
        self._features = [self._embedded(pictures[start : start + _AT_ONCE]) for start in parts]

    def __call__(self, prompt: Prompt, count: int) -> list[int]:
        """Return the positions of the nearest examples in the pool, the nearest last.

        Raises:
            NotApplicableError: for a request without a picture, and a pool with too few other pictures.
        """
        if prompt.picture is None:
            raise NotApplicableError("examples are chosen by pictures, and a request has none")
        own = self._embedded([prompt.picture])
        near = torch.cat([self.embedder.similarity(own, part)[0] for part in self._features])
        order = near.sort(descending=True, stable=True).indices.tolist()
        shown = digest_of(prompt.picture)
        others = [number for number in order if self._digests[number] != shown]
        if len(others) < count:
            raise NotApplicableError(
                f"{count} examples are to be shown and there are {len(others)} of other pictures: show fewer"
            )
        return others[:count][::-1]

    def _embedded(self, pictures: Sequence[Picture]) -> Float[Tensor, "n d"]:
        shown: UInt8[Tensor, "n 3 H W"] = torch.stack(list(pictures))
        return self.embedder.embed("image", shown)
