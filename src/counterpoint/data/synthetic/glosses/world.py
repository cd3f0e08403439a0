"""The ``glosses`` data set: WordNet's nouns and their definitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from hashlib import blake2b
from itertools import pairwise
from types import MappingProxyType
from typing import Self, final

import numpy as np
from jaxtyping import Float

from ....registry import unknown
from ....spec import Spec
from ...base import Data, Rows, Splits
from ...fingerprint import Fingerprint
from ...labels import Classes
from ...views import wordnet
from ..config import whole
from .tree import PER_TENTH, Synset, nouns, similarities, some_of_each

KINDS: Mapping[str, str] = {
    "03": "top",
    "04": "act",
    "05": "animal",
    "06": "artifact",
    "07": "attribute",
    "08": "body",
    "09": "cognition",
    "10": "communication",
    "11": "event",
    "12": "feeling",
    "13": "food",
    "14": "group",
    "15": "location",
    "16": "motive",
    "17": "object",
    "18": "person",
    "19": "phenomenon",
    "20": "plant",
    "21": "possession",
    "22": "process",
    "23": "quantity",
    "24": "relation",
    "25": "shape",
    "26": "state",
    "27": "substance",
    "28": "time",
}
"""WordNet's files of nouns, by their numbers."""
SIZES: Mapping[str, Mapping[str, int]] = {
    "pairs": {"train": 20_000, "validation": 500, "test": 1_500},
    "graded": {"train": 6_000, "validation": 300, "test": 900},
}
"""Rows of every side of each preset; of graded pairs these are the most."""
STEPS = 20
"""Steps of similarity between 0 and 1."""
_BLOCK = 500  # meanings that are compared with each other
_SIDES = ("test", "validation", "train")
_APART = 10**9  # between the ids of two sides of graded pairs


