"""Follow-up differential descriptions: zero-shot in two passes, the second among the likeliest classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..data.embeddings import EmbeddingCache
from ..data.synthetic.scenes.words.descriptions import TEMPLATE
from .class_descriptions import Describe, Told, numbered
from .task import similarity

PAPERS = {"fudd": ("Differential",)}

Among = Callable[[tuple[int, ...]], Sequence[Sequence[str]]]
"""A function from the numbers of some classes, in rising order, to the sentences about each of these classes."""


@final
class Differential:
    """Sentences that tell each of some classes from the others. Every pair of classes is asked about once at most.

    Args:
        names: of all classes.
        describe: what tells two of them apart.
        template: what is said where nothing is known.

    >>> from counterpoint.evaluation import from_grammar
    >>> among = Differential(["a lemon", "a carrot", "a pear"], from_grammar)
    >>> among((0, 1))[0][:2]
    ('a picture of a lemon, which is yellow', 'a picture of a lemon, which is oval')
    """

    def __init__(self, names: Sequence[str], describe: Describe, template: str = TEMPLATE) -> None:
        numbered(names)
        self.names, self.describe, self.template = tuple(names), describe, template
        self._known: dict[tuple[int, int], Sequence[Told]] = {}

    def __call__(self, classes: tuple[int, ...]) -> list[tuple[str, ...]]:
        sentences: dict[int, list[str]] = {c: [] for c in classes}
        plain = {c: self.template.format(self.names[c]) for c in classes}
        everything = len(classes) == len(self.names)
        for a, b in combinations(classes, 2):
            pairs = self._pair(a, b)
            sentences[a] += [first for _, first, _ in pairs]
            sentences[b] += [second for _, _, second in pairs]
            if not pairs and not everything:
                sentences[a].append(plain[a])
                sentences[b].append(plain[b])
        return [tuple(dict.fromkeys(sentences[c] or [plain[c]])) for c in classes]

    def described(self, classes: tuple[int, ...]) -> float:
        """Return the share of the pairs of some classes with a known difference; 1 for a class alone."""
        pairs = [bool(self._pair(a, b)) for a, b in combinations(classes, 2)]
        return float(np.mean(pairs)) if pairs else 1.0

    def _pair(self, a: int, b: int) -> Sequence[Told]:
        if (a, b) not in self._known:
            self._known[a, b] = self.describe(self.names[a], self.names[b])
        return self._known[a, b]


class SecondPass(NamedTuple):
    """The similarities of pictures with their candidate classes.

    Attributes:
        similarities: of each picture and candidate.
        sentences: how many each candidate's embedding is the mean of.
    """

    similarities: Float[Tensor, "n k"]
    sentences: Int[Tensor, "n k"]


def by_name(
    features: EmbeddingCache, images: Float[Tensor, "n d"], names: Sequence[str], template: str = TEMPLATE
) -> Float[Tensor, "n C"]:
    """Compute the first pass: the similarity of pictures and plain prompts."""
    prompts = F.normalize(features.texts([template.format(name) for name in names]), dim=-1)
    return similarity(features, images, prompts)


def likeliest(first: Float[Tensor, "n C"], k: int) -> Int[Tensor, "n k"]:
    """Return the numbers of the k classes of highest similarity (all, if there are fewer), in rising order.

    Where classes tie for the last place, those of lower number are taken.

    >>> likeliest(torch.tensor([[0.1, 0.9, 0.5, 0.5]]), 2).tolist()
    [[1, 2]]
    """
    return first.sort(dim=1, descending=True, stable=True).indices[:, :k].sort(dim=1).values


def second_pass(
    features: EmbeddingCache, images: Float[Tensor, "n d"], candidates: Int[Tensor, "n k"], among: Among
) -> SecondPass:
    """Compute the similarity of each picture and its candidates, each the normalised mean of what is said of it.

    Args:
        features: of the model.
        images: embeddings of pictures.
        candidates: the numbers of the classes that each could be, in rising order.
        among: what is said of some classes: `Differential`, or another source to compare it with.
    """
    sets, which = torch.unique(candidates, dim=0, return_inverse=True)
    described = [among(tuple(classes)) for classes in sets.tolist()]
    features.texts(
        [sentence for each in described for sentences in each for sentence in sentences]
    )  # in full batches
    similarities = torch.empty(candidates.shape)
    for number, of_each in enumerate(described):
        means = [F.normalize(features.texts(sentences), dim=-1).mean(0) for sentences in of_each]
        classes = F.normalize(torch.stack(means), dim=-1)
        chosen = which == number
        similarities[chosen] = similarity(features, images[chosen], classes)
    counts = torch.tensor([[len(sentences) for sentences in of_each] for of_each in described])
    return SecondPass(similarities, counts[which])
