"""Conversations: requests and the replies to them, one or several exchanges of each row."""

from __future__ import annotations

import string
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple


class Exchange(NamedTuple):
    """A request and the reply to it.

    Attributes:
        request: what is asked.
        reply: what is answered; empty where it is still to be written.
    """

    request: str
    reply: str


Conversation = tuple[Exchange, ...]
"""The exchanges of one row, in their order; none for a row without a conversation."""


def pack_conversations(rows: Sequence[Sequence[str]], form: int = 0) -> list[Conversation]:
    """Return conversations of texts that are requests and replies in turn.

    Args:
        rows: the texts of each row.
        form: has no effect; it is an argument of every modality's ``pack``.

    >>> pack_conversations([["What is it?", "A cat.", "What colour?", "Red."], [""]])[0][1]
    Exchange(request='What colour?', reply='Red.')

    Raises:
        ValueError: for a request without a reply.
    """
    packed = []
    for number, texts in enumerate(rows):
        texts = [] if list(texts) == [""] else texts
        if len(texts) % 2:
            raise ValueError(f"conversation {number} has {len(texts)} texts: every request needs a reply")
        packed.append(tuple(map(Exchange, texts[::2], texts[1::2])))
    return packed


def check_conversations(rows: object) -> list[Conversation]:
    """Return conversations that can be embedded; one pair of texts stands for one exchange.

    Raises:
        ValueError: for anything else, and for none.

    >>> check_conversations([("What is it?", "A cat."), [Exchange("Who?", "Me.")]])[0]
    (Exchange(request='What is it?', reply='A cat.'),)
    """
    if isinstance(rows, str) or not isinstance(rows, Sequence):
        raise ValueError(f"conversations must be a list of lists of cp.Exchange, got {type(rows).__name__}")
    if not rows:
        raise ValueError("there is nothing to embed: the list of conversations is empty")
    checked = []
    for number, row in enumerate(rows):
        pairs = [row] if _is_exchange(row) else row
        if isinstance(pairs, str) or not isinstance(pairs, Sequence) or not all(map(_is_exchange, pairs)):
            raise ValueError(f"conversation {number} must be a list of pairs of a request and a reply")
        checked.append(tuple(Exchange(*pair) for pair in pairs))
    return checked


def changed_words(before: str, after: str) -> list[bool]:
    """Return which words (`str.split`) of a text are not those of an earlier version of it.

    Case and punctuation at the ends of words do not count. Where words were taken out, no word is changed.

    >>> changed_words("A red cat.", "A red dog and a hat.")
    [False, False, True, True, True, True]
    """
    old, new = (
        [word.strip(string.punctuation).casefold() for word in text.split()] for text in (before, after)
    )
    changed = [True] * len(new)
    for _, start, length in SequenceMatcher(a=old, b=new, autojunk=False).get_matching_blocks():
        changed[start : start + length] = [False] * length
    return changed


def _is_exchange(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(text, str) for text in value)
