"""Properties that must hold of every data set that ships with the package, and of every preset of a world."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from counterpoint.data import PairedData, items, load
from counterpoint.data.base import Data
from counterpoint.data.fingerprint import bytes_of
from counterpoint.data.source import load_any
from counterpoint.data.synthetic import WORLDS
from counterpoint.data.synthetic.clips.long_config import LONG
from counterpoint.data.synthetic.world import GREY, SyntheticData
from counterpoint.registry import UnknownNameError

SIZES = "train=40,validation=4,test=6"
SMALL = f"{SIZES},pixels=16"
FORMS = [form for form in vars(items).values() if isinstance(form, type) and issubclass(form, items.Items)]


PICTURED = dict.fromkeys(("clips", "sounds"), ",as=pictures")
"""Options by which a world of something else is of pictures, which these tests look at."""


def world(source: str) -> SyntheticData[Any, Any]:
    made = WORLDS.get(source.partition(":")[0]).parse(source)
    assert isinstance(made, SyntheticData)
    return made


def composed() -> Iterator[str]:
    """Yield every preset of every world that is composed, as what it is of."""
    for name in WORLDS.names():
        if issubclass(kind := WORLDS.get(name), SyntheticData):
            yield from (f"{name}:{preset}" for preset in kind.presets)
    yield from (f"clips:{preset}" for preset in LONG)


WORLDS_MADE = sorted({source.partition(":")[0] for source in composed()})
AS_PICTURES = [
    f"{source}{PICTURED[kind]}"
    for source in composed()
    if (kind := source.partition(":")[0]) in PICTURED and source.partition(":")[2] not in LONG
]
PRESETS = [*composed(), *AS_PICTURES]
EVERY = [*PRESETS, *(name for name in WORLDS.names() if name not in WORLDS_MADE)]
CAPTIONED = [
    source
    for source in EVERY
    if (
        isinstance(world(source), PairedData)
        if source in PRESETS
        else issubclass(WORLDS.get(source), PairedData)
    )
]
KINDS = sorted({source.partition(":")[0] for source in CAPTIONED if source in PRESETS})
"""Worlds that are composed and are, or can be, of pictures with captions."""
every = pytest.mark.parametrize("source", EVERY)
every_captioned = pytest.mark.parametrize("source", CAPTIONED)
every_preset = pytest.mark.parametrize("source", PRESETS)
every_kind = pytest.mark.parametrize("kind", KINDS)
every_world = pytest.mark.parametrize("kind", WORLDS_MADE)


def few_rows(source: str, sizes: str = SIZES) -> str:
    """Return a source with few rows, and of small pictures where it has any."""
    preset = world(source).preset
    return f"{source},{sizes}" + (",pixels=16" if "pixels" in {*preset.least, *preset.readers} else "")


@cache
def small(source: str) -> Any:
    return load_any(few_rows(source) if source in PRESETS else source, 16)


def sides(data: Data) -> dict[str, np.ndarray]:
    of = data.splits
    named = {"validation": of.validation, "test": of.test}
    return {"train": of.train} | {
        f"{side} {k}": rows for side, sets in named.items() for k, rows in sets.items()
    }


def said(data: PairedData, rows: np.ndarray) -> list[list[list[str]]]:
    """Return all words of some rows: captions, those of training, those of evaluation."""
    return [
        [list(data.captions(row)), list(data.training_captions(row)), list(data.evaluation_captions(row))]
        for row in map(int, rows)
    ]


def told(data: Data, rows: np.ndarray) -> list[tuple[bytes, ...]]:
    """Return all that some rows hold: every column, as evaluation and as training see it."""
    read = (see(column, rows) for column in data.columns for see in (data.read, data.read_training))
    return list(zip(*(map(bytes_of, column) for column in read), strict=True))


def a_few(data: Data) -> np.ndarray:
    """Return some rows of each split."""
    return np.concatenate([rows[:2] for rows in sides(data).values()])


@every
def test_ids_are_unique_and_splits_are_disjoint(source: str) -> None:
    data, parts = small(source), sides(small(source))
    assert len(np.unique(data.ids)) == len(data) == len(data.ids)
    rows = np.concatenate(list(parts.values()))
    assert len(np.unique(rows)) == len(rows)
    assert rows.min() == 0
    assert rows.max() < len(data)
    assert all(len(part) for part in parts.values())
    if source in PRESETS:
        assert len(rows) == len(data)


@every
def test_a_row_is_the_same_whenever_and_wherever_it_is_read(source: str) -> None:
    data, rows = small(source), a_few(small(source))
    held, words = told(data, rows), said(data, rows) if source in CAPTIONED else []
    whole = pickle.dumps(data)
    if source in PRESETS:
        assert len(whole) < 20_000  # what was made is not carried along
        assert pickle.loads(whole).fingerprint.parts == data.fingerprint.parts
    for other in (data, pickle.loads(whole)):
        assert told(other, rows[::-1].copy()) == held[::-1]
        assert told(other, rows[:1]) == held[:1]
        assert (said(other, rows) if source in CAPTIONED else []) == words
        assert (other.name, other.attribution) == (data.name, data.attribution)
        assert [other.key(int(row)) for row in rows] == [data.key(int(row)) for row in rows]


@every_captioned
def test_pictures_are_bytes_of_one_size(source: str) -> None:
    data, rows = small(source), a_few(small(source))
    pictures = data.images(rows)
    assert pictures.dtype == torch.uint8
    assert pictures.shape[:2] == (len(rows), 3)


@every_captioned
def test_evaluation_takes_captions_that_training_may_take_too(source: str) -> None:
    data = small(source)
    for captions, training, evaluation in said(data, a_few(data)):
        assert evaluation
        assert {*evaluation} <= {*captions} <= {*training}


@every
def test_every_row_has_one_subset_and_labels_that_exist(source: str) -> None:
    data = small(source)
    assert data.subsets.shape == (len(data),)
    assert all(data.subsets)
    assert data.labels
    for label in data.labels.values():
        assert len(label.values) == len(label.known) == len(label.texts(np.arange(len(data)))) == len(data)
        assert label.known.any()
    for labels in data.classes.values():
        assert labels.values.shape == (len(data),)
        assert labels.values.min() >= -1
        assert labels.values.max() < len(labels.names)
        assert len(set(labels.names)) == len(labels.names)
        assert all(template.count("{}") == 1 for template in labels.templates)


@every
def test_it_says_what_it_is(source: str) -> None:
    data = small(source)
    found = data.describe()
    if source in PRESETS:
        world = {"name": data.name, "rows": len(data), "version": 1, "seed": 0}
        assert found["data"].items() >= world.items()
        assert list(found["splits"].values()) == [len(rows) for rows in sides(data).values()]
        assert isinstance(found["overrides"], dict)
    json.dumps(found)
    if data.attribution:
        assert "attribution" in found


@every_preset
def test_rows_stay_when_another_split_grows(source: str) -> None:
    data, grown = small(source), load_any(few_rows(source, SIZES.replace("train=40", "train=50")), 16)
    before, after = sides(data), sides(grown)
    assert list(before) == list(after)
    for name in before:
        a, b = before[name][:2], after[name][:2]
        assert (data.ids[a] == grown.ids[b]).all()
        assert told(data, a) == told(grown, b)


@every_preset
@pytest.mark.parametrize("change", ["version", "seed"])
def test_another_version_and_another_seed_are_other_data(source: str, change: str) -> None:
    """Nothing that was kept of one (features, results) is taken for the other's, and no row is drawn alike."""
    data = small(source)
    assert isinstance(data, SyntheticData)
    number = getattr(data.preset, change)
    other = type(data)(replace(data.preset, **{change: number + 1}), data.name)
    assert not set(other.fingerprint.parts.values()) & set(data.fingerprint.parts.values())
    rows = data.splits.train
    assert [data.made(int(row)) for row in rows] != [other.made(int(row)) for row in rows]


