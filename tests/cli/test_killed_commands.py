"""Commands that are killed at random moments, again and again: what they leave is what an undisturbed one leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from counterpoint.data.sharded.index import ShardIndex
from fixtures import killed_commands
from fixtures.compared import same
from fixtures.shards import write_shards

pytestmark = [pytest.mark.slow, pytest.mark.system]


def killed(folder: Path, ranks: int, first: str, *words: str) -> tuple[Path, Path]:
    """Return the folders that an undisturbed command and one that was killed have left."""
    done = subprocess.run(
        [sys.executable, "-P", killed_commands.__file__, folder, str(ranks), first, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    logs = {path.name: path.read_text() for path in folder.glob("*.log")}
    assert done.returncode == 0, (done.stderr, logs)
    return folder / "whole", folder / "killed"


@pytest.mark.parametrize(("mode", "ranks"), [("auto", 1), ("fsdp", 2)])
def test_a_run_ends_as_if_it_had_not_been(mode: str, ranks: int, pairs: Path, tmp_path: Path) -> None:
    words = [
        "train",
        "clip",
        "--data",
        str(pairs),
        "--parallel.mode",
        mode,
        "--out",
        "{out}",
        "--steps",
        "40",
    ]
    words += ["--batch-size", "16", "--log-every", "1", "--checkpoint-every", "1", "--tasks", "retrieval"]
    words += ["--towers.image-size", "16", "--towers.vocabulary", "300", "--widths.embedding", "32"]
    whole, other = killed(tmp_path, ranks, "checkpoint/step-*", *words)
    same(whole, other)
    assert pl.read_parquet(other / "examples.parquet").equals(pl.read_parquet(whole / "examples.parquet"))


def test_an_index_is_the_index_of_one_start(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards")
    words = ["data", "index", str(shards), "--jobs", "1", "--out", "{out}"]
    whole, other = killed(tmp_path, 1, "counted-*.jsonl", *words)
    assert ShardIndex.open(other).digest == ShardIndex.open(whole).digest


def test_a_description_says_the_same(pairs: Path, tmp_path: Path) -> None:
    words = ["data", "describe", str(pairs), "--json", "--card", "{out}/card.md", "--out", "{out}/alike.png"]
    whole, other = killed(tmp_path, 1, "*", *words)
    said = other.with_suffix(".log").read_text()
    assert said == whole.with_suffix(".log").read_text().replace(str(whole), str(other))
    assert sorted(path.name for path in other.iterdir()) == sorted(path.name for path in whole.iterdir())
    for path in whole.iterdir():
        assert (other / path.name).read_bytes() == path.read_bytes()
