"""Gaps made in any data: by item ids alone, in the rows and the class that were asked for, told to whoever asks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from counterpoint.cli.common.files import FileOptions
from counterpoint.data.derived.gaps import Gap, gaps_of, with_gaps
from counterpoint.data.derived.missing import MissingValuesData, without
from counterpoint.data.source import is_of_python, load_any, rooted
from counterpoint.data.sources import without_budget
from counterpoint.raw import Series, Table, Waves
from counterpoint.registry import UnknownNameError
from fixtures.tiny import TinyData

DATA = TinyData()
EVERY = np.arange(len(DATA))
CLASSES = {name: labels.names for name, labels in DATA.labels.items()}


def missing(*gaps: str, data: Any = DATA) -> MissingValuesData:
    return MissingValuesData(data, [Gap.parse(gap) for gap in gaps], "tiny")


class Turned(TinyData):
    """The same items in another order."""

    def __init__(self, order: np.ndarray) -> None:
        super().__init__()
        self.order = order
        self.ids = self.ids[order]


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_rows_and_any_batch_have_the_same_gaps(seed: int) -> None:
    draws = np.random.default_rng(seed)
    order, size, share = draws.permutation(EVERY), int(draws.integers(1, 20)), 0.1 * (1 + seed)
    whole = missing(f"text:{share}", "image:0.2")
    there = dict(zip(DATA.ids.tolist(), whole.present("text", EVERY).tolist(), strict=True))
    rows = order
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        assert whole.present("text", part).tolist() == [there[DATA.ids[row]] for row in part]
    turned = missing(f"text:{share}", data=Turned(rows))
    assert turned.present("text", EVERY).tolist() == [there[number] for number in turned.ids]


def test_joint_gap_takes_exactly_one_column_of_a_row() -> None:
    joint = missing("image+text:0.7")
    image, text = (joint.present(column, EVERY) for column in ("image", "text"))
    assert (image | text).all()
    assert 0.5 < (image ^ text).mean() < 0.9
    assert 0.3 < (~image).sum() / (image ^ text).sum() < 0.7
    fewer = [missing("image+text:0.3").present(column, EVERY) for column in ("image", "text")]
    assert all((some >= present).all() for some, present in zip(fewer, (image, text), strict=True))
    # A row that lacks a column already loses no other one.
    assert np.logical_or(
        *(missing("image+text:1", data=missing("text:0.5")).present(c, EVERY) for c in ("image", "text"))
    ).all()
    gaps = ["image+text:0.7,in=train", "text:0.2,when=colour:red"]
    named = with_gaps("pairs.csv", gaps)
    assert named == "pairs.csv,missing=image+text:0.7/in:train+text:0.2/when:colour:red"
    assert [str(gap) for gap in gaps_of(named)[1]] == gaps
    with pytest.raises(UnknownNameError, match="texts"):
        missing("image+texts:0.7")
    with pytest.raises(ValueError, match="cannot be written"):
        with_gaps("pairs.csv", ["image+:0.7"])


def test_more_gaps_hold_fewer_ones_and_columns_are_independent() -> None:
    few, many = (missing(f"text:{share}").present("text", EVERY) for share in (0.3, 0.6))
    assert (few >= many).all()
    assert 0.5 < few.mean() < 0.9
    both = missing("text:0.5", "image:0.5")
    text, image = (both.present(column, EVERY) for column in ("text", "image"))
    assert {(bool(a), bool(b)) for a, b in zip(text, image, strict=True)} == {
        (a, b) for a in (True, False) for b in (True, False)
    }


@pytest.mark.parametrize(("where", "train", "test"), [("everywhere", 1, 1), ("train", 1, 0), ("test", 0, 1)])
def test_gaps_are_where_they_were_asked_for(where: str, train: int, test: int) -> None:
    data = missing(f"text:1,when=gender:large,in={where}")
    large = DATA.labels["gender"].values == 1
    rows = DATA.splits.train
    assert data.present("text", rows).tolist() == (~(large[rows] & bool(train))).tolist()
    for rows in DATA.splits.test.values():
        assert data.present("text", rows).tolist() == (~(large[rows] & bool(test))).tolist()
    for rows in DATA.splits.validation.values():
        assert data.present("text", rows).tolist() == (~(large[rows] & bool(train))).tolist()


def test_reversed_gaps_are_those_of_the_other_classes_in_test() -> None:
    data = missing("text:1,when=tone:red,in=reversed")
    tone = DATA.labels["tone"].values
    train, test = DATA.splits.train, DATA.splits.test["compositions"]
    assert data.present("text", train).tolist() == (tone[train] != 0).tolist()
    assert data.present("text", test).tolist() == ((tone[test] == 0) | (tone[test] < 0)).tolist()


def test_the_second_of_two_classes_is_meant_unless_one_is_named() -> None:
    assert Gap.parse("text:1,when=gender").class_of(CLASSES) == 1
    assert Gap.parse("text:1,when=gender:small").class_of(CLASSES) == 0
    with pytest.raises(ValueError, match="tone has 4 classes; say of which, for example when=tone:yellow"):
        Gap.parse("text:1,when=tone").class_of(CLASSES)


def test_nothing_of_what_is_withheld_is_read() -> None:
    data = missing("text:0.5", "image:0.5")
    text, image = (data.present(column, EVERY) for column in ("text", "image"))
    for row in EVERY:
        one = np.array([row])
        assert (data.read("text", one) == [""]) == (not text[row])
        assert (data.read_training("text", one) == [[""]]) == (not text[row])
        assert (data.evaluation_texts("text", int(row)) == ("",)) == (not text[row])
        assert bool((data.read("image", one) == 128).all()) == (not image[row])
    learned = data.examples()
    assert [""] not in learned["text"]
    assert len(learned["text"]) == int(text[DATA.splits.train].sum())


def test_other_pictures_stay_of_rows_that_have_one() -> None:
    (artist,), others = missing("image:0.5").shifts().values(), DATA.shifts()["artist"](EVERY)
    there = torch.from_numpy(missing("image:0.5").present("image", EVERY))
    assert torch.equal(artist(EVERY)[there], others[there])
    assert bool((artist(EVERY)[~there] == 128).all())


def test_raw_forms_keep_what_is_not_withheld() -> None:
    gone = torch.tensor([False, True])
    waves = without(Waves.of([np.ones(3), np.ones(2)], 10), gone)
    assert waves.samples[0].tolist() == [1, 1, 1]
    assert waves.samples[1].tolist() == [0, 0, 0]
    series = without(Series.of([np.ones((2, 2)), np.ones((1, 2))], ("a", "b")), gone)
    assert series.measured.sum((1, 2)).tolist() == [4, 0]
    assert series.channels == ("a", "b")
    cells = without(Table(torch.ones(2, 3), ("a", "b", "c"), ((), (), ())), gone).cells
    assert cells[0].tolist() == [1, 1, 1]
    assert cells[1].isnan().all()


def test_gaps_are_part_of_the_datas_name_and_of_its_fingerprint(pairs: Any) -> None:
    told = with_gaps(str(pairs), ["text:0.5,in=train"])
    data, whole = load_any(told), load_any(str(pairs))
    assert isinstance(data, MissingValuesData)
    assert data.name == told
    before, after = whole.fingerprint, data.fingerprint
    assert {**before.parts, "gaps": after.parts["gaps"]} == after.parts
    other = load_any(with_gaps(str(pairs), ["text:0.5"]))
    assert other.fingerprint.parts["gaps"] != after.parts["gaps"]
    assert (after.rows["gaps"] != other.fingerprint.rows["gaps"]).sum() > 0
    assert data.identity(["text"]) != other.identity(["text"]) != whole.identity(["text"])
    assert rooted(told).endswith(",missing=text:0.5/in:train")
    assert data.fingerprint.parts == load_any(told).fingerprint.parts
    assert "withheld" in data.describe()
    assert "rows to train on (text:0.5,in=train)" in data.findings()["withheld"]


def test_how_gaps_are_written() -> None:
    gaps = ("table:0.4,when=sepsis,in=reversed", "text:0.25")
    written = FileOptions(missing=gaps, broken=0.1).of("patients.csv")
    assert written == "patients.csv,broken=0.1,missing=table:0.4/when:sepsis/in:reversed+text:0.25"
    assert gaps_of(written) == ("patients.csv,broken=0.1", tuple(map(Gap.parse, gaps)))
    assert without_budget(written) == written.replace(",broken=0.1", "")
    assert is_of_python("mine.py:DATA,missing=text:0.5")
    with pytest.raises(ValueError, match="--missing says how files are read"):
        FileOptions(missing=gaps).of(None)
    with pytest.raises(ValueError, match="a comma cannot be written here"):
        FileOptions(missing=('text:0.5,when="group:a, b"',)).of("patients.csv")


@pytest.mark.parametrize(
    ("gap", "message"),
    [
        ("text", "write COLUMN:SHARE, the share above 0"),
        ("text:0", "the share above 0 and at most 1"),
        ("text:1.5", "the share above 0 and at most 1"),
        ("text:0.5,whne=group", "after COLUMN:SHARE comes when="),
        ("text:0.5,in=test,in=train", "option 'in' is given twice"),
        ("text:0.5,in=reversed", "say when=LABEL"),
        ("text:0.5,in=tset", "did you mean 'test'"),
        ("txt:0.5", "did you mean 'text'"),
        ("text:0.5,when=gruop:x", "did you mean 'group'"),
        ("text:0.5,when=tone:redd", "did you mean 'red'"),
        ("text:1", "no row to train on has a value in text any more"),
    ],
)
def test_gaps_that_cannot_be(gap: str, message: str) -> None:
    with pytest.raises((ValueError, UnknownNameError), match=message):
        missing(gap)


def test_shards_are_refused() -> None:
    data = TinyData()
    data.shards = (len(data),)
    with pytest.raises(ValueError, match="no values can be withheld of data that lies in shards"):
        missing("text:0.5", data=data)
