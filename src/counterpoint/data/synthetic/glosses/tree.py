"""WordNet's nouns as a tree of meanings, and how alike two of them are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ...views import wordnet

PER_TENTH = 50
"""Pairs of each tenth of similarity, at most, among meanings that are compared with each other."""


class Synset(NamedTuple):
    """A meaning that nouns have.

    Attributes:
        id: its number in the database.
        words: the nouns, the most usual one first.
        above: the meanings that it is a kind of, by their ids.
        gloss: its definition, without examples.
        kind: the number of WordNet's file that it is in.
    """

    id: str
    words: tuple[str, ...]
    above: tuple[str, ...]
    gloss: str
    kind: str


def parse(line: str) -> Synset:
    """Read a line of WordNet's ``data.noun``.

    >>> parse("00217499 04 n 01 wild_ass 0 001 @ 00217014 n 0000 | an animal; \\"a wild ass\\"  ")
    Synset(id='00217499', words=('wild ass',), above=('00217014',), gloss='an animal', kind='04')
    """
    fields, _, gloss = line.partition(" | ")
    parts = fields.split()
    start = 5 + 2 * int(parts[3], 16)  # past the words and the count of pointers, each of four fields
    pointers = zip(parts[start::4], parts[start + 1 :: 4], strict=False)
    words = (word.replace("_", " ") for word in parts[4 : start - 1 : 2])
    above = tuple(to for kind, to in pointers if kind in ("@", "@i"))
    return Synset(parts[0], tuple(words), above, gloss.split('; "')[0].strip(), parts[1])


@lru_cache(maxsize=1)
def nouns() -> Mapping[str, Synset]:
    """Read all meanings of nouns, by their ids.

    Raises:
        MissingPackageError: if there is no WordNet; the message is the command that installs it.
    """
    file = wordnet.find("the data set glosses is made of it", "").joinpath("data.noun")
    lines = file.read_text(encoding="utf-8").splitlines()
    synsets = [parse(line) for line in lines if line and not line.startswith(" ")]
    return {synset.id: synset for synset in synsets}


def ancestors(synset: str, hypernyms: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Find a synset and all that is above it, with the fewest steps to each."""
    distances, level, steps = {synset: 0}, [synset], 0
    while level:
        steps += 1
        level = [h for s in level for h in hypernyms[s] if h not in distances]
        distances |= dict.fromkeys(level, steps)
    return distances


def similarities(synsets: Sequence[str], hypernyms: Mapping[str, Sequence[str]]) -> Float[np.ndarray, "n n"]:
    """Return Wu and Palmer's similarity of any two: ``2 D / (a + b + 2 D)``, the largest over what is above both.

    a and b are the steps up to it, and D the steps from there to the top, plus one. 0 where nothing is above both.

    Source: Wu and Palmer, "Verb semantics and lexical selection" (1994).

    >>> tree = {"thing": [], "animal": ["thing"], "dog": ["animal"], "cat": ["animal"]}
    >>> similarities(["dog", "cat", "thing"], tree).round(2).tolist()
    [[1.0, 0.67, 0.5], [0.67, 1.0, 0.5], [0.5, 0.5, 1.0]]
    """
    above = [ancestors(synset, hypernyms) for synset in synsets]
    names = list(dict.fromkeys(name for each in above for name in each))
    column = {name: index for index, name in enumerate(names)}
    depth = np.array(
        [1 + min(n for s, n in ancestors(name, hypernyms).items() if not hypernyms[s]) for name in names]
    )
    steps = np.full((len(above), len(names)), np.inf)
    for row, each in enumerate(above):
        steps[row, [column[name] for name in each]] = list(each.values())
    rows = []
    for each in above:
        shared = [column[name] for name in each]
        way = steps[:, shared] + np.array(list(each.values()))
        rows.append((2 * depth[shared] / (way + 2 * depth[shared])).max(1))
    return np.stack(rows)


def some_of_each(
    similarity: Float[np.ndarray, "n n"],
) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"], Float[np.ndarray, " p"]]:
    """Draw pairs of all similarities: at most `PER_TENTH` of each tenth, since nearly all pairs have little."""
    first, second = np.triu_indices(len(similarity), 1)
    alike, rng = similarity[first, second], np.random.default_rng(0)
    tenth = np.floor(10 * alike).astype(int)
    kept = np.concatenate([rng.permutation(np.flatnonzero(tenth == k))[:PER_TENTH] for k in np.unique(tenth)])
    return first[kept], second[kept], alike[kept]
