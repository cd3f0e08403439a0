"""The meaning of English questions and statements about scenes, so that their truth can be looked up.

A question of :mod:`counterpoint.data.worlds.scenes.items.questions` is read back into what it asks, whichever of
several ways it is said in; each of its answers is then a statement that a scene makes true or false.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal, NamedTuple

import yaml

from ....items import Question
from ..config import SIDES
from ..pixels.palette import palette
from ..scene import RELATIONS, SIZES, Scene, relation_holds
from .lexicon import Noun, lexicon

PAPERS = {"vlb": ("right_answers",)}

Form = Literal["exists", "exactly", "colour", "size", "relation", "larger", "more", "background"]
AskedForm = Literal[Form, "which", "how many", "what colour", "how large", "where"]
"""The form of a question: the forms of statements are answered yes or no, the others by a choice."""


class Statement(NamedTuple):
    """Something that may be true of a scene.

    Attributes:
        form: what it says.
        things: of which concepts.
        value: the colour, size, relation, background or number (in figures) that it says, as annotations do.
    """

    form: Form
    things: tuple[str, ...] = ()
    value: str = ""


class Asked(NamedTuple):
    """The meaning of a question: a statement that may be true, or several of which one is true."""

    form: AskedForm
    things: tuple[str, ...] = ()
    value: str = ""


class Wording(NamedTuple):
    """The way in which a question is worded.

    Attributes:
        style: which of the ways to put a question; 0 is the plain one.
        synonyms: whether other words stand for things, sizes and relations.
        context: said before the question.
    """

    style: int = 0
    synonyms: bool = False
    context: tuple[Statement, ...] = ()


PLAIN = Wording()
"""The wording in which questions are first asked."""
STYLES = 3
"""Ways to put each question."""

_QUESTIONS: dict[AskedForm, tuple[str, str, str]] = {
    "exists": (
        "Is there {a0} in the {picture}?",
        "Can you spot {a0} anywhere in the {picture}?",
        "Does the {picture} have {a0} in it?",
    ),
    "exactly": (
        "{Is} there exactly {n} {counted0} in the {picture}?",
        "Does the {picture} show exactly {n} {counted0}?",
        "If you count the {many0} in the {picture}, do you get {n}?",
    ),
    "colour": ("Is {the0} {v}?", "Would you call {the0} {v}?", "Does {the0} come in {v}?"),
    "size": ("Is {the0} {v}?", "Would you call {the0} {v}?", "Does {the0} look {v}?"),
    "relation": (
        "Is {the0} {v} {the1}?",
        "Does one find {the0} {v} {the1}?",
        "Would you say that {the0} is {v} {the1}?",
    ),
    "larger": (
        "Is {the0} larger than {the1}?",
        "Does {the0} exceed {the1} in size?",
        "Would you say that {the0} is bigger than {the1}?",
    ),
    "more": (
        "Are there more {many0} than {many1} in the {picture}?",
        "Do the {many0} in the {picture} outnumber the {many1}?",
        "Does the {picture} show more {many0} than {many1}?",
    ),
    "which": (
        "Which of these is in the {picture}?",
        "Which of these can you see in the {picture}?",
        "One of these is in the {picture}: which one?",
    ),
    "how many": (
        "How many {many0} are in the {picture}?",
        "What is the number of {many0} in the {picture}?",
        "If you count the {many0} in the {picture}, what do you get?",
    ),
    "what colour": (
        "What colour is {the0}?",
        "In which colour does {the0} come?",
        "What is the colour of {the0}?",
    ),
    "how large": ("How large is {the0}?", "What size is {the0}?", "How big does {the0} look?"),
    "where": ("Where is {the0}?", "Where does one find {the0}?", "In which place is {the0}?"),
}
_SENTENCES: dict[Form, str] = {
    "exists": "There is at least one {one0} in the {picture}.",
    "exactly": "There {is} exactly {n} {counted0} in the {picture}.",
    "colour": "The {one0} is {v}.",
    "size": "The {one0} is {v}.",
    "relation": "The {one0} is {v} {the1}.",
    "larger": "The {one0} is larger than {the1}.",
    "more": "There are more {many0} than {many1} in the {picture}.",
    "background": "The background is {v}.",
}
_CAPTIONS = ("{}", "a picture of {}", "an image with {}")

_WORDS = lexicon("en")


@cache
def _synonyms() -> dict[str, Any]:
    text = (files("counterpoint.data.worlds.scenes.words") / "synonyms.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def noun(concept: str, synonyms: bool = False) -> Noun:
    """Return the noun of a concept, or another one where there is one."""
    other = _synonyms()["nouns"].get(concept) if synonyms else None
    return Noun(*other) if other else _WORDS.nouns[concept]


def _indefinite(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _value(form: AskedForm, value: str, synonyms: bool) -> str:
    if form == "size":
        return str(_synonyms()["sizes"][value]) if synonyms else _WORDS.sizes[value][0][0]
    if form == "relation":
        return str(_synonyms()["relations"][value]) if synonyms else _WORDS.relations[value][0]
    return _WORDS.backgrounds[value][0] if form == "background" else value


def _slots(statement: Statement | Asked, synonyms: bool) -> dict[str, str]:
    nouns = [noun(concept, synonyms) for concept in statement.things]
    slots = {
        "picture": "image" if synonyms else "picture",
        "v": _value(statement.form, statement.value, synonyms),
    }
    for k, it in enumerate(nouns):
        slots |= {f"one{k}": it.singular, f"many{k}": it.plural, f"a{k}": _indefinite(it.singular)}
        slots[f"the{k}"] = f"the {it.singular}"
    if statement.form == "exactly":
        single = statement.value == "1"
        slots |= {"n": _WORDS.numbers[int(statement.value)], "is": "is" if single else "are"}
        slots |= {"Is": slots["is"].capitalize(), "counted0": slots["one0" if single else "many0"]}
    return slots


def sentence(statement: Statement, synonyms: bool = False) -> str:
    """Return a statement as a sentence.

    >>> sentence(Statement("relation", ("cat", "dog"), "left of"))
    'The cat is to the left of the dog.'
    """
    return _SENTENCES[statement.form].format_map(_slots(statement, synonyms))


def question(asked: Asked, wording: Wording = PLAIN) -> str:
    """Return a question, after its context: the question comes last.

    >>> question(Asked("what colour", ("car",)), Wording(2, True, (Statement("exists", ("cat",)),)))
    'There is at least one feline in the image. What is the colour of the automobile?'
    """
    text = _QUESTIONS[asked.form][wording.style].format_map(_slots(asked, wording.synonyms))
    return " ".join([*(sentence(statement, wording.synonyms) for statement in wording.context), text])


def caption(asked: Asked, option: str, wording: Wording = PLAIN) -> str | None:
    """Return an answer in the form of a caption, for models that compare pictures with texts; None for yes and no.

    >>> caption(Asked("what colour", ("cat",)), "red"), caption(Asked("exists", ("cat",)), "yes")
    ('a red cat', None)
    """
    meant = meaning(asked, option)
    if meant is None or asked.form not in _CHOICES:
        return None
    statement = meant[0]
    slots = _slots(statement, wording.synonyms)
    if statement.form == "exists":
        text = slots["a0"]
    elif statement.form == "exactly":
        text = f"{slots['n']} {slots['counted0']}"
    elif statement.form == "relation":
        text = f"{slots['a0']} {slots['v']} {_indefinite(slots['one1'])}"
    else:
        text = _indefinite(f"{slots['v']} {slots['one0']}")
    context = (sentence(before, wording.synonyms) for before in wording.context)
    return " ".join([*context, _CAPTIONS[wording.style].format(text)])


_CHOICES = ("which", "how many", "what colour", "how large", "where")


def read(text: str) -> Asked | None:
    """Read what the last sentence of a text asks; return None where that is not one of the known questions.

    >>> read("The dog is blue. Would you say that the feline is over the dog?")
    Asked(form='relation', things=('cat', 'dog'), value='above')
    """
    last = text.rsplit(". ", 1)[-1]
    for form, pattern in _patterns():
        match = pattern.fullmatch(last)
        if match:
            slots = match.groupdict()
            things = tuple(
                _concepts()[slots[name]]
                for k in (0, 1)
                for name in (f"one{k}", f"many{k}", f"counted{k}", f"a{k}", f"the{k}")
                if name in slots
            )
            value = _values(form).get(slots["v"], "") if "v" in slots else ""
            if "n" in slots:
                value = str(_WORDS.numbers.index(slots["n"]))
            return Asked(form, things, value)
    return None


@cache
def _concepts() -> dict[str, str]:
    """Map every noun, singular or plural, to its concept."""
    return {
        form: concept
        for synonyms in (True, False)
        for concept in _WORDS.nouns
        for form in (noun(concept, synonyms).singular, noun(concept, synonyms).plural)
    }


@cache
def _values(form: AskedForm) -> dict[str, str]:
    """Map every word for a colour, a size or a relation to the name of the same value in annotations."""
    if form == "colour":
        return {colour: colour for colour in _WORDS.colours}
    known: Sequence[str] = SIZES if form == "size" else RELATIONS
    if form not in ("size", "relation"):
        return {}
    return {_value(form, value, synonyms): value for synonyms in (True, False) for value in known}


@cache
def _patterns() -> tuple[tuple[AskedForm, re.Pattern[str]], ...]:
    return tuple((form, _pattern(form, template)) for form, ways in _QUESTIONS.items() for template in ways)


def _pattern(form: AskedForm, template: str) -> re.Pattern[str]:
    def one_of(words: Sequence[str]) -> str:
        return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))

    names, parts = one_of(list(_concepts())), []
    for part in re.split(r"(\{\w+\})", template):
        slot = part.strip("{}")
        if not part.startswith("{"):
            parts.append(re.escape(part))
        elif slot == "picture":
            parts.append("(?:picture|image)")
        elif slot == "Is":
            parts.append("(?:Is|Are)")
        elif slot == "n":
            parts.append(f"(?P<n>{one_of(_WORDS.numbers)})")
        elif slot == "v":
            parts.append(f"(?P<v>{one_of(list(_values(form)))})")
        else:
            article = "an? " if slot.startswith("a") else "the " if slot.startswith("the") else ""
            parts.append(f"{article}(?P<{slot}>{names})")
    return re.compile("".join(parts))


def meaning(asked: Asked, option: str) -> tuple[Statement, bool] | None:
    """Return the statement that an answer is about, and whether the answer says that it is true.

    Return None for an answer to no such question.

    >>> meaning(Asked("how many", ("cat",)), "two")
    (Statement(form='exactly', things=('cat',), value='2'), True)
    """
    if asked.form not in _CHOICES:
        form: Any = asked.form
        return (
            (Statement(form, asked.things, asked.value), option == "yes") if option in ("yes", "no") else None
        )
    statement = _choice(asked, option)
    return None if statement is None else (statement, True)


def _choice(asked: Asked, option: str) -> Statement | None:
    if asked.form == "which":
        concept = _concepts().get(option.split(" ", 1)[-1])
        return Statement("exists", (concept,)) if concept else None
    if asked.form == "how many":
        known = option in _WORDS.numbers
        return Statement("exactly", asked.things, str(_WORDS.numbers.index(option))) if known else None
    if asked.form == "where":
        phrase, _, other = option.rpartition(" the ")
        kind, concept = _values("relation").get(phrase), _concepts().get(other)
        return Statement("relation", (*asked.things, concept), kind) if kind and concept else None
    aspect: Form = "colour" if asked.form == "what colour" else "size"
    value = _values(aspect).get(option)
    return Statement(aspect, asked.things, value) if value else None


def holds(statement: Statement, scene: Scene) -> bool | None:
    """Return whether a statement is true of a scene; None where it speaks of "the cat" and there is not exactly one.

    Sizes are what they are called and what they look like: in a picture that was shrunk, a thing that is called large
    and drawn as large as a medium one is neither.
    """
    counts = [scene.counts().get(concept, 0) for concept in statement.things]
    if statement.form == "background":
        return scene.background == statement.value
    if statement.form == "exists":
        return counts[0] > 0
    if statement.form == "exactly":
        return counts[0] == int(statement.value)
    if statement.form == "more":
        return counts[0] > counts[1]
    if any(count != 1 for count in counts):
        return None
    places = [
        next(i for i, thing in enumerate(scene) if thing.concept == concept) for concept in statement.things
    ]
    thing = scene.things[places[0]]
    if statement.form == "colour":
        return statement.value in (palette(thing.concept) if thing.colour is None else {thing.colour})
    if statement.form == "size":
        return thing.size == statement.value and SIDES[thing.size][0] <= thing.side <= SIDES[thing.size][1]
    other = scene.things[places[1]]
    if statement.form == "larger":
        return SIZES.index(thing.size) > SIZES.index(other.size) and thing.side > other.side
    return any(
        kind == statement.value and relation_holds(kind, thing, other, hidden=places[0] < places[1])
        for kind in RELATIONS
    )


def right_answers(question: Question, scene: Scene) -> tuple[str, ...]:
    """Return the options of a question that are right for a scene.

    There are none where the question presupposes what is not so, or is not one of the known questions.
    """
    asked = read(question.text)
    meant = [meaning(asked, option) if asked else None for option in question.options]
    answers = []
    for option, it in zip(question.options, meant, strict=True):
        true = None if it is None else holds(it[0], scene)
        if it is None or true is None:
            return ()
        if true == it[1]:
            answers.append(option)
    return tuple(answers)


Topic = tuple[str, ...]
"""The topic that a statement settles, or that a question is about: an aspect, and the concepts that have it."""


def settles(statement: Statement) -> frozenset[Topic]:
    """Return all topics that are known to somebody who is told a statement and does not look at the picture."""
    topics: set[Topic] = {("exists", concept) for concept in statement.things}
    if statement.form == "background":
        return frozenset({("background",)})
    if statement.form in ("colour", "size", "relation", "larger"):  # "the cat" is the only one
        topics |= {("count", concept) for concept in statement.things}
    topics |= set(_about(statement))
    return frozenset(topics)


def _about(statement: Statement) -> Iterator[Topic]:
    if statement.form in ("colour", "size"):
        yield statement.form, statement.things[0]
    elif statement.form == "relation":
        yield "relation", *sorted(statement.things)
    else:
        aspect = {"exists": "exists", "larger": "size"}.get(statement.form, "count")
        yield from ((aspect, concept) for concept in statement.things)


def needs(asked: Asked, options: Sequence[str]) -> frozenset[Topic]:
    """Return the topics that must not be told beforehand: the picture would not be needed for the answer."""
    meant = [meaning(asked, option) for option in options]
    return frozenset(topic for it in meant if it for topic in _about(it[0]))


def mentioned(asked: Asked, options: Sequence[str]) -> frozenset[str]:
    """Return the concepts that a question and its answers speak of."""
    meant = [meaning(asked, option) for option in options]
    return frozenset([*asked.things, *(concept for it in meant if it for concept in it[0].things)])


def facts(scene: Scene) -> list[Statement]:
    """Return simple statements that are true of a scene."""
    counts = scene.counts()
    statements = [Statement("background", (), scene.background)]
    for concept, count in counts.items():
        statements += [Statement("exists", (concept,)), Statement("exactly", (concept,), str(count))]
    single = [(index, thing) for index, thing in enumerate(scene) if counts[thing.concept] == 1]
    for i, thing in single:
        candidates = [Statement("size", (thing.concept,), thing.size)]
        candidates += [Statement("colour", (thing.concept,), thing.colour)] if thing.colour else []
        candidates += [
            Statement("relation", (thing.concept, other.concept), kind)
            for j, other in single
            if i != j
            for kind in RELATIONS
            if relation_holds(kind, thing, other, hidden=i < j)
        ]
        statements += [statement for statement in candidates if holds(statement, scene)]
    return statements
