"""Statements and questions about scenes, put into English in several ways."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Literal, NamedTuple

from .....files import parse_yaml
from .lexicon import Noun, lexicon

Form = Literal["exists", "exactly", "colour", "size", "relation", "larger", "more", "background"]
QueryForm = Literal[Form, "which", "how many", "what colour", "how large", "where"]
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


class QuestionMeaning(NamedTuple):
    """The meaning of a question: a statement that may be true, or several of which one is true."""

    form: QueryForm
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

QUESTIONS: dict[QueryForm, tuple[str, str, str]] = {
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

_WORDS = lexicon("en")


@cache
def _synonyms() -> dict[str, Any]:
    text = (files("counterpoint.data.synthetic.scenes.words") / "synonyms.yaml").read_text(encoding="utf-8")
    return parse_yaml(text)


def noun(concept: str, synonyms: bool = False) -> Noun:
    """Return the noun of a concept, or another one where there is one."""
    other = _synonyms()["nouns"].get(concept) if synonyms else None
    return Noun(*other) if other else _WORDS.nouns[concept]


def indefinite(name: str) -> str:
    """Return a noun after its article.

    >>> indefinite("apple")
    'an apple'
    """
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def value_word(form: QueryForm, value: str, synonyms: bool) -> str:
    """Return the word for a colour, a size, a relation or a background that annotations name."""
    if form == "size":
        return str(_synonyms()["sizes"][value]) if synonyms else _WORDS.sizes[value][0][0]
    if form == "relation":
        return str(_synonyms()["relations"][value]) if synonyms else _WORDS.relations[value][0]
    return _WORDS.backgrounds[value][0] if form == "background" else value


def slots_of(statement: Statement | QuestionMeaning, synonyms: bool) -> dict[str, str]:
    """Return the words that go into the templates of a statement or a question."""
    nouns = [noun(concept, synonyms) for concept in statement.things]
    slots = {
        "picture": "image" if synonyms else "picture",
        "v": value_word(statement.form, statement.value, synonyms),
    }
    for k, it in enumerate(nouns):
        slots |= {f"one{k}": it.singular, f"many{k}": it.plural, f"a{k}": indefinite(it.singular)}
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
    return _SENTENCES[statement.form].format_map(slots_of(statement, synonyms))


def question(asked: QuestionMeaning, wording: Wording = PLAIN) -> str:
    """Return a question, after its context: the question comes last.

    >>> question(QuestionMeaning("what colour", ("car",)), Wording(2, True, (Statement("exists", ("cat",)),)))
    'There is at least one feline in the image. What is the colour of the automobile?'
    """
    text = QUESTIONS[asked.form][wording.style].format_map(slots_of(asked, wording.synonyms))
    return " ".join([*(sentence(statement, wording.synonyms) for statement in wording.context), text])
