"""counterpoint index."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Positional
from .common.arguments import parse
from .common.terminal import Terminal


@form(frozen=True, config=FORM)
class IndexOptions:
    """Make an index of vectors, to search and to serve; in a folder that is an index already, vectors are added."""

    vectors: Annotated[str, Positional()]
    """A folder that counterpoint embed wrote."""
    out: str
    """The folder of the index; with --kind lancedb also an address, s3://BUCKET/DB."""
    kind: str | None = None
    """exact (every vector is compared), hnsw or ivf (FAISS, quicker where vectors are many), or lancedb (a database).
    Unless given: exact up to two million vectors, hnsw above; that of an index that is there."""
    map: Literal["pca", "tsne"] | None = None
    """Also find two coordinates for every vector, for the map of the page; tsne for at most 20,000 of them."""


def main(arguments: Sequence[str]) -> int:
    options = parse(IndexOptions, arguments, "index")

    console = Terminal()
    with console.status("loading torch"):
        from ..reasons import counted
        from ..serving import INDEX_KINDS, Vectors, index
    if options.kind is not None:
        INDEX_KINDS.reference(options.kind)
    vectors = Vectors.open(options.vectors)
    with console.status(f"indexing {counted(len(vectors), 'vector')}"):
        made = index(vectors, options.out, kind=options.kind, map=options.map)
    counts = dict(made.table["modality"].value_counts(sort=True).iter_rows())
    held = ", ".join(f"{count:,} of {modality}" for modality, count in counts.items())
    console.print(f"{options.out}: {counted(len(made), 'vector')} ({held}), kind {made.kind}", soft_wrap=True)
    query = "--image FILE" if "image" in counts else "--file FILE"
    if "text" in counts or made.about.shares_space:
        query = '"…"'
    console.print(f"search it: counterpoint search {shlex.quote(options.out)} {query}", soft_wrap=True)
    return 0
