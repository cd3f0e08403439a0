"""Tables as people have them: encodings, separators, pictures inside, ids of any kind, one line for what is wrong."""

from __future__ import annotations

import io
import json
from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from counterpoint.data.listed.pairs import Pairs
from counterpoint.data.source import load, load_any, located, short_name
from counterpoint.data.sources import Ledger, Records, SourceOptions, read


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty pictures, ``0.png`` to ``39.png``."""
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "it").mkdir()
    for k in range(40):
        (tmp_path / "it" / f"{k}.png").write_bytes(picture(k))
    return tmp_path / "it"


def written(folder: Path, text: str, name: str = "t.csv", encoding: str = "utf-8") -> Path:
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


def records(path: Path | str) -> tuple[Records, pl.DataFrame]:
    ledger = Ledger()
    return read(str(path), ledger), ledger.frame


def texts(found: Records) -> list[tuple[str, ...]]:
    return [tuple(each) for each in found.frame["text"].to_list()]


def test_a_table_of_another_name_is_found_by_its_path_alone(folder: Path) -> None:
    (folder / "sub").mkdir()
    path = written(folder / "sub", "file_name,text\n../0.png,a\n", "LABELS.CSV")
    with pytest.raises(ValueError, match=r"; give the path of the table that names the files: LABELS\.CSV$"):
        records(path.parent)
    assert len(records(f"{path},outside=yes")[0]) == 1


def test_cell_may_be_longer_than_the_csv_module_takes_by_itself(folder: Path) -> None:
    long = "word " * 40_000
    notes = "".join(f"{k}.png,text {k},short\n" for k in range(1, 10))
    path = written(folder, f'file_name,text,note\n0.png,a,"{long}"\n{notes}')
    found, _ = records(path)
    assert found[0].labels["note"] == long.strip()
    data = load(str(path))
    assert data.labels == {}
    assert data.refused == {"note": "a text of 199,999 characters, which names no class"}


ROWS = "".join(f"{k}.png,caption {k} é\n" for k in range(5))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_encodings_and_separators(folder: Path, encoding: str, separator: str) -> None:
    text = ("file_name,text\n" + ROWS).replace(",", separator).replace("\n", "\r\n")
    found, ledger = records(written(folder, text, encoding=encoding))
    assert texts(found) == [(f"caption {k} é",) for k in range(5)]
    assert [record.key for record in found] == [f"{k}.png" for k in range(5)]
    guessed = [("guessed", "not UTF-8, read as Windows-1252")] if encoding == "cp1252" else []
    assert ledger.select("kind", "reason").rows() == guessed


def test_jsonl_in_latin_1_and_with_values_of_every_kind(folder: Path) -> None:
    lines = [
        {"file_name": "0.png", "text": "café", "id": 7, "level": 1, "good": True},
        {"file_name": "./1.png", "text": ["one", " ", "two "], "id": 8.0, "level": 2.0, "good": False},
        {"text": 3, "file_name": "2.png", "id": 9, "extra": [1]},
    ]
    text = "\n\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    found, _ = records(written(folder, text, "t.jsonl", "latin-1"))
    assert texts(found) == [("café",), ("one", "two"), ("3",)]
    assert [r.id for r in found] == ["7", "8", "9"]
    assert [dict(r.labels) for r in found] == [
        {"level": "1", "good": "true"},
        {"level": "2", "good": "false"},
        {},
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "t.csv",
            'file_name,text\n0.png,a\n1.png,"b\n2.png,c\n3.png,d\n',
            r"t\.csv cannot be read as \.csv: line 3: a quote is opened here and never closed$",
        ),
        (
            "t.csv",
            'file_name,text\n0.png,a\n1.png,"b\n2.png,c\n3.png,d"\n',
            "line 3: a quote is opened here and only closed in another row$",
        ),
        (
            "t.csv",
            "file_name,,text\n0.png,0,a\n1.png,1,b\n",
            "column 2 of 3 has no name in the header: write one there, or take the column out$",
        ),
        (
            "t.csv",
            "file_name,text,text\n0.png,a,b\n",
            "the header names 'text' twice: give each column a name of its own, or take one out$",
        ),
        (
            "t.csv",
            "\nfile_name,text\n0.png,a\n",
            "first line is blank, where the columns are named: take it out$",
        ),
        (
            "t.csv",
            "0.png,a red car\n1.png,a blue car\n",
            "the first line names the file '0.png' and no columns: write a line above it with the names of the columns",
        ),
        (
            "t.csv",
            "file_name,text\n0.png,a\n1.png,b, and c\n",
            "line 3: 3 fields, where the header names 2: put a text that holds ',' in quotes$",
        ),
        (
            "t.csv",
            "name,words\n0,a\n",
            r"no column for the picture; expected one of file_name, .*, found \['name', 'words'\]",
        ),
        (
            "t.csv",
            "file_name,text,split\n0.png,a,train\n0.png,b,test\n",
            r"0\.png is in train in row 1 and in test in row 2$",
        ),
        ("t.csv", "\0\0\xff\xfe\0", r"t\.csv is no text: save it as UTF-8"),
        (
            "t.jsonl",
            '{"file_name": "0.png", "text": "a"}\n{"file_name": "1.png"\n',
            r"t\.jsonl cannot be read as \.jsonl: line 2: ",
        ),
        ("t.jsonl", '[{"file_name": "0.png", "text": "a"}]\n', "line 1: expected an object like"),
        (
            "t.jsonl",
            '{"file_name": "0.png", "text": {"en": "a", "de": "b"}}\n',
            "line 1: text holds an object with en, de; expected a text or a list of texts$",
        ),
        (
            "t.jsonl",
            '{"file_name": "0.png", "text": "a", "id": [1]}\n',
            "line 1: id is a list; expected a text or a number$",
        ),
        (
            "t.jsonl",
            '{"file_name": 3, "text": "a"}\n',
            "line 1: file_name is the int 3; expected the path of a picture$",
        ),
        (
            "t.jsonl",
            '{"file_name": ["0.png", "1.png"], "text": "a"}\n',
            "line 1: file_name is a list; expected the path of a picture; a row has one picture: write a row for each",
        ),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(folder: Path, name: str, text: str, message: str) -> None:
    path = written(folder, text, name, "latin-1" if "\xff" in text else "utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        records(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_quote_within_a_text_and_texts_of_several_lines(folder: Path) -> None:
    text = 'file_name,text\n0.png,5" nails\n1.png,"roses, red\nviolets, ""blue"""\n\n2.png,c,\n'
    found, _ = records(written(folder, text))
    assert [each[0] for each in texts(found)] == ['5" nails', 'roses, red\nviolets, "blue"', "c"]


