"""Texts that remember where they speak of what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, final

from .grammar import Grammar, Phrase, Role
from .referring import Group


class Mention(NamedTuple):
    """``text[start:end]`` speaks of some things.

    Attributes:
        start, end: of the words.
        things: the places in the scene of those that they speak of; none for the background.
        role: what the words are. A whole noun phrase is a ``"phrase"``; what is in it is mentioned besides.
    """

    start: int
    end: int
    things: tuple[int, ...]
    role: Role


@dataclass(frozen=True, slots=True)
class Caption:
    """Words about a scene.

    Attributes:
        text: without figures or signs, so that it can be spoken as it is.
        mentions: in the order of the text.
    """

    text: str
    mentions: tuple[Mention, ...] = ()

    @property
    def things(self) -> tuple[int, ...]:
        """Places of all things spoken of."""
        return tuple(sorted({index for mention in self.mentions for index in mention.things}))


@final
class Writer:
    """A text that grows, and remembers what its words are about."""

    def __init__(self, words: Grammar) -> None:
        self._grammar = words
        self._text = ""
        self._mentions: list[Mention] = []

    def words(self, words: str, role: Role | None = None, things: tuple[int, ...] = ()) -> None:
        if role:
            start = len(self._text) + (len(words) - len(words.lstrip()))
            end = len(self._text) + len(words.rstrip())
            self._mentions.append(Mention(start, end, things, role))
        self._text += words

    def phrase(self, before: str, phrase: Phrase, group: Group, link: tuple[int, ...] = ()) -> None:
        """Write a noun phrase after some words, which are a relation between the things of ``link``, if any."""
        swallowed = 0
        if before and not before.endswith(" "):
            before, swallowed = self._grammar.attach(before, phrase)
        self.words(before, "relation" if link else None, link)
        start = len(self._text) - swallowed
        self._text += phrase.text[swallowed:]
        whole = Mention(
            len(self._text) - len(phrase.text) + swallowed, len(self._text), group.things, "phrase"
        )
        parts = [Mention(start + p.start, start + p.end, group.things, p.role) for p in phrase.parts]
        self._mentions += [whole, *parts]

    def caption(self) -> Caption:
        return Caption(self._text, tuple(self._mentions))

    def sentence(self) -> Caption:
        return Caption(self._text[0].upper() + self._text[1:] + ".", tuple(self._mentions))
