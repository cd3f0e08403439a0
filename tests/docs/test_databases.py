"""Commands of the page on use, said to the databases that they are for."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from fixtures.vectors_folder import unit_vectors, write_vectors

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "embed.md").read_text(encoding="utf-8")
EXTENSIONS = sorted(Path("/usr/share/postgresql").glob("*/extension/vector.control"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the vectors that the page is about."""
    monkeypatch.chdir(tmp_path)
    write_vectors(tmp_path / "vectors", {"text": unit_vectors(40, 384, 0)})
    return tmp_path


def block(kind: str, has: str) -> str:
    blocks = re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (found,) = (block for block in blocks if has in block)
    return found


@pytest.mark.usefixtures("folder")
def test_duckdb_finds_the_first_row_itself_first() -> None:
    rows = duckdb.sql(block("sql", "array_cosine_similarity")).fetchall()
    assert len(rows) == 10
    assert rows[0] == ("key-0", pytest.approx(1, abs=1e-6))


@pytest.mark.usefixtures("folder")
def test_lancedb_finds_the_first_row_itself_first() -> None:
    told: dict[str, pl.DataFrame] = {}
    exec(block("python", "lancedb.connect"), told)
    assert told["near"]["key"].to_list()[0] == "key-0"
    assert len(told["near"]) == 10


@pytest.fixture
def postgres() -> Iterator[dict[str, str]]:
    """A server of its own, on a socket in a folder; the variables by which psql finds it."""
    programs = Path("/usr/lib/postgresql") / EXTENSIONS[-1].parts[-3] / "bin"
    with tempfile.TemporaryDirectory() as place:  # not in pytest's, which nobody else may enter
        own: list[str] = []
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(place, "postgres")
            own = ["runuser", "-u", "postgres", "--"]

        def run(program: str, *words: str) -> None:
            command = [*own, str(programs / program), "-D", f"{place}/data", *words]
            subprocess.run(command, check=True, capture_output=True, cwd=place, timeout=120)

        run("initdb", "-A", "trust", "-U", "postgres", "--no-sync")
        run("pg_ctl", "-o", f"-k {place} -h ''", "-l", f"{place}/log", "-w", "start")
        try:
            yield {"PGHOST": place, "PGUSER": "postgres"}
        finally:
            run("pg_ctl", "-m", "immediate", "stop")


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.skipif(not EXTENSIONS, reason="apt-get install postgresql-17-pgvector")
def test_postgresql_finds_the_first_row_itself_first(folder: Path, postgres: dict[str, str]) -> None:
    exec(block("python", "sink_csv"), {})
    for line in re.findall(r"^\$ (psql .*)$", PAGE, re.MULTILINE):
        done = subprocess.run(
            shlex.split(line),
            env=os.environ | postgres,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout.split()[2] == "key-0"
    assert "(10 rows)" in done.stdout
