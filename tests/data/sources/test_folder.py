"""Folders as people have them: splits in folders and in names, texts beside pictures, and whatever else lies there."""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
import tarfile
import wave
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from counterpoint.data.listed.pairs import Pairs
from counterpoint.data.source import _slot, load, load_any
from counterpoint.data.sources import Asset, Ledger, Records, read


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pair(folder: Path, number: int, caption: str | bytes | None = None) -> None:
    put(folder / f"{number}.png", picture(number))
    put(folder / f"{number}.txt", f"caption {number}" if caption is None else caption)


def tar(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def records(path: Path) -> tuple[Records, pl.DataFrame]:
    ledger = Ledger()
    return read(str(path), ledger), ledger.frame.select("kind", "reason", "file", "row")


def texts(found: Records) -> list[tuple[str, ...]]:
    return [tuple(each) for each in found.frame["text"].to_list()]


def rows(numbers: range) -> str:
    return "file_name,text\n" + "".join(f"{k}.png,caption {k}\n" for k in numbers)


def _texts_beside(folder: Path, side: str, numbers: range) -> None:
    for k in numbers:
        pair(folder / side, k)


def _table_inside(folder: Path, side: str, numbers: range) -> None:
    put(folder / side / "metadata.csv", rows(numbers))
    for k in numbers:
        put(folder / side / f"{k}.png", picture(k))


def _tables_named(folder: Path, side: str, numbers: range) -> None:
    put(folder / f"{side}.csv", rows(numbers))
    for k in numbers:
        put(folder / f"{k}.png", picture(k))


def _parquet_named(folder: Path, side: str, numbers: range) -> None:
    put(folder / "data" / "x", b"")
    values = [
        {"id": k, "image": {"bytes": picture(k), "path": None}, "text": f"caption {k}"} for k in numbers
    ]
    pl.DataFrame(values).write_parquet(folder / "data" / f"{side}-00000-of-00001.parquet")


def _shards_inside(folder: Path, side: str, numbers: range) -> None:
    files = {
        f"{k}.{s}": picture(k) if s == "png" else f"caption {k}".encode()
        for k in numbers
        for s in ("png", "txt")
    }
    tar(folder / side / "000.tar", files)


def _shards_named(folder: Path, side: str, numbers: range) -> None:
    files = {
        f"{k}.{s}": picture(k) if s == "png" else f"caption {k}".encode()
        for k in numbers
        for s in ("png", "txt")
    }
    tar(folder / f"{side}-000.tar", files)


WAYS = [_texts_beside, _table_inside, _tables_named, _parquet_named, _shards_inside, _shards_named]


@pytest.mark.parametrize("write", WAYS)
@pytest.mark.parametrize("names", [("train", "test"), ("Training", "val", "TEST")])
def test_what_is_called_after_a_split_is_one(tmp_path: Path, write: object, names: tuple[str, ...]) -> None:
    for k, side in enumerate(names):
        write(tmp_path / "it", side, range(40 * k, 40 * (k + 1)))  # type: ignore[operator]
    data = Pairs(tmp_path / "it", 8)
    sides = {"validation": data.splits.validation, "test": data.splits.test}
    said = {side: {data.captions(r)[0] for r in rows["held out"].tolist()} for side, rows in sides.items()}
    last = 40 * (len(names) - 1)
    assert said["test"] == {f"caption {k}" for k in range(last, last + 40)}
    if len(names) == 3:
        assert said["validation"] == {f"caption {k}" for k in range(40, 80)}
    training = {data.captions(row)[0] for row in data.splits.train.tolist()}
    assert training == {f"caption {k}" for k in range(last)} - said["validation"]
    assert len(set(data.ids)) == len(data)


def test_rows_that_each_part_counts_anew_are_told_apart(tmp_path: Path) -> None:
    for side in ("train", "test"):
        put(
            tmp_path / f"{side}.csv",
            "id,file_name,text\n" + "".join(f"{k},{k}.png,{side} {k}\n" for k in range(30)),
        )
    for k in range(30):
        put(tmp_path / f"{k}.png", picture(k))
    data = Pairs(tmp_path, 8)
    assert len(set(data.ids)) == 60
    assert {data.key(0), data.key(30)} == {"test/0", "train/0"}
    assert data.leaked["picture"].sum() > 0


def test_folder_of_one_split_that_says_another_inside_is_refused(tmp_path: Path) -> None:
    for side in ("train", "test"):
        put(tmp_path / side / "metadata.csv", "file_name,text,split\n0.png,a,train\n")
        put(tmp_path / side / "0.png", picture(0))
    with pytest.raises(
        ValueError, match=r"test/metadata\.csv, row 1: split 'train', but .*test/metadata\.csv is of test$"
    ):
        records(tmp_path)


def test_train_alone_is_divided(tmp_path: Path) -> None:
    for k in range(60):
        pair(tmp_path / "train", k)
    data = Pairs(tmp_path, 8)
    assert len(data.splits.test["held out"]) >= 2
    assert "made here" in data.findings()["splits"]


def test_what_lies_beside_is_listed(tmp_path: Path) -> None:
    for k in range(3):
        pair(tmp_path, k)
    put(tmp_path / "0.jpg", picture(5))
    for name in ("0.svg", "drawing.svg", "note.pdf", "song.ogg", "alone.png", "note.txt", ".hidden.png"):
        put(tmp_path / name, "x")
    found, ledger = records(tmp_path)
    assert [(record.key, each[0]) for record, each in zip(found, texts(found), strict=True)][:2] == [
        ("0.jpg", "caption 0"),
        ("0.png", "caption 0"),
    ]
    assert [(kind, reason, Path(file).name) for kind, reason, file, _ in ledger.rows()] == [
        ("passed over", "picture without a caption", "alone.png"),
        ("passed over", "picture without a caption", "drawing.svg"),
        ("passed over", ".pdf file", "note.pdf"),
        ("passed over", "text without a picture", "note.txt"),
        ("passed over", "audio of no picture", "song.ogg"),
    ]


def test_what_lies_beside_splits_is_listed(tmp_path: Path) -> None:
    for side in ("train", "test", "extra"):
        pair(tmp_path / side, 0)
    found, ledger = records(tmp_path)
    assert [record.split for record in found] == ["test", "train"]
    assert ledger.rows() == [("passed over", "beside what is read", str(tmp_path / "extra"), "")]


def test_pictures_alone_have_no_captions(tmp_path: Path) -> None:
    for kind in ("cat", "dog"):
        for k in range(2):
            put(tmp_path / kind / f"{k}.jpg", picture(k))
    found, ledger = records(tmp_path)
    assert [(record.key, record.cells, record.labels) for record in found][:1] == [
        ("cat/0.jpg", {"image": Asset.of(tmp_path / "cat" / "0.jpg")}, {"folder": "cat"})
    ]
    assert (len(found), dict(found.columns), ledger.rows()) == (4, {"image": "image"}, [])


def test_texts_that_belong_to_no_picture_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "cat" / "1.jpg", picture(1))
    put(tmp_path / "cat" / "2.txt", "a cat")
    with pytest.raises(
        ValueError, match=r"a \.txt caption beside each, .*; of 1 picture there none has one$"
    ):
        records(tmp_path)


