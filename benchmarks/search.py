"""Search beside the libraries below it: exact beside FAISS' flat index, HNSW beside FAISS' own, LanceDB by itself.

    python benchmarks/search.py --rows 1000000 --d 512
    python benchmarks/search.py --kinds exact --rows 1000000 --repeats 7

An index of random vectors is made in a temporary folder (``--folder`` elsewhere). Ours gives the rows with their
columns (of HNSW without them too, as these wait until they are read); theirs gives scores and positions, and LanceDB
the same columns. Ours and theirs run by turns in one process,
with the same number of threads. Printed are the median of the paired ratios of time with the middle half of them, and
the seconds of each; below 1 ours is quicker. Both are asked the same queries, none twice in a turn: one that is asked
again finds its way through the graph in the processor's cache, as no user's does. HNSW runs on one graph for both, with
the same width of the search, so that the recall is the same.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faiss
import lancedb
import numpy as np
import polars as pl
import torch
from _timing import spread

from counterpoint.serving import Hits, index
from counterpoint.serving.indexing.kinds import hnsw
from counterpoint.serving.vectors import VectorProvenance, Vectors, part_paths, write_part

COLUMNS = ["id", "key", "modality", "split", "text"]
BATCHES = (1, 64)
ASKED = 20
"""Searches of a turn."""
PART = 100_000


def unit(rows: int, d: int, seed: int) -> np.ndarray:
    """Vectors around a thousand centres, of norm one."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((1000, d), dtype=np.float32)
    vectors = centres[rng.integers(0, len(centres), rows)] + rng.standard_normal((rows, d), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def written(folder: Path, rows: int, d: int) -> Vectors:
    """Write vectors as ``counterpoint embed`` does."""
    about = VectorProvenance(
        model="", fingerprint="0", data="random", data_fingerprint="0", modalities=("image",), width=d
    )
    for number, path in enumerate(part_paths(folder, "image", -(-rows // PART))):
        some = np.arange(number * PART, min((number + 1) * PART, rows))
        table = pl.DataFrame(
            {
                "id": some,
                "key": [f"pictures/{row:08}.jpg" for row in some],
                "modality": ["image"] * len(some),
                "split": [("train", "train", "test")[row % 3] for row in some],
                "text": [f"the caption of picture {row}, a short one" for row in some],
            }
        )
        write_part(path, about, unit(len(some), d, number), table)
    return Vectors.open(folder)


def read(found: list[Hits]) -> list[pl.DataFrame]:
    """Take the columns of what was found."""
    return [one.rows for one in found]


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compared(
    name: str,
    ours: Callable[[np.ndarray], Any],
    theirs: Callable[[np.ndarray], Any],
    queries: Sequence[np.ndarray],
    repeats: int,
) -> None:
    """Ask both all queries by turns, and print what the ratios of a query's time are."""
    for work in (ours, theirs):
        work(queries[0])
    pairs = []
    for turn in range(repeats):
        order = (ours, theirs) if turn % 2 else (theirs, ours)
        seconds = {work: timed(lambda w=work: [w(q) for q in queries]) / len(queries) for work in order}
        pairs.append((seconds[ours], seconds[theirs]))
    mine, other = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = spread([a / b for a, b in pairs])
    print(f"{name:34s} {ratio}   {1e3 * mine:9.2f} ms / {1e3 * other:9.2f} ms", flush=True)


def exact(vectors: Vectors, folder: Path, repeats: int) -> None:
    ours = index(vectors, folder / "exact", kind="exact")
    flat = faiss.IndexFlatIP(vectors.about.width)
    for part in vectors.parts:
        flat.add(vectors.read(part)[0])
    for count in BATCHES:
        queries = unit(count, vectors.about.width, 10_000)
        compared(
            f"exact, {count} at once / IndexFlatIP",
            lambda q: read(ours.nearest(q, 10)),
            lambda q: flat.search(q, 10),
            [queries],
            repeats,
        )
        positions = flat.search(queries, 10)[1]
        same = np.mean(
            [set(a.rows["id"]) == set(b) for a, b in zip(ours.nearest(queries, 10), positions, strict=True)]
        )
        print(f"{'':34s} the same rows for {same:.0%} of the queries")


def graph(vectors: Vectors, folder: Path, repeats: int) -> None:
    made = index(vectors, folder / "hnsw", kind="hnsw")
    theirs: Any = made._vectors.parts[0].index  # type: ignore[attr-defined] # the graph itself
    parameters = faiss.SearchParametersHNSW(efSearch=hnsw._LEAST)
    for count in BATCHES:
        queries = np.split(unit(ASKED * count, vectors.about.width, 10_000), ASKED)
        for name, ours in (("", made.nearest), (" with columns", lambda q, k: read(made.nearest(q, k)))):
            compared(
                f"hnsw{name}, {count} at once / FAISS",
                lambda q, ours=ours: ours(q, 10),
                lambda q: theirs.search(q, 10, params=parameters),
                queries,
                repeats,
            )


def database(vectors: Vectors, folder: Path, repeats: int) -> None:
    made = index(vectors, folder / "lancedb", kind="lancedb")
    table = lancedb.connect(folder / "lancedb").open_table("vectors")
    for where in (None, "split = 'test'"):

        def direct(query: np.ndarray, where: str | None = where) -> Any:
            search = table.search(query[0], query_type="vector").distance_type("cosine").limit(10)
            search = search.select([*COLUMNS, "_distance"])
            return (search.where(where, prefilter=True) if where else search).to_polars()

        compared(
            f"lancedb{', ' + where if where else ''} / LanceDB",
            lambda q, w=where: read(made.nearest(q, 10, where=w)),
            direct,
            np.split(unit(5, vectors.about.width, 10_000), 5),
            repeats,
        )


KINDS = {"exact": exact, "hnsw": graph, "lancedb": database}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[*KINDS])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--folder", type=Path, help="for the vectors and the indexes; a temporary one unless given"
    )
    options = parser.parse_args()
    faiss.omp_set_num_threads(torch.get_num_threads())
    print(
        f"{options.rows:,} × {options.d} in float32, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"FAISS {faiss.__version__}, LanceDB {lancedb.__version__}"
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        vectors = written(folder / "vectors", options.rows, options.d)
        for kind in options.kinds:
            KINDS[kind](vectors, folder, options.repeats)


if __name__ == "__main__":
    main()
