"""Options of a data set as a whole: what may be broken, what stays together, how much is held out."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from counterpoint.cli._files import Files
from counterpoint.data.source import load
from counterpoint.data.sources import Options
from fixtures.files import write_pairs


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    path = write_pairs(tmp_path / "pairs")
    pl.read_csv(path).drop("split").write_csv(path)
    return path


def test_they_are_read_from_the_name(table: Path, tmp_path: Path) -> None:
    few = load(f"{table},held-out=3")
    assert max(len(few.splits.test["held out"]), len(few.splits.validation["held out"])) <= 3
    traits = list((tmp_path / "cache").rglob("traits-*/*.parquet"))
    assert traits
    for file in traits:
        file.unlink()
    alone = load(f"{table},group=none")
    assert "look" not in alone.leaked
    assert not list((tmp_path / "cache").rglob("traits-*/*.parquet")), "none is hashed"


def test_a_name_of_an_earlier_run_is_read() -> None:
    assert Options.parse("tolerance=0.05") == Options.parse("broken=0.05") == Options(broken=0.05)


def test_the_command_writes_them_into_the_name() -> None:
    files = Files(broken=0.05, group="none", held_out=100)
    assert files.of("pairs.csv") == "pairs.csv,broken=0.05,group=none,held-out=100"
    assert Files().of("pairs.csv") == "pairs.csv"
    with pytest.raises(ValueError, match="--broken says how files are read: give it with --data"):
        files.of(None)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("broken=2", "broken=2: the share of rows that may be left out is a number from 0 to below 1"),
        ("group=no", "unknown way to keep pictures together 'no': did you mean 'none'?"),
        ("held-out=0", "held-out=0: the rows of validation and of test are a whole number from 1 on"),
        ("held-out=few", "held-out=few: the rows"),
    ],
)
def test_wrong_values_are_refused(option: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        Options.parse(option)