def test_what_cannot_be_used_is_in_the_ledger_with_its_row(folder: Path) -> None:
    text = "file_name,text\n0.png,a\n,b\n1.png, \ngone.png,c\n2\0.png,d\n3.png,e\n"
    found, ledger = records(written(folder, text))
    assert [r.key for r in found] == ["0.png", "3.png"]
    assert ledger.select("kind", "reason", "row").rows() == [
        ("lost", "no picture named", "2"),
        ("lost", "empty caption", "3"),
        ("lost", "NUL in a name", "5"),
        ("lost", "no such file", "4"),
    ]


def test_captions_of_one_picture_are_joined_in_order(folder: Path) -> None:
    text = "file_name,text\n" + "".join(f"{k % 3}.png,caption {k}\n" for k in range(9))
    found, _ = records(written(folder, text))
    assert texts(found) == [tuple(f"caption {k + j}" for j in (0, 3, 6)) for k in range(3)]


def test_pictures_within_parquet_as_datasets_writes_them(folder: Path) -> None:
    rows = [
        {
            "image": {"bytes": picture(k), "path": f"{k}.jpg"},
            "text": f"caption {k}",
            "captions": ["x"],
            "kind": k % 2,
        }
        for k in range(40)
    ]
    path = folder / "train-00000-of-00001.parquet"
    pl.DataFrame(rows).write_parquet(path, row_group_size=7)
    data = Pairs(path, 8)
    assert data.key(3) == "3.jpg"
    assert [data.captions(k) for k in range(40)] == [(f"caption {k}",) for k in range(40)]
    beside = Pairs(written(folder, "file_name,text\n" + "".join(f"{k}.png,x {k}\n" for k in range(40))), 8)
    assert (data.images(np.arange(40)) == beside.images(np.arange(40))).all()
    assert data.labels["kind"].names == ("0", "1")


