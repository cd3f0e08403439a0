"""``scenes``: pictures composed of emoji, of which everything is known, as a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, Self, final

import numpy as np
from jaxtyping import Bool, UInt8
from torch import Tensor

from ....modalities import PAIR
from ....types import Fit
from ...base import IMAGE_SIZE, ImageSource, Rows, SomeItems, stored_size
from ...labels import Label
from ...pictured import PairedData
from ...rng import Rng
from ..world import GREY, SyntheticData
from . import maps
from .attributes import table
from .config import SceneConfig
from .items.edits import Edit, edit
from .items.forms import items_of
from .items.item_rows import ask_rows
from .items.labels import classes_of, further_labels, label_sets, subset_of
from .layout.compose import compose
from .pixels.backgrounds import BACKGROUNDS
from .pixels.render import Drawing, draw, layers, pictures
from .pixels.sprites import credit_line
from .presets import PRESETS, ScenePreset
from .rows import PrerenderedPictures
from .scene import Scene
from .words import captions
from .words.filler import wrapped
from .words.kinds import kind_of_word
from .words.retelling import retold

PIXELS = 96
_OTHERS = 5 * 10**8  # from here on are the scenes whose captions are given to others by mistake
_SECOND = 75 * 10**7  # from here on are the second scenes of albums
_DESCRIBED = 1000
_PLAIN: Mapping[str, Any] = {"colour": None, "size": "medium"}
"""The looks that captions do not say."""
NEGATIVES = {"negative": "text", "edited": "image"}
"""Columns of worlds with negatives: a caption that is false of the row's picture, and one that it is true of."""
SECOND = "second"
"""The column of second pictures, of an album."""
INJECTED = (
    "replace object",
    "replace colour",
    "replace count",
    "replace relation",
    "swap colour",
    "add object",
)
"""Kinds of errors that are put into true captions."""


