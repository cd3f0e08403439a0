"""Worlds with names: configurations, sizes and splits that do not change under one version, so numbers can be compared.

A split is a stream of scenes of its own, from the preset's configuration with some options overridden. Options after a
preset's name change what its splits share: ``scenes:cooccurrence,strength=0.95,train=20000``. What a split overrides
stays as it is: there ``test: broken`` keeps its strength of 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from ..config import names
from ..preset import Preset
from .attributes import ATTRIBUTES
from .concepts import CONCEPTS
from .config import MARKS, SceneConfig
from .items.changes import EDITS
from .maps import MAPS
from .words.lexicon import LANGUAGES


def _switch(option: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{option} is true or false, got {text!r}")
    return text == "true"


@dataclass(frozen=True)
class ScenePreset(Preset[SceneConfig]):
    """A world of scenes with a name.

    Attributes:
        languages: of the captions, the one that evaluation uses first.
        pixels: side of a picture; None is 96, or more where larger views are cut from it.
        table: attributes that rows have beside picture and caption (:mod:`.attributes`); without any there is no table.
        negatives: kinds of edits (:mod:`.items.edits`), of which a row has one where its scene has any: the caption of
            the edited scene is the column ``negative``, its picture the column ``edited``; without kinds there is none.
        maps: maps of what stands where (:mod:`.maps`), a column each; the pictures are the same without them.
        boxes: whether there is a column of the boxes of things.
        album: whether a row has a second picture, the column ``second``. Questions are then about the things of both;
            captions and all else speak of the first.
    """

    world = "scenes"
    readers = MappingProxyType(
        {
            "languages": partial(names, "language", known=LANGUAGES),
            "table": partial(names, "attribute of scenes", known=tuple(ATTRIBUTES)),
            "negatives": partial(names, "kind of edit", known=EDITS),
            "maps": partial(names, "map of scenes", known=MAPS),
            "boxes": partial(_switch, "boxes"),
            "album": partial(_switch, "album"),
        }
    )

    train: int = 10_000
    validation: int = 500
    test: int = 1_000
    languages: tuple[str, ...] = ("en",)
    pixels: int | None = None
    table: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    boxes: bool = False
    album: bool = False

    @property
    def key(self) -> str:
        return f"{self.name} {self.version}"  # without the kind of world: scenes were there first, and stay as they are


_LIGHT = ("white", "grey", "cream", "pale blue", "pale green", "pink")
_PLACES = ("meadow", "beach", "snow", "sunset", "brick", "dotted", "striped", "black")
_TINY = (
    *("cat", "dog", "pig", "fish", "apple", "banana", "car", "bus", "key", "guitar", "hat", "tree", "ball"),
    "chair",
)
_PAIRS = (
    ("cat", "ball"),
    ("dog", "hat"),
    ("horse", "tree"),
    ("monkey", "banana"),
    ("laptop", "telephone"),
    ("car", "umbrella"),
    ("bed", "candle"),
    ("guitar", "drum"),
)
_LONELY = (
    "pig",
    "fish",
    "snail",
    "apple",
    "carrot",
    "bus",
    "rocket",
    "key",
    "bell",
    "scarf",
    "cactus",
    "crown",
    "box",
)
"""Concepts that go with no other one."""

_PAINTED = SceneConfig(
    objects=(1, 2),
    concepts=(
        *(
            "cat",
            "elephant",
            "duck",
            "fish",
            "banana",
            "mushroom",
            "car",
            "rocket",
            "key",
            "umbrella",
            "guitar",
        ),
        *("bell", "shirt", "tree", "chair", "kite"),
    ),
    colours=("red", "yellow", "green", "blue", "purple"),
    sizes=("large",),
    tinted=1.0,
    relations=0.0,
    unsaid="size",
)
_SUBJECTS = (
    ("rabbit", "bus"),
    ("pig", "drum"),
    ("snail", "crown"),
    ("turtle", "hat"),
    ("horse", "rose"),
    ("apple", "hammer"),
    ("strawberry", "train"),
    ("teapot", "butterfly"),
)
"""Pairs of concepts that `_PAINTED` has not."""

_ALL = (
    ScenePreset(
        "basic",
        "one to three things, coloured or not, some in a relation",
        SceneConfig(repeats=0.2, backgrounds=_LIGHT),
    ),
    ScenePreset(
        "compositions",
        "concepts in colours, and concepts in relations, that training never shows together",
        SceneConfig(
            objects=(1, 2),
            tinted=0.8,
            relations=1.0,
            colour_compositions="train",
            relation_compositions="train",
            backgrounds=_LIGHT,
        ),
        validations={
            "colours": {"colour_compositions": "validation"},
            "relations": {"relation_compositions": "validation", "objects": 2},
        },
        tests={
            "as trained": {},
            "colours": {"colour_compositions": "test"},
            "relations": {"relation_compositions": "test", "objects": 2},
        },
    ),
    ScenePreset(
        "counts",
        "none to ten things of one kind",
        SceneConfig(objects=(0, 10), same=True, sizes=("small",), backgrounds=_LIGHT),
        tests={"as trained": {}, "clutter": {"clutter": "2-4"}},
    ),
    ScenePreset(
        "relations",
        "two things in a relation",
        SceneConfig(objects=(2, 2), relations=1.0, tinted=0.3, backgrounds=_LIGHT),
        tests={
            "across": {"relation_kinds": "left of+right of"},
            "down": {"relation_kinds": "above+below"},
            "inside": {"relation_kinds": "inside"},
            "behind": {"relation_kinds": "behind"},
        },
    ),
    ScenePreset(
        "cooccurrence",
        "eight pairs of things that are mostly seen together; not so in test: broken",
        SceneConfig(
            objects=(2, 3),
            concepts=(*(concept for pair in _PAIRS for concept in pair), *_LONELY),
            pairs=_PAIRS,
            strength=0.9,
            relations=0.3,
            tinted=0.3,
            backgrounds=_LIGHT,
        ),
        tests={"as trained": {}, "balanced": {"strength": 0.5}, "broken": {"strength": 0}},
    ),
    ScenePreset(
        "spurious",
        "the background gives the thing away; in test: opposed it misleads",
        SceneConfig(
            objects=(1, 1),
            concepts=tuple(CONCEPTS)[:48],
            spurious="background",
            strength=0.9,
            tinted=0.0,
            backgrounds=_PLACES,
        ),
        validations={"as trained": {}, "independent": {"strength": 0.125}},
        tests={"as trained": {}, "independent": {"strength": 0.125}, "opposed": {"strength": 0}},
    ),
    ScenePreset(
        "associated",
        "one or two dyed things, most in the colour that is typical of them; half of the captions of two tell one",
        SceneConfig(
            objects=(1, 2),
            concepts=("cat", "dog", "pig", "fish", "apple", "banana", "car", "bus", "key", "hat"),
            colours=("red", "yellow", "green", "blue", "purple"),
            sizes=("medium", "large"),
            spurious="colour",
            tinted=1.0,
            relations=0.0,
            one_told=0.5,
        ),
        tests={"typical": {"strength": 1, "one_told": 0}},
    ),
    ScenePreset(
        "longtail",
        "few concepts are common and many are rare; all are as common in test: even",
        SceneConfig(objects=(1, 1), tail=1.2, tinted=0.3, backgrounds=_LIGHT),
        validations={"as trained": {}, "even": {"tail": 0}},
        tests={"as trained": {}, "even": {"tail": 0}},
    ),
    ScenePreset(
        "noisy",
        "three captions of ten are another scene's; not in validation and test",
        SceneConfig(label_noise=0.3, backgrounds=_LIGHT),
        validations={"clean": {"label_noise": 0}},
        tests={"clean": {"label_noise": 0}},
    ),
    ScenePreset(
        "clutter",
        "one thing that captions speak of among small things that they do not",
        SceneConfig(objects=(1, 1), clutter=(3, 6), sizes=("medium",), relations=0.0, backgrounds=_LIGHT),
        tests={
            "as trained": {},
            "clean": {"clutter": 0},
            "crowded": {"clutter": "7-8"},
        },
    ),
    ScenePreset(
        "marked",
        "one thing, and in half of the scenes a small mark in a free place, which captions leave out",
        SceneConfig(
            objects=(1, 1),
            sizes=("medium",),
            marked=0.5,
            concepts=tuple(name for name in CONCEPTS if name not in MARKS)[:24],
            backgrounds=_LIGHT,
        ),
    ),
    ScenePreset(
        "artist",
        "things as one artist draws them; in test: other artist as another does",
        SceneConfig(backgrounds=_LIGHT),
        tests={"as trained": {}, "other artist": {"artists": "openmoji"}},
    ),
    ScenePreset(
        "domains",
        "plain pictures to train on; other backgrounds, the other artist, mirrored and corrupted ones to test",
        SceneConfig(backgrounds=_LIGHT),
        tests={
            "as trained": {},
            "backgrounds": {"backgrounds": _PLACES},
            "other artist": {"artists": "openmoji"},
            "mirrored": {"facings": "right"},
            "corrupted": {"corrupted": 1},
        },
    ),
    ScenePreset(
        "missing",
        "captions, pictures and labels that are not there; whole in validation and test",
        SceneConfig(missing_captions=0.3, missing_pictures=0.2, hidden_labels=0.5, backgrounds=_LIGHT),
        validations={"whole": {"missing_captions": 0, "missing_pictures": 0, "hidden_labels": 0}},
        tests={"whole": {"missing_captions": 0, "missing_pictures": 0, "hidden_labels": 0}},
    ),
    ScenePreset(
        "gaps",
        "a table beside pictures and captions, which most scenes of two things lack; those of one in test: reversed",
        SceneConfig(objects=(1, 2), missing_tables=0.8, lacking="count:2", backgrounds=_LIGHT),
        table=("side", "x", "y", "size", "background"),
        tests={"as trained": {}, "reversed": {"lacking": "count:1"}, "whole": {"missing_tables": 0}},
    ),
    ScenePreset(
        "tiny",
        "fourteen concepts and five colours, large: for the smallest models",
        SceneConfig(
            concepts=_TINY,
            colours=("red", "yellow", "green", "blue", "purple"),
            sizes=("medium", "large"),
            tinted=0.7,
            relation_kinds=("left of", "right of", "above", "below"),
        ),
    ),
    ScenePreset(
        "filler",
        "the concepts and colours of tiny, in captions between phrases that no picture decides",
        SceneConfig(
            concepts=_TINY,
            colours=("red", "yellow", "green", "blue", "purple"),
            sizes=("medium", "large"),
            tinted=0.7,
            relation_kinds=("left of", "right of", "above", "below"),
            filler=1.0,
        ),
    ),
    ScenePreset(
        "companions",
        "what the tiny vision-language model learns: fourteen concepts, most of which come in pairs; some bad pictures",
        SceneConfig(
            objects=(2, 4),
            repeats=0.7,
            concepts=_TINY,
            pairs=(
                ("cat", "ball"),
                ("dog", "hat"),
                ("car", "tree"),
                ("apple", "banana"),
                ("guitar", "chair"),
            ),
            strength=0.9,
            colours=("red", "yellow", "green", "blue", "purple"),
            tinted=0.7,
            relation_kinds=("left of", "right of", "above", "below"),
            backgrounds=_LIGHT,
            corrupted=0.25,
        ),
        train=30_000,
        tests={"as trained": {}, "balanced": {"strength": 0.5}, "broken": {"strength": 0}},
    ),
    ScenePreset(
        "album",
        "two pictures a row, each of three dyed things, and a question about one of the things",
        SceneConfig(
            objects=(3, 3),
            concepts=_TINY,
            colours=("red", "yellow", "green", "blue", "purple"),
            sizes=("medium", "large"),
            tinted=1.0,
            relations=0.0,
        ),
        album=True,
    ),
    ScenePreset(
        "painter",
        "what the small painter learns: one or two large things of sixteen concepts, each dyed in one of five colours",
        _PAINTED,
        train=20_000,
        pixels=32,
    ),
    ScenePreset(
        "subjects",
        "two large things that scenes:painter never shows, always together, with a map of what stands where",
        _PAINTED.model_copy(update={"concepts": _SUBJECTS[0], "objects": (2, 2)}),
        train=8,
        validation=8,
        test=64,
        pixels=32,
        maps=("classes",),
    ),
)
PRESETS: dict[str, ScenePreset] = {preset.name: preset for preset in _ALL}
"""Every preset by its name."""
