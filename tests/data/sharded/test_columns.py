"""An index of rows of any columns: they are the source's own, and what stands for a row does so in all columns."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import wavfile

from counterpoint.cli import main
from counterpoint.data.base import Data
from counterpoint.data.converting import convert
from counterpoint.data.kinds import files as files_kind
from counterpoint.data.sharded.data import ShardedData
from counterpoint.data.sharded.indexing import index
from counterpoint.data.sharded.pictures import ShardedPairs
from counterpoint.data.source import load_any
from counterpoint.frames import whole
from counterpoint.networks.towers.parts.pixels import Square
from counterpoint.networks.towers.sound import Waveform
from counterpoint.raw import Raw, Table
from counterpoint.recipes import Recipe, override
from counterpoint.study.training.runner import run
from counterpoint.training.loop import TrainingProgress
from counterpoint.training.run import Run
from counterpoint.training.start import prepare
from fixtures.shards import add, number_of, picture

RATE = 16_000
ROWS = 24
SIDES = ("train", "train", "train", "train", "validation", "test")


def sound(number: int, samples: int = 400) -> bytes:
    """Return a WAV file whose samples all say a number."""
    file = io.BytesIO()
    wavfile.write(file, RATE, np.full(samples + number, number * 100, np.int16))
    return file.getvalue()


def film(number: int) -> bytes:
    """Return an animated picture of two frames or three."""
    frames = [Image.new("RGB", (8, 8), (9 * number, 40 * k, 0)) for k in range(2 + number % 2)]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    return file.getvalue()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a table of all modalities, without gaps but for one row and some cells of values."""
    folder = tmp_path_factory.mktemp("table")
    rows: list[dict[str, Any]] = []
    for n in range(ROWS):
        (folder / f"{n}.wav").write_bytes(sound(n))
        (folder / f"{n}.webp").write_bytes(film(n))
        (folder / f"{n}.png").write_bytes(picture(n))
        rows.append(
            {
                "picture": f"{n}.png",
                "sound": f"{n}.wav",
                "film": f"{n}.webp",
                "wrist": [[0.5 * n, None], [float(n), 2.0]][: 1 + n % 2],
                "question": f"What is {n}?",
                "answer": [f"It is {n}.", "a second one"],
                "age": 20.5 + n if n % 3 else None,
                "sex": ("f", "m", "?")[n % 3] if n % 6 else "d",
                "title": ("one", "other")[n % 2],
                "split": SIDES[n % len(SIDES)],
            }
        )
    rows.append(
        {**rows[0], "sound": None, "wrist": None, "question": "", "answer": [], "age": None, "sex": "?"}
    )
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "rows.jsonl"


