"""The emoji that train, validate and test: fixed by hashes of the emoji themselves, not by a random stream.

**Near-duplicates.** The difference of two pictures is the root mean square over colour channels and pixels,
in [0, 1], after 3 × 3 block averages (24 × 24 pixels, on white). Within :data:`NEAR` two pictures are nearly
the same (one o'clock and two o'clock, the flags of Chad and Romania, the neutral and the confused face),
within :data:`SAME` they are the same (Norway's flag serves two more territories; OpenMoji draws many neutral
people like men). Every pair of pictures is compared, both artists' and across artists.

**Held-out concepts.** Concepts that have nearly the same pictures, and a concept and its mirror image (``…
facing right``), form a family by transitive closure. A family goes to one side whole, so nothing nearly the
same as a held-out picture, no other tone or gender of it, trains or sits on another side. They are drawn
within each of the nine groups.

**Held-out compositions.** A composition is a concept × tone × gender; all its examples (hair differs) go to
one side. By design it resembles training examples of another tone or gender, so there a near-duplicate means
the same picture: compositions with an example that is drawn the same by either artist go to one side
together, as one bundle. Of every concept, tone and gender that is held out, at least half of the bundles
train.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Int

from ...base import Rows, Splits
from ...pictures.rendering import Pictures

NEAR = 0.05
SAME = 0.01

CONCEPT_SHARE = {"test": 0.14, "validation": 0.07}
COMPOSITIONS = {"test": 500, "validation": 250}
"""Examples to hold out at least."""
TASKS = 4
LARGEST_FAMILY = 40
"""A larger family always trains: held out, it would be most of its group's test."""


def low_pass(pictures: Pictures) -> np.ndarray:
    """Return 3 × 3 block averages as rows, scaled so that Euclidean distance is RMS difference in [0, 1]."""
    count = len(pictures)
    blocks = np.asarray(pictures).reshape(count, 3, 24, 3, 24, 3).mean((3, 5), dtype=np.float32) / 255
    return blocks.reshape(count, -1) / np.float32(np.sqrt(3 * 24 * 24))


def alike(artists: Sequence[Pictures], limit: float) -> list[tuple[int, int]]:
    """Find every pair of rows with pictures, of any artists, that differ by less than ``limit``; ordered, once."""
    rows = np.concatenate([low_pass(pictures) for pictures in artists])
    squares = (rows * rows).sum(1)
    count = len(artists[0])
    pairs: set[tuple[int, int]] = set()
    for start in range(0, len(rows), 1024):
        part = slice(start, start + 1024)
        distance = squares[part, None] + squares[None] - 2 * rows[part] @ rows.T
        for a, b in zip(*np.nonzero(distance < limit**2), strict=True):
            i, j = (start + int(a)) % count, int(b) % count
            if i < j:
                pairs.add((i, j))
    return sorted(pairs)


