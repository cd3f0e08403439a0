"""An index that is served: its model in a thread of its own, its rows by their ids."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, final

import numpy as np
import polars as pl
from torch import Tensor

from ...modalities import noun_of
from ...training.sharing.distributed import device_of
from ..indexing.index import Index
from ..requests.batching import Batcher, Embedded
from ..requests.limits import Limits
from ..requests.refusals import Refusal, bad
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
    """

    def __init__(
        self, index: Index, limits: Limits, hands: Executor, listener: Callable[[str, int], None]
    ) -> None:
        self.index, self.limits, self._hands = index, limits, hands
        self.table = index.table
        self.model = index.model.to(device_of("auto"))
        self.batcher = Batcher(self.model, limits.batch, listener)
        self.shown = self.model.inputs.get("image")
        ids = self.table["id"].to_numpy()
        self._order = np.argsort(ids, kind="stable")
        self._sorted = ids[self._order]
        self.ids = np.unique(self._sorted)
        self.labels = tuple(name for name in self.table.columns if name not in RESERVED)

    async def do(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do work that takes a while in another thread."""
        return await asyncio.get_running_loop().run_in_executor(self._hands, work, *arguments)

    def check(self, column: str, param: str) -> None:
        """Refuse what the model does not embed."""
        if column not in self.model.embeds:
            raise bad(f"the model embeds no {noun_of(column)}, only {', '.join(self.model.embeds)}", param)

    def check_space(self, column: str, modality: str | None) -> None:
        """Refuse to compare vectors that share no space."""
        try:
            searched = self.index.searched(modality)
        except ValueError as error:
            raise bad(str(error), "modality") from None
        if not self.index.about.shares_space and any(other != column for other in searched):
            raise bad(
                f"{noun_of(column)} cannot be compared with {noun_of(searched[0])}: the model's spaces are apart",
                "modality",
            )

    async def texts(self, texts: Sequence[str], param: str) -> Embedded:
        """Return embeddings of texts, which are texts whatever they look like.

        Raises:
            Refusal: for a model that embeds none.
        """
        self.check("text", param)
        return await self.batcher.embed("text", texts)

    async def pictures(self, uploads: Sequence[bytes], param: str) -> Embedded:
        """Return embeddings of the bytes of pictures.

        Raises:
            Refusal: for a model that embeds none, and for what is no picture.
        """
        self.check("image", param)
        return await self.batcher.embed("image", [await self.decoded(upload, param) for upload in uploads])

    async def decoded(self, upload: bytes, param: str) -> Tensor:
        """Decode the bytes of a picture as the model wants it."""
        return await self.do(picture, upload, self.shown, self.limits, param)

    def rows(self, id: int) -> pl.DataFrame:
        """Return the rows of an id, one per modality, with their positions.

        Raises:
            Refusal: if there is none.
        """
        ends = (np.searchsorted(self._sorted, id, side) for side in ("left", "right"))
        positions = self._order[slice(*ends)].tolist() if -(2**63) <= id < 2**63 else []
        if not positions:
            raise Refusal(404, "there is no item of this id", param="id", code="not_found")
        return self.table[positions].with_columns(pl.Series("position", positions, dtype=pl.Int64))

    def item(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of the table as an answer shows it."""
        shown = {name: row.get(name) for name in PLAIN}
        return {**shown, "labels": {name: row[name] for name in self.labels}}


def plain_name(reference: str) -> str:
    """Return a model or a data set as others may see it: without the folders above it. A run of a study keeps its arm.

    >>> plain_name("transformers:/home/me/clip"), plain_name("emoji"), plain_name("stamps:/data/s,language=de")
    ('transformers:clip', 'emoji', 'stamps:s,language=de')
    >>> plain_name("/home/me/study/runs/lit/seed-0")
    'lit/seed-0'
    """
    return re.sub(r"(^|[:@])/(?:(?:[^:@]*/)?(?=[^/:@]+/seed-\d+$)|(?:[^:@]*/)?)", r"\1", reference)
