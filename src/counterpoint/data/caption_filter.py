"""The choice of captions worth training on: they relate things, name an action, and are not read off the picture.

Source: the complexity, action and text-spotting filter of Radenovic et al., "Filtering, Distillation, and Hard
Negatives for Vision-Language Pre-Training" (2023), arXiv 2301.02280. Its parser makes a graph of the caption; here
parts of speech come from WordNet and the graph from the order of words, which is right for simple captions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from .views import wordnet
from .views.stopwords import STOP_WORDS

PAPERS = {"diht": ("keep",)}

Kind = Literal["thing", "attribute", "action", "relation"]

RELATIONS = frozenset(
    {
        *(
            "in",
            "on",
            "at",
            "under",
            "over",
            "above",
            "below",
            "behind",
            "beside",
            "between",
            "with",
            "without",
        ),
        *(
            "near",
            "by",
            "around",
            "across",
            "through",
            "inside",
            "outside",
            "against",
            "along",
            "off",
            "onto",
        ),
        *("into", "from", "of"),
    }
)


def parse(caption: str) -> list[tuple[str, Kind]]:
    """Return the words that say something, in their order, with what each word is.

    A word that is only a verb, or a verb's form in -ing or -ed, is an action; one that can be an adjective and
    has a thing after it an attribute; any other noun a thing, and of a run of nouns the last one, which the
    others describe.

    >>> parse("A small brown dog is chasing a ball on the grass")  # doctest: +NORMALIZE_WHITESPACE
    [('small', 'attribute'), ('brown', 'attribute'), ('dog', 'thing'), ('chasing', 'action'), ('ball', 'thing'),
     ('on', 'relation'), ('grass', 'thing')]

    Raises:
        MissingPackageError: if there is no WordNet; the message is the command that installs it.
    """
    words = re.findall(r"[a-z]+(?:'[a-z]+)?|[,;:.&]", caption.lower())
    parts: list[tuple[str, Kind]] = []
    after: Kind | None = None  # what the word behind is, if nothing stands between
    for word in reversed(words):
        kind = _kind(word, before_thing=after in ("thing", "attribute"))
        after = kind
        if kind is not None:
            parts.append((word, kind))
    return parts[::-1]


def _kind(word: str, before_thing: bool) -> Kind | None:
    if word in RELATIONS:
        return "relation"
    if word in STOP_WORDS or not word[0].isalpha():
        return None
    table = wordnet.load()
    noun, verb, adjective = (table.bases(word, part) for part in "nva")
    inflected = word.endswith(("ing", "ed")) and bool(verb - {word})
    if adjective and before_thing and not inflected:
        return "attribute"
    if inflected or (verb and not noun and not adjective):
        return "action"
    if noun:
        return "attribute" if before_thing else "thing"
    return "attribute" if adjective else None


def complexity(caption: str) -> int:
    """Return the most relations that any thing of a caption has: to its attributes, its actions and other things.

    >>> complexity("a dog"), complexity("a small brown dog"), complexity("a dog chasing a ball")
    (0, 2, 1)
    """
    words = parse(caption)
    relations: Counter[int] = Counter()
    things = [position for position, (_, kind) in enumerate(words) if kind == "thing"]
    for position, (_, kind) in enumerate(words):
        before = next((t for t in reversed(things) if t < position), None)
        behind = next((t for t in things if t > position), None)
        if kind == "attribute":
            one = before if behind is None else behind
            relations.update([] if one is None else [one])
        elif kind == "action" or (kind == "relation" and before is not None and behind is not None):
            relations.update(t for t in (before, behind) if t is not None)
    return max(relations.values(), default=0)


def has_action(caption: str) -> bool:
    """Return whether a caption says that something is done.

    >>> has_action("a dog chasing a ball"), has_action("a red ball")
    (True, False)
    """
    return any(kind == "action" for _, kind in parse(caption))


def is_read_off(caption: str, texts: Sequence[str]) -> bool:
    """Return whether a caption repeats words that are written in its picture.

    >>> is_read_off("Grand Hotel at night", ["GRAND HOTEL"]), is_read_off("a hotel", [])
    (True, False)

    Args:
        caption: the caption.
        texts: what was read in the picture, by whatever reads.
    """
    words = f" {_plain(caption)} "
    return any(f" {plain} " in words for text in texts if (plain := _plain(text)))


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def keep(caption: str, texts: Sequence[str] = (), *, relations: int = 1, action: bool = True) -> bool:
    """Return whether the filter keeps a pair.

    >>> keep("a dog chasing a ball"), keep("a brown dog"), keep("a brown dog", action=False)
    (True, False, True)

    Args:
        caption: of the pair.
        texts: what was read in its picture.
        relations: the least `complexity`.
        action: whether an action is asked for; leave it out where captions are names, as those of ``emoji``.
    """
    return (
        complexity(caption) >= relations
        and (not action or has_action(caption))
        and not is_read_off(caption, texts)
    )
