"""A verdict is never about runs that were made of different things, and a finished run is never written again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from counterpoint.data.fingerprint import ROW_SCHEMA
from counterpoint.files import DamagedFileError
from counterpoint.recipes import Recipe, override
from counterpoint.study.design import OtherStudyError
from counterpoint.study.study import resummarise
from counterpoint.study.summary import FinishedRun
from counterpoint.study.training.runner import run
from counterpoint.study.training.study import compare
from counterpoint.training.loop import TrainingProgress
from counterpoint.training.record.provenance import ChangedDataError, counts
from counterpoint.training.run import OtherRunError, Run
from counterpoint.trust import given
from fixtures.files import write_pairs
from fixtures.run_folders import marks

LOSS = """
import torch
class Mine(torch.nn.Module):
    def forward(self, image, text):
        return (image - text).square().sum() * {factor}
"""


@pytest.fixture(scope="module")
def options(recipe: Recipe) -> dict[str, Any]:
    return {
        "data": "pairs",
        "recipe": override(recipe, {"steps": 3}),
        "tasks": ("retrieval",),
        "folder": "study",
        "jobs": 1,
    }


@pytest.fixture(scope="module")
def finished(options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        write_pairs(folder / "pairs")
        compare("clip", seeds=1, **options)
    return folder


@pytest.fixture(autouse=True)
def place(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pairs and a study of them, named from within their folder."""
    shutil.copytree(finished, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


def _edit(change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    table = Path("pairs/metadata.csv")
    change(pl.read_csv(table)).write_csv(table)


def _other_test_captions(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        pl.when(pl.col("split") == "test")
        .then(pl.col("text") + " there")
        .otherwise(pl.col("text"))
        .alias("text")
    )


def _fewer_test_rows(frame: pl.DataFrame) -> pl.DataFrame:
    first = frame["split"].to_list().index("test")
    return frame.with_columns(
        pl.when(pl.int_range(pl.len()) == first)
        .then(pl.lit("train"))
        .otherwise(pl.col("split"))
        .alias("split")
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_other_test_captions, r"(\d+) of \1 test captions differ\)"),
        (_fewer_test_rows, r"1 of 70 rows are in another split(, \d+ of \d+ train labels differ)?\)"),
        (lambda frame: frame.head(60), "10 of 70 rows are gone"),
    ],
    ids=["captions", "splits", "rows"],
)
def test_an_arm_does_not_join_a_study_of_other_data(
    change: Callable[[pl.DataFrame], pl.DataFrame], told: str, options: dict[str, Any]
) -> None:
    before = marks(Path("study"))
    _edit(change)
    with pytest.raises(
        OtherStudyError, match=rf"^pairs changed \({told}.*--out, or delete these runs: runs/clip/seed-0$"
    ):
        compare("clip", "align", seeds=1, **options)
    assert marks(Path("study")) == before, "what is refused leaves no trace"
    shutil.rmtree("study/runs")
    assert compare("clip", "align", seeds=1, **options).summary.plain()["arms"][1]["failed"] == []


def test_a_stopped_run_does_not_go_on_with_other_data(options: dict[str, Any]) -> None:
    what = Run("clip", "pairs", options["recipe"], 1)

    def stop(progress: TrainingProgress) -> None:
        if progress.step == 2:
            raise _Stop

    with pytest.raises(_Stop):
        run(what, Path("run"), tasks=("retrieval",), on_step=stop)
    _edit(_other_test_captions)
    with pytest.raises(
        ChangedDataError, match=r"pairs changed \(.* test captions differ\) since the run in run began"
    ):
        run(what, Path("run"), tasks=("retrieval",))


def test_a_loss_that_was_edited_is_another_loss(options: dict[str, Any]) -> None:
    Path("my_loss.py").write_text(LOSS.format(factor=1))
    arm = "./my_loss.py:Mine"
    what = Run(arm, "pairs", options["recipe"], 0)
    given(arm)
    run(what, Path("run"), tasks=("retrieval",))
    compare(arm, seeds=1, **options)
    Path("my_loss.py").write_text(LOSS.format(factor=2))
    with pytest.raises(ChangedDataError, match=r"my_loss\.py changed since the run in run began"):
        run(what, Path("run"), tasks=("retrieval",))
    with pytest.raises(
        OtherStudyError, match=r"my_loss\.py changed since the study in study began.*Mine[^,]*/seed-0$"
    ):
        compare(arm, seeds=2, **options)


