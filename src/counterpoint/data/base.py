"""The one form in which every data set reaches training and evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self, TypeVar

import numpy as np
import polars as pl
from jaxtyping import Bool, Int
from torch import Tensor

from ..frames import Frames, whole
from ..modalities import MODALITIES, resolve
from ..networks.base import Input
from ..types import Fit, Kind
from .fingerprint import BLOCK, Fingerprint, bytes_of, digest
from .items import AskedPart, Items
from .labels import Classes, Label, SomeLabel, Tags, named, of_kind
from .nouns import NOUNS, TEXTS, tags_of
from .pictures.sheet import COLUMNS, contact_sheet, evenly, gapped
from .replaced import MAX_BROKEN, Replacement

Rows = Int[np.ndarray, " n"]
"""Row numbers of a data set."""


SomeItems = TypeVar("SomeItems", bound=Items)

ImageSource = Callable[[Rows], Tensor]
"""Row numbers ``(n,)`` to uint8 pictures ``(n, 3, H, W)``."""


IMAGE_SIZE = 48
"""Side in pixels of the views that pictures are made for unless a tower asks for another."""


def stored_size(image_size: int) -> int:
    """Return the side of the pictures that views of ``image_size`` are cut from: a third larger, by 32 at most.

    So photographs of the usual 256 pixels are not resized before a view of 224 is cut from them.

    >>> stored_size(48), stored_size(224)
    (64, 256)
    """
    return image_size + min(round(image_size / 3), 32)


def view_size(side: int) -> int:
    """Return the size of the views that are cut from pictures of a side; see `stored_size`.

    >>> view_size(64), view_size(256)
    (48, 224)
    """
    return side - min(round(side / 4), 32)


@dataclass(frozen=True)
class Splits:
    """Row numbers for training, and named sets for validation and for test (kept apart in every report).

    With ``tasks`` the rows to train on come in turns: those of the first task, then those of the second. With
    ``sources`` they are mixed: of each source, its rows to train on and its share, of every batch or of the steps, as
    ``by`` says.
    """

    train: Int[np.ndarray, " _"]
    validation: Mapping[str, Int[np.ndarray, " _"]]
    test: Mapping[str, Int[np.ndarray, " _"]]
    tasks: Sequence[Int[np.ndarray, " _"]] = ()
    sources: Sequence[tuple[Int[np.ndarray, " _"], float]] = ()
    by: Literal["batch", "steps"] = "batch"

    @property
    def sides(self) -> dict[str, Int[np.ndarray, " _"]]:
        """The rows of every split by its name in words: ``train``, ``validation: held out``, ``test: held out``."""
        sides = {"train": self.train}
        sides |= {f"validation: {name}": rows for name, rows in self.validation.items()}
        return sides | {f"test: {name}": rows for name, rows in self.test.items()}


class Data(ABC):
    """Rows with named columns, each of a modality.

    The first column of a modality bears the modality's name. `read` gives raw forms as
    `counterpoint.modalities.Modality` describes them, one example a row.

    Attributes:
        columns: the columns, in the order of the data, each with its modality.
        name: how the user names it (``emoji``, ``emoji:artist``, a path).
        ids: a stable integer per row.
        splits: which rows train, validate and test.
        leaked: by what is shared (``"caption"``, ``"picture"``, ``"group"``), the held-out rows that have it in common
            with a training row; empty for data that was built without leaks.
        split_here: the splits were made here, by a hash of the rows, and are none of the data's own.
        attribution: the licence line that must stand wherever examples are shown; empty if there is none.
        shards: of data that is read shard by shard, how many rows each has to train on, numbered in their order; none
            for data that can be read at random.
        broken: the share of the examples that may be broken, for whatever reason.
        learned: the label that training learns from, and that verdicts are about first; empty where none is named.
        refused: what might have been a label and is none, each with why, in a few words.
    """

    columns: Mapping[str, str]
    name: str
    ids: Int[np.ndarray, " N"]
    splits: Splits
    leaked: Mapping[str, Bool[np.ndarray, " N"]] = MappingProxyType({})
    split_here: bool = False
    attribution: str = ""
    shards: Sequence[int] | Int[np.ndarray, " S"] = ()
    broken: float = MAX_BROKEN
    learned: str = ""
    refused: Mapping[str, str] = MappingProxyType({})

    def __len__(self) -> int:
        return len(self.ids)

    def ids_of(self, rows: Rows) -> Int[np.ndarray, " n"]:
        """Return the ids of some rows."""
        return self.ids[rows]

    def check_splits(self) -> None:
        """Check that models can be chosen and tested on the data; called before training, and not to embed it.

        Raises:
            ValueError: for an empty split of validation or test, where the data needs one.
        """
        return

    def expect(self, shards: Sequence[int]) -> None:
        """Hear which shards will be read soon, soonest first; data that lies elsewhere is fetched ahead."""
        return

    def examples(self) -> Mapping[str, Any]:
        """Return what is learned of before training, as a tokenizer learns its words: the rows to train on, by column.

        Data that is too much to be read for that gives some of them.
        """
        return Examples(self, self.splits.train)

    @cached_property
    def subsets(self) -> np.ndarray:
        """Return the name of the subset each row is reported under (``"tone variants"``, ``"rest"``).

        Where held-out rows share something with training rows, ``"leaked"`` for those and ``"clean"`` for the others.
        """
        return np.full(len(self), "all")

    @cached_property
    def labels(self) -> Mapping[str, Label]:
        """Return what is told of the examples beside their columns, by name; nothing unless the data has some."""
        return {}

    @property
    def classes(self) -> dict[str, Classes]:
        """The ways to classify the examples: the `labels` that are classes, by name."""
        return self.labels_of(Classes)

    def labels_of(self, kind: type[SomeLabel]) -> dict[str, SomeLabel]:
        """Return the `labels` of one kind, by name."""
        return of_kind(self.labels, kind)

    def label(self, name: str, *kinds: Kind) -> Label:
        """Return a label of one of some kinds, of any where none is given.

        Raises:
            UnknownNameError: for one that the data does not have; the message gives the nearest one of these kinds.
            LabelTypeError: for one of another kind; the message gives those that there are.
            ValueError: for what was refused as a label; the message says why.
            MissingPackageError: for the nouns of texts, where there is no WordNet.
        """
        if name == NOUNS and name not in self.labels and TEXTS in self.columns.values():
            return named({name: self.nouns}, name, kinds, {}, repr(self.name))
        return named(self.labels, name, kinds, self.refused, repr(self.name))

    @cached_property
    def nouns(self) -> Tags:
        """The nouns of the first column of texts as tags: a label that costs time, and is made where it is asked for.

        Raises:
            ValueError: where no noun is frequent enough, and of data that lies in shards, which is too much for it.
        """
        if len(self.shards):
            raise ValueError(f"{self.name!r} lies in shards, whose texts are too many to find nouns in")
        column = next(column for column, modality in self.columns.items() if modality == TEXTS)
        rows = np.arange(len(self))
        texts = ([text] if isinstance(text, str) else text for text in self.read_training(column, rows))
        there = self.present(column, rows)
        return tags_of(
            [text if has else None for text, has in zip(texts, there, strict=True)], self.splits.train
        )

    def metadata(self, rows: Rows) -> Mapping[str, pl.Series]:
        """Return the texts of some rows in what the data says of them that is neither a column nor a label, by name.

        Null where a row has none. Training looks at none of it; it goes where the examples go. Nothing unless said.
        """
        return {}

    def kind_of_word(self, word: str) -> str:
        """Return what a word of a text about the rows speaks of, such as a colour; empty where that is not known."""
        return ""

    def edited_reply(self, row: int, reply: str, seed: int) -> str | None:
        """Return a false reply in the words of a true one about a row's picture; None where none is known."""
        return None

    def asked_part(self, row: int) -> AskedPart | None:
        """Return the part of a row's pictures that its requests are about; None where it is all of one picture."""
        return None

    def key(self, row: int) -> str:
        """Return what the user calls a row: its id, unless the data says otherwise."""
        return str(self.ids[row])

    @abstractmethod
    def read(self, column: str, rows: Rows) -> Any:
        """Return some rows of a column in the raw form of its modality, as evaluation sees them.

        Raises:
            UnknownNameError: for a column that the data does not have.
        """

    def read_training(self, column: str, rows: Rows) -> Any:
        """Return some rows of a column as training sees them: where a row has several forms, all of them."""
        return self.read(column, rows)

    def cuts(self, column: str, rows: Rows) -> Frames:
        """Return where in its own picture each picture lies that `read_training` gives of some rows of a column.

        Labels of points, boxes and maps are of the whole upright picture, of which the raw form may be a part. The
        raw form is the whole unless the data says otherwise. See `counterpoint.frames`.
        """
        return whole(len(rows))

    def file(self, column: str, row: int) -> tuple[str, bytes]:
        """Return an example of a column as a file: its own where there is one, else one that is read as the same.

        Returns:
            The file's ending, empty where its bytes alone say what it is, and its bytes.

        Raises:
            OSError: for a file that cannot be read any more, and an example that is not there.
            ValueError: for a modality whose examples cannot be written as files.
        """
        modality = MODALITIES.get(self.columns[column])
        if modality.store is None:
            raise ValueError(
                f"{column}: {modality.noun} cannot be written as files: register store= for them"
            )
        ending, data = resolve(modality.store)(self.read(column, np.array([row])))
        return ending, data

    def evaluation_texts(self, column: str, row: int) -> Sequence[str]:
        """Return the texts of a row that count as right in evaluation; one, unless the data says otherwise."""
        return self.read(column, np.array([row]))

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        """Return which of some rows have a value in a column; all, unless the data says otherwise."""
        return np.ones(len(rows), dtype=bool)

    def replaced(self) -> list[Replacement]:
        """Return the broken records that others took the place of since this was last asked; none unless said."""
        return []

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Digests of ids, splits, labels and of what every row holds, each by itself, made once; a run keeps them."""
        return Fingerprint.of_rows(self)

    def identity(self, columns: Iterable[str]) -> str:
        """Return a digest of ids, splits, labels, their `metadata` and some columns, made block by block."""
        return digest(self._digest_parts(columns))

    def _digest_parts(self, columns: Iterable[str]) -> Iterator[bytes]:
        """Yield all that tells this data from other data."""
        yield np.asarray(self.ids, dtype="<i8").tobytes()
        for side, rows in self.splits.sides.items():
            yield from (side.encode(), np.asarray(rows, dtype="<i8").tobytes())
        for name, label in self.labels.items():
            yield name.encode()
            yield from label.digest_parts()
        for start in range(0, len(self), BLOCK):
            for name, texts in self.metadata(np.arange(start, min(start + BLOCK, len(self)))).items():
                yield f"beside: {name}".encode()
                yield from (b"\0" if text is None else bytes_of(text) for text in texts)
        for column in columns:
            yield column.encode()
            yield from self._digest_parts_of(column)

    def _digest_parts_of(self, column: str) -> Iterator[bytes]:
        """Yield what tells the rows of a column from others."""
        for start in range(0, len(self), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(self)))
            yield self.present(column, rows).tobytes()
            yield from map(bytes_of, self.read(column, rows))

    def digests(self) -> Mapping[str, Sequence[bytes]]:
        """Return what tells every row's content from others', by the name that messages say what changed with.

        Nothing of data that is told as a whole, since it is too much to be told row by row.
        """
        return {column: self._digests_of(column) for column in self.columns}

    def _digests_of(self, column: str) -> list[bytes]:
        """Return digests of a column as training and as evaluation see it, which may be two forms of it."""
        digests: list[bytes] = []
        for start in range(0, len(self), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(self)))
            there = self.present(column, rows).tolist()
            trained, read = self.read_training(column, rows), self.read(column, rows)
            digests += [
                digest([bytes([have]), bytes_of(one), bytes_of(other)]).encode()
                for have, one, other in zip(there, trained, read, strict=True)
            ]
        return digests

    def suited(self, inputs: Mapping[str, Input], *, training: bool = False) -> Self:
        """Return the same data with raw forms that suit the inputs of towers, given by column.

        In training views are cut from them; in evaluation they go through the inputs as they are. Of what is read while
        a model trains, the files of these columns alone are opened, and one of another column may be broken; the rows,
        their order and their labels are the same whichever columns are given.
        """
        return self

    def learning(self, label: str) -> Self:
        """Return the same data, of which training learns a label."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, learned=label)
        return other

    def sized(self, image_size: int, fit: Fit | None = None) -> Self:
        """Return the same data with pictures good for views of ``image_size`` pixels; all else is shared.

        Itself where its pictures are of that size already, or of one size for good, or where it has none. Pictures that
        are not square are made so in the way of ``fit``, by their central square unless given.
        """
        return self

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe the data as titled tables: a title to rows, a row's name to a number or a text."""
        return {
            "data": {"name": self.name, "rows": len(self)},
            "columns": dict(self.columns),
            "splits": {side: len(rows) for side, rows in self.splits.sides.items()},
            "subsets": dict(Counter(map(str, self.subsets))),
            "labels": {name: label.contents for name, label in self.labels.items()},
            **({"attribution": {"pictures": self.attribution}} if self.attribution else {}),
        }

    def findings(self) -> Mapping[str, str]:
        """Return what is worth knowing before training on this data: a title to a line; nothing for our own data."""
        return {}

    def show(self, path: str | Path) -> Path:
        """Show some training and test examples, all columns of an example together.

        They are such as lack nothing, where there are any.

        Args:
            path: of a picture, ``.png``, or of a page that opens offline and plays what can be heard or moves,
                ``.html``.

        Raises:
            ValueError: for a path with another ending.
        """

        def whole(rows: Rows) -> np.ndarray:
            there = np.all([self.present(column, rows) for column in self.columns], axis=0)
            return rows[there] if there.any() else rows

        train = evenly(whole(self.splits.train), 2 * COLUMNS)
        rows = [("train", part) for part in np.array_split(train, 2)]
        rows += [(f"test: {name}", evenly(whole(part), COLUMNS)) for name, part in self.splits.test.items()]
        parts = [(title, self.raw_columns(part)) for title, part in rows]
        return contact_sheet(self.name, parts, Path(path), self.attribution)

    def raw_columns(self, rows: Rows) -> dict[str, tuple[str, list[Any]]]:
        """Return rows column by column: its modality, and each row in the raw form, None for a gap."""
        return {
            column: (modality, gapped(self.read(column, rows), self.present(column, rows)))
            for column, modality in self.columns.items()
        }

    def shifts(self) -> Mapping[str, ImageSource]:
        """Return other pictures of the same rows, by name (``{"artist": the other artist's}``); none unless given."""
        return {}

    def items(self, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None) -> SomeItems:
        """Return what can be asked about some rows besides plain pairs, such as `MinimalPairs` or `Questions`.

        Args:
            form: of the items.
            rows: of the data.
            kinds: only of these kinds; the data's usual ones unless given.

        Raises:
            LookupError: if the data has no items of this form, or of these kinds.
        """
        chosen = "" if kinds is None else f" of kind {', '.join(kinds)}"
        raise LookupError(f"{self.name!r} has no {form.called}{chosen}")


class Examples(Mapping[str, Any]):
    """Some rows of a data set as training sees them, column by column, each read when it is asked for."""

    def __init__(self, data: Data, rows: Rows) -> None:
        self.data, self.rows = data, rows

    def __getitem__(self, column: str) -> Any:
        # What is learned is learned of values, and not of what stands in place of those that are not there.
        rows = self.rows[self.data.present(column, self.rows)]
        most = MODALITIES.get(self.data.columns[column]).fitted_on
        return self.data.read_training(column, evenly(rows, most) if most else rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self.data.columns)

    def __len__(self) -> int:
        return len(self.data.columns)
