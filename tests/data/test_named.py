"""Checks of a data set's name, which refuse what opening the data would refuse."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from counterpoint.data.named import check_named, header_of
from counterpoint.data.source import load_any
from counterpoint.data.sources import Ledger, read
from counterpoint.registry import UnknownNameError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a table of each kind and a file of Python."""
    monkeypatch.chdir(tmp_path)
    rows = pl.DataFrame({"image": ["a.png"], "title": ["a cat"], "alt": ["b"]})
    rows.write_csv("pairs.csv")
    rows.write_csv("pairs.tsv", separator="\t")
    rows.write_csv("other.csv", separator=";")
    rows.write_parquet("pairs.parquet")
    rows.write_ndjson("pairs.jsonl")
    rows.write_csv("a,b=c.csv")
    Path("data.py").write_text("WAVES = 1\n")
    return tmp_path


@pytest.mark.parametrize(
    "source",
    [
        "emoji",
        "scenes:basic,train=24",
        "stamps:it,language=de",
        "winoground:nowhere",
        "voxels:emoji",
        "hf:name",
        "s3://bucket/pairs.csv",
        "shards/{000..099}.tar",
        "*.csv",
        "@shards.txt",
        "data.py:WAVES",
        "pairs.csv,broken=0.1,columns=image+text:title+alt",
        "pairs.csv,missing=text:0.4,in=train",
        "other.csv,columns=image+text:title",
        "a,b=c.csv,columns=text:title",
        "emoji + pairs.csv,share=0.5",
    ],
)
def test_what_may_be_data_is_left_to_its_reader(source: str) -> None:
    check_named(source)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("nothere.csv", FileNotFoundError),
        ("nothere/pairs.csv,broken=0.1", FileNotFoundError),
        ("nothere.py:WAVES", FileNotFoundError),
        ("emojj", UnknownNameError),
        ("pairs.csv,columns=image:imge", ValueError),
        ("pairs.tsv,columns=text:titel", ValueError),
        ("pairs.parquet,columns=image+text:title+alto", ValueError),
    ],
)
def test_the_message_is_that_of_opening_the_data(source: str, error: type[Exception]) -> None:
    with pytest.raises(error) as quick:
        check_named(source)
    with pytest.raises(error) as opened:
        load_any(source)
    assert str(quick.value) == str(opened.value)


def test_one_of_several_sources_is_refused() -> None:
    with pytest.raises(FileNotFoundError, match=r"no data at 'nothere.csv"):
        check_named("emoji + nothere.csv,share=0.5")


def test_a_header_is_read_of_tables_alone() -> None:
    names = ["image", "title", "alt"]
    for ending in ("csv", "tsv", "parquet"):
        assert header_of(Path(f"pairs.{ending}")) == names
    assert header_of(Path("data.py")) is None
    assert header_of(Path("other.csv")) is None  # another delimiter
    assert header_of(Path("pairs.jsonl")) is None  # further rows may have further columns


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("lacking.jsonl", '{"image": "a.png"}\n{"image": "a.png", "alt": "a red cat"}\n', "image+text:alt"),
        ("spaced.csv", "image , alt\na.png,a red cat\n", "image+text:alt"),
        ("semicolons.csv", "image;alt, with a comma\na.png;a red cat\n", "image:image+text:{image}"),
        ("percent.csv", "image,alt%20text\na.png,a red cat\n", "image+text:alt%20text"),
        ("equals.csv", "image,alt\na.png,a red cat\n", "image=image+text=alt"),
    ],
)
def test_a_table_that_opens_is_not_refused(name: str, text: str, options: str) -> None:
    Image.new("RGB", (4, 4)).save("a.png")
    Path(name).write_text(text)
    source = f"{name},columns={options}"
    assert len(read(source, Ledger()))
    check_named(source)
