"""Descriptions of scenes read back into the statements that they make."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

from ....items import FactCounts
from ..scene import Scene
from .lexicon import lexicon
from .meaning import facts, holds
from .reading import concepts_by_noun, values_by_word
from .wording import Form, Statement

_WORDS = lexicon("en")
_SENTENCE = re.compile(r"[.!?;\n]+")
_NO = "no"


class Assertion(NamedTuple):
    """A statement that a description makes, or denies ("no cat")."""

    statement: Statement
    affirmed: bool = True


def judged(description: str, scene: Scene) -> FactCounts:
    """Judge a description of a scene statement by statement; what is said twice counts once.

    What is said of a thing that is not there is false.
    """
    said = list(dict.fromkeys(assertions(description)))
    verdicts = [_verdict(it, scene) for it in said]
    known = set(facts(scene))
    true = {it.statement for it, verdict in zip(said, verdicts, strict=True) if verdict and it.affirmed}
    return FactCounts(
        verdicts.count(True), verdicts.count(False), verdicts.count(None), len(known & true), len(known)
    )


def _verdict(assertion: Assertion, scene: Scene) -> bool | None:
    counts = scene.counts()
    truth = holds(assertion.statement, scene)
    if truth is None and not all(counts.get(concept) for concept in assertion.statement.things):
        truth = False
    return None if truth is None else truth == assertion.affirmed


def assertions(description: str) -> Iterator[Assertion]:
    """Yield the statements that an English description makes, in its order; words that say nothing known are skipped.

    >>> for statement, _ in assertions("A red cat is to the left of a dog."):
    ...     print(statement.form, statement.things, statement.value or "-")
    exists ('cat',) -
    colour ('cat',) red
    relation ('cat', 'dog') left of
    exists ('dog',) -
    >>> [(it.form, it.value, affirmed) for it, affirmed in assertions("No bus. The background is grey.")]
    [('exists', '', False), ('background', 'grey', True)]
    """
    for sentence in _SENTENCE.split(description.lower()):
        yield from _of_sentence(" ".join(sentence.split()))


def _of_sentence(sentence: str) -> Iterator[Assertion]:
    if (background := _backgrounds().search(sentence)) is not None:
        yield Assertion(Statement("background", (), _background_names()[background.group()]))
        sentence = sentence[: background.start()]
    phrases = list(_phrases().finditer(sentence))
    ends = [*(phrase.start() for phrase in phrases), len(sentence)][1:]
    placed = _positions().search(sentence) is not None
    between = [
        _link(sentence[phrase.end() : end]) for phrase, end in zip(phrases, ends, strict=True)
    ]  # behind each phrase, up to the next one
    for number, phrase in enumerate(phrases):
        concept = concepts_by_noun()[phrase["noun"]]
        determiner = phrase["determiner"] or ""
        if determiner == _NO:
            yield Assertion(Statement("exists", (concept,)), affirmed=False)
            continue
        yield Assertion(Statement("exists", (concept,)))
        count = _WORDS.numbers.index(determiner) if determiner in _WORDS.numbers else 0
        if count > 1 and not (phrase["looks"] or placed or any(between)):
            yield Assertion(Statement("exactly", (concept,), str(count)))
        said = _IS.match(sentence[phrase.end() : ends[number]])
        looks = f"{phrase['looks'] or ''} {said['looks'] if said else ''}"
        for form, value in _attributes_in(looks):
            yield Assertion(Statement(form, (concept,), value))
        link = between[number]
        if link and number + 1 < len(phrases):
            other = concepts_by_noun()[phrases[number + 1]["noun"]]
            form = "larger" if link in _LARGER else "relation"
            value = "" if link in _LARGER else values_by_word("relation")[link]
            if other != concept:
                yield Assertion(Statement(form, (concept, other), value))


def _link(text: str) -> str:
    """Return the word of a relation that all of a text is, without verbs; empty for none."""
    words = re.sub(r"^(?:,? ?(?:and|that|which) )?(?:is|are|stands|stand)? ?", "", text.strip()).strip()
    return words if words in values_by_word("relation") or words in _LARGER else ""


def _attributes_in(text: str) -> Iterator[tuple[Form, str]]:
    for match in _attribute_pattern().finditer(text):
        word = match.group()
        if word in _sizes():
            yield "size", _sizes()[word]
        else:
            yield "colour", word


_LARGER = ("larger than", "bigger than")


@cache
def _sizes() -> Mapping[str, str]:
    """Map every word for a size to the size."""
    plain = {forms[0]: size for size, words in _WORDS.sizes.items() for forms in words}
    return plain | dict(values_by_word("size"))


@cache
def _attribute_pattern() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{_any([*_sizes(), *_WORDS.colours])})\b")


@cache
def _phrases() -> re.Pattern[str]:
    """The pattern of a noun phrase with what it says of the thing."""
    look = _any([*_sizes(), *_WORDS.colours])
    determiners = _any([*_WORDS.numbers, "a", "an", "the", _NO, "another", "some", "several"])
    return re.compile(
        rf"(?:\b(?P<determiner>{determiners}) )?(?P<looks>(?:\b(?:{look})(?:,? and|,)? )*)"
        rf"\b(?P<noun>{_any(concepts_by_noun())})\b"
    )


@cache
def _positions() -> re.Pattern[str]:
    places = {place for row in _WORDS.positions for place in row} | {*_WORDS.columns}
    return re.compile(rf"\b(?:{_any(places)})\b(?! of\b)")


@cache
def _background_names() -> Mapping[str, str]:
    """Map the ways to name a background, as a phrase and as a tag, to its name."""
    return {way: name for name, ways in _WORDS.backgrounds.items() for way in ways}


@cache
def _backgrounds() -> re.Pattern[str]:
    # "A grey background" names it by itself; a meadow or stripes only where the sentence is about the background.
    tags = [way for way in _background_names() if "background" in way]
    stated = _any(_background_names())
    return re.compile(rf"\b(?:(?<=the background is )(?P<name>{stated})|(?P<tag>{_any(tags)}))\b")


def _any(words: Iterable[str]) -> str:
    """Return a pattern of words, the longest first."""
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


_IS = re.compile(
    r"(?: (?:at|on|in) the (?:top|bottom|left|right|middle)(?: left| right)?)? (?:is|are) (?P<looks>.*)"
)