def test_no_preset_draws_as_another_one() -> None:
    keys = [world(source).preset.key for source in composed()]
    assert len(set(keys)) == len(keys)


@every_world
def test_an_option_is_the_presets_or_the_configurations(kind: str) -> None:
    preset = world(f"{kind}:basic").preset
    assert not {*preset.least, *preset.readers} & type(preset.config).model_fields.keys()


@every_kind
def test_is_missing_is_grey_and_empty_and_nothing_else_changes(kind: str) -> None:
    lacking = [f for f in type(world(f"{kind}:basic").preset.config).model_fields if f.startswith("missing_")]
    if kind == "speech":  # which refuses what it takes over from scenes and has not
        lacking = [f for f in lacking if f not in ("missing_tables", "missing_clicks")]
    assert {"missing_pictures", "missing_captions"} <= {*lacking}
    basic = f"{kind}:basic{PICTURED.get(kind, '')}"
    whole = load(f"{basic},{SMALL}", 16)
    rows = whole.splits.train
    for option in lacking:
        data = load(f"{basic},{SMALL},{option}=0.5", 16)
        grey = (data.images(rows) == GREY).flatten(1).all(1).numpy()
        mute = np.array([list(data.captions(int(row))) == [""] for row in rows])
        assert np.array_equal(data.present("image", rows), ~grey)
        assert np.array_equal(data.present("text", rows), ~mute)
        lost = {"missing_pictures": grey, "missing_captions": mute}
        for name, mask in lost.items():
            assert mask.any() == (name == option)
            assert not mask.all()
        assert torch.equal(data.images(rows[~grey]), whole.images(rows[~grey]))
        assert said(data, rows[~mute]) == said(whole, rows[~mute])
        assert all(list(data.training_captions(int(row))) == [""] for row in rows[mute])


