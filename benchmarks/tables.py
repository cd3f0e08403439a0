"""The most memory that `describe` and `index` of a large table take, each in a process of its own.

    python benchmarks/tables.py [--rows 10000000] [--kinds parquet csv jsonl]

Prints the seconds and the peak of the resident memory of each process and of those it begins, all together, in MB. The
bar: below 2,000. Every row has a caption of its own and names a picture of its own, which is there: all are one file,
which is reached by as many paths over links from a folder to itself. The table is written block by block.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image
from pyarrow import parquet

_BLOCK = 500_000
_WORDS = ["red", "small", "boat", "near", "three", "trees", "under", "a", "grey", "sky", "and", "people"]


def blocks(rows: int) -> Iterator[pl.DataFrame]:
    """Yield the rows: paths like ``l/0/1/2/3/4/5/6/it.png`` and captions of eight words."""
    rng = np.random.default_rng(0)
    for start in range(0, rows, _BLOCK):
        count = min(_BLOCK, rows - start)
        words = rng.integers(0, len(_WORDS), (count, 8))
        numbers = range(start, start + count)
        yield pl.DataFrame(
            {
                "file_name": [f"l/{'/'.join(f'{n:08}')}/it.png" for n in numbers],
                "text": [
                    f"{' '.join(_WORDS[w] for w in row)} {n}" for n, row in zip(numbers, words, strict=True)
                ],
            }
        )


def written(folder: Path, rows: int, kind: str) -> Path:
    """Write a table and the picture that all its rows name."""
    (folder / "l").mkdir(parents=True)
    for digit in range(10):
        (folder / "l" / str(digit)).symlink_to(".")
    Image.new("RGB", (16, 16), "red").save(folder / "l" / "it.png")
    path = folder / f"pairs.{kind}"
    if kind == "parquet":
        with parquet.ParquetWriter(path, next(blocks(1)).to_arrow().schema) as file:
            for block in blocks(rows):
                file.write_table(block.to_arrow())
        return path
    with path.open("wb") as texts:
        for number, block in enumerate(blocks(rows)):
            if kind == "csv":
                block.write_csv(texts, include_header=number == 0)
            else:
                block.write_ndjson(texts)
    return path


def resident(process: int) -> float:
    """Return the megabytes that a process and all that it began have in memory."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:  # ended
        return 0.0
    own = next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)
    return own + sum(resident(int(child)) for child in children)


def measured(words: list[str], cache: Path) -> tuple[float, float]:
    """Return the seconds that a command takes, and the most megabytes."""
    began, most = time.perf_counter(), 0.0
    environment = {**os.environ, "COUNTERPOINT_CACHE": str(cache)}
    process = subprocess.Popen(
        [sys.executable, "-m", "counterpoint", *words], env=environment, stdout=subprocess.DEVNULL
    )
    ended = threading.Event()
    threading.Thread(target=lambda: (process.wait(), ended.set()), daemon=True).start()
    while not ended.wait(0.05):
        most = max(most, resident(process.pid))
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} failed")
    return time.perf_counter() - began, most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--kinds", nargs="+", default=["parquet", "csv", "jsonl"])
    options = parser.parse_args()
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as scratch:
            table = written(Path(scratch) / "table", options.rows, kind)
            size = table.stat().st_size / 2**20
            index = ["data", "index", str(table), "--out", f"{scratch}/index"]
            for words in (["data", "describe", str(table), "--json"], index):
                seconds, most = measured(words, Path(scratch) / "cache")
                told = f"{kind}, {options.rows:,} rows, {size:,.0f} MB: {words[1]}"
                print(f"{told} took {seconds:.0f} s and at most {most:,.0f} MB", flush=True)


if __name__ == "__main__":
    main()
