"""Embedding that is killed, stopped, or done by two processes at once: each part once, none missing, none in halves."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import numpy as np
import pytest

import counterpoint as cp
from counterpoint.serving import Vectors
from fixtures import foreign
from fixtures.commands import counterpoint, started

pytestmark = [pytest.mark.slow, pytest.mark.system]

PARTS = 6
DATA = """
import numpy as np
from counterpoint.data.base import Data, Splits

class Sentences(Data):
    columns, name = {"text": "text"}, "sentences"

    def __init__(self, count):
        self.ids = np.arange(count)
        self.splits = Splits(self.ids, {}, {})

    def read(self, column, rows):
        return [f"a red car {row}" for row in rows.tolist()]

SENTENCES = Sentences(4096 * 6 - 5)
"""


def made(out: Path) -> dict[str, int]:
    """Return when each part was written."""
    return {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("embedding")
    model = foreign.sentences(folder / "model")
    (folder / "data.py").write_text(DATA)
    return [
        "embed",
        f"sentence-transformers:{model}",
        f"{folder / 'data.py'}:SENTENCES",
        "--batch-size",
        "64",
    ]


@pytest.fixture(scope="module")
def undisturbed(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Vectors:
    return cp.embed(words[1], words[2], tmp_path_factory.mktemp("undisturbed") / "vectors", batch_size=64)


def check(out: Path, undisturbed: Vectors) -> None:
    vectors = Vectors.open(out)
    assert vectors.table().equals(undisturbed.table())
    for mine, other in zip(vectors.parts, undisturbed.parts, strict=True):
        assert np.allclose(vectors.read(mine)[0], undisturbed.read(other)[0], atol=1e-6)
    assert sorted(path.name for path in out.iterdir()) == [path.name for path in vectors.parts]


KILLED = """
import os, signal, sys, time
from pathlib import Path

import numpy as np

import counterpoint as cp
from counterpoint.serving.embedding import rows

rows.ROWS = 256  # many parts, so that many kills meet one that is being written
model, data, out = cp.load(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
draws, seen, killed = np.random.default_rng(0), {}, 0
parts = lambda: {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
for attempt in range(100):
    if killed == 8:
        break
    # At any moment of the start, and at any moment after some parts.
    new, delay = killed // 2, draws.uniform(0, 0.2 if killed >= 2 else 1.5)
    child = os.fork()
    if child == 0:
        cp.embed(model, data, out, batch_size=64)
        os._exit(0)
    ended = lambda: os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    while len(parts()) < len(seen) + new and ended() is None:
        time.sleep(0.01)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL)
    killed += status == signal.SIGKILL
    now = parts()
    assert seen.items() <= now.items(), "a part that is there stays as it is"
    print(f"after {killed} kills: {len(now)} parts, {len(now) - len(seen)} new")
    if len(now) == 96:  # on a fast machine: leave something to do
        for path in sorted(out.glob("*.parquet"))[attempt % 3 :: 3]:
            path.unlink()
    seen = parts()
vectors = cp.embed(model, data, out, batch_size=64)
assert seen.items() <= parts().items()
"""


def test_kills_at_random_moments_and_each_part_is_made_once(
    words: list[str], undisturbed: Vectors, tmp_path: Path
) -> None:
    out = tmp_path / "vectors"
    with started(tmp_path / "log", sys.executable, "-c", KILLED, words[1], words[2], out) as session:
        assert session.ends() == 0, session.output
    assert "after 8 kills: " in session.output
    vectors = Vectors.open(out)
    assert len(vectors.parts) == 16 * PARTS
    assert vectors.table().equals(undisturbed.table())
    mine, other = (np.concatenate([it.read(part)[0] for part in it.parts]) for it in (vectors, undisturbed))
    assert np.allclose(mine, other, atol=1e-6)
    assert sorted(path.name for path in out.iterdir()) == [path.name for path in vectors.parts]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_stopped_says_that_it_goes_on(
    number: signal.Signals, words: list[str], undisturbed: Vectors, tmp_path: Path
) -> None:
    out = tmp_path / "vectors"
    with counterpoint(tmp_path / "log", *words, "--out", str(out)) as session:
        session.wait_until(lambda: len(made(out)) > 1, "two parts")
        session.press(number)
        assert session.ends(60) == 128 + number, session.output
        assert session.output.strip().endswith("the same command goes on from here.")
        assert "Traceback" not in session.output
    seen = made(out)
    assert 1 < len(seen) < PARTS
    assert {path.suffix for path in out.iterdir()} == {".parquet"}
    with counterpoint(tmp_path / "log", *words, "--out", str(out)) as session:
        assert session.ends() == 0, session.output
    assert seen.items() <= made(out).items()
    check(out, undisturbed)


def test_two_commands_at_once_make_each_part_once(
    words: list[str], undisturbed: Vectors, tmp_path: Path
) -> None:
    out = tmp_path / "vectors"
    with (
        counterpoint(tmp_path / "one", *words, "--out", str(out)) as first,
        counterpoint(tmp_path / "two", *words, "--out", str(out)) as second,
    ):
        first.wait_until(lambda: len(made(out)) > 1, "two parts")
        seen = made(out)
        assert (first.ends(), second.ends()) == (0, 0), first.output + second.output
    assert seen.items() <= made(out).items()
    said = first.output + second.output
    assert said.count("waiting: ") <= 1, said
    assert said.count(f"done ({4096 * 6 - 5:,} rows)") == 1, "one of them had nothing to do"
    check(out, undisturbed)