def test_texts_about_a_folder_are_no_captions(tmp_path: Path) -> None:
    put(tmp_path / "cat" / "1.jpg", picture(1))
    put(tmp_path / "cat" / "2.jpg", picture(2))
    put(tmp_path / "LICENSE.txt", "free")
    put(tmp_path / "cat" / "ReadMe.txt", "these are cats")
    found, ledger = records(tmp_path)
    assert len(found) == 2
    assert ledger["reason"].to_list() == ["text without a picture"] * 2


def test_links_lead_nowhere_lost_links_folders_around_not(
    tmp_path: Path,
) -> None:
    for k in range(120):
        put(tmp_path / "it" / "ab"[k % 2] / f"{k}.png", picture(k))
    (tmp_path / "it" / "a" / "gone.png").symlink_to("nothing.png")
    (tmp_path / "it" / "a" / "back").symlink_to("..")
    (tmp_path / "it" / "b" / "self").symlink_to(".")
    data = load_any(str(tmp_path / "it"))
    assert len(data) == 120
    assert any("gone.png" in told for told in data.findings().values())


def test_folder_called_like_world_is_reported_and_read_by_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for k in range(10):
        put(tmp_path / "digits" / f"{k}.png", picture(k))
    put(
        tmp_path / "digits,2.csv",
        "file_name,text\n" + "".join(f"digits/{k}.png,text {k}\n" for k in range(10)),
    )
    monkeypatch.chdir(tmp_path)
    _slot.cache_clear()  # another test may have opened them
    with caplog.at_level("INFO", "counterpoint"):
        assert len(load_any("digits")) > 1000
    assert "not the folder of that name: write ./digits for the folder" in caplog.text
    assert len(load_any("./digits")) == len(load_any("digits,2.csv")) == 10