def test_broken_picture_within_parquet_named_and_bytes_are_not(folder: Path) -> None:
    rows = [{"image": picture(k) if k < 39 else b"\x89PNG broken", "text": f"caption {k}"} for k in range(40)]
    path = folder / "t.parquet"
    pl.DataFrame(rows).write_parquet(path)
    data = Pairs(path, 8)
    assert len(data) == 39
    line = data.findings()["lost: broken picture"]
    assert line.startswith(f"1: {path}, row 40, column image: ")
    assert len(line) < 300


def test_bytes_that_are_no_example_are_named_by_column_and_row(folder: Path) -> None:
    path = folder / "t.parquet"
    pl.DataFrame({"scan": [b"\x80 neither"] * 3, "text": ["a", "b", "c"]}).write_parquet(path)
    for modality in ("image", "audio"):
        with pytest.raises(ValueError, match=r"t\.parquet, row 1, column scan: "):
            load_any(f"{path},columns={modality}:scan+text:text")


def test_a_number_in_place_of_the_name_of_a_file_is_refused(folder: Path) -> None:
    path = folder / "t.jsonl"
    path.write_text('{"image": {"path": 5}, "text": "a"}\n')
    with pytest.raises(ValueError, match=r"line 1: image is the int 5; expected the path of a picture"):
        load_any(str(path))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            {"text": [{"en": "a", "de": "b"}]},
            r"the column text holds Struct.*; expected texts or lists of texts",
        ),
        (
            {"text": ["a"], "image": [["x"]]},
            r"the column image holds List\(String\); expected paths of pictures, or",
        ),
    ],
)
def test_parquet_columns_that_hold_something_else(
    folder: Path, column: dict[str, list[object]], message: str
) -> None:
    pl.DataFrame({"image": ["0.png"]} | column).write_parquet(folder / "t.parquet")
    with pytest.raises(ValueError, match=message):
        records(folder / "t.parquet")


def table(folder: Path, **columns: list[object]) -> Pairs:
    rows = {
        "file_name": [f"{k}.png" for k in range(40)],
        "text": [f"caption {k}" for k in range(40)],
    } | columns
    pl.DataFrame(rows).write_parquet(folder / "t.parquet")
    return Pairs(folder / "t.parquet", 8)


def test_ids_of_every_kind(folder: Path) -> None:
    assert list(table(folder, id=[float(10 * k) for k in range(40)]).ids[:3]) == [0, 10, 20]
    texts = table(folder, id=[f"case {k}" for k in range(40)])
    assert (texts.key(2), len(set(texts.ids))) == ("case 2", 40)
    again = table(folder, id=[f"case {39 - k}" for k in range(40)])
    assert list(again.ids) == list(texts.ids[::-1])
    padded = table(folder, id=[f"{k:03d}" for k in range(40)])
    assert padded.key(7) == "007"
    large = table(folder, id=[str(2**64 + k) for k in range(40)])
    assert large.key(1) == str(2**64 + 1)
    assert large.ids.min() >= 0
    assert list(table(folder).ids) == list(range(40))
    assert table(folder).key(4) == "4.png"


def test_whole_numbers_are_labels_and_what_is_none_is_told(folder: Path) -> None:
    data = table(
        folder,
        digit=[k % 10 for k in range(40)],
        level=[float(k % 3) for k in range(40)],
        indoors=[k % 2 == 0 for k in range(40)],
        width=[640] * 40,
        score=[k / 7 for k in range(40)],
    )
    assert data.labels["digit"].names == tuple(map(str, range(10)))
    assert list(data.labels["digit"].values[:12]) == [*range(10), 0, 1]
    assert data.labels["level"].names == ("0", "1", "2")
    assert data.labels["indoors"].names == ("false", "true")
    assert data.labels["score"].kind == "numbers"
    assert data.findings()["columns that are no labels"] == "width (1 value); a label has 2 to 200 values"


