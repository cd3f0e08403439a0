"""Asking an assistant about items, and reading its replies: what the answering tasks share."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence

from ..data.items import YES_OR_NO, ObjectAnnotations, Question, Questions, StatedFacts
from ..types import Assistant, Prompt
from .item_scores import batches

HELD = 256
"""Pictures that are held at once."""
_ARTICLES = ("a", "an", "the")
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def prompts_of(
    items: Questions | ObjectAnnotations | StatedFacts,
    texts: Sequence[str],
    neutral: Sequence[str] | None = None,
    *,
    shown: bool = True,
) -> Iterator[list[Prompt]]:
    """Yield the prompts about some items, as many at once as are held.

    Args:
        items: are asked about.
        texts: what is asked about each.
        neutral: the same without a lead.
        shown: whether the pictures are.
    """
    for positions in batches(len(items), HELD):
        pictures = list(items.pictures(positions)) if shown else [None] * len(positions)
        yield [
            Prompt(texts[k], picture, neutral=None if neutral is None else neutral[k])
            for k, picture in zip(positions, pictures, strict=True)
        ]


def replies_to(
    assistant: Assistant,
    items: Questions | ObjectAnnotations | StatedFacts,
    texts: Sequence[str],
    neutral: Sequence[str] | None = None,
    *,
    seed: int,
) -> list[str]:
    """Ask about each item and return the replies."""
    batched = prompts_of(items, texts, neutral)
    return [reply for prompts in batched for reply in assistant.reply(prompts, seed=seed)]


def normalised(text: str) -> str:
    """Return a short answer without case, punctuation and a leading article, small numbers as digits.

    >>> normalised(" The two Cats."), normalised("Two.")
    ('2 cats', '2')
    """
    words = text.lower().translate(str.maketrans(string.punctuation, " " * len(string.punctuation))).split()
    if len(words) > 1 and words[0] in _ARTICLES:
        words = words[1:]
    return " ".join(str(_NUMBERS.index(word)) if word in _NUMBERS else word for word in words)


def first_word(reply: str) -> str:
    """Return the first word in small letters; empty where there is none.

    >>> first_word("Yes, there is a cat.")
    'yes'
    """
    words = re.findall(r"\w+", reply.lower())
    return words[0] if words else ""


def is_right(reply: str, question: Question) -> bool:
    """Return whether a reply is the answer, apart from case, punctuation and a leading article.

    Where the answer is yes or no, the first word of the reply counts; a reply that begins with neither is
    wrong.

    >>> is_right("Yes, it is.", Question("colour", "Is the cat red?", "yes", YES_OR_NO))
    True
    """
    if question.answer in YES_OR_NO:
        return first_word(reply) == question.answer
    return normalised(reply) == normalised(question.answer)


def says_yes(reply: str) -> bool:
    """Return whether a reply affirms, by POPE's rule: its first sentence holds no "no", no "not" and no word in "n't".

    A first word of yes decides by itself. So a reply that says neither counts as yes.

    >>> [says_yes(reply) for reply in ("No.", "There isn't a cat.", "There is a cat.", "Yes, no doubt.")]
    [False, False, True, True]
    """
    words = re.findall(r"[\w']+", reply.lower().replace("’", "'").partition(".")[0])
    if words[:1] == ["yes"]:
        return True
    return not any(word in ("no", "not") or word.endswith("n't") for word in words)
