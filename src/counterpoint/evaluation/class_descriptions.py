"""The sources of sentences that tell two classes apart: the grammar of scenes, a language model, a file.

Source: Esfandiarpoor and Bach, "Follow-Up Differential Descriptions: Language Models Resolve Ambiguities for Image
Classification" (2023), arXiv 2311.07593.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

from ..data.synthetic.scenes.words.descriptions import TraitDifference, concept, differences
from ..files import write_json
from ..registry import unknown

PAPERS = {"fudd": ("CachedDescriptions", "LanguageModel")}

Told = tuple[str, str, str]
"""An attribute in which two classes differ, a caption that says it of the first, and one of the second."""

Describe = Callable[[str, str], Sequence[Told]]
"""A function from the names of two classes to the known differences between the two; empty where none is known."""

_ASK = """\
Two kinds of things are easily confused in pictures. Name three to five visible attributes that tell them apart, a line
each: the attribute, a caption of a picture of the first that mentions it, and one of the second, with | between.

First: a zebra. Second: a horse.
pattern | a picture of a zebra, with black and white stripes | a picture of a horse, with a coat of one colour
mane | a picture of a zebra, with a short upright mane | a picture of a horse, with a long mane that falls to a side
tail | a picture of a zebra, with a tail that ends in a tuft | a picture of a horse, with a tail of long hair

First: {first}. Second: {second}.
"""


def from_grammar(first: str, second: str) -> tuple[TraitDifference, ...]:
    """Return the known differences between two concepts of ``scenes``.

    >>> for attribute, one, other in from_grammar("a lemon", "a carrot")[:2]:
    ...     print(attribute, "|", one, "|", other)
    colour | a picture of a lemon, which is yellow | a picture of a carrot, which is orange
    shape | a picture of a lemon, which is oval | a picture of a carrot, which is long and pointed

    Raises:
        UnknownNameError: for a name that is no concept: other classes need another source.
    """
    return differences(*(concept(name.removeprefix("an ").removeprefix("a ")) for name in (first, second)))


@final
class LanguageModel:
    """Descriptions by a language model, which is asked for visible attributes and shown the form of an answer.

    Lines of its answer that do not have three parts with ``|`` between are passed over; nothing is known of a pair
    whose answer has no other line. Wrap it in `CachedDescriptions`, or a second run asks again.

    Args:
        generate: from a prompt to an answer.

    >>> echo = LanguageModel(lambda prompt: "Here you are:\\nbill | a wren, thin bill | a sparrow, stout bill")
    >>> echo("a wren", "a sparrow")
    (('bill', 'a wren, thin bill', 'a sparrow, stout bill'),)
    """

    def __init__(self, generate: Callable[[str], str]) -> None:
        self.generate = generate

    def __call__(self, first: str, second: str) -> tuple[Told, ...]:
        attributes = []
        for line in self.generate(_ASK.format(first=first, second=second)).splitlines():
            parts = [part.strip() for part in line.split("|")]
            if len(parts) == 3 and all(parts):
                attributes.append((parts[0], parts[1], parts[2]))
        return tuple(attributes)


@final
class CachedDescriptions:
    """Descriptions in a JSON file; pairs that it lacks are asked for once, and written as soon as they are known.

    The layout is that of the files published with the paper, in which classes are numbers::

        {"0_3": {"classes": [0, 3], "prompt_pairs": [{"attr_type": "bill", "prompt_pair": ["…", "…"]}]}}

    Args:
        path: of the file; without it nothing is known yet.
        names: of the classes, in the order of their numbers.
        ask: where missing pairs are asked for; unless given, nothing is known of them.

    Raises:
        UnknownNameError: asked about a class that is not among the names.
        ValueError: for two classes of one name, or a file of another layout.
    """

    def __init__(self, path: str | Path, names: Sequence[str], ask: Describe | None = None) -> None:
        self.path, self.names, self.ask = Path(path), tuple(names), ask
        self.numbers = numbered(names)
        self._known = _read(self.path, len(names)) if self.path.exists() else {}

    def __call__(self, first: str, second: str) -> tuple[Told, ...]:
        for name in (first, second):
            if name not in self.numbers:
                raise unknown("class", name, self.numbers)
        low, high = sorted((self.numbers[first], self.numbers[second]))
        pair = f"{low}_{high}"
        if pair not in self._known and self.ask is not None:
            self._known[pair] = _entry((low, high), self.ask(self.names[low], self.names[high]))
            write_json(self.path, self._known)
        entry = self._known.get(pair, {"classes": [low, high], "prompt_pairs": []})
        index = entry["classes"].index(self.numbers[first])
        return tuple(
            (each["attr_type"], each["prompt_pair"][index], each["prompt_pair"][1 - index])
            for each in entry["prompt_pairs"]
        )


def numbered(names: Sequence[str]) -> dict[str, int]:
    """Return the number of each class by its name.

    Raises:
        ValueError: for two classes of one name, which no sentence about a name tells apart.
    """
    numbers = {name: number for number, name in enumerate(names)}
    for number, name in enumerate(names):
        if numbers[name] != number:
            raise ValueError(
                f"classes {number} and {numbers[name]} are both called {name!r}, so that no description tells them "
                "apart: give one a name of its own ('a crane, the bird')"
            )
    return numbers


def _entry(classes: tuple[int, int], triples: Sequence[Told]) -> dict[str, Any]:
    pairs = [{"attr_type": attribute, "prompt_pair": [one, other]} for attribute, one, other in triples]
    return {"classes": list(classes), "prompt_pairs": pairs}


def _read(path: Path, count: int) -> dict[str, Any]:
    """Read the entries of a file, checked to be of its layout and of so many classes."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON file: {error}") from error
    entries: dict[str, Any] = known if isinstance(known, dict) else {"all of it": None}
    for pair, entry in entries.items():
        try:
            classes = [number for number in entry["classes"] if number in range(count)]
            complete = [len(each["prompt_pair"]) == 2 and each["attr_type"] for each in entry["prompt_pairs"]]
        except (TypeError, KeyError):
            classes, complete = [], []
        if len(set(classes)) != 2 or not all(complete):
            raise ValueError(
                f"{path}, {pair}: expected the numbers of two of {count} 'classes', and 'prompt_pairs', each with an "
                "'attr_type' and a 'prompt_pair' of two sentences"
            )
    return entries