@final
class Glosses(Data):
    """WordNet's nouns as pairs of texts.

    ==================  ==================================================================================
    ``glosses``         the columns ``term``, a noun, and ``gloss``, what it means; the label ``kind`` has
                        26 classes (animal, food, feeling …). In training every noun of one meaning is its
                        term, in evaluation the most usual one
    ``glosses:graded``  the columns ``first`` and ``second``, definitions of two nouns; the label
                        ``similarity`` says in 21 steps from 0 to 1 how alike they are: Wu and Palmer's
                        similarity in the tree of meanings. Pairs of each tenth are about as many
    ==================  ==================================================================================

    No meaning is on two sides of a split, nor on one side of the one and another of the other, so that both can be
    mixed: ``--data glosses --data glosses:graded,share=0.5``. Options: ``train``, ``validation`` and ``test``, the rows
    of each side.

    It needs the extra ``words``, or another copy of WordNet (see `counterpoint.data.views.wordnet.find`).

    Args:
        preset: ``pairs`` or ``graded``.
        sizes: the rows of each side where they are not the preset's.
        name: how the user named it.

    Raises:
        MissingPackageError: if there is no WordNet; the message is the command that installs it.

    Source: Fellbaum (ed.), "WordNet: An Electronic Lexical Database" (1998), version 3.0.
    """

    def __init__(
        self, preset: str = "pairs", sizes: Mapping[str, int] = MappingProxyType({}), name: str = ""
    ) -> None:
        self.name = name or ("glosses" if preset == "pairs" else f"glosses:{preset}")
        self.attribution = "Glosses: WordNet 3.0, Princeton University"
        sizes = {**SIZES[preset], **sizes}
        if preset == "pairs":
            self.columns: Mapping[str, str] = {"term": "text", "gloss": "text"}
            sides = {side: np.array(_sides(tuple(sizes.items()))[side]) for side in _SIDES}
            every = np.concatenate([*sides.values()])
            self._rows = [nouns()[identity] for identity in every]
            self.ids = every.astype(np.int64)
            kinds = np.array([list(KINDS).index(synset.kind) for synset in self._rows])
            self.labels: Mapping[str, Classes] = {
                "kind": Classes(tuple(KINDS.values()), kinds, ("{}", "a kind of {}"))
            }
            counts = [len(side) for side in sides.values()]
        else:
            self.columns = {"first": "text", "second": "text"}
            of_each = [_graded(side, sizes[side]) for side in _SIDES]
            counts = [len(pairs) for pairs, _ in of_each]
            self._pairs = [pair for pairs, _ in of_each for pair in pairs]
            self.ids = np.concatenate([_APART * k + np.arange(count) for k, count in enumerate(counts)])
            steps = np.concatenate([np.rint(alike * STEPS).astype(np.int64) for _, alike in of_each])
            names = tuple(f"{step / STEPS:.2f}" for step in range(STEPS + 1))
            # Nothing that could be said of an example: without sentences, tasks do not take its steps for classes.
            self.labels = {"similarity": Classes(names, steps, ())}
        ends = np.cumsum([0, *counts])
        test, validation, train = (np.arange(*part) for part in pairwise(ends))
        self.splits = Splits(train, {"held out": validation}, {"held out": test})
        self._made_of = f"{self.name} {sizes} {wordnet.version_of(wordnet.find())}"

    @classmethod
    def parse(cls, source: str) -> Self:
        """Return the data set as it is written: ``glosses``, ``glosses:graded``, then options after commas.

        Raises:
            UnknownNameError: for an unknown preset or option.
            ValueError: for a value that an option cannot have.
        """
        spec = Spec.parse(source)
        preset = spec.name.partition(":")[2] or "pairs"
        if preset not in SIZES:
            raise unknown("preset of glosses", preset, SIZES)
        least = dict.fromkeys(SIZES[preset], 1)
        for option in spec.options:
            if option not in least:
                raise unknown("option of glosses", option, least)
        return cls(preset, whole("glosses", spec.options, least), str(spec))

    def read(self, column: str, rows: Rows) -> list[str]:
        return [forms[0] for forms in self.read_training(column, rows)]

    def read_training(self, column: str, rows: Rows) -> list[tuple[str, ...]]:
        if column not in self.columns:
            raise unknown(f"column of {self.name}", column, self.columns)
        if column == "term":
            return [self._rows[row].words for row in rows]
        if column == "gloss":
            return [(self._rows[row].gloss,) for row in rows]
        index = list(self.columns).index(column)
        return [(self._pairs[row][index].gloss,) for row in rows]

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The digest of what determines the rows: name, sizes and the version of WordNet."""
        return Fingerprint.of_world(self._made_of)

    def _digest_parts(self, columns: Iterable[str]) -> Iterator[bytes]:
        yield self._made_of.encode()


@lru_cache(maxsize=4)
def _sides(sizes: tuple[tuple[str, int], ...]) -> Mapping[str, Sequence[str]]:
    """Return the meanings of every side, which a hash divides: those of test and validation do not depend on sizes.

    Raises:
        ValueError: if there are not as many.
    """
    usable = [synset.id for synset in nouns().values() if len(synset.gloss.split()) >= 3]
    order = sorted(usable, key=lambda identity: blake2b(identity.encode(), digest_size=8).digest())
    held_out = {side: SIZES["pairs"][side] for side in ("test", "validation")}
    reserved = {
        "test": order[: held_out["test"]],
        "validation": order[held_out["test"] :][: held_out["validation"]],
    }
    reserved["train"] = order[sum(held_out.values()) :]
    for side, size in sizes:
        if size > len(reserved[side]):
            raise ValueError(
                f"glosses: {side}={size} is more than the {len(reserved[side]):,} meanings that there are"
            )
    return {side: reserved[side][:size] for side, size in sizes}


@lru_cache(maxsize=8)
def _graded(side: str, most: int) -> tuple[Sequence[tuple[Synset, Synset]], Float[np.ndarray, " p"]]:
    """Return pairs of one side with their similarity: blocks of meanings, in each the pairs of every tenth."""
    meanings, tree = _sides(tuple(SIZES["pairs"].items()))[side], nouns()
    hypernyms = {identity: synset.above for identity, synset in tree.items()}
    # Of some tenths a block has fewer pairs than are taken: more blocks than would do otherwise.
    enough = -(-most // (5 * PER_TENTH)) * _BLOCK
    blocks = [meanings[start : start + _BLOCK] for start in range(0, min(len(meanings), enough), _BLOCK)]
    pairs: list[tuple[Synset, Synset]] = []
    alike: list[float] = []
    for block in blocks:
        first, second, similarity = some_of_each(similarities(block, hypernyms))
        pairs += [
            (tree[block[a]], tree[block[b]]) for a, b in zip(first.tolist(), second.tolist(), strict=True)
        ]
        alike += similarity.tolist()
    # In another order, so that fewer of them are of all tenths and all blocks.
    order = np.random.default_rng(0).permutation(len(pairs))[:most]
    return [pairs[index] for index in order], np.array(alike)[order]