@every_kind
def test_items_are_those_of_their_rows_alone(kind: str) -> None:
    """Whichever other rows are asked about; every form is tried on the first preset that has it."""
    worlds = [load(f"{source},{SMALL}", 16) for source in CAPTIONED if source.startswith(f"{kind}:")]
    for form in FORMS:
        data = next((data for data in worlds if has(data, form)), None)
        if data is None:
            with pytest.raises(LookupError, match=f"^'{worlds[0].name}' has no {form.called}"):
                worlds[0].items(form, np.arange(3))
            continue
        with pytest.raises(LookupError, match=f"none of 0 rows of '{data.name}' has"):
            data.items(form, np.arange(0))
        rows = data.splits.train
        whole, some = data.items(form, rows), data.items(form, rows[:20][::-1])
        assert len(whole) == len(whole.kinds) == len(np.unique(whole.ids)) > 0
        assert whole.attribution == data.attribution
        if form in {items.Correspondences, items.Comparisons}:
            continue  # an item is about two rows, so the rows that are asked about decide
        kinds = dict(zip(whole.ids.tolist(), whole.kinds, strict=True))
        assert {it: kinds[it] for it in some.ids.tolist()} == dict(
            zip(some.ids.tolist(), some.kinds, strict=True)
        )
        assert np.array_equal(pixels(some, [0]), pixels(whole, [whole.ids.tolist().index(some.ids[0])]))


def has(data: PairedData, form: type[items.Items]) -> bool:
    with suppress(LookupError):
        return len(data.items(form, data.splits.train[:20])) > 0
    return False


def pixels(asked: Any, positions: list[int]) -> np.ndarray:
    if isinstance(asked, items.TwinItems):
        return np.asarray(asked.read("image", np.array(positions)))
    shown = asked.frames if isinstance(asked, items.Videos) else asked.pictures
    return np.asarray(shown(np.array(positions)))


@every_kind
@pytest.mark.parametrize(
    ("written", "error", "message"),
    [
        ("{}:basik", UnknownNameError, "unknown preset of {} 'basik': did you mean 'basic'"),
        ("{}:basic,trian=3", UnknownNameError, "unknown option of {} 'trian': did you mean 'train'"),
        (
            "{}:basic,missing_caption=1",
            UnknownNameError,
            "'missing_caption': did you mean 'missing_captions'",
        ),
        ("{}:basic,train", ValueError, "'{}:basic,train': 'train' is no option; write name=value"),
        ("{}:basic,seed=1,seed=2", ValueError, "option 'seed' is given twice"),
        ("{}:basic,train=many", ValueError, "{}: train=many is no whole number"),
        ("{}:basic,test=0", ValueError, "{}: test must be at least 1, got 0"),
        ("{}:basic,pixels=2", ValueError, "{}: pixels must be at least 16, got 2"),
        ("{}:basic,missing_captions=2", ValueError, "{}:basic: missing_captions: must be at most 1, got '2'"),
    ],
)
def test_what_is_wrong_with_the_text_is_said_in_a_line(
    kind: str, written: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as told:
        load(written.format(kind))
    assert message.format(kind) in str(told.value)
    assert "\n" not in str(told.value)


@every_world
def test_a_list_is_of_known_names_each_once_and_a_range_goes_up(kind: str) -> None:
    config = world(f"{kind}:basic").preset.config
    for option, known in config.known.items():
        for wrong in (f"{known[0]}+{known[0]}", f"{known[0]}x"):
            with pytest.raises(ValueError, match=f"^{kind}:basic: ({option}: |unknown {option} )"):
                load_any(f"{kind}:basic,{option}={wrong}")
    for option in config.ranges:
        with pytest.raises(ValueError, match=f"{option} goes from the fewest to the most, got 3-2"):
            load_any(f"{kind}:basic,{option}=3-2")


@pytest.mark.parametrize("name", WORLDS.names())
def test_the_plain_name_is_a_data_set(name: str) -> None:
    assert load_any(name).name == name


def test_motions_which_draw_nothing_have_no_pixels() -> None:
    with pytest.raises(UnknownNameError, match="unknown option of motions 'pixels'"):
        load_any("motions:basic,pixels=16")


@pytest.mark.parametrize("name", ["digits", "emoji"])
def test_data_sets_that_were_collected_have_no_options(name: str) -> None:
    with pytest.raises(ValueError, match="has no options"):
        load(f"{name},train=3")


def test_names_of_data_sets_are_told_apart() -> None:
    assert {"emoji", "scenes", "clips", "sounds"} <= {*WORLDS.names()}
    with pytest.raises(UnknownNameError, match="unknown data set 'scnes:basic': did you mean 'scenes'"):
        load("scnes:basic")