def contents(data: Data, labels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return what data holds in every column of every row, its labels and split, by what its source calls the row."""
    found: dict[str, dict[str, Any]] = {}
    for side, rows in data.splits.sides.items():
        for row in rows.tolist():
            held: dict[str, Any] = {"split": side}
            for column in data.columns:
                one, raw = data.read_training(column, np.array([row])), data.read(column, np.array([row]))
                if isinstance(one, Table):
                    held[column] = one.rows()
                elif isinstance(one, Raw):
                    held[column] = one.values.nan_to_num(-1).tolist()
                else:
                    held[column] = one.tolist() if isinstance(one, torch.Tensor) else (tuple(one[0]), raw)
            for name in labels:
                held[f"label {name}"] = data.labels[name].texts(np.array([row]))
            found[data.key(row).removeprefix("rows.jsonl/")] = held
    return found


@pytest.mark.parametrize(
    ("columns", "lacking", "trained"),
    [
        # A table of sounds with captions, whose source itself leaves out what lacks one.
        ("audio:sound+text:answer", 0, 16),
        ("question+answer", 1, 16),
        ("wrist", 1, 16),
        ("image:picture+audio:sound+text:question", 1, 16),
        ("video:film+table:age+table:sex", 1, 16),
        ("image:picture+video:film", 0, 17),
    ],
)
def test_rows_are_those_of_the_same_source_without_an_index(
    columns: str, lacking: int, trained: int, table: Path, tmp_path: Path
) -> None:
    source = f"{table},columns={columns}"
    made = index(source, tmp_path / "index", jobs=1)
    assert (made.lacking, int(made.training.sum())) == (lacking, trained)
    data, listed = load_any(str(tmp_path / "index")), load_any(source)
    assert isinstance(data, ShardedData)
    assert dict(data.columns) == dict(listed.columns)
    # A column that names the rows is a label where one name comes twice, as in the row that the index leaves out.
    both = data.labels.keys() & listed.labels.keys()
    assert both
    found, expected = contents(data, both), contents(listed, both)
    assert found == {key: expected[key] for key in found}
    assert len(expected) - len(found) in (0, lacking)
    assert ("records left out" in data.findings()) == bool(lacking)
    mixed = np.array([17, 0, 20, 5])  # held-out rows and rows to train on in one form
    for column, modality in data.columns.items():
        if modality != "image":
            assert data.cuts(column, mixed).equal(listed.cuts(column, mixed))
            assert data.cuts(column, mixed).equal(whole(4)), "nothing is cut from it"
        raw, each = data.read(column, mixed), [data.read(column, mixed[[k]]) for k in range(4)]
        for k, one in enumerate(each):
            if isinstance(raw, Raw):
                end = int(one.ends()[0])
                assert torch.equal(raw.ends()[k : k + 1], one.ends())
                torch.testing.assert_close(
                    raw.values[k, :end], one.values[0, :end], rtol=0, atol=0, equal_nan=True
                )
            else:
                assert raw[k] == one[0] if isinstance(raw, list) else torch.equal(raw[k], one[0])


def tones(
    folder: Path,
    shards: int = 8,
    broken: Sequence[int] = (),
    columns: Sequence[str] = ("wav",),
    silent: Sequence[int] = (),
) -> Path:
    """Write shards of ten numbers each, as sounds with a text, and pictures where they are asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        with tarfile.open(folder / f"{shard:05}.tar", "w") as archive:
            for n in range(10 * shard, 10 * shard + 10):
                files = {f"{n:05}.wav": sound(n) if n not in broken else b"RIFF no sound"}
                files = {} if n in silent else files
                files |= {f"{n:05}.png": picture(n)} if "png" in columns else {}
                add(archive, {**files, f"{n:05}.txt": f"number {n}".encode()})
    return folder


def said(data: Data, column: str, rows: Any) -> list[int]:
    """Return the numbers that rows of a column say."""
    raw = data.read_training(column, rows)
    if column == "audio":
        return [round(float(one.samples[0, 0]) * 32768 / 100) for one in raw]
    return [number_of(one) if column == "image" else int(one[0].split()[1]) for one in raw]


@pytest.mark.parametrize("order", [("image", "audio", "text"), ("text", "audio", "image")])
def test_record_that_is_broken_in_one_column_is_replaced_in_all(order: Sequence[str], tmp_path: Path) -> None:
    broken = (0, 1, 9, 13, 25, 44, 58, 62, 77)
    index(tones(tmp_path / "shards", broken=broken, columns=("wav", "png")), tmp_path / "index", jobs=1)
    data = pickle.loads(pickle.dumps(load_any(str(tmp_path / "index"))))
    assert isinstance(data, ShardedPairs)
    rows = data.splits.train
    numbers = [said(data, column, rows) for column in order]
    assert numbers[0] == numbers[1] == numbers[2]
    assert not {*broken} & {*numbers[0]}
    replaced = data.replaced()
    assert {one.reason for one in replaced} == {"broken file"}
    expected = [n for n in broken if f"{n // 10:05}.tar" in {data.key(int(row))[:9] for row in rows}]
    assert [int(one.where[-5:]) for one in replaced] == expected
    assert all(one.by.rpartition(", ")[0] == one.where.rpartition(", ")[0] for one in replaced)
    assert said(data, "audio", np.arange(len(data))) == said(data, "text", np.arange(len(data)))


def test_a_file_of_a_column_that_is_not_read_is_not_opened(
    recipe: Recipe, table: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(table.parent, tmp_path / "table")
    index(
        f"{folder / table.name},columns=image:picture+audio:sound+text:question", tmp_path / "index", jobs=1
    )
    data = load_any(str(tmp_path / "index"))
    pictures = Run("clip,columns=image+text", str(tmp_path / "index"), recipe)
    sounds = Run("clip,columns=image+audio", str(tmp_path / "index"), recipe)
    _, loader = prepare(pictures, data)
    before = [loader.batch(step) for step in range(4)]
    for sound_file in folder.glob("*.wav"):
        sound_file.unlink()
    loader = prepare(pictures, load_any(str(tmp_path / "index")))[1]
    after = [batch for batch, _ in loader.batches(0, 4)]
    assert not loader.replaced
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one.ids, other.ids)
        assert all(torch.equal(one[view], other[view]) for view in one.views)
    with pytest.raises(OSError, match="no shard holds a record whose files can be read"):
        prepare(sounds, data)[1].batch(0)


def test_broken_in_column_replaced_where_read_and_rows_are_same(
    tmp_path: Path,
) -> None:
    index(
        tones(tmp_path / "shards", broken=range(3, 80, 10), columns=("wav", "png")),
        tmp_path / "index",
        jobs=1,
    )
    data = load_any(str(tmp_path / "index"))
    rows = data.splits.train
    own = [int(data.key(row)[-5:]) for row in rows.tolist()]
    seen, heard = data.suited({"image": Square(24)}), data.suited({"audio": Waveform(RATE)})
    assert [said(seen, column, rows) for column in ("image", "text")] == [own, own]
    assert not seen.replaced()
    standing = [number + (number % 10 == 3) for number in own]
    assert [said(heard, column, rows) for column in ("text", "audio")] == [standing, standing]
    assert len(heard.replaced()) == len(rows) // 10
    assert said(seen, "audio", rows) == standing  # which is read as soon as it is asked for
    for suited in (seen, heard):
        assert np.array_equal(suited.splits.train, rows)
        assert np.array_equal(suited.ids_of(rows), data.ids_of(rows))


def test_file_that_table_names_is_broken_alone_where_it_is_gone(table: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(table.parent, tmp_path / "table")
    index(f"{folder / table.name},columns=audio:sound+text:question", tmp_path / "index", jobs=1)
    data = load_any(str(tmp_path / "index"))
    keys = [data.key(int(row)) for row in data.splits.train]
    (folder / "1.wav").unlink()
    texts = [text for (text,) in data.read_training("text", data.splits.train)]
    gone = texts.index("What is 2?")
    assert texts[gone : gone + 2] == ["What is 2?", "What is 2?"]
    assert said(data, "audio", data.splits.train)[gone : gone + 2] == [2, 2]
    assert [(one.row, one.reason) for one in data.replaced()] == [(gone, "unreadable file")]
    assert len({*texts}) == len(keys) - 1


def test_sounds_come_at_rate_tower_takes_and_copied_out_as_they(tmp_path: Path) -> None:
    index(tones(tmp_path / "shards"), tmp_path / "index", jobs=1)
    data = load_any(str(tmp_path / "index"))
    suited = data.suited({"audio": Waveform(RATE // 2)})
    assert suited.suited({"audio": Waveform(RATE // 2)}) is suited
    for row in (0, len(data) - 1):
        number = said(data, "text", np.array([row]))[0]
        assert suited.read("audio", np.array([row])).lengths.tolist() == [-(-(400 + number) // 2)]
        assert data.file("audio", row) == ("wav", sound(number))
    assert [*map(len, data.examples().values())] == [60, 60]


def test_run_on_sounds_with_texts_goes_on_as_if_had_not_stopped(recipe: Recipe, tmp_path: Path) -> None:
    index(tones(tmp_path / "shards"), tmp_path / "index", jobs=1)
    small = {
        "towers.audio_rate": RATE,
        "towers.audio_seconds": 0.05,
        "towers.audio_bands": 16,
        "towers.text": "bag",
    }
    short = override(
        recipe, {**small, "batch_size": 15, "steps": 4, "checkpoint_every": 2, "validate_every": 4}
    )
    what = Run("clip", str(tmp_path / "index"), short)

    def stop(now: TrainingProgress) -> None:
        if now.step == 3:
            raise KeyboardInterrupt

    run(what, tmp_path / "whole", tasks=("retrieval",))
    with pytest.raises(KeyboardInterrupt):
        run(what, tmp_path / "stopped", tasks=("retrieval",), on_step=stop)
    run(what, tmp_path / "stopped", tasks=("retrieval",))
    for name in ("scores.json", "order.json", "checkpoint/step-0000004/model.safetensors"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    _, loader = prepare(what, load_any(what.data))
    batches = [batch for batch, _ in loader.batches(0, 4)]
    assert sorted(torch.cat([batch.ids for batch in batches]).tolist()) == [*range(60)]


@pytest.mark.slow
def test_another_process_prepares_same_batches_command_trains(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards, made = tones(tmp_path / "shards", broken=(3, 14, 25, 36, 47, 58)), tmp_path / "index"
    assert main(["data", "index", str(shards), "--out", str(made), "--jobs", "1"]) == 0
    small = {"towers.audio_rate": RATE, "towers.audio_seconds": 0.05, "towers.text": "bag"}
    what = Run("clip", str(made), override(recipe, small))
    _, alone = prepare(what, load_any(str(made)))
    _, helped = prepare(replace(what, recipe=override(what.recipe, {"workers": 1})), load_any(str(made)))
    for (one, _), (other, _) in zip(alone.batches(0, 4), helped.batches(0, 4), strict=True):
        assert all(torch.equal(one[view].nan_to_num(), other[view].nan_to_num()) for view in one.views)
        assert {it.row for it in alone.replaced} == {it.row for it in helped.replaced}
    asked = [
        "--data",
        f"{made},broken=0.2",
        "--steps",
        "2",
        "--towers.audio-rate",
        str(RATE),
        "--towers.text",
        "bag",
    ]
    assert main(["train", "clip", *asked, "--out", str(tmp_path / "run"), "--batch-size", "16"]) == 0
    capsys.readouterr()
    assert main(["data", "describe", str(made), "--json"]) == 0
    contents = json.loads(capsys.readouterr().out)["contents"]
    assert contents["modalities"]["value"] == {"audio": "audio", "text": "text"}
    assert contents["splits"]["value"]["train"] == len(load_any(str(made)).splits.train)


def valued(folder: Path, changes: Mapping[int, Mapping[str, Any]] | None = None) -> str:
    """Write tables of ten rows each, with numbers, words and a text; return them as they are given to ``--data``."""
    folder.mkdir(parents=True)
    for shard in range(10):
        rows = []
        for n in range(10 * shard, 10 * shard + 10):
            cells = {"age": n + 0.5, "sex": "fmd"[n % 3], "mark": None, "note": f"note {n}", "grade": n % 4}
            rows.append(json.dumps(cells | dict((changes or {}).get(n, {}))) + "\n")
        (folder / f"{shard:02}.jsonl").write_text("".join(rows))
    return f"{folder}/{{00..09}}.jsonl,columns=table:age+table:sex+table:mark+text:note"


@pytest.mark.parametrize(("asked", "columns", "rows"), [("", 2, 80), (",columns=image+audio", 3, 78)])
def test_pictures_are_not_left_out_for_sounds_few_of_them_lack(
    asked: str, columns: int, rows: int, tmp_path: Path
) -> None:
    shards = tones(tmp_path / "shards", columns=("wav", "png"), silent=(3, 41))
    made = index(f"{shards}{asked}", tmp_path / "index", jobs=1)
    data = load_any(str(tmp_path / "index"))
    assert list(data.columns) == ["image", "text", "audio"][:columns]
    assert (len(data), made.lacking) == (rows, 80 - rows)


@pytest.mark.parametrize("noted", [True, False])
def test_a_tar_has_the_columns_that_are_named(noted: bool, tmp_path: Path) -> None:
    folder = tones(tmp_path / "shards", columns=("wav", "png"))
    if noted:
        convert(str(folder), tmp_path / "noted")
        folder = tmp_path / "noted"
    for named in ("image+text", "audio", "audio+image"):
        columns = {*named.split("+")} if noted else {*named.split("+"), "text"}  # captions are found
        index(f"{folder},columns={named}", tmp_path / named, jobs=1)
        made, whole = load_any(str(tmp_path / named)), load_any(f"{folder},columns={named}")
        assert {*made.columns} == {*whole.columns} == columns
        assert len(made) == len(whole) == 80
        numbers = [said(made, column, made.splits.train) for column in made.columns]
        assert all(of_column == numbers[0] for of_column in numbers)
    known = "audio, image, text"
    for out in (None, tmp_path / "out"):
        with pytest.raises(
            ValueError, match=rf"unknown column .*'audoi': did you mean 'audio'\? \(known: {known}\)"
        ):
            index(f"{folder},columns=audoi+image", out) if out else load_any(f"{folder},columns=audoi+image")
    with pytest.raises(ValueError, match=r"unknown .*column of .*'video'.*\(known: .*image, text\)"):
        index(f"{folder},columns=image+video", tmp_path / "none", jobs=1)


def test_much_that_has_gaps_is_read_as_a_whole(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_kind, "needs_index", lambda written: True)
    whole = load_any(f"{table},columns=question+title")
    assert not isinstance(whole, ShardedData)
    assert not whole.present("question", np.arange(len(whole))).all()
    assert isinstance(load_any(f"{table},columns=image:picture+audio:sound+text:question"), ShardedData)
    assert isinstance(load_any(f"{table},columns=audio:sound+text:answer"), ShardedData)  # which has none


def test_words_of_values_are_those_of_rows_to_train_on(tmp_path: Path) -> None:
    source = valued(tmp_path / "tables")
    plain = index(source, tmp_path / "plain", jobs=1)
    assert plain.words == {"table": {"age": (), "sex": ("d", "f", "m"), "mark": ()}}
    held = {n: side for n, side in enumerate(plain.table["held_out"]) if side}
    unseen = {10 * shard + 2: {"sex": "x", "age": "old"} for shard in held}
    seen = {
        10 * next(n for n in range(10) if n not in held) + 4: {"sex": "y", "mark": 7}
    }  # which no held-out row has
    index(valued(tmp_path / "others", {**unseen, **seen}), tmp_path / "index", jobs=1)
    data = load_any(str(tmp_path / "index"))
    whole: Table = data.read("table", np.arange(len(data)))
    assert (whole.names, whole.categories) == (("age", "sex", "mark"), ((), ("d", "f", "m", "y"), ()))
    for row, text in enumerate(data.read("text", np.arange(len(data)))):
        n = int(text.split()[1])
        expected = {"age": f"{n + 0.5:g}", "sex": "fmd"[n % 3], "mark": ""}
        expected |= {name: str(value) for name, value in seen.get(n, {}).items()}
        assert whole[row].rows() == [dict.fromkeys(expected, "") if n in unseen else expected]
    assert data.present("table", np.arange(len(data))).sum() == len(data) - len(unseen)
    assert len(data.examples()["table"]) == len(data.splits.train)


def test_a_word_among_numbers_is_named_when_the_index_is_made(tmp_path: Path) -> None:
    made = index(valued(tmp_path / "plain"), tmp_path / "one", jobs=1)
    trained = 10 * int(np.flatnonzero(made.training)[0])
    with pytest.raises(
        ValueError, match=r"\.jsonl, row 8: age holds 'old', which is no number, and the others are"
    ):
        index(valued(tmp_path / "worded", {trained + 7: {"age": "old"}}), tmp_path / "two", jobs=1)
    with pytest.raises(ValueError, match=r"row 8: age is inf, beyond 3.4e\+38, .*; mend or empty the cell"):
        index(valued(tmp_path / "far", {trained + 7: {"age": "inf"}}), tmp_path / "three", jobs=1)
    gaping = {n: {"note": None} for n in range(100)}
    source = valued(tmp_path / "gaping", {**gaping, 0: {"age": None, "sex": None}})
    with pytest.raises(
        ValueError, match=r"10 shards hold no record.*100 lack one of table, text: name fewer"
    ):
        index(source, tmp_path / "four", jobs=1)


def test_two_indices_of_one_table_have_columns_each_asked_for(table: Path, tmp_path: Path) -> None:
    texts = {}
    for column in ("question", "title"):
        index(f"{table},columns=audio:sound+text:{column}", tmp_path / column, jobs=1)
        texts[column] = load_any(str(tmp_path / column)).read("text", np.array([1]))
    assert texts == {"question": ["What is 1?"], "title": ["other"]}
