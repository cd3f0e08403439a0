"""Long captions: a sentence for what there is, one for each group of things, each relation, and the background."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

from ....rng import Rng
from ..concepts import FACED
from ..scene import OPPOSITE, UNIT, Relation, Scene
from .grammar import Appearance, Determiner, Grammar, Phrase, grammar
from .lexicon import Case
from .referring import Group, all_hold, groups, noun_phrase, spoken
from .writing import Caption, Writer

_PLACES = 3  # that one sentence names; things in more of them are told by column


def long(scene: Scene, language: str = "en", draws: Rng | None = None) -> tuple[Caption, ...]:
    """Write sentences about a scene: what there is, where and how each thing is, relations, background.

    Each is a caption with mentions of its own, so ``sentence.things`` are the things that it speaks of. Clutter is
    not spoken of.

    Args:
        scene: to be described.
        language: ``en``, ``de``, ``fr`` or ``es``.
        draws: choose among ways to say it; None takes the plainest.

    >>> from counterpoint.data.synthetic.scenes.scene import Thing
    >>> pears = Thing("pear", None, "small", 150, 200, 200), Thing("pear", None, "small", 150, 800, 500)
    >>> [(sentence.text, sentence.things) for sentence in long(Scene(0, pears))][1]
    ('One small pear is at the top left and one on the right.', (0, 1))

    Raises:
        UnknownNameError: for a language without words.
    """
    return tuple(_Paragraph(scene, grammar(language), draws).sentences())


@final
class _Paragraph:
    def __init__(self, scene: Scene, words: Grammar, draws: Rng | None) -> None:
        self._scene, self._grammar, self._lexicon, self._draws = scene, words, words.lexicon, draws
        word = draws.integer("word", 0, 11) if draws else 0
        self._word = word
        self._groups = groups(scene, word=word, most=len(scene.things))
        self._looks = {index: noun_phrase(scene.things[index], word=word) for index in spoken(scene)}

    def sentences(self) -> Iterator[Caption]:
        if not self._groups:
            yield Caption(self._lexicon.nothing)
        else:
            yield self._opening()
        for group in self._groups:
            if self._described(group):
                yield self._how(group)
            else:
                yield self._where(group)
        yield from self._relations()
        yield self._background()

    def _opening(self) -> Caption:
        """Write the first sentence, as in "The picture shows two cats and a dog."."""
        concepts: dict[str, list[int]] = {}
        for group in self._groups:
            concepts.setdefault(group.noun_phrase.concept, []).extend(group.things)
        lists = [Group(tuple(places), Appearance(concept)) for concept, places in concepts.items()]
        openings = self._lexicon.openings
        frame = self._draws.choice("opening", openings) if self._draws else openings[0]
        several = len(lists[0].things) > 1 or (len(lists) > 1 and not self._grammar.nearest)
        writer = Writer(self._grammar)
        for number, group in enumerate(lists):
            before = frame.several if several else frame.one
            if number:
                before = self._lexicon.conjunction if number == len(lists) - 1 else ", "
            writer.phrase(before, self._phrase(group, "a", frame.case), group)
        return writer.sentence()

    def _where(self, group: Group) -> Caption:
        """Write where a group is, as in "Two red cats are at the top left and one on the right."."""
        noun = self._lexicon.nouns[group.noun_phrase.concept]
        places = self._positions(group)
        writer = Writer(self._grammar)
        for number, (where, things) in enumerate(places.items()):
            part = Group(tuple(things), group.noun_phrase)
            if number == 0:
                determiner: Determiner = "one"
                if len(places) == 1:
                    determiner = "the" if self._unique(group) else "a"
                writer.phrase("", self._phrase(part, determiner), part)
            else:
                writer.words(self._lexicon.conjunction if number == len(places) - 1 else ", ")
                writer.words(self._grammar.pronoun(noun, len(things)), "count", part.things)
            writer.words(" " if number else f" {self._lexicon.stands[len(things) > 1]} ")
            writer.words(where, "position", part.things)
        if len(places) == 1:
            self._facing(writer, group)
        return writer.sentence()

    def _described(self, group: Group) -> bool:
        """Return whether a sentence gives the group's colour and size as news; three attributes would be clumsy."""
        news = sum(attribute is not None for attribute in (group.noun_phrase.colour, group.noun_phrase.size))
        return (
            self._draws is not None
            and len(group.things) == 1
            and self._unique(Group(group.things, Appearance(group.noun_phrase.concept)))
            and 1 <= news <= (1 if group.noun_phrase.concept in FACED else 2)
            and self._draws.happens(f"described {group.things}", 0.4)
        )

    def _how(self, group: Group) -> Caption:
        """Write how a thing looks, as in "The cat at the top left is small and red."."""
        noun, its = self._lexicon.nouns[group.noun_phrase.concept], group.noun_phrase
        bare = Group(group.things, Appearance(its.concept))
        writer = Writer(self._grammar)
        writer.phrase("", self._phrase(bare, "the"), bare)
        writer.words(f" {self._lexicon.at} " if self._lexicon.at else " ")
        writer.words(next(iter(self._positions(group))), "position", group.things)
        writer.words(f" {self._lexicon.is_[0]} ")
        if its.size:
            plainest = self._lexicon.sizes[its.size][0]  # nobody says "the hammer is little"
            writer.words(self._grammar.agreeing(plainest, noun, 1), "size", group.things)
        if its.size and its.colour:
            writer.words(self._lexicon.conjunction)
        if its.colour:
            colour = self._grammar.agreeing(self._lexicon.colours[its.colour], noun, 1)
            writer.words(colour, "colour", group.things)
        self._facing(writer, group)
        return writer.sentence()

    def _facing(self, writer: Writer, group: Group) -> None:
        """Add " and faces left", where words can say that of all of a group."""
        facings = {self._scene.things[index].facing for index in group.things}
        if group.noun_phrase.concept in FACED and len(facings) == 1:
            writer.words(self._lexicon.conjunction)
            forms = self._lexicon.look_verb[facings.pop()]
            writer.words(forms[len(group.things) > 1], "facing", group.things)

    def _relations(self) -> Iterator[Caption]:
        """Yield "The cat is to the left of the two dogs.", of whole groups if that is true, and one way round only."""
        of = {index: group for group in self._groups for index in group.things}
        seen: set[tuple[str, int, int]] = set()
        for relation in self._scene.relations:
            if (relation.kind, relation.subject, relation.object) in seen:
                continue
            if relation.subject not in of or relation.object not in of:
                continue
            subject, object = self._widest(relation, of)
            for i in subject.things:
                for j in object.things:
                    seen.add((relation.kind, i, j))
                    if relation.kind in OPPOSITE:
                        seen.add((OPPOSITE[relation.kind], j, i))
            yield self._relation(relation, subject, object)

    def _widest(self, relation: Relation, of: dict[int, Group]) -> tuple[Group, Group]:
        whole = of[relation.subject], of[relation.object]
        if all_hold(self._scene, relation, *whole):
            return whole
        return Group((relation.subject,), whole[0].noun_phrase), Group(
            (relation.object,), whole[1].noun_phrase
        )

    def _relation(self, relation: Relation, subject: Group, object: Group) -> Caption:
        ways = self._lexicon.relations[relation.kind]
        writer = Writer(self._grammar)
        subject, object = self._named(subject), self._named(object)
        kinds: list[Determiner] = ["the" if self._unique(group) else "a" for group in (subject, object)]
        another = kinds[1] == "a" and object.noun_phrase.covers(subject.noun_phrase)
        writer.phrase("", self._phrase(subject, kinds[0]), subject)
        writer.words(f" {self._lexicon.stands[len(subject.things) > 1]} ")
        named = self._phrase(object, kinds[1], "dative", another)
        writer.phrase(ways[self._word % len(ways)], named, object, link=subject.things + object.things)
        return writer.sentence()

    def _named(self, group: Group) -> Group:
        """Return a group, called by its concept alone if that is enough."""
        bare = Group(group.things, Appearance(group.noun_phrase.concept))
        return bare if self._unique(bare) else group

    def _background(self) -> Caption:
        writer = Writer(self._grammar)
        writer.words(f"{self._lexicon.background} ")
        writer.words(self._lexicon.backgrounds[self._scene.background][0], "background")
        return writer.sentence()

    def _unique(self, group: Group) -> bool:
        """Return whether the description of a group is true of that group alone."""
        return sum(group.noun_phrase.covers(other) for other in self._looks.values()) == len(group.things)

    def _positions(self, group: Group) -> dict[str, list[int]]:
        """Return the things of a group by where they are, from top to bottom and left to right."""
        thirds = {
            index: (min(2, thing.y * 3 // UNIT), min(2, thing.x * 3 // UNIT))
            for index in group.things
            for thing in [self._scene.things[index]]
        }
        fine = len(set(thirds.values())) <= _PLACES
        positions: dict[str, list[int]] = {}
        for index in sorted(group.things, key=lambda index: thirds[index] if fine else thirds[index][1:]):
            row, column = thirds[index]
            position = self._lexicon.positions[row][column] if fine else self._lexicon.columns[column]
            positions.setdefault(position, []).append(index)
        return positions

    def _phrase(
        self, group: Group, determiner: Determiner, case: Case = "nominative", more: bool = False
    ) -> Phrase:
        return self._grammar.phrase(group.noun_phrase, len(group.things), determiner, more, case)