def test_numbers_are_classes_in_their_order(folder: Path) -> None:
    rows = "".join(f"{k}.png,caption {k},{k % 12}\n" for k in range(40))
    data = Pairs(written(folder, "file_name,text,month\n" + rows), 8)
    assert data.labels["month"].names == tuple(map(str, range(12)))


def test_dates_are_read_as_they_are_written(folder: Path) -> None:
    days = [date(2026, 11, 1 + k % 4) for k in range(40)]
    times = [datetime(2026, 11, 1, k % 3) for k in range(40)]
    data = table(folder, day=days, at=times)
    assert data.labels["day"].names == tuple(map(str, days[:4]))
    assert data.labels["at"].names == tuple(f"{each}.000000" for each in times[:3])
    rows = "".join(f"{k}.png,caption {k},{day}\n" for k, day in enumerate(days))
    same = Pairs(written(folder, "file_name,text,day\n" + rows), 8).labels["day"]
    assert (same.names, list(same.values)) == (data.labels["day"].names, list(data.labels["day"].values))


def test_folders_of_splits_within_a_table(folder: Path) -> None:
    for side in ("train", "test"):
        (folder / side).mkdir()
    names = [f"{'test' if k % 4 == 0 else 'train'}/{k}.png" for k in range(40)]
    for k, name in enumerate(names):
        (folder / name).write_bytes(picture(k))
    rows = "".join(f"{name},caption {k}\n" for k, name in enumerate(names))
    data = Pairs(written(folder, "file_name,text\n" + rows, "metadata.csv").parent, 8)
    assert list(data.splits.test["held out"]) == list(range(0, 40, 4))


def test_one_tolerance_for_whatever_is_lost(folder: Path) -> None:
    (folder / "5.png").write_bytes(b"broken")
    rows = "".join(f"{k}.png,{'' if k == 6 else f'caption {k}'}\n" for k in range(40))
    path = written(folder, "file_name,text\n" + rows)
    with pytest.raises(
        ValueError, match=r"2 of 40 examples cannot be used: 1 × empty caption .*; 1 × broken picture"
    ):
        Pairs(path, 8)
    data = Pairs(path, 8, SourceOptions(broken=0.05))
    assert len(data) == 38
    ledger = pl.read_csv(data.findings()["all that was left out"])
    assert ledger["reason"].to_list() == ["empty caption", "broken picture"]
    written(folder, "file_name,text\n" + rows.replace("6.png,", "6.png,mended").replace("5.png", "4.png"))
    mended = Pairs(path, 8)
    assert mended.findings()["left out"] == "none"


def test_a_table_of_datasets_with_its_classes_by_name(folder: Path) -> None:
    import datasets

    form = {
        "image": datasets.Image(),
        "text": datasets.Value("string"),
        "kind": datasets.ClassLabel(names=["a", "b"]),
    }
    columns = {
        "image": [Image.open(io.BytesIO(picture(k))) for k in range(40)],
        "text": [f"caption {k}" for k in range(40)],
        "kind": [k % 2 for k in range(40)],
    }
    made = datasets.Dataset.from_dict(columns, features=datasets.Features(form))
    made.to_parquet(str(folder / "t.parquet"))
    data = Pairs(folder / "t.parquet", 8)
    assert data.labels["kind"].names == ("a", "b")
    assert (data.images(np.array([5])) == table(folder).images(np.array([5]))).all()


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.jsonl"])
def test_a_path_with_a_bracket_is_a_path_and_no_pattern(folder: Path, name: str) -> None:
    path = folder / "a[b" / name
    path.parent.mkdir()
    table = pl.DataFrame({"file_name": ["../0.png"], "caption": ["a thing"]})
    write = {".parquet": table.write_parquet, ".csv": table.write_csv, ".jsonl": table.write_ndjson}
    write[path.suffix](path)
    found, _ = records(f"{path},outside=yes")
    assert len(found) == 1


