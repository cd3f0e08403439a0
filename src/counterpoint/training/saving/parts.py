"""Checkpoints in parts: every rank writes what it has, in the background, and any number of ranks reads it again.

The format is that of ``torch.distributed.checkpoint``. Its index is a pickle, which is read as data: objects of the
index's own classes, and no others.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

INDEX = ".metadata"
"""The file that says which part has what; it is written when all parts are."""

_CLASSES = {
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("pathlib", "PosixPath"),
}
"""Names of an index that are neither number formats nor of ``torch.distributed.checkpoint.metadata``."""


def begin(tensors: Mapping[str, Tensor], folder: Path) -> Future[Any]:
    """Begin to write tensors, as they are now, into a folder: all ranks call it, and its end is the end of all."""
    from torch.distributed.checkpoint.filesystem import FileSystemWriter
    from torch.distributed.checkpoint.state_dict_saver import async_save

    group = _group_of_files(dist.group.WORLD)
    written = async_save(dict(tensors), storage_writer=FileSystemWriter(folder), process_group=group)
    return cast("Future[Any]", written)  # the other kind is of savers that are told to hold back


def read(folder: Path, beginning: str, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read the tensors whose names have a beginning, without it; every rank by itself.

    Args:
        folder: what `begin` wrote.
        beginning: of the names.
        like: by name, what is wanted as this rank's part alone; the others are read as they are.
    """
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.metadata import StorageMeta, TensorStorageMetadata
    from torch.distributed.checkpoint.state_dict_loader import load

    class CheckpointReader(FileSystemReader):
        def read_metadata(self, *args: Any, **options: Any) -> Any:
            with (folder / INDEX).open("rb") as file:
                index = _Index(file).load()
            index.storage_meta = StorageMeta(load_id=self.load_id)
            return index

    names, there = {}, {}
    for key, entry in CheckpointReader(folder).read_metadata().state_dict_metadata.items():
        if key.startswith(beginning) and isinstance(entry, TensorStorageMetadata):
            name = names[key] = key.removeprefix(beginning)
            of_all = torch.empty(entry.size, dtype=entry.properties.dtype)
            there[key] = torch.empty_like(like[name]) if name in like else of_all
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # as is meant
        load(there, storage_reader=CheckpointReader(folder), no_dist=True)
    return {name: there[key] for key, name in names.items()}


class _Index(pickle.Unpickler):
    """Reader of the index that refuses whatever is none of its classes.

    Raises:
        UnpicklingError: naming the class.
    """

    def find_class(self, module: str, name: str) -> Any:
        from torch.distributed.checkpoint import metadata

        if module == "pathlib._local":  # the name of the module in Python 3.13, which no other version has
            module = "pathlib"
        if module == "torch" and isinstance(kind := getattr(torch, name, None), torch.dtype):
            return kind
        described = module == metadata.__name__ and name in vars(metadata)
        own = described and getattr(vars(metadata)[name], "__module__", "") == metadata.__name__
        if not own and (module, name) not in _CLASSES:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no index of a checkpoint holds")
        return super().find_class(module, name)


def failure(error: BaseException) -> BaseException:
    """Return the error of the rank that failed, where torch tells them all at once."""
    from torch.distributed.checkpoint.api import CheckpointException

    failures = error.failures if isinstance(error, CheckpointException) else {}
    return next((cause for cause, _ in failures.values()), error)


@lru_cache(maxsize=1)
def _group_of_files(world: Any) -> Any:
    """Return a group of all ranks' processors, formed once in the life of the first."""
    return dist.new_group(backend="gloo")
