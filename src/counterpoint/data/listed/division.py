"""Training, validation and test rows: made so that rows which share something stay together, or checked for leaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import polars as pl
from jaxtyping import Bool, Int, UInt64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ...reasons import counted
from ..pictures.alike import sets
from ..sides import MOST_HELD_OUT, SIDES

_FEWEST = 2  # rows that a task can rank; a small data set gets as many for each side, whatever the hash says

HELD_OUT = 0.1
"""Share of the rows that validation and test are each made of."""

MOST_ALIKE = 0.01
"""Pictures that look alike stay together if they are at most this share of all rows, or `FEW_ALIKE`."""
FEW_ALIKE = 20

ROW = "row"
"""The kind of link that binds nothing and gives every row a hash of its own."""
LARGE = 0.02
"""Linked rows are held out only if they are at most this share of all rows (groups: `HELD_OUT`), or two rows."""


@dataclass(frozen=True, eq=False)
class Links:
    """Values that tell which rows belong together.

    Attributes:
        name: of the kind of value (``"caption"``, ``"picture"``, ``"look"``, ``"group"``).
        rows: the row of each value; a row may have none or several.
        values: one for each entry of ``rows``.
        too_many: sizes of the sets of rows of one value that were left out for their size.
    """

    name: str
    rows: Int[np.ndarray, " E"]
    values: pl.Series
    too_many: tuple[int, ...] = ()

    @classmethod
    def of(cls, name: str, values: pl.Series) -> Links:
        """Link rows by one value each; null links nothing."""
        rows = np.flatnonzero(values.is_not_null().to_numpy())
        return cls(name, rows, values.drop_nulls())

    @classmethod
    def of_texts(cls, name: str, lists: pl.Series) -> Links:
        """Link rows by their lists of texts; case and white space make no difference."""
        rows = np.repeat(np.arange(len(lists)), lists.list.len().to_numpy())
        return cls(name, rows, normalised(lists.explode().drop_nulls()))

    @classmethod
    def of_looks(cls, hashes: Sequence[bytes | None]) -> Links:
        """Link rows whose pictures look alike, by their hashes (`counterpoint.data.pictures.traits`); None links none.

        Sets of more than `MOST_ALIKE` are not linked: those are of one kind, and no copies.
        """
        rows = np.array([row for row, one in enumerate(hashes) if one is not None], np.int64)
        known = [one for one in hashes if one is not None]
        number = sets(np.frombuffer(b"".join(known), np.uint8).reshape(len(known), -1)) if known else rows
        counts = np.bincount(number, minlength=1)
        large = counts > max(FEW_ALIKE, MOST_ALIKE * len(hashes))
        linked = (counts[number] > 1) & ~large[number] if known else np.zeros(0, bool)
        values = pl.Series(number[linked].astype(str), dtype=pl.String)
        return cls("look", rows[linked], values, tuple(np.sort(counts[large])[::-1].tolist()))

    def within(self, rows: Int[np.ndarray, " n"]) -> Links:
        """Return the links of some rows, which are counted from 0 on."""
        number = np.full(max(self.rows.max(initial=-1), rows.max(initial=-1)) + 1, -1)
        number[rows] = np.arange(len(rows))
        kept = number[self.rows] >= 0
        return Links(
            self.name, number[self.rows[kept]], self.values.filter(pl.Series(kept, dtype=pl.Boolean))
        )

    def codes(self) -> Int[np.ndarray, " E"]:
        """Return the number of each value; equal values have equal numbers from 0 on."""
        return self.values.rank("dense").to_numpy().astype(np.int64) - 1


def normalised(captions: pl.Series) -> pl.Series:
    """Return captions as they are compared: lower case, one space between words."""
    return captions.str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()


@dataclass(frozen=True, eq=False)
class Division:
    """The side of every row.

    Attributes:
        sides: ``"train"``, ``"validation"`` or ``"test"``.
        leaked: for each kind of link, the held-out rows that share such a value with a training row.
        notes: titles and lines on how the sides were made.
    """

    sides: np.ndarray
    leaked: Mapping[str, Bool[np.ndarray, " N"]]
    notes: Mapping[str, str]


def divide(stated: Sequence[str | None], links: Sequence[Links], held_out: int = MOST_HELD_OUT) -> Division:
    """Complete the sides that were given and find what leaks from training to held-out rows.

    Without any given side, rows that are linked, directly or through others, are one component; the hash of one of
    the component's values puts 80 % of the components into training and 10 % each into validation and test, so a row
    stays on its side when rows without a link to it are added; of a tenth that is more than ``held_out`` rows, those
    with the least hashes are trained on. Components larger than `LARGE` are trained on, since a
    single one would make up much of a test set. Where such components would hold more than half of the rows (captions
    that name a class, say), that kind of link binds nothing. Rows without a side beside rows with one take the
    side of their component; where training and test rows are given and no validation rows, the same hash takes
    validation rows from training.

    Args:
        stated: the side of every row, None where there is none.
        links: what binds rows, most telling first: the hash is of a value of the first kind that a component has.
        held_out: the most rows of validation and of test, each, where they are made here.
    """
    sides = np.array([side or "" for side in stated], dtype="U10")
    open_rows = sides == ""
    notes: dict[str, str] = {}
    binding = _binding(links, len(sides))
    if open_rows.any():
        component = _components(binding, len(sides))
        hashed = _hashed(binding, component, held_out)
        for side in reversed(SIDES):  # a component that is trained on in part is trained on as a whole
            here = np.zeros(component.max() + 1, dtype=bool)
            here[component[~open_rows & (sides == side)]] = True
            hashed = np.where(here[component], side, hashed)
        sides = np.where(open_rows, hashed, sides)
        notes |= _how(links, binding, component, not open_rows.all())
    training = np.flatnonzero(sides == "train")
    if len(training) and "test" in sides and "validation" not in sides:
        within = [link.within(training) for link in links]
        bound = _binding(within, len(training))
        hashed = _hashed(bound, _components(bound, len(training)), held_out)
        sides[training[hashed == "validation"]] = "validation"
        notes["validation"] = f"{int((hashed == 'validation').sum()):,} rows taken from the training rows"
    for link in links:
        if link.too_many:
            notes[f"sets of one {link.name} not kept together"] = (
                f"{counted(len(link.too_many), 'set')}, the largest of {max(link.too_many):,} rows: too many rows "
                f"share one {link.name} to be copies of one example, so they may lie in different splits"
            )
    telling = [link for link in links if link.name != ROW and (link.name != "group" or link in binding)]
    leaked = {link.name: _leaks(link, sides) for link in telling}
    if {"look", "picture"} <= leaked.keys():
        leaked["look"] &= ~leaked["picture"]  # which is the same picture is no near-duplicate
    return Division(sides, leaked, notes)


def _how(
    links: Sequence[Links], binding: Sequence[Links], component: Int[np.ndarray, " N"], partly: bool
) -> dict[str, str]:
    words = [link.name for link in links if link in binding and link.name != ROW]
    together = f": rows of one {' or one '.join(words)} stay together" if words else ""
    counts, largest = np.bincount(component), _largest(binding, len(component))
    made = "rows without one were given theirs here" if partly else "made here, 80 / 10 / 10 %"
    notes = {"splits": made + together}
    loose = [link.name for link in links if link not in binding and link.name != ROW]
    if loose:
        notes["rows not kept together"] = (
            f"those of one {' or one '.join(loose)}: too many rows share one, as the members of a class do"
        )
    if counts.max() > largest:
        held = counts[counts > largest]
        notes["large sets of linked rows"] = (
            f"{counted(len(held), 'set')}, the largest of {held.max():,} rows: rows that have to stay together form a "
            "set, and these sets are too large for validation or test, so all of them are trained on"
        )
    return notes


def _largest(links: Sequence[Links], rows: int) -> float:
    """Return how many rows a component may have and still be held out."""
    share = HELD_OUT if any(link.name == "group" for link in links) else LARGE
    return max(2.0, share * rows)


def _binding(links: Sequence[Links], rows: int) -> list[Links]:
    """Return the links that leave at least half of the rows in components that can be held out."""
    others = [link.name for link in links if link.name not in ("look", "caption", "group", "picture")]
    choices = [list(links)]
    choices += [
        [link for link in links if link.name != name] for name in ("look", "caption", "group", *others)
    ]
    choices += [[link for link in links if link.name in ("picture", ROW)]]
    for choice in choices:
        counts = np.bincount(_components(choice, rows))
        if counts[counts > _largest(choice, rows)].sum() <= rows / 2:
            return choice
    return choices[-1]


def _components(links: Sequence[Links], rows: int) -> Int[np.ndarray, " N"]:
    """Return the number of every row's component."""
    nodes, starts, ends = rows, [], []
    for link in (link for link in links if link.name != ROW):
        codes = link.codes()
        starts.append(link.rows)
        ends.append(nodes + codes)
        nodes += int(codes.max(initial=-1)) + 1
    edges = (np.concatenate(starts), np.concatenate(ends)) if starts else (np.zeros(0, int), np.zeros(0, int))
    graph = coo_array((np.ones(len(edges[0]), dtype=bool), edges), shape=(nodes, nodes))
    _, component = connected_components(graph, directed=False)
    return np.unique(component[:rows], return_inverse=True)[1].astype(np.int64)


