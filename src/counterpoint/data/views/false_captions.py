"""False captions: a caption with two words exchanged, with one replaced by another of its kind, or in another order."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources.abc import Traversable

from . import wordnet
from .stopwords import STOP_WORDS

Related = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Part of speech → word → other words of its kind."""
_PARTS = {"a": "adj", "n": "noun", "v": "verb"}
"""Parts of speech in the order in which a word is taken for one."""
_POINTERS = {"a": ("!", "&"), "n": ("@",), "v": ("@", "!")}
"""Pointers of a sense to what it shares with others: antonyms, the head of similar adjectives, and what is above it."""


def swapped(words: Sequence[str], related: Related, draws: Sequence[float]) -> list[str]:
    """Exchange two different words of one part of speech; nothing where there are none.

    >>> of_words = {"a": {"red": (), "blue": ()}, "n": {"cat": (), "dog": ()}}
    >>> swapped("a red cat and a blue dog".split(), of_words, [0.0])
    ['a', 'blue', 'cat', 'and', 'a', 'red', 'dog']
    """
    parts = [_part(word, related) for word in words]
    pairs = [
        (i, j)
        for i in range(len(words))
        for j in range(i)
        if parts[i] and parts[i] == parts[j] and words[i].lower() != words[j].lower()
    ]
    if not pairs:
        return []
    i, j = pairs[int(draws[0] * len(pairs))]
    result = [*words]
    result[i], result[j] = result[j], result[i]
    return result


def replaced(words: Sequence[str], related: Related, draws: Sequence[float]) -> list[str]:
    """Replace one word by another of its kind; nothing where no word has one.

    >>> replaced(["a", "red", "cat"], {"a": {"red": ("blue", "green")}}, [0.0, 0.9])
    ['a', 'green', 'cat']
    """
    choices = [(i, others) for i, word in enumerate(words) if (others := _others(word, related))]
    if not choices:
        return []
    i, others = choices[int(draws[0] * len(choices))]
    return [*words[:i], others[int(draws[1] * len(others))], *words[i + 1 :]]


def shuffled(words: Sequence[str], related: Related, draws: Sequence[float]) -> list[str]:
    """Put the pairs of neighbouring words into another order; nothing where that gives the same words.

    >>> shuffled("a red cat and a dog".split(), {}, [0.0, 0.9, 0.1, 0.5])
    ['cat', 'and', 'a', 'dog', 'a', 'red']
    """
    bigrams = [words[i : i + 2] for i in range(0, len(words), 2)]
    order = sorted(range(len(bigrams)), key=lambda k: draws[1 + k])
    result = [word for k in order for word in bigrams[k]]
    if result == [*words]:
        result = [word for k in (*order[1:], *order[:1]) for word in bigrams[k]]
    return [] if result == [*words] else result


FALSE: Mapping[str, Callable[[Sequence[str], Related, Sequence[float]], list[str]]] = {
    "swap": swapped,
    "replace": replaced,
    "shuffle": shuffled,
}
"""Ways to make a caption false, by name."""


def _part(word: str, related: Related) -> str:
    """Return the part of speech that a word is taken for; empty for stop words and for unknown ones."""
    lower = word.lower()
    if lower in STOP_WORDS:
        return ""
    return next((part for part, words in related.items() if lower in words), "")


def _others(word: str, related: Related) -> tuple[str, ...]:
    part = _part(word, related)
    return related[part][word.lower()] if part else ()


@cache
def load() -> Related:
    """Load the words that share what stands above the first sense of a word, by the WordNet that is installed.

    Raises:
        MissingPackageError: if there is no WordNet.
    """
    folder = wordnet.find("captions are made false by its words", "; or give columns of negatives")
    return {part: _siblings(folder, part) for part in _PARTS}


def _siblings(folder: Traversable, part: str) -> dict[str, tuple[str, ...]]:
    """Return other single words of the kind of each word's first sense: co-hyponyms, similar adjectives, antonyms."""
    members: dict[str, list[str]] = {}
    above: dict[str, list[tuple[str, str]]] = {}
    for line in folder.joinpath(f"data.{_PARTS[part]}").read_text(encoding="utf-8").splitlines():
        if line.startswith(" ") or not line:
            continue
        offset, _, _, count, rest = line.split(" ", 4)
        size = 2 * int(count, 16)
        fields = rest.split(" | ")[0].split()
        members[offset] = [w for w in map(str.lower, fields[:size:2]) if re.fullmatch("[a-z]+", w)]
        pointers = fields[size + 1 : size + 1 + 4 * int(fields[size])]
        above[offset] = [
            (symbol, target)
            for symbol, target, kind in zip(pointers[::4], pointers[1::4], pointers[2::4], strict=True)
            if symbol in _POINTERS[part] and (kind == part or (part == "a" and kind == "s"))
        ]
    below: dict[str, list[str]] = {}
    for offset, targets in above.items():
        for symbol, target in targets:
            if symbol != "!":
                below.setdefault(target, []).append(offset)
    siblings: dict[str, tuple[str, ...]] = {}
    for line in folder.joinpath(f"index.{_PARTS[part]}").read_text(encoding="utf-8").splitlines():
        word, *fields = line.split()
        if line.startswith(" ") or not re.fullmatch("[a-z]+", word):
            continue
        first = fields[2 + int(fields[2]) + 3]
        senses = [
            offset
            for symbol, target in above[first]
            for offset in ([target] if symbol == "!" else below[target])
            if offset != first
        ]
        own = {*members[first]}
        siblings[word] = tuple(sorted({name for offset in senses for name in members[offset]} - own))
    return siblings
