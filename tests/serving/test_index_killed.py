"""An index whose command is killed at any moment is what it was, or what it was to be; the same command goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from counterpoint.serving import Index, index
from fixtures.vectors_folder import unit_vectors, write_vectors

KILLS = {"exact": 4, "hnsw": 3, "ivf": 3, "lancedb": 3}
ROWS = 6_000
_CHILD = """
import sys
from counterpoint.serving import index
first, more, out, kind = sys.argv[1:]
index(first, out + ".warm", kind=kind)  # whatever is imported when it is first used
print("ready", flush=True)
index(first, out, kind=kind, map="pca")
index(more, out, kind=kind)
print("done", flush=True)
"""


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize("kind", KILLS)
def test_kills_at_random_moments(kind: str, tmp_path: Path) -> None:
    first, more = tmp_path / "first", tmp_path / "more"
    write_vectors(first, {"image": unit_vectors(ROWS, 32, 0)}, parts=4)
    write_vectors(more, {"image": unit_vectors(ROWS, 32, 1)}, parts=4, ids=np.arange(ROWS) + 10 * ROWS)
    whole = index(first, tmp_path / "whole", kind=kind, map="pca")
    whole.add(more)
    queries = unit_vectors(5, 32, 2)
    expected = [one.rows.drop("score") for one in whole.nearest(queries, 5)]
    rng, lasting, between = np.random.default_rng(0), 0.0, 0
    for kill in range(-1, KILLS[kind]):  # the first one is left to end, and says how long it takes
        out = tmp_path / f"index {kill}"
        command = [sys.executable, "-c", _CHILD, str(first), str(more), str(out), kind]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        began = time.monotonic()
        if kill < 0:
            assert child.stdout.readline() == "done\n"
            lasting = time.monotonic() - began
        else:
            time.sleep(rng.uniform(0, lasting))
        child.send_signal(signal.SIGKILL)
        child.wait()
        try:
            found = len(Index.open(out))
            assert found in (ROWS, 2 * ROWS)
        except FileNotFoundError:
            found = 0
        between += found < 2 * ROWS
        for vectors in (first, more):
            again = index(vectors, out, kind=kind, map="pca")
        assert len(again) == len(Index.open(out)) == 2 * ROWS
        assert again.table.select("id").n_unique() == 2 * ROWS
        if kind != "hnsw":  # whose graph is another one every time
            for one, right in zip(Index.open(out).nearest(queries, 5), expected, strict=True):
                assert one.rows.drop("score").equals(right)
        left = {path.name for path in out.iterdir() if path.name.endswith(".part")}
        assert not left
    assert between, "no kill came before the end"