def test_the_folder_of_a_kind_is_a_label(tmp_path: Path) -> None:
    for k in range(6):
        pair(tmp_path / ("cat" if k % 2 else "dog") / "more", k)
    found, _ = records(tmp_path)
    assert [record.labels for record in found] == [{"folder": "cat"}] * 3 + [{"folder": "dog"}] * 3
    pair(tmp_path, 7)
    assert [record.labels for record in records(tmp_path)[0]] == [{}] * 7


def test_translations_are_no_captions(tmp_path: Path) -> None:
    pair(tmp_path, 0, "A heart.\nde.utf8=Ein Herz.\npt_BR.utf8=Um.\nsr@latin.utf8=Srce.\nAnother line\n")
    pair(tmp_path, 1, "x = y.utf8")
    found, ledger = records(tmp_path)
    assert texts(found) == [("A heart.", "Another line"), ("x = y.utf8",)]
    assert ledger.select("kind", "reason").rows() == [("passed over", "translations")]


def test_texts_of_other_encodings_and_empty_ones(tmp_path: Path) -> None:
    pair(tmp_path, 0, "caf\xe9".encode("latin-1"))
    pair(tmp_path, 1, "caf\xe9".encode("utf-16"))
    pair(tmp_path, 2, " \n")
    found, ledger = records(tmp_path)
    assert texts(found) == [("café",), ("café",)]
    assert ledger.select("kind", "reason").rows() == [
        ("guessed", "not UTF-8, read as Windows-1252"),
        ("lost", "empty caption"),
    ]


def test_a_shard_keeps_what_is_whole_and_lists_the_rest(tmp_path: Path) -> None:
    files = {}
    for k in range(20):
        files |= {f"{k}.png": picture(k), f"{k}.txt": f"caf\xe9 {k}".encode("latin-1" if k == 3 else "utf-8")}
    files |= {"alone.txt": b"no picture", "20.png": picture(20), "21.png": picture(21), "21.json": b"{"}
    path = tar(tmp_path / "it" / "000.tar", files)
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("22.png")
        link.type, link.linkname = tarfile.SYMTYPE, "0.png"
        archive.addfile(link)
    found, ledger = records(tmp_path / "it")
    assert [each[0] for each in texts(found)] == [f"café {k}" for k in range(20)]
    assert ledger.select("kind", "reason", "row").rows() == [
        ("passed over", "link or device in a shard", "22.png"),
        ("guessed", "not UTF-8, read as Windows-1252", "3.txt"),
        ("passed over", "no picture in an example", "alone"),
        ("lost", "broken JSON", "21.json"),
        ("lost", "no caption", "20"),
    ]


@pytest.mark.parametrize("share", [0.3, 0.5, 0.503, 0.9, 0.999])
def test_a_shard_that_is_cut_keeps_what_came_before(tmp_path: Path, share: float) -> None:
    files = {}
    for k in range(30):
        files |= {f"{k}.json": json.dumps({"text": f"caption {k}"}).encode(), f"{k}.png": picture(k)}
    path = tar(tmp_path / "000.tar", files)
    whole = path.read_bytes().rstrip(b"\0")
    path.write_bytes(whole[: int(len(whole) * share)])
    found, ledger = records(path)
    assert abs(len(found) - 30 * share) <= 1
    assert [each[0] for each in texts(found)] == [f"caption {k}" for k in range(len(found))]
    assert all(found.assets("image")[k].read_bytes() == picture(k) for k in range(len(found)))
    assert ledger["reason"].to_list() in (["shard cut short or damaged"], ["shard without an end mark"])


def test_a_shard_that_is_damaged_in_its_midst(tmp_path: Path) -> None:
    files = {f"{k}.{s}": picture(k) if s == "png" else b"a text" for k in range(30) for s in ("png", "txt")}
    path = tar(tmp_path / "000.tar", files)
    with tarfile.open(path) as archive:
        header = archive.getmember("20.png").offset
    content = bytearray(path.read_bytes())
    content[header : header + 100] = b"?" * 100
    path.write_bytes(bytes(content))
    found, ledger = records(path)
    assert len(found) == 20
    assert ledger.select("kind", "reason").rows() == [("lost", "shard cut short or damaged")]


