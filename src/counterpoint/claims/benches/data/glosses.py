"""WordNet's glosses, and how well embeddings of them rank pairs by how alike their synsets are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor

from ....data.base import Data, Rows, Splits
from ....data.worlds.glosses.tree import nouns, similarities, some_of_each
from ....diagnostics import alignment, uniformity

WORDS, LENGTH, WIDTH = 4000, 16, 64
TRAINED, SPARE, TESTED = 20000, 500, 1500
"""Glosses to learn from, for validation and for the test."""
NEAR = 0.9
"""Pairs at least this similar are those that should lie together: most are siblings, or parent and child."""
DROPOUT = 0.1

Tokens = Int[Tensor, "n l"]


class Pairs(NamedTuple):
    """Glosses, and pairs of them with the similarity of their synsets.

    Attributes:
        tokens: of every gloss.
        first, second: a pair's glosses.
        similarity: Wu and Palmer's, in [0, 1].
    """

    tokens: Tokens
    first: Int[np.ndarray, " p"]
    second: Int[np.ndarray, " p"]
    similarity: Float[np.ndarray, " p"]


class Glosses(NamedTuple):
    """The glosses to learn from, and the pairs to judge by.

    Attributes:
        train, validation, test: the glosses as tokens.
        texts: the glosses themselves, those of ``train`` first, then those of ``validation`` and of ``test``.
    """

    train: Tokens
    validation: Pairs
    test: Pairs
    texts: tuple[str, ...]


@lru_cache(maxsize=1)
def glosses() -> Glosses:
    """Read WordNet's nouns whose gloss has 3 to 16 of the most frequent words, always the same ones.

    Raises:
        MissingPackage: if there is no WordNet.
    """
    texts = {name: re.findall("[a-z]+", synset.gloss.lower()) for name, synset in nouns().items()}
    hypernyms = {name: synset.above for name, synset in nouns().items()}
    counts = Counter(word for text in texts.values() for word in text)
    ids = {word: number + 1 for number, (word, _) in enumerate(counts.most_common(WORDS))}
    known = {synset: [ids[word] for word in text if word in ids] for synset, text in texts.items()}
    usable = [synset for synset, text in known.items() if 3 <= len(text) <= LENGTH]
    order = np.random.default_rng(0).permutation(len(usable))[: TRAINED + SPARE + TESTED]
    train, spare, test = np.split(order, [TRAINED, TRAINED + SPARE])

    def tokens(rows: Int[np.ndarray, " n"]) -> Tokens:
        return torch.tensor([(known[usable[i]] + [0] * LENGTH)[:LENGTH] for i in rows])

    def pairs(rows: Int[np.ndarray, " n"]) -> Pairs:
        return Pairs(tokens(rows), *some_of_each(similarities([usable[i] for i in rows], hypernyms)))

    return Glosses(tokens(train), pairs(spare), pairs(test), tuple(nouns()[usable[i]].gloss for i in order))


@final
class GlossData(Data):
    """The glosses as data for methods of texts."""

    columns: Mapping[str, str] = MappingProxyType({"text": "text"})

    def __init__(self) -> None:
        self.name, self.texts = "glosses", glosses().texts
        self.ids = np.arange(len(self.texts))
        train, spare, test = np.split(self.ids, [TRAINED, TRAINED + SPARE])
        self.splits = Splits(train, {"held out": spare}, {"held out": test})

    def read(self, column: str, rows: Rows) -> list[str]:
        return [self.texts[row] for row in rows]


def judge(z: Float[Tensor, "n d"], pairs: Pairs) -> dict[str, float]:
    """Judge unit-norm embeddings of the glosses of pairs.

    Returns:
        ``rank correlation`` (Spearman's) of the cosines of pairs with their similarity; ``alignment`` of pairs
        at least ``NEAR`` similar; ``uniformity``; ``first singular value``, as a share of the sum.
    """
    one, two = z[torch.from_numpy(pairs.first)], z[torch.from_numpy(pairs.second)]
    near = torch.from_numpy(pairs.similarity >= NEAR)
    values = torch.linalg.svdvals(z)
    return {
        "rank correlation": float(stats.spearmanr((one * two).sum(1).numpy(), pairs.similarity).statistic),
        "alignment": alignment(one[near], two[near]),
        "uniformity": uniformity(z),
        "first singular value": float(values[0] / values.sum()),
    }
