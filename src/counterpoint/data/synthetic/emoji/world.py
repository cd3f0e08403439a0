"""The ``emoji`` data set: 3,944 emoji by two artists, named in the languages of the ``emoji`` package."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ....pages.sheet import is_page
from ....registry import unknown
from ....spec import Spec
from ....types import Fit
from ...base import ImageSource, Rows, stored_size
from ...fingerprint import digests_of_images
from ...pictured import PairedData
from ...pictures.rendering import SIZE, Artist, OpenMoji, Pictures, Twemoji
from . import splits, table
from .labels import label_sets
from .sheet import draw

if TYPE_CHECKING:
    from datasets import Dataset

_SPLITS = {
    "default": splits.default,
    "artist": splits.artist,
    "both": splits.both,
    "stream": splits.stream,
}
_OF_ALL = ("artist", "both")
"""Splits in which each artist's pictures are rows of their own."""

_SHORT_WORDS = {"of", "in", "on", "up", "to", "no", "ok", "at", "a", "tv", "cd", "dj", "&"}
_NO_WORDS = {
    "abc",
    "alphanum",
    "bangbang",
    "bullettrain",
    "busstop",
    "couplekiss",
    "facepunch",
    "fuelpump",
    "hankey",
    "harambe",
    "heartpulse",
    "hocho",
    "hotsprings",
    "icecream",
    "koko",
    "mans",
    "moneybag",
    "oclock",
    "rowboat",
    "tshirt",
    "thumbsdown",
    "thumbsup",
    "tophat",
    "wc",
    "womans",
    "womens",
}


