"""A user's own pairs: a folder, a CSV, TSV, JSONL or Parquet table of pictures and captions, WebDataset shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...modalities import PAIR
from ..pictured import PairedData
from ..sources import Records
from .columns import TextColumn
from .photos import StoredPictures
from .stored import OtherColumnsError, columns_there


class Pairs(StoredPictures, PairedData):
    """Pictures and captions from files.

    A table has a column for the picture (``file_name`` or ``image``; relative to the table, or in Parquet the picture
    itself) and one for the captions (``text``; a text or a list of texts; a table without it is of `Photos`); ``split``
    (train, validation, test), ``id`` and ``group`` are optional, and any other column of texts or of whole numbers with
    at least two and at most 200 values becomes a way to classify. Rows with the same picture are one example with
    several captions. A folder holds such a table (``metadata.csv``, …) or one for each split (``train.csv``, …),
    folders called after splits, WebDataset shards (``.tar``; see :mod:`counterpoint.data.sources.webdataset`), or
    pictures with a ``.txt`` beside each. Without splits, a hash puts 80 % into train and 10 % each into validation and
    test, rows of one caption, one picture or one ``group`` together (see
    :func:`counterpoint.data.listed.division.divide`); with train and test alone, validation is taken from train.

    A row that cannot be used (its picture is broken or not there, its caption is empty, its shard is cut short) is left
    out and entered into a ledger, a CSV file in the cache folder that `findings` names; files that are no examples are
    entered too.
    """

    def columns_of(self, source: str | Path, records: Records) -> Mapping[str, str]:
        if "image" not in records.columns:
            raise OtherColumnsError(
                f"{source} holds no pictures: it has the columns {', '.join(records.columns)}"
            )
        if len(records) and not records.having("text").any():
            raise OtherColumnsError(
                f"{source} holds pictures without captions: give a metadata.csv (or .jsonl, .parquet) with columns "
                "file_name and text (--columns text=NAME names another), or a .txt beside each; without them they can "
                f"be embedded and searched (counterpoint embed MODEL {source})"
            )
        return PAIR | {name: it for name, it in columns_there(records).items() if name not in PAIR}

    def captions(self, row: int) -> Sequence[str]:
        texts = self.column("text")
        assert isinstance(texts, TextColumn)
        return texts.of_row(row)

    def evaluation_captions(self, row: int) -> Sequence[str]:
        return self.captions(row)
