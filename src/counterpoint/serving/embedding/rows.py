"""Embeddings of all rows of some data, written as vectors, part by part."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ... import models
from ...data.base import Data
from ...data.source import load_any, rooted
from ...execution import Executor, Listener, Local, NullListener, ResourceRequest, WorkList
from ...execution.executors import LOCAL, executor_of
from ...methods.tower_method import TowerMethod
from ...registry import unknown
from ...training.sharing.distributed import device_of
from ...trust import given
from ..vectors import VectorProvenance, Vectors, agree
from .batch_size import BatchSize
from .column import EmbeddingUnit
from .parts import GATHERED, TOLD, gather, parts_of

ROWS = 4096
"""Rows of a part: what a kill can cost at most."""


def embed(
    model: str | os.PathLike[str] | TowerMethod,
    data: str | os.PathLike[str] | Data,
    out: str | os.PathLike[str],
    *,
    modalities: Sequence[str] = (),
    dtype: Literal["float32", "float16"] = "float32",
    precision: Literal["32", "bf16-mixed"] = "32",
    batch_size: int | None = None,
    limit: int | None = None,
    jobs: int = 1,
    executor: str | Executor = LOCAL,
    needs: ResourceRequest | None = None,
    listener: Listener | None = None,
) -> Vectors:
    """Embed the rows of some data, in order, into a folder of vectors; the same call goes on where one was stopped.

    A part of the folder is written whole or not at all, and a finished one is not made again. Pictures are
    shown as the model's own library shows them; those that cannot be read are left out and listed as
    `counterpoint.data` says. So are, of data over an index, records that are broken and those of shards that are lost,
    within the data's budget; the log names them. A row without a value in a column has no vector of it. Memory does not
    grow with the rows.

    >>> import tempfile
    >>> import counterpoint as cp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     vectors = cp.embed("transformers:all-MiniLM-L6-v2@package", "emoji", f"{folder}/vectors", limit=5)
    ...     len(vectors), vectors.about.width, vectors.read(vectors.parts[0])[0].shape
    (5, 384, (5, 384))

    Args:
        model: what `counterpoint.load` takes, which then runs on the fastest device there is; or a model, on its own.
        data: what ``--data`` takes, or a data set.
        out: the folder; it may hold parts of the same model and data.
        modalities: columns to embed; all that both have unless given.
        dtype: of the numbers that are written.
        precision: of the matrix products of the model; on a GPU, ``bf16-mixed`` is faster and less exact.
        batch_size: rows at a time; found by trial on the device unless given, and halved where memory is used up.
        limit: embed the first rows only, so many.
        jobs: parts at a time; above 1 each has a process of its own, with the model.
        executor: where parts are embedded: ``"local"``, ``"ray"`` or an executor (`counterpoint.execution`).
        needs: what the embedding of a part needs.
        listener: is told of progress.

    Raises:
        UnknownNameError: for a column that the data does not have.
        FileNotFoundError: if there is nothing at the path of the data.
        ValueError: for a model that cannot be loaded, or has no embeddings of a column; data without rows, or of which
            more is broken than may be; embeddings that are not finite, and a folder that holds vectors of another model
            or of other data; with both fingerprints.
        OSError: the folder cannot be written, or the disk is full; whole parts stay.
        InUseError: another process writes into the folder, and goes on doing so.
        HandedOver: others go on with it after this call, as in jobs of SLURM.
    """
    folder, needs = Path(out), needs or ResourceRequest()
    chosen = Local(jobs) if executor == LOCAL else executor_of(executor, needs)
    if not isinstance(model, TowerMethod):
        model = models.load(model).to(device_of("auto"))
    if isinstance(data, Data):
        name, suited = rooted(data.name), data.suited(model.inputs)
    else:
        given(data)
        name = rooted(os.fspath(data))
        suited = load_any(os.fspath(data), inputs=model.inputs)
    count = len(suited) if limit is None else min(limit, len(suited))
    if count < 1:
        raise ValueError(
            f"{name} has no row to embed" if limit is None else f"limit must be at least 1, got {limit}"
        )
    columns_of_both = _chosen(model, suited, modalities)
    shown = {*columns_of_both, "text"} & suited.columns.keys()
    about = VectorProvenance(
        model=model.reference,
        fingerprint=model.fingerprint,
        data=name,
        data_fingerprint=suited.identity(sorted(shown)),
        modalities=columns_of_both,
        limit=limit,
        width=model.width,
        dtype=dtype,
        precision=precision,
        shares_space=model.shares_space,
        attribution=suited.attribution,
    )
    size = BatchSize(batch_size)
    columns = [
        EmbeddingUnit(column, folder, about, model, suited, count, size, ROWS) for column in about.modalities
    ]
    _check(folder, about, [path for column in columns for path in column.paths])
    listener = listener or NullListener()
    if executor == LOCAL and jobs == 1:
        listener.begin("embedding", columns)
        try:
            Local().carry_out(columns, listener)
        finally:
            gather(folder)
        return Vectors.open(folder)
    if isinstance(data, Data) or not model.reference:
        raise ValueError(
            "other processes cannot be told of a model or of data that are given as objects: give their names, or "
            "leave out jobs and the executor"
        )
    parts = parts_of(columns, os.fspath(data), batch_size, needs)
    WorkList.of("embedding", parts, folder, GATHERED).write(folder)
    listener.begin("embedding", parts)
    chosen.carry_out(parts, listener, folder)
    gather(folder)
    return Vectors.open(folder)


def _chosen(model: TowerMethod, data: Data, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the columns to embed."""
    name = model.reference or "the model"
    for column in wanted:
        if column in data.columns and column not in model.embeds:
            raise ValueError(
                f"{name} embeds {' and '.join(model.embeds)} alone: it has no {column} embeddings; "
                "name a model that has some, or another --modality"
            )
        if column not in data.columns:
            raise unknown(f"modality of {data.name}", column, data.columns)
    shared = tuple(column for column in data.columns if column in model.embeds)
    if not shared:
        raise ValueError(
            f"{name} embeds {', '.join(model.embeds)}, and {data.name} has {', '.join(data.columns)}: there is "
            "nothing that it can embed"
        )
    return tuple(column for column in shared if column in wanted) if wanted else shared


def _check(folder: Path, about: VectorProvenance, paths: Sequence[Path]) -> None:
    """Check that what is in the folder is of this model and data: among other files, parts would pass for data."""
    parts = sorted(folder.glob("*.parquet"))
    beside = [] if parts or not folder.is_dir() else [path.name for path in folder.iterdir()]
    if any(not name.startswith(".") and name not in TOLD for name in beside):
        raise ValueError(f"{folder} holds other files than vectors: give another folder with --out")
    for path in parts:
        agree(folder, about, path)
        if path not in paths:
            raise ValueError(f"{path} is no part of these vectors: delete it, or give another folder")