def components(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Return the smallest member of each number's connected component.

    >>> components(5, [(3, 1), (3, 4)])
    [0, 1, 2, 1, 1]
    """
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return [root(i) for i in range(count)]


def _sharing(keys: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Return pairs that connect all rows with an equal key."""
    rows = defaultdict(list)
    for row, key in enumerate(keys):
        rows[key].append(row)
    return [pair for members in rows.values() for pair in pairwise(members)]


def _members(component: Sequence[int], rows: Iterable[int]) -> dict[int, list[int]]:
    members: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        members[component[row]].append(row)
    return dict(members)


def _shuffled(
    components: Mapping[int, list[int]], codepoints: Sequence[str], purpose: str
) -> list[list[int]]:
    """Return components in an order that depends only on their first emoji."""

    def rank(first: int) -> bytes:
        return blake2b(codepoints[first].encode(), key=purpose.encode(), digest_size=16).digest()

    return [components[first] for first in sorted(components, key=rank)]


def families(columns: Mapping[str, Sequence[Any]]) -> list[int]:
    """Return the first row of each row's family of concepts."""
    concepts = [str(concept).removesuffix(" facing right") for concept in columns["concept"]]
    return components(len(concepts), [*_sharing(concepts), *_sharing(list(columns["near"]))])


def _hold_out_concepts(columns: Mapping[str, Sequence[Any]]) -> dict[str, list[int]]:
    """Return rows of the held-out concepts by side, drawn family by family within each group."""
    codepoints = [str(each) for each in columns["codepoints"]]
    family_of = families(columns)
    held: dict[str, list[int]] = {"test": [], "validation": []}
    by_group: dict[object, dict[int, list[int]]] = defaultdict(dict)
    for first, members in _members(family_of, range(len(family_of))).items():
        by_group[columns["group"][first]][first] = members
    for group in sorted(by_group, key=str):
        waiting = _shuffled(by_group[group], codepoints, "concepts")
        total = sum(map(len, waiting))
        waiting = [members for members in waiting if len(members) <= LARGEST_FAMILY]
        for side, share in CONCEPT_SHARE.items():
            taken = 0
            while taken < share * total:
                members = waiting.pop(0)
                held[side] += members
                taken += len(members)
    return held


def _hold_out_compositions(columns: Mapping[str, Sequence[Any]], rows: Sequence[int]) -> dict[str, list[int]]:
    """Return rows of the held-out compositions by side, out of ``rows``; the rest holds their every factor."""
    keys = compositions(columns)
    tied = components(len(keys), [*_sharing(keys), *_sharing(list(columns["same"]))])
    waiting = _shuffled(_members(tied, rows), [str(each) for each in columns["codepoints"]], "compositions")
    factors = {unit[0]: {factor for row in unit for factor in enumerate(keys[row])} for unit in waiting}
    training = Counter(factor for each in factors.values() for factor in each)
    least = {factor: (count + 1) // 2 for factor, count in training.items()}
    held: dict[str, list[int]] = {"test": [], "validation": []}
    for side, wanted in COMPOSITIONS.items():
        while len(held[side]) < wanted:
            unit = waiting.pop(0)
            if all(training[factor] > least[factor] for factor in factors[unit[0]]):
                training.subtract(factors[unit[0]])
                held[side] += unit
    return held


def compositions(columns: Mapping[str, Sequence[Any]]) -> list[tuple[object, ...]]:
    """Return concept, tone and gender of each row."""
    return list(zip(columns["concept"], columns["tone"], columns["gender"], strict=True))


def default(columns: Mapping[str, Sequence[Any]]) -> Splits:
    """Hold out compositions and concepts, apart, for validation and for test."""
    concepts = _hold_out_concepts(columns)
    rest = _without(len(columns["concept"]), concepts["test"], concepts["validation"])
    held = _hold_out_compositions(columns, rest.tolist())

    def both(side: str) -> dict[str, Rows]:
        return {"compositions": np.sort(held[side]), "concepts": np.sort(concepts[side])}

    train = np.setdiff1d(rest, [*held["test"], *held["validation"]])
    return Splits(train, both("validation"), both("test"))


def artist(columns: Mapping[str, Sequence[Any]]) -> Splits:
    """Train on the first artist's pictures, validate and test on the second's, whose rows follow the first's.

    The held-out concepts are those of :func:`default`; ``seen`` holds the second artist's pictures of all
    training emoji.
    """
    concepts = _hold_out_concepts(columns)
    count = len(columns["concept"])
    train = _without(count, concepts["test"], concepts["validation"])
    return Splits(
        train,
        {"unseen": count + np.sort(concepts["validation"])},
        {"seen": count + train, "unseen": count + np.sort(concepts["test"])},
    )


def both(columns: Mapping[str, Sequence[Any]]) -> Splits:
    """Return the splits of :func:`default` with both artists' pictures of every emoji; the second's rows follow."""
    splits, count = default(columns), len(columns["concept"])

    def twice(rows: Rows) -> Int[np.ndarray, " twice"]:
        return np.concatenate([rows, count + rows])

    validation, test = (
        {name: twice(rows) for name, rows in sides.items()} for sides in (splits.validation, splits.test)
    )
    return Splits(twice(splits.train), validation, test)


def stream(columns: Mapping[str, Sequence[Any]]) -> Splits:
    """Return the splits of :func:`default`, the training rows in :data:`TASKS` tasks of whole groups.

    Groups go to the tasks by their number of rows, the largest first, each to the task that has fewest.
    """
    splits = default(columns)
    groups = Counter(str(columns["group"][row]) for row in splits.train)
    tasks: list[list[str]] = [[] for _ in range(TASKS)]
    for group, _ in sorted(groups.items(), key=lambda item: (-item[1], item[0])):
        min(tasks, key=lambda task: sum(groups[each] for each in task)).append(group)
    group_of = np.array(columns["group"])[splits.train]
    return replace(splits, tasks=tuple(splits.train[np.isin(group_of, task)] for task in tasks))


def _without(count: int, *sides: Sequence[int]) -> Rows:
    return np.setdiff1d(np.arange(count), np.concatenate(sides))