def test_the_tolerance_is_an_option_of_what_data_are_called(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "5.png").write_bytes(b"broken")
    rows = "".join(f"{k}.png,{'' if k == 6 else f'caption {k}'}\n" for k in range(40))
    path = written(folder, "file_name,text\n" + rows)
    with pytest.raises(ValueError, match=r"at most 1 % may be left out; --broken SHARE allows"):
        load(str(path))
    data = load(f"{path},broken=0.05")
    assert len(data) == 38
    assert load(f"{path},broken=0.05") is data
    assert short_name(f"{path},broken=0.05") == path.stem
    monkeypatch.chdir(folder.parent)  # a run that was begun beside the table
    relative = f"{path.name},broken=0.05"
    assert located(relative, str(path.parent)) == f"{path},broken=0.05"
    for wrong in ("a few", "1", "-0.1", "nan"):
        with pytest.raises(ValueError, match=r"^broken=.*: the share of rows that may be left out is"):
            load(f"{path},broken={wrong}")


def test_paths_lead_out_of_folder_are_read_where_user_allows_it(folder: Path) -> None:
    (folder.parent / "0.png").write_bytes(picture(0))
    (folder / "sub").mkdir()
    (folder / "sub" / "1.png").write_bytes(picture(1))
    names = [
        str(folder.parent / "0.png"),
        "../0.png",
        "sub/../../0.png",
        str(folder / "sub" / "1.png"),
        "sub/../2.png",
    ]
    path = written(folder, "file_name,text\n" + "".join(f"{name},a\n" for name in names))
    found, ledger = records(path)
    assert [record.key for record in found] == names[3:]
    assert ledger["reason"].unique().to_list() == [
        "path that leads out of the table's folder (--allow-outside reads such)"
    ]
    assert ledger["row"].to_list() == ["1", "2", "3"]
    assert len(records(f"{path},outside=yes")[0]) == 5
    with pytest.raises(
        ValueError, match="outside=maybe: whether paths may lead out of the folder is yes or no"
    ):
        records(f"{path},outside=maybe")
    with pytest.raises(
        ValueError, match=r"3 of 5 examples cannot be used: 3 × path that leads out .*--allow-outside"
    ):
        load(str(path))


def test_address_in_a_table_of_this_machine_is_left_out_as_such(folder: Path) -> None:
    addresses = ("https://example.org/0.png", "S3://bucket/0.png", "sftp://host/0.png")
    lines = "".join(f"{address},a\n" for address in addresses)
    path = written(folder, f"file_name,text\n{lines}0.png,b\nfile:///0.png,c\n")
    found, ledger = records(path)
    assert [record.key for record in found] == ["0.png"]
    address = "address of another machine (--allow-outside fetches such files)"
    assert ledger["reason"].to_list() == [address] * 3 + ["no such file"]


def test_a_parquet_table_without_rows_says_so(folder: Path) -> None:
    pl.DataFrame(schema={"a": pl.String, "b": pl.Int64}).write_parquet(folder / "none.parquet")
    with pytest.raises(ValueError, match=r"none\.parquet has no rows"):
        records(folder / "none.parquet")


@pytest.mark.parametrize(
    ("name", "text"), [("none.csv", ""), ("none.csv", "file_name,text\n"), ("none.jsonl", "")]
)
def test_a_table_without_rows_says_so(name: str, text: str, folder: Path) -> None:
    path = written(folder, text, name)
    with pytest.raises(ValueError, match=rf"{name} has no rows$"):
        records(path)


def test_an_empty_table_among_several_refuses_nothing(folder: Path) -> None:
    tables = folder / "tables"
    tables.mkdir()
    (tables / "train.csv").write_text("question,answer\nwho is it,the postman is it\n")
    (tables / "test.csv").write_text("question,answer\n")
    pl.DataFrame(schema={"a": pl.String, "b": pl.Int64}).write_parquet(tables / "val.parquet")
    found, _ = records(tables)
    assert [record.split for record in found] == ["train"]
    assert "image" not in found.columns