@final
class Emoji(PairedData):
    """Pictures and names of all fully-qualified emoji, split as :mod:`counterpoint.data.synthetic.emoji.splits` says.

    With ``split="default"`` a row is an emoji with its Twemoji picture, and ``shifts()["artist"]`` gives the
    OpenMoji pictures. With ``split="artist"`` the OpenMoji pictures follow as further rows: train on one
    artist, test on the other; with ``split="both"`` both are on the same side, so that the label ``name`` has two rows
    a class. With ``split="stream"`` it is the default, its training rows in four tasks of
    whole groups that come in turn. Pictures are 72 × 72, on white (:mod:`counterpoint.data.pictures.rendering`),
    and drawn when first asked for.

    Args:
        split: ``"default"``, ``"artist"``, ``"both"`` or ``"stream"``.
        languages: whose names are captions, the one for evaluation first; see :attr:`all_languages`.

    Raises:
        UnknownNameError: for another split or language.
        LookupError: when asked for pictures or names that the installed packages are too old to have.

    >>> emoji = Emoji()
    >>> emoji.captions(932)
    ['woman farmer: medium skin tone']
    >>> {name: len(rows) for name, rows in emoji.splits.test.items()}
    {'compositions': 500, 'concepts': 575}
    """

    def __init__(self, split: str = "default", languages: Sequence[str] = ("en",)) -> None:
        if split not in _SPLITS:
            raise unknown("emoji split", split, _SPLITS)
        self.name = "emoji" if split == "default" else f"emoji:{split}"
        self.side = SIZE
        self.artists: tuple[Artist, ...] = (Twemoji(), OpenMoji())
        self.attribution = "; ".join(artist.attribution for artist in self.artists)
        self.table: Dataset = table.load()
        self._columns: dict[str, list[Any]] = self.table.to_dict()
        self.all_languages = tuple(self._columns["names"][0])
        for language in languages:
            if language not in self.all_languages:
                raise unknown("language", language, self.all_languages)
        if not languages:
            raise ValueError(f"languages is empty; give at least one of {', '.join(self.all_languages)}")
        self.languages = tuple(languages)
        self.splits = _SPLITS[split](self._columns)
        copies = len(self.artists) if split in _OF_ALL else 1
        self.ids = np.arange(copies * len(self.table))
        toned = np.tile(self._columns["is_tone_variant"], copies)
        self.subsets = np.where(toned, "tone variants", "rest")
        self.labels = label_sets(self._columns, copies)

    @classmethod
    def parse(cls, source: str) -> Emoji:
        """Return the emoji as they are written: ``emoji``, ``emoji:artist``, ``emoji:both``, ``emoji:stream``."""
        spec = Spec.parse(source)
        if spec.options:
            raise ValueError(f"{source!r}: emoji has no options; write {spec.name}")
        return cls(spec.name.partition(":")[2] or "default")

    @cached_property
    def pictures(self) -> tuple[Pictures, ...]:
        """Each artist's pictures of the whole table, read-only and memory-mapped."""
        return tuple(artist.pictures(self._columns["codepoints"], self.side) for artist in self.artists)

    def sized(self, image_size: int, fit: Fit | None = None) -> Self:
        """Return the same emoji, of 72 pixels for views of up to so many, and drawn larger than others."""
        side = SIZE if image_size <= SIZE else stored_size(image_size)
        if side == self.side:
            return self
        other = copy(self)
        other.side = side
        other.__dict__.pop("pictures", None)
        return other

    def picture_digests(self) -> Sequence[bytes]:
        # The data is the same whatever size is asked for.
        return digests_of_images(self.sized(SIZE).images, len(self))

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        """Return the pictures of some rows: the first artist's, past the table's end the second's."""
        artist, emoji = np.divmod(np.asarray(rows), len(self.table))
        pictures = np.empty((len(emoji), *self.pictures[0].shape[1:]), np.uint8)
        for number in np.unique(artist):
            chosen = artist == number
            pictures[chosen] = self.pictures[number][emoji[chosen]]
        return torch.from_numpy(pictures)

    def captions(self, row: int) -> list[str]:
        """Return the name in each language, in lower case; after the English one its aliases that are words."""
        names = self._columns["names"][row % len(self.table)]
        captions: list[str] = []
        for language in self.languages:
            if language == "en":
                emoji = self._columns["emoji"][row % len(self.table)]
                captions += [self._columns["name"][row % len(self.table)].lower(), *_aliases(emoji)]
            else:
                captions.append(names[language].lower())
        return list(dict.fromkeys(captions))

    def training_captions(self, row: int) -> list[str]:
        """Return the captions, and one that names the kind, as tags do: ``"animal mammal, animals & nature"``."""
        emoji = row % len(self.table)
        kind = (
            f"{self._columns['subgroup'][emoji].replace('-', ' ')}, {self._columns['group'][emoji].lower()}"
        )
        return [*self.captions(row), kind]

    def shifts(self) -> Mapping[str, ImageSource]:
        """Return under ``default`` the pictures of the same rows by the second artist, as ``"artist"``."""
        if len(self) > len(self.table):
            return {}
        return {"artist": lambda rows: torch.from_numpy(self.pictures[1][np.asarray(rows)])}

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe the emoji as titled tables: a title to rows, a row's name to a number or a text."""
        columns = self._columns
        words = [len(self.captions(row)[0].split()) for row in range(len(self.table))]
        several = Counter(Counter(columns["same"]).values())
        tasks = {f"train: task {number}": rows for number, rows in enumerate(self.splits.tasks, start=1)}
        sides = {"train": self.splits.train, **tasks, **self.splits.sides}
        attributes = {
            f"{attribute}: {value}": number
            for attribute in ("tone", "gender", "hair", "age")
            for value, number in Counter(columns[attribute]).most_common()
            if value != "none" and ", " not in value
        }
        return {
            "data": {
                "name": self.name,
                "emoji": len(self.table),
                "rows": len(self),
                "artists": " and ".join(artist.name for artist in self.artists),
                "pixels": f"{self.side} × {self.side}",
                "concepts": len(set(columns["concept"])),
                "skin-tone variants": sum(columns["is_tone_variant"]),
                "drawn like another emoji by some artist": sum(
                    n * times for n, times in several.items() if n > 1
                ),
            },
            "splits": {side: len(rows) for side, rows in sides.items()},
            "skin-tone variants in splits": {
                side: int((self.subsets[rows] == "tone variants").sum()) for side, rows in sides.items()
            },
            "groups": dict(Counter(columns["group"])),
            "attributes": attributes | {"tone: two different": sum(", " in tone for tone in columns["tone"])},
            "captions": {
                "languages": ", ".join(self.languages),
                "available": ", ".join(self.all_languages),
                "captions per emoji, mean": round(
                    sum(len(self.captions(r)) for r in range(len(words))) / len(words), 2
                ),
                "words in the first caption, median": int(np.median(words)),
                "words in the first caption, most": max(words),
            },
            "attribution": {artist.name: artist.attribution for artist in self.artists},
        }

    def show(self, path: str | Path) -> Path:
        """Draw both artists, groups, tones, splits and the attribution as a PNG, or show some rows as a page."""
        return super().show(path) if is_page(Path(path)) else draw(self.sized(SIZE), Path(path))


def _aliases(emoji: str) -> list[str]:
    """Return other English names in the ``emoji`` package, if made of words: ``:cow2:`` and ``:+1:`` are not."""
    import emoji as package

    aliases = (
        alias.strip(":").replace("_", " ").lower() for alias in package.EMOJI_DATA[emoji].get("alias", ())
    )
    return [alias for alias in aliases if all(map(_is_word, alias.split()))]


def _is_word(text: str) -> bool:
    if len(text) < 3:
        return text in _SHORT_WORDS
    return not re.search(r"[\d_+]", text) and text not in _NO_WORDS
