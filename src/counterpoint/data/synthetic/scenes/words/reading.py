"""Questions about scenes read back into what they ask, and their answers into statements."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from ..scene import RELATIONS, SIZES
from .lexicon import lexicon
from .wording import (
    PLAIN,
    QUESTIONS,
    Form,
    QueryForm,
    QuestionMeaning,
    Statement,
    Wording,
    indefinite,
    noun,
    sentence,
    slots_of,
    value_word,
)

_CAPTIONS = ("{}", "a picture of {}", "an image with {}")
_CHOICES = ("which", "how many", "what colour", "how large", "where")

_WORDS = lexicon("en")


def read(text: str) -> QuestionMeaning | None:
    """Read what the last sentence of a text asks; return None where that is not one of the known questions.

    >>> read("The dog is blue. Would you say that the feline is over the dog?")
    QuestionMeaning(form='relation', things=('cat', 'dog'), value='above')
    """
    last = text.rsplit(". ", 1)[-1]
    for form, pattern in _patterns():
        match = pattern.fullmatch(last)
        if match:
            slots = match.groupdict()
            things = tuple(
                concepts_by_noun()[slots[name]]
                for k in (0, 1)
                for name in (f"one{k}", f"many{k}", f"counted{k}", f"a{k}", f"the{k}")
                if name in slots
            )
            value = values_by_word(form).get(slots["v"], "") if "v" in slots else ""
            if "n" in slots:
                value = str(_WORDS.numbers.index(slots["n"]))
            return QuestionMeaning(form, things, value)
    return None


@cache
def concepts_by_noun() -> dict[str, str]:
    """Map every noun, singular or plural, to its concept."""
    return {
        form: concept
        for synonyms in (True, False)
        for concept in _WORDS.nouns
        for form in (noun(concept, synonyms).singular, noun(concept, synonyms).plural)
    }


@cache
def values_by_word(form: QueryForm) -> dict[str, str]:
    """Map every word for a colour, a size or a relation to the name of the same value in annotations."""
    if form == "colour":
        return {colour: colour for colour in _WORDS.colours}
    known: Sequence[str] = SIZES if form == "size" else RELATIONS
    if form not in ("size", "relation"):
        return {}
    return {value_word(form, value, synonyms): value for synonyms in (True, False) for value in known}


@cache
def _patterns() -> tuple[tuple[QueryForm, re.Pattern[str]], ...]:
    return tuple((form, _pattern(form, template)) for form, ways in QUESTIONS.items() for template in ways)


def _pattern(form: QueryForm, template: str) -> re.Pattern[str]:
    def one_of(words: Sequence[str]) -> str:
        return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))

    names, parts = one_of(list(concepts_by_noun())), []
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
            parts.append(f"(?P<v>{one_of(list(values_by_word(form)))})")
        else:
            article = "an? " if slot.startswith("a") else "the " if slot.startswith("the") else ""
            parts.append(f"{article}(?P<{slot}>{names})")
    return re.compile("".join(parts))


def meaning(asked: QuestionMeaning, option: str) -> tuple[Statement, bool] | None:
    """Return the statement that an answer is about, and whether the answer says that it is true.

    Return None for an answer to no such question.

    >>> meaning(QuestionMeaning("how many", ("cat",)), "two")
    (Statement(form='exactly', things=('cat',), value='2'), True)
    """
    if asked.form not in _CHOICES:
        form: Any = asked.form
        return (
            (Statement(form, asked.things, asked.value), option == "yes") if option in ("yes", "no") else None
        )
    statement = _choice(asked, option)
    return None if statement is None else (statement, True)


def _choice(asked: QuestionMeaning, option: str) -> Statement | None:
    if asked.form == "which":
        concept = concepts_by_noun().get(option.split(" ", 1)[-1])
        return Statement("exists", (concept,)) if concept else None
    if asked.form == "how many":
        known = option in _WORDS.numbers
        return Statement("exactly", asked.things, str(_WORDS.numbers.index(option))) if known else None
    if asked.form == "where":
        phrase, _, other = option.rpartition(" the ")
        kind, concept = values_by_word("relation").get(phrase), concepts_by_noun().get(other)
        return Statement("relation", (*asked.things, concept), kind) if kind and concept else None
    aspect: Form = "colour" if asked.form == "what colour" else "size"
    value = values_by_word(aspect).get(option)
    return Statement(aspect, asked.things, value) if value else None


def caption(asked: QuestionMeaning, option: str, wording: Wording = PLAIN) -> str | None:
    """Return an answer in the form of a caption, for models that compare pictures with texts; None for yes and no.

    >>> caption(QuestionMeaning("what colour", ("cat",)), "red"), caption(QuestionMeaning("exists", ("cat",)), "yes")
    ('a red cat', None)
    """
    meant = meaning(asked, option)
    if meant is None or asked.form not in _CHOICES:
        return None
    statement = meant[0]
    slots = slots_of(statement, wording.synonyms)
    if statement.form == "exists":
        text = slots["a0"]
    elif statement.form == "exactly":
        text = f"{slots['n']} {slots['counted0']}"
    elif statement.form == "relation":
        text = f"{slots['a0']} {slots['v']} {indefinite(slots['one1'])}"
    else:
        text = indefinite(f"{slots['v']} {slots['one0']}")
    context = (sentence(before, wording.synonyms) for before in wording.context)
    return " ".join([*context, _CAPTIONS[wording.style].format(text)])