@pytest.mark.parametrize("files", ["png txt", "txt png"])
def test_a_shard_that_is_cut_between_two_files_of_an_example(tmp_path: Path, files: str) -> None:
    names = {
        f"{k}.{kind}": picture(k) if kind == "png" else b"a caption"
        for k in range(3)
        for kind in files.split()
    }
    path = tar(tmp_path / "000.tar", names)
    with tarfile.open(path) as opened:
        last = opened.getmembers()[-1]
    path.write_bytes(path.read_bytes()[: last.offset])
    found, ledger = records(path)
    assert len(found) == 2
    assert ledger.select("kind", "reason", "row").rows() == [("lost", "shard cut short or damaged", "2")]


def test_pictures_of_one_name_of_one_group_and_sounds_belong_to(tmp_path: Path) -> None:
    for k in range(2):
        pair(tmp_path / "deep" / "er", k)
    put(tmp_path / "deep" / "er" / "0.svg", "<svg/>")
    put(tmp_path / "deep" / "er" / "0.txt", "caption 0\nde.utf8=Null\n")
    put(tmp_path / "deep" / "er" / "1.ogg", b"sound")
    put(tmp_path / "deep" / "er" / "1_desc_de.ogg", b"spoken")
    found, ledger = records(tmp_path)
    assert [(r.key, r.group) for r in found] == [
        ("deep/er/0.png", "deep/er/0"),
        ("deep/er/0.svg", "deep/er/0"),
        ("deep/er/1.png", None),
    ]
    assert dict(found.columns) == {"image": "image", "text": "text", "audio": "audio"}
    assert [r.cells["audio"] for r in found] == [None, None, Asset.of(tmp_path / "deep" / "er" / "1.ogg")]
    assert [(reason, Path(file).name) for _, reason, file, _ in ledger.rows()] == [
        ("audio of no picture", "1_desc_de.ogg"),
        ("translations", "0.txt"),
    ]


@pytest.mark.parametrize("suffix", ["txt", "caption", "json"])
def test_captions_beside_a_picture_come_in_three_forms(tmp_path: Path, suffix: str) -> None:
    for k, side in enumerate(("train", "test")):
        put(tmp_path / f"{k}.png", picture(k))
        facts = {"caption": [f"caption {k}", "again"], "split": side, "id": k, "group": "g", "kind": "cat"}
        put(tmp_path / f"{k}.{suffix}", json.dumps(facts) if suffix == "json" else f"caption {k}\nagain\n")
    put(tmp_path / "of no picture.json", "{}")
    found, ledger = records(tmp_path)
    assert texts(found) == [("caption 0", "again"), ("caption 1", "again")]
    assert ledger.select("reason").rows() == [(".json file",)]
    if suffix == "json":
        assert [(r.id, r.split, r.group, r.labels) for r in found] == [
            ("0", "train", "g", {"kind": "cat", "group": "g"}),
            ("1", "test", "g", {"kind": "cat", "group": "g"}),
        ]


def test_ids_beside_pictures_are_all_numbers_or_all_texts(tmp_path: Path) -> None:
    for k, name in enumerate((5, "five", 6)):
        put(tmp_path / f"{k}.png", picture(k))
        put(tmp_path / f"{k}.json", json.dumps({"text": f"caption {k}", "id": name}))
    with pytest.raises(
        ValueError, match=r'of them 5 \(.*0\.json\), and some texts, .* "five" \(.*1\.json\): write'
    ):
        records(tmp_path)


def test_json_that_is_broken_or_says_nothing_is_lost_and_named(tmp_path: Path) -> None:
    for k, said in enumerate(("{", "{}", '{"text": "a"}')):
        put(tmp_path / f"{k}.png", picture(k))
        put(tmp_path / f"{k}.json", said)
    found, ledger = records(tmp_path)
    assert texts(found) == [("a",)]
    assert ledger.select("kind", "reason").rows() == [("lost", "broken JSON"), ("lost", "empty caption")]


