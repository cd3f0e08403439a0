"""Tables whose columns have names of their own: ``--columns image=path text=alt``."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from counterpoint.cli import main
from counterpoint.cli.common.files import FileOptions
from counterpoint.data import sources
from counterpoint.data.derived.mixture import parts_of
from counterpoint.data.listed.pairs import Pairs
from counterpoint.data.source import load, load_any, located, short_name, with_columns
from counterpoint.data.sources import Ledger, SourceOptions, columns_of, read
from counterpoint.data.sources.tables import _parts
from fixtures.files import bitmap

COLUMNS = {"image": "path", "text": "alt", "id": "uid", "group": "product", "split": "fold"}
SIDES = ["train"] * 20 + ["validation"] * 4 + ["test"] * 4
ROWS = [
    {"path": f"{k}.bmp", "alt": f"caption {k}", "uid": 10 * k, "product": f"p{k // 2}", "fold": side}
    | {"file_name": "none.png", "text": "not this", "id": "nor this", "kind": ("cat", "dog")[k % 2]}
    for k, side in enumerate(SIDES)
]


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    for k in range(len(ROWS)):
        (tmp_path / f"{k}.bmp").write_bytes(bitmap(k))


def table(folder: Path, suffix: str) -> str:
    frame, path = pl.DataFrame(ROWS), folder / f"it.{suffix}"
    writers = {"csv": frame.write_csv, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}
    writers[suffix](path)
    return str(path)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_columns_are_what_the_user_says_and_others_are_labels(suffix: str, tmp_path: Path) -> None:
    data = load(table(tmp_path, suffix), 6, columns=COLUMNS)
    assert isinstance(data, Pairs)
    assert [data.captions(row) for row in range(3)] == [("caption 0",), ("caption 1",), ("caption 2",)]
    assert data.ids.tolist() == [10 * k for k in range(len(ROWS))]
    assert [len(rows) for rows in data.splits.sides.values()] == [20, 4, 4]
    assert data.labels["product"].names[:2] == ("p0", "p1")
    assert data.labels["kind"].names == ("cat", "dog")


def test_name_of_data_says_columns_and_is_found_from_elsewhere(tmp_path: Path) -> None:
    path = table(tmp_path, "parquet")
    named = with_columns(f"{path},broken=0.1", COLUMNS)
    assert load_any(named, 6) is load_any(named, 6)
    assert short_name(named) == "it"
    assert located(named.replace(f"{tmp_path}/", ""), str(tmp_path)) == named


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": "picture"}, r"there is no column 'picture' for the image; found \['path', 'alt', "),
        (
            {"image": "path", "id": "held"},
            r"the column held for the id holds List\(Int64\); expected texts or numbers",
        ),
        (
            {"image": "path", "text": "pairs"},
            r"the column pairs holds Struct.*; expected texts or lists of texts",
        ),
        (
            {"image": "path", "text": "scans"},
            r"scans holds List\(Binary\); .* a row has one picture: write a row for",
        ),
        (
            {"image": "scans"},
            r"scans holds List\(Binary\); expected paths .*; a row has one picture: write a row for",
        ),
        ({"image": "uid"}, r"the column uid holds Int64; expected paths of pictures"),
        (
            {"picture": "path"},
            "unknown use of a column 'picture': .*known: audio, boxes, group, id, image, .*split, table, talk, text",
        ),
        ({"image": "a+b"}, r"the column 'a\+b' cannot be named here for its '\+'"),
        ({"a=b": "a=b"}, "the column 'a=b' cannot be named here for its '='"),
    ],
)
def test_columns_that_cannot_be_are_refused(columns: dict[str, str], message: str, tmp_path: Path) -> None:
    held = {"held": [[1]], "pairs": [{"a": "b"}], "scans": [[b"1", b"2"]]}
    pl.DataFrame(ROWS[:1]).hstack(pl.DataFrame(held)).write_parquet(tmp_path / "it.parquet")
    with pytest.raises(ValueError, match=message) as told:
        load(str(tmp_path / "it.parquet"), columns=columns)
    assert "\n" not in str(told.value)


def test_a_use_that_is_named_twice_or_not_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="--columns names the image twice: a and b"):
        columns_of(["image=a", "image=b"])
    with pytest.raises(ValueError, match="--columns =path: write WHAT=COLUMN, for example image=path"):
        columns_of(["=path"])


def test_columns_of_what_is_no_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="columns= says nothing about what is read by FolderSource; leave it out"
    ):
        load(str(tmp_path), columns={"image": "path"})


@pytest.mark.parametrize("between", [" ", ","])
def test_the_command_takes_them(between: str, tmp_path: Path) -> None:
    columns = between.join(f"{role}={column}" for role, column in COLUMNS.items()).split()
    command = [
        "data",
        "show",
        table(tmp_path, "csv"),
        "--out",
        str(tmp_path / "it.png"),
        "--columns",
        *columns,
    ]
    assert main(command) == 0
    assert (tmp_path / "it.png").is_file()


def test_options_that_say_nothing_or_cannot_be_said_are_refused() -> None:
    with pytest.raises(ValueError, match="--columns says how files are read: give it with --data"):
        FileOptions(columns=("image=a",)).of(None)
    with pytest.raises(
        ValueError, match=r"--captions 'name:a photo, of \{\}': the sentence cannot hold a comma"
    ):
        FileOptions(captions="name:a photo, of {}").of("photos")
    assert (
        FileOptions(captions="name:a {}", allow_outside=True).of("photos")
        == "photos,captions=name:a {},outside=yes"
    )
    assert FileOptions().of("photos") == "photos"


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_template_joins_columns(suffix: str, tmp_path: Path) -> None:
    named = FileOptions(columns=("image=path", "id=uid", "text=a {kind}, {alt} + {fold}.")).of(
        table(tmp_path, suffix)
    )
    assert parts_of(named) == []
    data = load_any(named, 6)
    assert isinstance(data, Pairs)
    assert data.captions(3) == ("a dog, caption 3 + train.",)
    assert "kind" not in data.labels


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_template_joins_lists_and_leaves_out_what_is_empty(suffix: str, tmp_path: Path) -> None:
    rows = [
        {
            "file_name": f"{k}.bmp",
            "name": f"n{k % 3}" if k % 3 else "",
            "tags": ["a", "b"][: k % 3],
            "kind": "icon",
        }
        for k in range(9)
    ]
    frame, path = pl.DataFrame(rows), tmp_path / f"it.{suffix}"
    {"jsonl": frame.write_ndjson, "parquet": frame.write_parquet}[suffix](path)
    ledger = Ledger()
    records = read(f"{path},columns=text:{{name}}%2C {{tags}}", ledger)
    assert records.frame["text"].to_list() == [["n1, a"], ["n2, a, b"]] * 3
    assert ledger.frame["reason"].to_list() == ["empty caption"] * 3
    with_kind = read(f"{path},columns=image:file_name+text:{{name}}%2C {{tags}}; {{kind}}", Ledger())
    assert with_kind.frame["text"].to_list()[:3] == [["icon"], ["n1, a; icon"], ["n2, a, b; icon"]]


@pytest.mark.parametrize(
    ("words", "columns"),
    [
        (["image=path,text={name}"], {"image": "path", "text": "{name}"}),
        (["text={name}, {tags},split=fold"], {"text": "{name}, {tags}", "split": "fold"}),
        (["text={a}: 50%, {b} + c"], {"text": "{a}: 50%, {b} + c"}),
        (["text=50%2C"], {"text": "50%2C"}),
    ],
)
def test_columns_are_read_from_name_of_data_as_they_were_typed(
    words: list[str], columns: dict[str, str]
) -> None:
    assert SourceOptions.of(with_columns("table.csv", columns_of(words))).columns == columns


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["image={a}, {b}"], 'a template makes captions: write "text={a}, {b}"'),
        (["text={a}", "text=b"], "names the text twice"),
    ],
)
def test_templates_that_cannot_be_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        columns_of(words)


def test_a_column_of_a_template_that_is_not_there_is_named(tmp_path: Path) -> None:
    named = with_columns(table(tmp_path, "csv"), {"image": "path", "text": "{alt}, {kinds}"})
    with pytest.raises(ValueError, match=r"there is no column 'kinds' for the text.*did you mean 'kind'"):
        load_any(named, 6)


@pytest.mark.parametrize(
    ("columns", "taken"),
    [
        ({"note": "a long text of row {}", "Title": "t{}"}, "Title"),
        ({"Local names": "the names of row {}", "Food Name": "f{}"}, "Food Name"),
        ({"note": "a long text of row {}", "artist name": "x{}"}, "note"),
        ({"note": "a long text of row {}", "class_name": "x"}, "note"),
        ({"name": "cat", "kind": "x"}, None),
    ],
)
def test_names_and_titles_win_over_the_longest_text(
    columns: dict[str, str], taken: str | None, tmp_path: Path
) -> None:
    rows = [{"file": f"{k}.bmp"} | {name: it.format(k) for name, it in columns.items()} for k in range(20)]
    pl.DataFrame(rows).write_csv(tmp_path / "it.csv")
    pl.DataFrame(rows).write_parquet(tmp_path / "it.parquet")
    for path in (tmp_path / "it.csv", tmp_path / "it.parquet"):
        records = read(str(path), Ledger())
        assert records.headers.get("text") == (None if taken is None else (taken,))


def test_parts_of_a_table_are_read_by_its_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"file": f"{k}.bmp", "Title": f"t{k}" if k < 20 else "", "note": f"the note of row {k}"}
        for k in range(28)
    ]
    pl.DataFrame(rows).write_csv(tmp_path / "it.csv")
    whole = read(str(tmp_path / "it.csv"), Ledger())
    monkeypatch.setattr(_parts, "MOST_BYTES", 100)
    monkeypatch.setattr(_parts, "PART_BYTES", 100)
    _parts._spans_of.cache_clear()
    shards = sources.shards(str(tmp_path / "it.csv"), ledger := Ledger())
    assert len(shards) > 2
    parts = [sources.open_shard(shard, ledger) for shard in shards]
    assert sum(len(part) for part in parts) == len(whole) == 20
    assert {part.headers["text"] for part in parts if len(part)} == {("Title",)}
    assert ledger.frame.filter(kind="guessed")["detail"].to_list() == [
        "text = 'Title'; also possible: 'note' (--columns \"text=note\")"
    ]
