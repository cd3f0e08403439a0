"""Nouns of captions as tags of their rows, by WordNet's first senses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from .labels import Rows, Tags
from .views import wordnet

PAPERS = {"catlip": ("nouns", "tags_of")}

TEXTS = "text"
"""The modality whose columns have them."""
NOUNS = "nouns"
"""The name of the label that these tags are, of all data with texts; made where it is asked for."""
LEAST = 5
"""Training rows that say a noun which is a tag, at the least."""
MOST = 24_320
"""Tags, at the most."""


def nouns(text: str) -> frozenset[str]:
    """Return the nouns of a text, each once and in the singular: those that name their own first sense in WordNet.

    No part of speech is looked at: a word that could be such a noun is one, as colours are. Names of several words are
    lost, an orange is a fruit, and a chase is none, as its first sense is called pursuit.

    >>> sorted(nouns("Two dogs chase a red ball; the dogs are quick"))
    ['are', 'ball', 'dog', 'quick', 'red', 'two']

    Raises:
        MissingPackageError: if there is no WordNet; the message is the command that installs it.

    Source: Mehta et al., "CatLIP: CLIP-level Visual Recognition Accuracy with 2.7x Faster Pre-training on Web-scale
    Image-Text Data" (2024), arXiv 2404.15653: a synset ``WORD.n.01`` whose name is the word.
    """
    table = wordnet.load()
    return frozenset(map(table.noun, re.findall(r"[a-z]+", text.lower()))) - {""}


def tags_of(texts: Sequence[Sequence[str] | None], train: Rows) -> Tags:
    """Return the nouns of rows as tags, the most frequent first among the rows to train on.

    Tags are those that `LEAST` of these rows or more say, and `MOST` of them at most.

    Args:
        texts: of every row, all that is said of it; None for a row of which nothing is known.
        train: the rows to train on.

    Raises:
        ValueError: where no noun is frequent enough.
    """
    row_nouns = [None if row is None else frozenset[str]().union(*map(nouns, row)) for row in texts]
    counts = Counter(noun for row in train.tolist() for noun in row_nouns[row] or ())
    names = sorted((noun for noun, count in counts.items() if count >= LEAST), key=lambda n: (-counts[n], n))
    number = {name: column for column, name in enumerate(names[:MOST])}
    if not number:
        raise ValueError(
            f"no noun that WordNet knows is in the texts of {LEAST} rows to train on, or of more"
        )
    values = np.zeros((len(row_nouns), len(number)), dtype=np.int8)
    for row, known in enumerate(row_nouns):
        if known is None:
            values[row] = -1
        else:
            values[row, [number[noun] for noun in known if noun in number]] = 1
    return Tags(tuple(number), values)
