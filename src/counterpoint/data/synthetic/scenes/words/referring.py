"""The content of a caption, before any language: things that are counted together, and relations that are told."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from ..concepts import FACED
from ..scene import Relation, RelationKind, Scene, Thing, relation_holds
from .grammar import Appearance

Attribute = Literal["colour", "size", "facing"]

_MOST = 3  # groups of one concept; a caption with more of them is a list that nobody would write


class Group(NamedTuple):
    """Things that words speak of as one.

    Attributes:
        things: their places in the scene.
        noun_phrase: what is said of all of them.
    """

    things: tuple[int, ...]
    noun_phrase: Appearance


class Clause(NamedTuple):
    """A group, and the relations in which all of it stands to all of other groups."""

    subject: Group
    links: tuple[tuple[RelationKind, Group], ...] = ()


def spoken(scene: Scene) -> tuple[int, ...]:
    """Return places of the things that captions speak of: not the clutter, unless there is nothing else."""
    places = tuple(index for index, thing in enumerate(scene) if not thing.clutter)
    return places or tuple(range(len(scene.things)))


def noun_phrase(thing: Thing, exact: Collection[Attribute] = (), word: int = 0) -> Appearance:
    """Return the look of a thing: its colour, its size unless medium; ``exact`` adds a medium size, or the facing."""
    return Appearance(
        thing.concept,
        thing.size if thing.size != "medium" or "size" in exact else None,
        thing.colour,
        thing.facing if "facing" in exact and thing.concept in FACED else None,
        word,
    )


def groups(scene: Scene, exact: Collection[Attribute] = (), word: int = 0, most: int = _MOST) -> list[Group]:
    """Return the things that captions speak of, counted together concept by concept, in the order of the scene.

    Those of one concept are told apart by colour and size; by colour alone where that would make more than ``most``
    groups of them; and not at all where even that would. Only what all of a group share is said of it.

    Args:
        exact: what things are told apart by however many groups it makes.
        word: which words are used for sizes.
    """
    of_concept: dict[str, list[int]] = {}
    for index in spoken(scene):
        of_concept.setdefault(scene.things[index].concept, []).append(index)
    looks = {index: noun_phrase(scene.things[index], exact, word) for index in spoken(scene)}
    groups_of: list[Group] = []
    for places in of_concept.values():
        if len(places) == 1:
            groups_of.append(Group((places[0],), looks[places[0]]))
            continue
        for parts in _partitions(places, looks, exact):
            if len(parts) <= most:
                break
        groups_of.extend(Group(tuple(part), _shared([looks[index] for index in part])) for part in parts)
    return groups_of


def _partitions(
    indices: Sequence[int], noun_phrases: Mapping[int, Appearance], exact: Collection[Attribute]
) -> Iterator[list[list[int]]]:
    """Yield the things told apart in three ways: by colour and size, by colour, not at all."""
    for attributes in ({"colour", "size"}, {"colour"}, set[str]()):
        key_attributes = attributes.union(exact)
        parts: dict[tuple[str | None, ...], list[int]] = {}
        for index in indices:
            its = noun_phrases[index]
            key = (
                its.colour if "colour" in key_attributes else None,
                its.size if "size" in key_attributes else None,
                its.facing,
            )
            parts.setdefault(key, []).append(index)
        yield list(parts.values())


def _shared(noun_phrases: Sequence[Appearance]) -> Appearance:
    first = noun_phrases[0]
    return Appearance(
        first.concept,
        first.size if all(other.size == first.size for other in noun_phrases) else None,
        first.colour if all(other.colour == first.colour for other in noun_phrases) else None,
        first.facing if all(other.facing == first.facing for other in noun_phrases) else None,
        first.word,
    )


def clauses(
    scene: Scene, parts: Sequence[Group], exact: Collection[Attribute] = ()
) -> tuple[list[Clause], list[Group]]:
    """Return the relations of a scene as they fit into one sentence, and the groups that are left.

    A relation is told of whole groups where it holds between all of their things, else of single things that are
    taken out of their groups. A thing is spoken of once: a relation between things that are spoken of already is
    left out.
    """
    free = {index: group for group in parts for index in group.things}
    linked: list[Clause] = []
    for relation in scene.relations:
        if relation.object not in free:
            continue
        objects = (free[relation.object], _single(scene, relation.object, exact, free))
        if relation.subject in free:
            subjects: tuple[Group, ...] = (
                free[relation.subject],
                _single(scene, relation.subject, exact, free),
            )
        elif linked and relation.subject in linked[-1].subject.things:
            subjects = (linked[-1].subject,)
        else:
            continue
        pair = next(
            (
                (subject, object)
                for subject in subjects
                for object in objects
                if all_hold(scene, relation, subject, object)
                and not _needed_elsewhere(scene, relation, subject, object)
            ),
            None,
        )
        if pair is None:
            continue
        subject, object = pair
        if relation.subject in free:
            linked.append(Clause(subject))
            _take(free, subject)
        _take(free, object)
        linked[-1] = Clause(linked[-1].subject, (*linked[-1].links, (relation.kind, object)))
    return linked, list(dict.fromkeys(free.values()))


def all_hold(scene: Scene, relation: Relation, subject: Group, object: Group) -> bool:
    """Return whether a relation holds between all things of one group and all of another."""
    return not set(subject.things) & set(object.things) and all(
        (i, j) == (relation.subject, relation.object)
        or relation_holds(relation.kind, scene.things[i], scene.things[j], hidden=i < j)
        for i in subject.things
        for j in object.things
    )


def _needed_elsewhere(scene: Scene, relation: Relation, subject: Group, object: Group) -> bool:
    """Return whether a thing that the groups would bring along has another relation to be told."""
    along = {*subject.things, *object.things} - {relation.subject, relation.object}
    return any(
        {other.subject, other.object} & along
        and not (
            other.kind == relation.kind and other.subject in subject.things and other.object in object.things
        )
        for other in scene.relations
    )


def _single(scene: Scene, index: int, exact: Collection[Attribute], free: dict[int, Group]) -> Group:
    return Group((index,), noun_phrase(scene.things[index], exact, free[index].noun_phrase.word))


def _take(free: dict[int, Group], taken: Group) -> None:
    """Strike things out, and out of the groups that they were in."""
    for index in taken.things:
        group = free.pop(index)
        left = Group(tuple(other for other in group.things if other not in taken.things), group.noun_phrase)
        free.update((other, left) for other in left.things)