def test_json_that_says_no_caption_of_any_picture_holds_labels(tmp_path: Path) -> None:
    for k in range(60):
        put(tmp_path / f"{k}.png", picture(k))
        if k:
            put(tmp_path / f"{k}.json", json.dumps({"species": ("owl", "eagle")[k % 2], "split": "train"}))
    put(tmp_path / "1.json", "[]")
    put(tmp_path / "2.json", "{")
    found, ledger = records(tmp_path)
    assert dict(found.columns) == {"image": "image"}
    assert ledger.select("kind", "reason").rows() == [("lost", "broken JSON")]
    told = {r.key: (r.split, r.labels) for r in found}
    assert len(told) == 59
    assert (told["0.png"], told["1.png"], told["3.png"]) == (
        (None, {}),
        (None, {}),
        ("train", {"species": "eagle"}),
    )
    data = load_any(str(tmp_path))
    assert "text" not in data.columns
    assert data.labels["species"].names == ("eagle", "owl")


@pytest.mark.parametrize("said", [{"species": "owl"}, {"species": "owl", "text": ""}])
def test_picture_without_a_caption_among_those_with_one_is_lost(tmp_path: Path, said: dict[str, str]) -> None:
    for k, each in enumerate(({"species": "owl", "text": ""}, said)):
        put(tmp_path / f"{k}.png", picture(k))
        put(tmp_path / f"{k}.json", json.dumps(each))
    found, ledger = records(tmp_path)
    assert len(found) == 0
    assert ledger["reason"].to_list() == ["empty caption"] * 2
    put(tmp_path / "0.json", json.dumps({"text": "an owl"}))
    found, ledger = records(tmp_path)
    assert texts(found) == [("an owl",)]
    assert ledger["reason"].to_list() == ["empty caption"]


@pytest.mark.parametrize(
    ("option", "captions"),
    [
        ("captions=name", ["snowy owl 2", "eagle"]),
        ("captions=folder", ["birds", "birds"]),
        ("captions=path", ["animals birds snowy owl 2", "animals birds eagle"]),
        ("captions=name:a photo of a {}", ["a photo of a snowy owl 2", "a photo of a eagle"]),
    ],
)
def test_captions_from_names(tmp_path: Path, option: str, captions: list[str]) -> None:
    for k, name in enumerate(("snowy_owl-2", "eagle")):
        put(tmp_path / "animals" / "birds" / f"{name}.png", picture(k))
    put(tmp_path / "animals" / "birds" / "eagle.txt", "not asked for")
    found = read(f"{tmp_path},{option}", Ledger())
    assert sorted(each[0] for each in texts(found)) == sorted(captions)


def test_captions_from_names_that_cannot_be(tmp_path: Path) -> None:
    put(tmp_path / "1.png", picture(1))
    for option, message in (
        ("captions=stem", "unknown part of a file's path to take captions from 'stem'.*folder, name, path"),
        ("captions=name:a photo", "a sentence has one {} where the name goes"),
    ):
        with pytest.raises(ValueError, match=message):
            read(f"{tmp_path},{option}", Ledger())
    ledger = Ledger()
    assert len(read(f"{tmp_path},captions=folder", ledger)) == 0
    assert ledger.frame["reason"].to_list() == ["empty caption"]


STAMPS = Path("/usr/share/tuxpaint/stamps")


@pytest.mark.skipif(not STAMPS.is_dir(), reason="Debian's package tuxpaint-stamps-default is not installed")
def test_stamps_as_they_lie() -> None:
    found, ledger = records(STAMPS)
    drawn = [record for record in found if record.key.endswith(".svg")]
    assert len(found) > 1000
    assert len(drawn) > 200
    assert all(record.group for record in drawn)
    assert all(len(each) == 1 and "utf8=" not in each[0] for each in texts(found))
    assert found.having("audio").sum() > 100
    assert set(found.labels()["folder"]) >= {"animals", "food", "symbols"}
    counts = dict(ledger.group_by("reason").len().iter_rows())
    assert counts["translations"] > 900
    assert counts["audio of no picture"] > 7000
    assert counts[".dat file"] == 532


