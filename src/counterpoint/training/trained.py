"""The rows that an arm trains on: of data with gaps, those that have what its method needs."""

from __future__ import annotations

import numpy as np

from ..data.base import Data, Rows
from ..methods.arm import Arm
from ..reasons import counted


def trained_rows(arm: str, data: Data) -> Rows:
    """Return the rows to train on that have every column that an arm reads, or any of them where its method uses gaps.

    Without gaps these are all rows to train on, in their order.

    Raises:
        ValueError: if there is no such row.
    """
    of_arm, rows = Arm.parse(arm), data.splits.train
    reads = of_arm.reads(data.columns)
    columns = tuple(column for column, modality in reads.items() if modality not in of_arm.kind.optional)
    if len(data.shards):  # whose records are counted with all their columns, and not read for that
        return rows
    masks = np.stack([data.present(column, rows) for column in columns])
    usable: Rows = rows[masks.all(0) if of_arm.incomplete == "drop" else masks.any(0)]
    if len(rows) and not len(usable):
        have = ", ".join(f"{column} {int(of.sum()):,}" for column, of in zip(columns, masks, strict=True))
        raise ValueError(
            f"arm {arm!r} trains on rows that have {' and '.join(columns)}, and of "
            f"{counted(len(rows), 'row')} to train on none has them all ({have}): name other columns "
            f"({of_arm.method},columns=…), or take a method that uses rows with gaps"
        )
    return usable