@pytest.mark.parametrize("place", ["metadata/captions.csv", "captions/all.csv", "data/train.csv"])
@pytest.mark.parametrize("above", [True, False], ids=["above", "beside"])
def test_a_table_in_a_folder_of_its_own_describes_the_one_above(
    folder: Path, place: str, above: bool
) -> None:
    table = folder / place
    table.parent.mkdir()
    if not above:
        (table.parent / "0.png").write_bytes(picture(9))
    table.write_text("file_name,text\n0.png,a thing\n")
    found, _ = records(folder)
    (asset,) = found.assets("image")
    assert asset.read_bytes() == picture(0 if above else 9)


def test_pictures_in_a_table_need_no_names(folder: Path) -> None:
    held = [{"bytes": (folder / f"{k}.png").read_bytes()} for k in range(3)]
    pl.DataFrame({"image": held, "text": ["a", "b", "c"]}).write_parquet(folder / "t.parquet")
    found, _ = records(folder / "t.parquet")
    assert texts(found) == [("a",), ("b",), ("c",)]
    assert [asset.read_bytes() for asset in found.assets("image")] == [each["bytes"] for each in held]


@pytest.mark.parametrize("several", [False, True], ids=["a row a picture", "columns"])
def test_ids_are_all_numbers_or_all_texts(several: bool, folder: Path) -> None:
    rows: list[dict[str, object]] = [{"file_name": f"{k}.png", "text": f"cap {k}", "id": k} for k in range(9)]
    rows[4]["id"] = None
    rows[6]["id"], rows[7]["id"] = "a", "b"
    lines = [json.dumps(row | ({"sound": f"{k}.wav"} if several else {})) for k, row in enumerate(rows)]
    path = written(folder, "\n".join(lines), "t.jsonl")
    columns = ",columns=image:file_name+audio:sound+text:text+id:id" if several else ""
    with pytest.raises(ValueError, match="some ids are numbers") as caught:
        records(f"{path}{columns}")
    assert str(caught.value) == (
        f"{path}: some ids are numbers, the first of them 0 ({path}, line 1), and some texts, the first of them "
        f'"a" ({path}, line 7): write all of them as numbers, or all of them as texts'
    )
    found, _ = records(written(folder, "file_name,text,id\n0.png,x,1\n1.png,y,2\n2.png,z,a\n"))
    assert [record.id for record in found] == ["1", "2", "a"]  # a CSV has texts alone


def test_links_in_folder_followed_and_no_way_up_from_where_lead(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere"
    (elsewhere / "linked").mkdir(parents=True)
    for place in ("secret.png", "linked/90.png"):
        (elsewhere / place).write_bytes(picture(90))
    (folder / "pictures").symlink_to(elsewhere / "linked")
    (folder / "one.png").symlink_to(elsewhere / "secret.png")
    (folder / "sub").mkdir()
    names = ["pictures/90.png", "one.png", "sub/../0.png", "pictures/../secret.png", "pictures/../0.png"]
    path = written(folder, "file_name,text\n" + "".join(f"{name},a\n" for name in names))
    found, left_out = records(path)
    assert found.frame["key"].to_list() == names[:3]
    assert left_out["row"].to_list() == ["4", "5"]
    assert left_out["reason"].unique().to_list() == [
        "path that leads out of the table's folder (--allow-outside reads such)"
    ]


def test_half_a_character_in_a_table_is_marked(folder: Path) -> None:
    path = written(
        folder,
        r'{"file_name": "0.png", "text": "a \ud83d"}' "\n" r'{"file_name": "\ud83d.png", "text": "b"}',
        "t.jsonl",
    )
    found, left_out = records(path)
    assert texts(found) == [("a \N{REPLACEMENT CHARACTER}",)]
    assert left_out["reason"].to_list() == ["no such file"]


@pytest.mark.parametrize("name", ["图" * 80, "caf\udce9"])
def test_what_a_source_of_any_name_loses_is_listed(folder: Path, name: str) -> None:
    path = written(
        folder, "file_name,text\n" + "".join(f"{k}.png,cap {k}\n" for k in range(41)), f"{name}.csv"
    )
    left_out = Pairs(path, 8).report.ledger
    assert left_out is not None
    assert pl.read_csv(left_out)["reason"].to_list() == ["no such file"]