def test_start_weights_that_were_replaced_are_others(options: dict[str, Any]) -> None:
    source = Run("clip", "pairs", options["recipe"], 5)
    run(source, Path("start"), tasks=("retrieval",))
    what = Run("clip,image=cnn@start", "pairs", options["recipe"], 0)
    run(what, Path("run"), tasks=("retrieval",))
    run(what, Path("run"), tasks=("retrieval",))
    shutil.rmtree("start")
    run(Run("clip", "pairs", options["recipe"], 6), Path("start"), tasks=("retrieval",))
    with pytest.raises(ChangedDataError, match=r"^start changed since"):
        run(what, Path("run"), tasks=("retrieval",))
    shutil.rmtree("start")
    assert run(what, Path("run"), tasks=("retrieval",)).status == "finished", "they are not needed any more"


@pytest.mark.parametrize("known", [True, False])
def test_a_verdict_is_never_about_other_examples(known: bool, options: dict[str, Any]) -> None:
    compare("clip", seeds=2, **options)
    _edit(_fewer_test_rows)
    shutil.rmtree("study/runs/clip/seed-1")
    run(Run("clip", "pairs", options["recipe"], 1), Path("study/runs/clip/seed-1"), tasks=("retrieval",))
    if not known:  # the files say that both were made of the same
        for name in ("provenance.json", "data.parquet"):
            shutil.copy(f"study/runs/clip/seed-0/{name}", f"study/runs/clip/seed-1/{name}")
    told = (
        r"1 of 70 rows are in another split" if known else r"1 examples of retrieval \(.*\) are in one alone"
    )
    with pytest.raises(
        OtherRunError, match=rf"runs/clip/seed-0 and runs/clip/seed-1 of study cannot be compared: .*{told}"
    ):
        resummarise("study")


def test_nothing_of_a_finished_run_is_written_again(options: dict[str, Any]) -> None:
    before = marks(Path("study/runs"))
    assert "clip/seed-0/environment.json" in before
    compare("clip", seeds=1, **options)
    resummarise("study")
    resummarise("study", margin=0.2)
    run(Run("clip", "pairs", options["recipe"], 0), Path("study/runs/clip/seed-0"), tasks=("retrieval",))
    compare("clip", seeds=2, **options)
    after = marks(Path("study/runs"))
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("content", [b"", b"PAR1", b"{", b"\xff\xfejunk", b"[]", b"null"])
@pytest.mark.parametrize("name", ["provenance.json", "data.parquet"])
def test_what_a_run_was_made_of_can_be_damaged_too(name: str, content: bytes) -> None:
    folder = Path("study/runs/clip/seed-0")
    (folder / name).write_bytes(content)
    with pytest.raises(DamagedFileError, match=rf"{name} is damaged"):
        FinishedRun.read(folder)


def test_what_differs_is_counted_by_ids() -> None:
    def rows(ids: list[int], captions: list[int]) -> pl.DataFrame:
        split = ["test: held out" if k < 3 else "train" for k in range(len(ids))]
        same = [7] * len(ids)
        columns = {"id": ids, "split": split, "captions": captions, "pictures": same, "labels": same}
        return pl.DataFrame(columns, schema=ROW_SCHEMA)

    old = rows([1, 2, 3, 4, 5], [10, 20, 30, 40, 50])
    before, after = {"captions": "a", "ids": "x"}, {"captions": "b", "ids": "y"}
    assert (
        counts(before, after, old, rows([1, 2, 3, 4, 5], [10, 21, 31, 40, 50]))
        == "2 of 3 test captions differ"
    )
    assert counts(before, after, old, rows([1, 2, 3, 4, 6], [10, 20, 30, 41, 50])) == (
        "1 of 5 rows are gone, 1 rows are new, 1 of 1 train captions differ"
    )
    assert counts(before, after, old, old) == "the order or the names of ids, captions differ"
    assert counts(before, after, old.clear(), old.clear()) == "ids, captions differ"


class _Stop(Exception):
    """The error that ends a run at once."""