def installed(package: str, inside: str) -> Path:
    """Return a folder of a package that is installed for tests alone."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"the package of {package} is not installed")
    return Path(spec.submodule_search_locations[0]) / inside


def test_icons_that_are_named_by_their_paths() -> None:
    icons = installed("material", "templates/.icons/fontawesome")
    found = read(f"{icons},captions=path:an icon of {{}}", Ledger())
    captions = {record.key: record.cells["text"] for record in found}
    assert len(found) > 1500
    assert captions["brands/github.svg"] == ("an icon of brands github",)
    alone = read(str(icons), Ledger())
    assert (len(alone), dict(alone.columns)) == (len(found), {"image": "image"})


def test_icons_that_lie_there_twice_are_on_one_side_of_a_split(tmp_path: Path) -> None:
    """As in fontawesomefree: the same drawings in two folders, under the same names."""
    svgs = installed("fontawesomefree", "static/fontawesomefree")
    for folder in ("one", "other"):
        for file in sorted((svgs / "svgs" / "brands").glob("a*.svg"))[:20]:
            put(tmp_path / folder / file.name, file.read_bytes())
    data = load(f"{tmp_path},captions=name", 6)
    sides = {row: side for side, rows in data.splits.sides.items() for row in rows.tolist()}
    names: dict[str, set[str]] = {}
    for row in range(len(data)):
        names.setdefault(Path(data.key(row)).name, set()).add(sides[row])
    assert len(names) == 20
    assert all(len(side) == 1 for side in names.values())


def test_script_makes_data_set_of_icons_with_their_search_terms(tmp_path: Path) -> None:
    installed("fontawesomefree", "")
    script = Path(__file__).parents[3] / "scripts" / "font_awesome.py"
    subprocess.run([sys.executable, script, tmp_path / "icons"], check=True)
    found, ledger = records(tmp_path / "icons")
    assert len(found) > 2000
    assert not len(ledger)
    heart = {record.key: record for record in found}["solid/heart"]
    assert heart.group == "heart"
    assert heart.labels["style"] == "solid"
    assert {"Heart", "love"} <= set(heart.cells["text"] or ())
    styles = found.frame.filter(group="heart").height
    assert styles == 2


def test_whole_folders_are_held_out_where_a_user_asks_for_it(tmp_path: Path) -> None:
    for number in range(120):
        put(tmp_path / "photos" / f"kind {number // 4}" / f"{number}.png", picture(number))
    data = load_any(f"{tmp_path / 'photos'},group=folder")
    kinds = data.classes["folder"].values
    of_side = {name: set(kinds[rows]) for name, rows in data.splits.sides.items()}
    assert all(of_side.values())
    assert sum(map(len, of_side.values())) == len(set(kinds)) == 30
    plain = load_any(str(tmp_path / "photos"))
    assert set(kinds[plain.splits.test["held out"]]) & set(kinds[plain.splits.train])
    with pytest.raises(ValueError, match="'folders'"):
        load_any(f"{tmp_path / 'photos'},group=folders")


def test_a_name_that_is_not_utf_8_loses_its_picture_alone(tmp_path: Path) -> None:
    for number in range(4):
        pair(tmp_path / "it", number)
    (tmp_path / "it" / "caf\udce9.png").write_bytes(picture(9))
    (tmp_path / "it" / "caf\udce9.txt").write_text("a café")
    (tmp_path / "it" / "notes\udce9.md").write_text("of whoever made it")
    found, left_out = records(tmp_path / "it")
    assert len(found) == 4
    assert left_out.filter(kind="lost").select("reason", "file").rows() == [
        ("name that is not UTF-8", f"{tmp_path / 'it'}/caf\\udce9.png")
    ]
    assert any(file.endswith("notes\\udce9.md") for file in left_out["file"])


def test_folders_link_to_each_other_are_read_once_below_each(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        pair(tmp_path / "it" / name, number)
    (tmp_path / "it" / "a" / "other").symlink_to(tmp_path / "it" / "b")
    (tmp_path / "it" / "b" / "other").symlink_to(tmp_path / "it" / "a")
    found, _ = records(tmp_path / "it")
    assert found.frame["key"].to_list() == ["a/0.png", "a/other/1.png", "b/1.png", "b/other/0.png"]


def test_links_to_files_and_folders_elsewhere_are_read(tmp_path: Path) -> None:
    pair(tmp_path / "elsewhere" / "all", 0)
    pair(tmp_path / "elsewhere", 1)
    (tmp_path / "it").mkdir()
    (tmp_path / "it" / "some").symlink_to(tmp_path / "elsewhere" / "all")
    for name in ("1.png", "1.txt"):
        (tmp_path / "it" / name).symlink_to(tmp_path / "elsewhere" / name)
    found, _ = records(tmp_path / "it")
    assert sorted(found.frame["key"]) == ["1.png", "some/0.png"]


def test_half_character_in_json_is_marked_and_costs_nothing_else(tmp_path: Path) -> None:
    put(tmp_path / "it" / "0.png", picture(0))
    put(tmp_path / "it" / "0.json", r'{"text": "a cat \ud83d", "mood": "\ude00", "tags": ["\ud83d", "red"]}')
    (record,) = records(tmp_path / "it")[0]
    assert record.cells["text"] == ("a cat \N{REPLACEMENT CHARACTER}",)
    assert dict(record.labels) == {
        "mood": "\N{REPLACEMENT CHARACTER}",
        "tags": '["\N{REPLACEMENT CHARACTER}", "red"]',
    }


def test_a_folder_may_be_called_like_a_shard(tmp_path: Path) -> None:
    for number in range(3):
        pair(tmp_path / "it.tar", number)
    assert len(records(tmp_path / "it.tar")[0]) == 3


@pytest.mark.parametrize("name", ["", " "])
def test_no_name_is_not_the_current_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        pair(tmp_path, number)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no data is named"):
        load_any(name)


def wave_file(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(1600))


def test_a_folder_is_read_by_its_only_table(tmp_path: Path) -> None:
    for k in range(6):
        wave_file(tmp_path / f"p{k}.wav")
    table = tmp_path / "transcripts.csv"
    table.write_text("\n".join(["file,prompt", *(f"p{k}.wav,please press {k} now" for k in range(6))]))
    ledger = Ledger()
    records = read(str(tmp_path), ledger)
    assert records.columns == {"audio": "audio", "text": "text"}
    assert records.frame["text"].to_list()[2] == ["please press 2 now"]
    assert "the only table of the folder names its files" in ledger.frame["detail"].to_list()


def test_a_folder_of_sounds_is_told_about_sounds(tmp_path: Path) -> None:
    wave_file(tmp_path / "p0.wav")
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("file,prompt\np0.wav,please press now\n")
    with pytest.raises(
        ValueError, match=r"expected sounds, .* the table that names the files: a\.csv, b\.csv$"
    ):
        read(str(tmp_path), Ledger())


def test_captions_beside_the_files_win_over_a_table(tmp_path: Path) -> None:
    wave_file(tmp_path / "p0.wav")
    (tmp_path / "p0.txt").write_text("a beep")
    (tmp_path / "sources.csv").write_text("file,origin\np0.wav,my own recordings here\n")
    assert read(str(tmp_path), Ledger()).frame["text"].to_list() == [["a beep"]]


def described_by_one_table(folder: Path) -> None:
    """Write two sounds and a table of any name that captions them."""
    folder.mkdir(exist_ok=True)
    for k in range(2):
        wave_file(folder / f"p{k}.wav")
    (folder / "transcripts.csv").write_text("file,prompt\np0.wav,please press zero now\np1.wav,a long beep\n")


def test_captions_in_json_win_over_the_only_table(tmp_path: Path) -> None:
    described_by_one_table(tmp_path)
    (tmp_path / "p1.json").write_text('{"caption": "from beside"}')  # of the second file alone
    assert read(str(tmp_path), Ledger()).frame["text"].to_list() == [["from beside"]]


def test_labels_in_json_leave_captions_to_the_only_table(tmp_path: Path) -> None:
    described_by_one_table(tmp_path)
    (tmp_path / "p0.json").write_text('{"speaker": "ann"}')
    assert read(str(tmp_path), Ledger()).frame["text"].to_list()[0] == ["please press zero now"]


def test_split_folders_win_over_the_only_table(tmp_path: Path) -> None:
    described_by_one_table(tmp_path)
    for side in ("train", "test"):
        (tmp_path / side).mkdir()
        wave_file(tmp_path / side / "one.wav")
        (tmp_path / side / "one.txt").write_text(f"a beep of {side}")
    assert read(str(tmp_path), Ledger()).frame["split"].to_list() == ["test", "train"]


def test_captions_from_names_taken_although_table_captions_files(tmp_path: Path) -> None:
    described_by_one_table(tmp_path / "sounds")
    frame = read(f"{tmp_path / 'sounds'},captions=path", Ledger()).frame
    assert frame["text"].to_list() == [["p0"], ["p1"]]
