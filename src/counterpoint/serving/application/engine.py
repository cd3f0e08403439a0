"""An index that is served: its model in a thread of its own, its rows by their ids."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, final

import numpy as np
from torch import Tensor

from ...modalities import MODALITIES, noun_of
from ...training.sharing.distributed import device_of
from ..indexing.index import Index
from ..requests.batching import Batcher, EmbeddedBatch
from ..requests.forms import RowKind
from ..requests.limits import Limits
from ..requests.refusals import RequestError, bad
from ..requests.uploads import picture
from ..vectors import RESERVED

PLAIN = ("id", "key", "modality", "split", "text")
"""Columns of a row that every index has; what is no number of the map, and none of these, is a label."""


@final
class Engine:
    """An index, and the one place where its model is used.

    Args:
        index: what is served; its model is loaded.
        limits: of the requests.
        hands: threads that decode and search.
        listener: is told the modality and the number of inputs of every batch.

    Attributes:
        kinds: the columns of the index, each with its modality and what its rows are called.
        takes: the modalities of what the model embeds, each with the column that embeds queries of it.
    """

    def __init__(
        self, index: Index, limits: Limits, hands: Executor, listener: Callable[[str, int], None]
    ) -> None:
        self.index, self.limits, self._hands = index, limits, hands
        self.table = index.table
        self.model = index.model.to(device_of("auto"))
        self.batcher = Batcher(self.model, limits.batch, listener)
        self._modalities = {column: self.model.tower(column).modality for column in self.model.embeds}
        columns: list[str] = self.table["modality"].unique(maintain_order=True).to_list()
        self.kinds = {column: _kind(column, self._modalities.get(column, column)) for column in columns}
        self.takes: dict[str, str] = {}
        for column, modality in self._modalities.items():
            self.takes.setdefault(modality, column)
        ids = self.table["id"].to_numpy()
        self._order = np.argsort(ids, kind="stable")
        self._sorted = ids[self._order]
        self.ids = np.unique(self._sorted)
        self.labels = tuple(name for name in self.table.columns if name not in RESERVED)

    async def do(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do work that takes a while in another thread."""
        return await asyncio.get_running_loop().run_in_executor(self._hands, work, *arguments)

    def column(self, modality: str, param: str) -> str:
        """Return the model's column that embeds a modality.

        Raises:
            RequestError: if there is none.
        """
        if modality not in self.takes:
            raise bad(f"the model embeds no {noun_of(modality)}, only {', '.join(self.model.embeds)}", param)
        return self.takes[modality]

    def check_space(self, column: str, modality: str | None) -> None:
        """Refuse to search by the vectors of a column among those that share no space with it."""
        try:
            searched = self.index.searched(modality)
        except ValueError as error:
            raise bad(str(error), "modality") from None
        apart = [other for other in searched if self._modalities[other] != self._modalities[column]]
        if apart and not self.index.about.shares_space:
            raise bad(
                f"{noun_of(column)} cannot be compared with {noun_of(apart[0])}: the model's spaces are apart",
                "modality",
            )

    async def texts(self, texts: Sequence[str], param: str) -> EmbeddedBatch:
        """Return embeddings of texts, which are texts whatever they look like.

        Raises:
            RequestError: for a model that embeds none.
        """
        return await self.batcher.embed(self.column("text", param), texts)

    async def pictures(self, uploads: Sequence[bytes], param: str) -> EmbeddedBatch:
        """Return embeddings of the bytes of pictures.

        Raises:
            RequestError: for a model that embeds none, and for what is no picture.
        """
        column = self.column("image", param)
        return await self.batcher.embed(
            column, [await self._decoded(each, column, param) for each in uploads]
        )

    async def _decoded(self, upload: bytes, column: str, param: str) -> Tensor:
        """Decode the bytes of a picture as the model wants it."""
        return await self.do(picture, upload, self.model.inputs[column], self.limits, param)

    def positions(self, id: int) -> list[int]:
        """Return the positions of an id's rows in the table, one per modality.

        Raises:
            RequestError: if there is none.
        """
        ends = (np.searchsorted(self._sorted, id, side) for side in ("left", "right"))
        positions: list[int] = self._order[slice(*ends)].tolist() if -(2**63) <= id < 2**63 else []
        if not positions:
            raise RequestError(404, "there is no item of this id", param="id", code="not_found")
        return positions

    def item(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of the table as an answer shows it."""
        shown = {name: row.get(name) for name in PLAIN}
        return {**shown, "labels": {name: row[name] for name in self.labels}}


def _kind(column: str, modality: str) -> RowKind:
    """Return what the rows of a column are called.

    >>> _kind("audio", "audio").many, _kind("door", "audio").many, _kind("touch", "unknown").many
    ('sounds', 'sounds (door)', 'rows of touch')
    """
    if modality not in MODALITIES:
        return RowKind(modality=modality, one=f"row of {column}", many=f"rows of {column}")
    known, which = MODALITIES.get(modality), "" if column == modality else f" ({column})"
    return RowKind(modality=modality, one=known.one + which, many=known.noun + which)


def plain_name(reference: str) -> str:
    """Return a model or a data set as others may see it: without the folders above it. A run of a study keeps its arm.

    >>> plain_name("transformers:/home/me/clip"), plain_name("emoji"), plain_name("stamps:/data/s,language=de")
    ('transformers:clip', 'emoji', 'stamps:s,language=de')
    >>> plain_name("/home/me/study/runs/lit/seed-0")
    'lit/seed-0'
    """
    return re.sub(r"(^|[:@])/(?:(?:[^:@]*/)?(?=[^/:@]+/seed-\d+$)|(?:[^:@]*/)?)", r"\1", reference)
