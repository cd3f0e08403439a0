"""Choices that follow from a configuration once and for all: what may be chosen where."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal
from functools import lru_cache
from typing import final

from ....rng import Rng
from ..concepts import CONCEPTS
from ..config import SceneConfig, fitting, grid
from ..scene import Colour, Relation, RelationKind, Size
from .compositions import colour_part, relation_part
from .placing import fits_behind

_EXACT = Context(prec=30)  # decimal arithmetic is the same on every machine, unlike a library's power


@final
class ScenePlan:
    """The choices that a scene's composition draws from.

    Attributes:
        config: that all of it follows from.
        place: the position of each concept in ``config.concepts``.
        partners: the other concept of a pair.
        partnership: how likely the partner of the first thing is shown. Either of a pair may come first, each as
            likely, so a concept is there with probability 1 + q and both are with 2q: q solves 2q / (1 + q) = strength.
        further: what things after the first may be, partners apart.
        colours: that each concept may be dyed in.
    """

    def __init__(self, config: SceneConfig) -> None:
        self.config = config
        self.place = {concept: i for i, concept in enumerate(config.concepts)}
        self.partners = {a: b for pair in config.pairs for a, b in (pair, pair[::-1])}
        self.partnership = config.strength / (2 - config.strength)
        self.further = [concept for concept in config.concepts if concept not in self.partners]
        part = config.colour_compositions
        self.colours: dict[str, tuple[Colour, ...]] = {
            concept: tuple(c for c in config.colours if part in ("any", colour_part(concept, c)))
            for concept in config.concepts
        }
        tail = Decimal(str(config.tail))
        self._weights = {
            concept: int(_EXACT.divide(Decimal(10**9), _EXACT.power(Decimal(i + 1), tail)))
            for concept, i in self.place.items()
        }
        self._containers = [c for c in config.concepts if CONCEPTS[c].kind == "container"]
        self.kinds = lru_cache(maxsize=None)(self._kinds)
        self.seconds = lru_cache(maxsize=None)(self._seconds)
        self.firsts = lru_cache(maxsize=None)(self._firsts)
        self.sizes = lru_cache(maxsize=None)(self._sizes)

    def pick(self, draws: Rng, purpose: str, concepts: Sequence[str]) -> str:
        """Pick one of some concepts, by the long tail if there is one."""
        if not self.config.tail:
            return draws.choice(purpose, concepts)
        return draws.weighted(purpose, concepts, [self._weights[concept] for concept in concepts])

    def _kinds(self, total: int) -> list[RelationKind]:
        """Return the relations that some things can be composed to show."""
        return [kind for kind in self.config.relation_kinds if self._can(kind, total)]

    def _can(self, kind: RelationKind, total: int) -> bool:
        relation = _example(kind)
        return all(self._sizes(total, relation)) and bool(self._firsts(relation))

    def _firsts(self, relation: Relation | None) -> list[str]:
        """Return the concepts that the first thing may have."""
        if relation is None:
            return list(self.config.concepts)
        some = self._containers if relation.kind == "inside" else self.config.concepts
        if self.config.relation_compositions == "any":
            return list(some)
        return [concept for concept in some if self._seconds(relation, concept)]

    def _seconds(self, relation: Relation, first: str) -> list[str]:
        """Return the concepts that the second thing may have."""
        if self.config.relation_compositions == "any":
            return self.further
        seconds = []
        for other in self.further:
            pair = (first, other) if relation.subject == 0 else (other, first)
            if other != first and relation_part(relation.kind, *pair) == self.config.relation_compositions:
                seconds.append(other)
        return seconds

    def _sizes(self, total: int, relation: Relation | None) -> tuple[tuple[Size, ...], ...]:
        """Return the sizes that the first, the second and any further thing may have."""
        sizes = self.config.sizes
        if relation is None or relation.kind not in ("inside", "behind"):
            return (fitting(sizes, total),) * 3
        fits, cell = fitting(sizes, total - 1), grid(total - 1)[1]
        if relation.kind == "inside":
            outer = tuple(size for size in fits if size != "small")
            inner = tuple(size for size in sizes if size == "small")
            return outer, inner, fits
        visible = tuple(size for size in sizes if fits_behind(size, cell))
        return visible, visible, fits


def _example(kind: RelationKind) -> Relation:
    return Relation(kind, 1, 0) if kind == "inside" else Relation(kind, 0, 1)
