"""Clips in words: what happens, in its order, and what else there is.

Sizes are not told, so that what grows is not named by a size that it loses.

>>> from counterpoint.data.synthetic.scenes.scene import Scene, Thing
>>> from counterpoint.data.synthetic.clips.clip import Event
>>> cat, dog = Thing("cat", "red", "small", 200, 200, 200), Thing("dog", None, "small", 200, 700, 700)
>>> tree = Thing("tree", None, "small", 160, 800, 200)
>>> clip = Clip(Scene(0, (cat, dog, tree)), (Event("appear", 0, 1, 5), Event("move left", 1, 6, 12, by=300)), 12)
>>> caption(clip)
'a red cat appears, then a dog moves to the left, with a tree in the scene'
>>> caption(clip, "de")
'eine rote Katze erscheint, dann bewegt sich ein Hund nach links, mit einem Baum im Bild'
"""

from __future__ import annotations

from ...scenes.scene import Thing
from ...scenes.words.grammar import Appearance, Grammar, grammar
from ...scenes.words.lexicon import Case
from ..clip import Clip, Event


def look_of(thing: Thing) -> Appearance:
    """Return the look that captions of clips give a thing: its concept and its dye."""
    return Appearance(thing.concept, colour=thing.colour)


def caption(clip: Clip, language: str = "en") -> str:
    """Write one sentence about all of a clip but its background.

    Things to which nothing happens are told at the end: counted where they are alike, else in the relation that
    the scene has.

    Args:
        clip: to be described.
        language: ``en``, ``de``, ``fr`` or ``es``.

    Raises:
        UnknownNameError: for a language without words.
    """
    words = grammar(language)
    clauses = [_clause(words, clip, event, first=k == 0) for k, event in enumerate(clip.events)]
    if clip.still:
        before, after, case = words.lexicon.scenery
        clauses.append(f"{before} {_rest(words, clip, case)} {after}")
    return ", ".join(clauses)


def _clause(words: Grammar, clip: Clip, event: Event, first: bool) -> str:
    thing = clip.scene.things[event.thing]
    subject = words.phrase(look_of(thing)).text
    verb, rest = words.lexicon.actions[event.action]
    if event.colour:
        rest = words.agreeing(words.lexicon.colours[event.colour], words.lexicon.nouns[thing.concept], 1)
    after_verb = words.verb_second and not first
    parts = (verb, subject, rest) if after_verb else (subject, verb, rest)
    return " ".join(part for part in ("" if first else words.lexicon.then, *parts) if part)


def _rest(words: Grammar, clip: Clip, case: Case) -> str:
    looks = [look_of(clip.scene.things[index]) for index in clip.still]
    for relation in clip.scene.relations:
        if relation.subject in clip.still and relation.object in clip.still:
            one, other = (look_of(clip.scene.things[index]) for index in (relation.subject, relation.object))
            reference = words.phrase(other, case="dative")
            between, swallowed = words.attach(words.lexicon.relations[relation.kind][0], reference)
            return f"{words.phrase(one, case=case).text} {between}{reference.text[swallowed:]}"
    phrases = (words.phrase(look, looks.count(look), case=case).text for look in dict.fromkeys(looks))
    return words.lexicon.conjunction.join(phrases)
