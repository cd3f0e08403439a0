"""counterpoint evaluate: it says what it scored, on whatever data, from whatever folder."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from counterpoint.cli import main
from counterpoint.data.source import located
from fixtures.files import write_pairs


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pairs under a relative name, a run on them, and other tables of the same pictures."""
    folder = tmp_path_factory.mktemp("work")
    table = pl.read_csv(write_pairs(folder / "pairs"))
    table = table.with_columns(file_name=pl.concat_str(pl.lit("pairs/"), "file_name"))
    table.drop("split").write_csv(folder / "without.csv")
    table.drop("group").with_columns(split=pl.lit("test")).write_csv(folder / "tests.csv")
    words = ["train", "clip", "--data", "pairs", "--out", "run", "--steps", "2", "--batch-size", "16"]
    words += ["--towers.image-size", "16", "--towers.vocabulary", "300", "--tasks", "retrieval"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(words) == 0
    return folder


def test_rows_it_trained_on_are_left_out_of_other_data_and_said(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(work)
    trained = pl.read_parquet("run/data.parquet")["split"].str.contains("train").sum()
    assert 0 < trained < 70
    assert main(["evaluate", "run", "--data", "without.csv", "--out", str(tmp_path / "scores")]) == 0
    said = capsys.readouterr().out
    assert f"scored: {70 - trained} of 70 rows of without.csv, which has no splits of its own" in said
    assert f"trained on: {trained} of the 70 pictures of without.csv, left out" in said
    assert "probe learns from the training rows, so it is asked about the test rows alone" in said
    found = json.loads((tmp_path / "scores" / "evaluation.json").read_text())
    assert found["rows"] == {"all rows": 70 - trained}
    by_task = {row["task"]: row for row in found["scores"] if row["subset"] == "all"}
    assert (by_task["retrieval"]["test"], by_task["retrieval"]["n"]) == ("all rows", 70 - trained)
    assert by_task["probe"]["test"] == "held out"
    assert by_task["probe"]["n"] < 70 - trained
    assert all(row["low"] <= row["value"] <= row["high"] for row in found["scores"])
    examples = pl.read_parquet(tmp_path / "scores" / "examples.parquet")
    assert len(examples.filter(task="retrieval", outcome="i2t_R@1")) == 70 - trained
    assert main(["evaluate", "run", "--data", "without.csv", "--split", "test", "--tasks", "retrieval"]) == 0
    assert "scored: the test rows of without.csv" in capsys.readouterr().out


def test_what_was_guessed_is_said_of_the_data_that_were_opened(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from counterpoint.study import side_by_side  # before the function below takes the place of its own

    monkeypatch.chdir(work)
    table = pl.read_csv("without.csv")
    table.select("file_name", first="text", second=pl.col("text") + ".").write_csv("guessed.csv")
    monkeypatch.setattr("counterpoint.data.source.load_any", lambda *_: pytest.fail("opened again"))
    assert side_by_side
    words = ["evaluate", "run", "--data", "guessed.csv", "--split", "all", "--tasks", "retrieval"]
    assert main(words) == 0
    assert "guessed: " in capsys.readouterr().out


def test_rows_scored_where_asked_and_those_of_training_counted(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(work)
    words = ["evaluate", "run", "--split", "all", "--tasks", "retrieval", "--data"]
    assert main([*words, "without.csv", "--out", str(tmp_path / "scores")]) == 0
    said = capsys.readouterr().out
    assert "scored: all 70 rows of without.csv" in said
    assert "of the 70 pictures of without.csv, scored with the others" in said
    assert json.loads((tmp_path / "scores" / "evaluation.json").read_text())["rows"] == {"all rows": 70}


def test_data_without_a_row_that_is_new_to_the_run_are_refused(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(work)
    split = pl.read_parquet("run/data.parquet")["split"]
    table = pl.read_csv("without.csv").filter(split.str.contains("train"))
    table.with_columns(split=pl.lit("test")).write_csv("seen.csv")
    assert main(["evaluate", "run", "--data", "seen.csv", "--tasks", "retrieval"]) == 1
    assert "seen.csv has no other rows to score: give other data, or --split all" in capsys.readouterr().err


def test_table_test_and_has_no_labels_scored_with_word_on_rest(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(work)
    assert main(["evaluate", "run", "--data", "tests.csv", "--json"]) == 0
    said = capsys.readouterr()
    assert {row["task"] for row in json.loads(said.out)} == {"retrieval", "shift"}
    assert "scored: the test rows of tests.csv: 40 of 'held out'; it has 70 rows" in said.err
    assert "left out: zero_shot needs labels, and 'tests.csv' has none" in said.err
    assert "left out: probe needs labels" in said.err or "left out: probe learns" in said.err


def test_data_is_found_from_another_folder_and_missed_by_name(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", str(work / "run"), "--tasks", "retrieval"]) == 0
    assert (
        f"scored: the test rows of {work / 'pairs'}: 20 of 'held out'; it has 70 rows"
        in capsys.readouterr().out
    )
    (work / "pairs").rename(work / "moved")
    try:
        assert main(["evaluate", str(work / "run"), "--tasks", "retrieval"]) == 1
        assert (
            f"the data 'pairs' of the run is not here, nor where the run was begun ({work})"
            in capsys.readouterr().err
        )
        assert (
            main(["evaluate", str(work / "run"), "--data", str(work / "moved"), "--tasks", "retrieval"]) == 0
        )
    finally:
        (work / "moved").rename(work / "pairs")


def test_the_scores_of_a_run_are_not_written_over(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(work / "run"), "--out", str(work / "run")]) == 1
    assert "holds a run: give another folder with --out" in capsys.readouterr().err


def test_names_and_benchmarks_are_located_too(tmp_path: Path) -> None:
    (tmp_path / "emoji").mkdir()
    (tmp_path / "copy").mkdir()
    assert located("emoji", str(tmp_path)) == "emoji"
    assert located("scenes:basic,train=8", str(tmp_path)) == "scenes:basic,train=8"
    assert located("winoground:copy", str(tmp_path)) == f"winoground:{tmp_path / 'copy'}"
    with pytest.raises(FileNotFoundError, match="say where it is with --data"):
        located("gone.csv", None)