@final
class Scenes(SyntheticData[SceneConfig, Scene], PairedData):
    """Scenes of a preset, made when they are asked for: a scene is a function of its row's id and split.

    The first caption of a row says plainly what there is, in the first language; others follow in further
    languages. Training also draws from other ways to say it.

    Args:
        preset: what the scenes are like, and how many there are.
        name: how the user named it.
        image_size: of the views that will be cut from the pictures, in pixels.
        stored: the pictures, where they are read and not drawn.

    Attributes:
        columns: pictures and captions, a table of attributes where the preset has one, where it has negatives a false
            caption and what that one is true of, the second picture of an album, and the maps and boxes that it asks
            for.
        map_classes: the classes of the column ``classes``.
        preset: what the scenes are like.
        pixels: side of a picture.

    >>> world = Scenes.parse("scenes:basic,train=300")
    >>> world.captions(0)[0] == captions.short(world.scene(0)).text
    True
    >>> world.images(np.array([0, 1])).shape
    torch.Size([2, 3, 96, 96])
    """

    preset: ScenePreset
    presets = PRESETS
    gaps = MappingProxyType(
        {
            "image": ("picture", "missing_pictures"),
            "text": ("caption", "missing_captions"),
            "table": ("table", "missing_tables"),
        }
    )

    def __init__(
        self,
        preset: ScenePreset,
        name: str = "",
        image_size: int = IMAGE_SIZE,
        stored: PrerenderedPictures | None = None,
    ) -> None:
        super().__init__(preset, name)
        table = {"table": "table"} if preset.table else {}
        spatial = dict.fromkeys(preset.maps, "map") | ({"boxes": "boxes"} if preset.boxes else {})
        second = {SECOND: "image"} if preset.album else {}
        self.columns = {**PAIR, **table, **(NEGATIVES if preset.negatives else {}), **second, **spatial}
        self.map_classes = maps.class_names(self.configs)
        self.edited = lru_cache(maxsize=2**16)(self._edited)
        self._told = lru_cache(maxsize=2**16)(
            self._tell
        )  # an epoch need not write again what the last one has
        self.image_size, self.stored = image_size, stored
        self.pixels = self._side(image_size)
        self.attribution = credit_line({artist for config in self.configs for artist in config.artists})

    def __reduce__(self) -> tuple[Callable[..., Scenes], tuple[Any, ...]]:
        return Scenes, (self.preset, self.name, self.image_size, self.stored)

    def sized(self, image_size: int, fit: Fit | None = None) -> Self:
        """Return the same scenes, drawn for views of another size; itself where their size is given."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, image_size=image_size, pixels=self._side(image_size))
        return self if other.pixels == self.pixels else other

    def _side(self, image_size: int) -> int:
        stored = self.stored.pixels if self.stored is not None else self.preset.pixels
        return stored or max(PIXELS, stored_size(image_size))

    def made_of(self) -> str:
        """Return what determines the rows; of stored ones, the files."""
        return super().made_of() if self.stored is None else self.stored.made_of()

    def make(self, config: SceneConfig, index: int, stream: str) -> Scene:
        return compose(config, self.preset.seed, index, stream)

    def scene(self, row: int) -> Scene:
        """Return what the picture of a row shows."""
        return self.made(row)

    def second(self, row: int) -> Scene:
        """Return what the second picture of a row of an album shows."""
        return self.make(self.config(row), int(self.ids[row]) + _SECOND, self.stream(row))

    def captioned(self, row: int) -> Scene:
        """Return the scene that the captions of a row speak of: the row's own, or under label noise another one."""
        config = self.config(row)
        if not (config.label_noise and self.draws(row).happens("label noise", config.label_noise)):
            return self.scene(row)
        return self.make(config, int(self.ids[row]) + _OTHERS, self.stream(row))

    def _mentioned(self, row: int) -> Scene:
        """Return what the captions of a row say of the scene that they speak of: all of it, or one thing of several."""
        scene, draws, config = self.captioned(row), self.draws(row), self.config(row)
        if len(scene.subjects) > 1 and draws.happens("one is told", config.one_told):
            scene = replace(scene, things=(draws.choice("which is told", scene.subjects),), relations=())
        if config.unsaid:
            plain = {name: _PLAIN[name] for name in config.unsaid.split("+")}
            scene = replace(scene, things=tuple(replace(thing, **plain) for thing in scene.things))
        return scene

    def draw(self, rows: Rows) -> Drawing:
        """Draw the pictures of some rows, with the mask and the box of every thing, whether a row lacks it or not."""
        return draw([self.scene(int(row)) for row in rows], self.pixels)

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        """Return the pictures of some rows, grey where they are missing."""
        if self.stored is not None:
            return self.stored(rows)
        return self._drawn(rows, lambda scene: scene)

    def _edited(self, row: int) -> Edit | None:
        """Return a row's scene beside one in which something else is true; None where nothing can change so."""
        return next((pair for *_, pair in ask_rows(self, np.array([row]), self.preset.negatives, edit)), None)

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        if column in NEGATIVES:
            return np.array([self.edited(int(row)) is not None for row in rows], dtype=bool)
        return super().present(column, rows)

    def _negatives(self, row: int) -> list[str]:
        """Return false captions, said as the true ones are; an empty one where there is none."""
        pair, languages = self.edited(row), self.preset.languages
        if pair is None:
            return [""]
        draws = self.draws(row)
        said = [pair.captions(language, way)[1].text for way in (None, draws) for language in languages]
        return list(dict.fromkeys(said))

    def read_training(self, column: str, rows: Rows) -> Any:
        if column == "negative" and column in self.columns:
            return [self._negatives(int(row)) for row in rows]
        return super().read_training(column, rows)

    def read(self, column: str, rows: Rows) -> Any:
        if column == "negative" and column in self.columns:
            return [self._negatives(int(row))[0] for row in rows]
        if column == "edited" and column in self.columns:
            pairs = [self.edited(int(row)) for row in rows]
            changed = pictures([pair.after if pair else Scene(0, ()) for pair in pairs], self.pixels)
            changed[[pair is None for pair in pairs]] = GREY
            return changed
        if column == SECOND and column in self.columns:
            return pictures([self.second(int(row)) for row in rows], self.pixels)
        if column in self.columns and column in maps.READERS:
            scenes = [self.scene(int(row)) for row in rows]
            return maps.READERS[column](scenes, self.pixels, self.map_classes)
        if column != "table" or not self.preset.table:
            return super().read(column, rows)
        there = zip(rows.tolist(), self.present(column, rows), strict=True)
        return table([self.scene(row) if has else None for row, has in there], self.preset.table)

    def lacks(self, column: str, row: int) -> bool:
        label, _, of_class = self.config(row).lacking.partition(":")
        if column == "table" and label and str(classes_of(self.scene(row))[label]) != of_class:
            return False
        return super().lacks(column, row)

    def _drawn(self, rows: Rows, change: Callable[[Scene], Scene]) -> UInt8[Tensor, "n 3 H W"]:
        scenes = [change(self.scene(int(row))) for row in rows]
        # With maps, a scene is drawn once for its picture and for them.
        draw_all = self.preset.maps or self.preset.boxes
        shown = layers(scenes, self.pixels)[:, :3].contiguous() if draw_all else pictures(scenes, self.pixels)
        for index, row in enumerate(rows):
            if self.lacks("image", int(row)):
                shown[index] = GREY
        return shown

    def captions(self, row: int) -> Sequence[str]:
        """Return the plainest caption in each language; empty if it is missing."""
        if self.lacks("text", row):
            return [""]
        scene = self._mentioned(row)
        if (share := self.config(row).terse) and self.draws(row).happens("terse", share):
            return [captions.terse(scene)]
        return self._filled(row, [captions.short(scene, language).text for language in self.preset.languages])

    def training_captions(self, row: int) -> Sequence[str]:
        """Return the captions, and for each language another way to say it; or the first and those that are retold."""
        return self._told(row)

    def _tell(self, row: int) -> Sequence[str]:
        plain, config = self.captions(row), self.config(row)
        if not plain[0]:
            return plain
        if config.retold:
            return (plain[0], *(self._retold(row, style) for style in range(config.retold)))
        scene, draws = self._mentioned(row), self.draws(row)
        if config.terse and draws.happens("terse", config.terse):
            return plain
        other = [captions.short(scene, language, draws).text for language in self.preset.languages]
        return tuple(dict.fromkeys([*plain, *self._filled(row, other)]))

    def _filled(self, row: int, texts: list[str]) -> list[str]:
        """Return captions as they are, or between phrases."""
        draws, share = self.draws(row), self.config(row).filler
        if not (share and draws.happens("filler", share)):
            return texts
        return [wrapped(text, draws) for text in texts]

    def _retold(self, row: int, style: int) -> str:
        """Return a caption of what the picture shows, in words of its own; later sentences may say what is not so."""
        config, scene = self.config(row), self.scene(row)
        shown = scene.counts()
        absent = [concept for concept in config.concepts if concept not in shown]
        draws = Rng(self.preset.seed, int(self.ids[row]), f"{self.stream(row)} retold {style}")
        return retold(scene, draws, absent, config.hallucinated, self.preset.languages[0])

    @cached_property
    def subsets(self) -> np.ndarray:
        """Return the subset of each row: the number of things that words speak of."""
        return np.array([subset_of(self.scene(row)) for row in range(len(self))])

    @cached_property
    def labels(self) -> Mapping[str, Label]:
        """The labels of scenes (:mod:`counterpoint.data.synthetic.scenes.items.labels`)."""
        return {**label_sets(self), **further_labels(self)}

    def shifts(self) -> Mapping[str, ImageSource]:
        """Return the same scenes by the other artist, and on another background."""

        def artist(scene: Scene) -> Scene:
            things = (replace(thing, artist=1 - thing.artist) for thing in scene.things)
            return replace(scene, things=tuple(things))

        def background(scene: Scene) -> Scene:
            others = [name for name in BACKGROUNDS if name != scene.background]
            return replace(scene, background=others[scene.index % len(others)])

        return {
            "artist": lambda rows: self._drawn(rows, artist),
            "background": lambda rows: self._drawn(rows, background),
        }

    def items(self, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None) -> SomeItems:
        """Return squares, choices, regions, questions … about some rows."""
        return items_of(self, form, rows, kinds)

    def kind_of_word(self, word: str) -> str:
        """Return ``thing``, ``colour``, ``number``, ``size``, ``place`` or ``filler``, of an English word."""
        return kind_of_word(word)

    def edited_reply(self, row: int, reply: str, seed: int) -> str | None:
        """Return the caption of the scene with one thing changed, where the reply is the row's plain caption."""
        draws = Rng(seed, int(self.ids[row]), "edited reply")
        for kind in draws.sample("kinds", INJECTED, len(INJECTED)):
            pair = edit(kind, self.scene(row), draws, self.config(row))
            before, after = pair.captions(self.preset.languages[0]) if pair else (None, None)
            if before and after and before.text == reply:
                return after.text
        return None

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe the world; frequencies are those of the first training rows."""
        world = self.preset.describe()
        rows = self.splits.train[:_DESCRIBED]
        scenes = [self.scene(int(row)) for row in rows]
        words = [len(self.captions(int(row))[0].split()) for row in rows]
        things = [thing for scene in scenes for thing in scene.things]
        counted = Counter(thing.concept for thing in things)
        return {
            "data": {
                "name": self.name,
                **world["data"],
                "rows": len(self),
                "pixels": f"{self.pixels} × {self.pixels}",
            },
            "splits": {split: len(rows) for split, rows in self.splits.sides.items()},
            "overrides": world["overrides"],
            f"the first {len(rows):,} training scenes": {
                "things, mean": round(len(things) / len(rows), 2),
                "coloured things": f"{sum(t.colour is not None for t in things) / max(len(things), 1):.0%}",
                "scenes with a relation": f"{sum(bool(s.relations) for s in scenes) / len(rows):.0%}",
                "concepts": len(counted),
                "most common": ", ".join(f"{name} {count}" for name, count in counted.most_common(5)),
                "words in a caption, median": int(np.median(words)),
                "words in a caption, most": max(words),
            },
            "attribution": {"pictures": self.attribution},
        }