def _hashed(links: Sequence[Links], component: Int[np.ndarray, " N"], held_out: int) -> np.ndarray:
    """Return the side that the hash of one of a component's values gives to each row, at most so many held out each.

    Of several values it is the one whose hash is least by its lower half, which says nothing of the upper half that
    decides on the side: the least of several hashes is small, and nearly every component would be trained on.
    """
    least = np.full(component.max(initial=-1) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    unset = np.ones(len(least), dtype=bool)
    for link in links:
        if not unset.any():
            break
        here = component[link.rows]
        fresh = unset[here]
        np.minimum.at(least, here[fresh], _turned(_hashes(link.values)[fresh]))
        unset[here] = False
    counts = np.bincount(component)
    small = counts <= _largest(links, len(component))
    unit = np.where(small, _turned(least) / 2.0**64, 0.0)
    sides = np.where(unit < 1 - 2 * HELD_OUT, "train", np.where(unit < 1 - HELD_OUT, "validation", "test"))
    for side in ("test", "validation"):
        here = np.flatnonzero(sides == side)
        here = here[np.argsort(-unit[here], kind="stable")]
        sides[here[np.cumsum(counts[here]) > held_out]] = "train"
    if len(component) >= 3 * _FEWEST:
        order = np.argsort(-unit, kind="stable")[: small.sum()]
        for side, donors in (("test", ("train", "validation")), ("validation", ("train",))):
            for one in order:
                if counts[sides == side].sum() >= _FEWEST:
                    break
                if sides[one] in donors:
                    sides[one] = side
    return sides[component]


def _hashes(values: pl.Series) -> UInt64[np.ndarray, " E"]:
    unique = values.unique(maintain_order=True)
    hashed = [int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) for text in unique]
    table = pl.DataFrame({"value": unique, "hash": pl.Series(hashed, dtype=pl.UInt64)})
    joined = values.to_frame("value").join(table, on="value", how="left", maintain_order="left")
    return joined["hash"].to_numpy()


def _turned(hashes: UInt64[np.ndarray, " E"]) -> UInt64[np.ndarray, " E"]:
    """Return hashes with their halves exchanged."""
    half = np.uint64(32)
    return (hashes << half) | (hashes >> half)


def _leaks(link: Links, sides: np.ndarray) -> Bool[np.ndarray, " N"]:
    codes, training = link.codes(), (sides == "train")[link.rows]
    seen = np.zeros(int(codes.max(initial=-1)) + 1, dtype=bool)
    seen[codes[training]] = True
    leaked = np.zeros(len(sides), dtype=bool)
    leaked[link.rows[seen[codes] & ~training]] = True
    return leaked
