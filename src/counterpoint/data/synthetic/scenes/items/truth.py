"""The truth of one scene's caption about another scene."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from ..pixels.palette import palette
from ..scene import RELATIONS, Relation, RelationKind, Scene, Thing, relation_holds
from ..words.grammar import Appearance
from ..words.referring import Attribute, noun_phrase, spoken


def true_of(said: Scene, shown: Scene, exact: Collection[Attribute] = ()) -> bool:
    """Return whether everything that the short caption of one scene says holds in another scene.

    Every thing said (all but the clutter) is shown, each by another one, and looks as is said; of each concept there
    are as many as are said; and every relation said is plainly visible between the things that are spoken of. What is
    not spoken of may be there too.

    Args:
        said: whose caption it is.
        shown: what it is read beside.
        exact: attributes that are said, as in :func:`counterpoint.data.synthetic.scenes.words.captions.short`.

    >>> red, blue = (Thing("cat", colour, "small", 200, 300, 500) for colour in ("red", "blue"))
    >>> true_of(Scene(0, (red,)), Scene(1, (red,))), true_of(Scene(0, (red,)), Scene(1, (blue,)))
    (True, False)
    """
    counts = Counter(said.things[index].concept for index in spoken(said))
    if any(shown.counts().get(concept) != count for concept, count in counts.items()):
        return False
    candidates = [
        [index for index, other in enumerate(shown) if looks_like(noun_phrase(thing, exact), other)]
        for thing in said
    ]
    related = sorted({index for r in said.relations for index in (r.subject, r.object)})
    others = [index for index in spoken(said) if index not in related]
    return any(
        _matching([candidates[index] for index in others], set(chosen.values()))
        for chosen in _assignments(said.relations, related, candidates, shown)
    )


def looks_like(said: Appearance, thing: Thing) -> bool:
    """Return whether a thing is all that is said of it; a thing that is not dyed may have a colour of its own."""
    colours = palette(thing.concept) if thing.colour is None else {thing.colour}
    return (
        said.concept == thing.concept
        and said.size in (None, thing.size)
        and (said.colour is None or said.colour in colours)
        and said.facing in (None, thing.facing)
    )


def relations_of(scene: Scene) -> dict[tuple[int, int], frozenset[RelationKind]]:
    """Return every relation that is plainly visible, by its subject and its object."""
    return {
        (i, j): frozenset(kind for kind in RELATIONS if relation_holds(kind, a, b, hidden=i < j))
        for i, a in enumerate(scene)
        for j, b in enumerate(scene)
        if i != j
    }


def _assignments(
    relations: Sequence[Relation], related: Sequence[int], candidates: Sequence[Sequence[int]], shown: Scene
) -> Iterator[dict[int, int]]:
    """Yield the ways to choose a shown thing for each thing of the relations, such that all of the relations hold."""

    def extend(chosen: dict[int, int]) -> Iterator[dict[int, int]]:
        if len(chosen) == len(related):
            yield dict(chosen)
            return
        index = related[len(chosen)]
        for other in candidates[index]:
            if other in chosen.values():
                continue
            further = {**chosen, index: other}
            known = [r for r in relations if {r.subject, r.object} <= further.keys()]
            if all(_holds(r, further, shown) for r in known):
                yield from extend(further)

    return extend({})


def _holds(relation: Relation, chosen: dict[int, int], shown: Scene) -> bool:
    i, j = chosen[relation.subject], chosen[relation.object]
    return relation_holds(relation.kind, shown.things[i], shown.things[j], hidden=i < j)


def _matching(candidates: Sequence[Sequence[int]], taken: set[int]) -> bool:
    """Return whether every thing can have a candidate of its own that is not taken (Kuhn's augmenting paths)."""
    holder: dict[int, int] = {}

    def settle(one: int, tried: set[int]) -> bool:
        for index in candidates[one]:
            if index in taken or index in tried:
                continue
            tried.add(index)
            if index not in holder or settle(holder[index], tried):
                holder[index] = one
                return True
        return False

    return all(settle(one, set()) for one in range(len(candidates)))
