"""The subject of an examination, and the sections that an examination ends in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from ...data.base import Data, Rows, SomeItems
from ...data.columns import subject
from ...data.embeddings import EmbeddingCache
from ...data.loading.loader import Loader
from ...data.views.named_pictures import ImageOptions
from ...methods.tower_method import TowerMethod
from ...modalities import MODALITIES
from ..capture import Captured, captured

EMBEDDED = 2000
"""Rows whose embeddings are looked at, at most."""
INSIDE = 128
"""Rows with which a look inside the network is taken, at most."""
BATCH = 32


@dataclass(frozen=True)
class MarkedWord:
    """A word of a text.

    Attributes:
        strength: of its colour, from 0 to 1.
        note: what is said of it where a reader points at it.
    """

    text: str
    strength: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class WordMap:
    """A map over a picture, from 0 to 1, with the word that it belongs to and a note below."""

    word: str
    note: str
    values: Float[Tensor, "h w"]


@dataclass(frozen=True)
class DiagnosticCard:
    """One example of a section.

    Attributes:
        title: what it is.
        pictures: each with its name.
        lines: of text, each with its name.
        maps: over the first picture.
    """

    title: str
    pictures: Sequence[tuple[str, UInt8[Tensor, "3 H W"]]] = ()
    lines: Sequence[tuple[str, Sequence[MarkedWord]]] = ()
    maps: Sequence[WordMap] = ()


@dataclass(frozen=True)
class DiagnosticSection:
    """One diagnostic.

    Attributes:
        name: short, for programs; title: for people.
        sentence: what the numbers say.
        numbers: by name; NaN where undefined.
        figure: the plot; None, with no numbers, where the diagnostic does not apply, which ``sentence`` explains.
        cards: examples.
    """

    name: str
    title: str
    sentence: str
    numbers: Mapping[str, float]
    figure: Figure | None
    cards: Sequence[DiagnosticCard] = ()


@dataclass(frozen=True)
class Side:
    """A column whose embeddings are looked at.

    Attributes:
        things, thing: its examples in words, several and one.
    """

    column: str
    things: str
    thing: str
    embeddings: Float[Tensor, "n d"]

    @classmethod
    def of(cls, column: str, modality: str | None, embeddings: Float[Tensor, "n d"]) -> Side:
        """Name a column by what it is of, or by its own name where another is of the same."""
        if modality is None:
            return cls(column, column, column, embeddings)
        named = MODALITIES.get(modality)
        return cls(column, named.noun, named.one, embeddings)


@dataclass(frozen=True)
class Subject:
    """A trained model with what it is examined on.

    Attributes:
        model: the model.
        control: the same model before training; None where that is not known, as of other libraries' models.
        data: what it is examined on.
        test: the test set it is examined on.
        training: batches as in training, for the loss; None where they are not known, as of models that were
            trained elsewhere, or whose data are gone.
        weight_decay: of the training.
        augmentation: options of the training's views; None where they are not known.
    """

    model: TowerMethod
    control: TowerMethod | None
    data: Data
    test: Rows
    training: Loader | None
    weight_decay: float
    augmentation: ImageOptions | None = None

    @property
    def start(self) -> TowerMethod:
        """The same model before training.

        Raises:
            LookupError: where it is not known.
        """
        if self.control is None:
            raise LookupError("the model before its training is not known")
        return self.control

    @property
    def loader(self) -> Loader:
        """The batches as in training.

        Raises:
            LookupError: where they are not known.
        """
        if self.training is None:
            raise LookupError(
                "the batches that the model was trained with are not known, so that it has no loss"
            )
        return self.training

    @cached_property
    def features(self) -> EmbeddingCache:
        return EmbeddingCache(self.model, self.data)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The column that is looked at, pictures where there are some, and the one beside it where there is one.

        Raises:
            ValueError: if the model embeds no column of the data.
        """
        columns = self.features.shared
        if (first := subject(columns)) is None:
            raise ValueError(f"the model embeds no column of {self.data.name!r}")
        return (first, *(column for column in columns if column != first))[:2]

    @cached_property
    def rows(self) -> Rows:
        """The rows of the test set that have what is looked at."""
        return self.test[np.all([self.data.present(column, self.test) for column in self.columns], axis=0)]

    @cached_property
    def seen(self) -> Rows:
        """The rows whose embeddings are looked at, evenly spaced."""
        return spaced(self.rows, EMBEDDED)

    @cached_property
    def sides(self) -> tuple[Side, ...]:
        """The columns that are looked at, with the embeddings of the rows that are seen."""
        modalities = self.features.shared
        alike = len({modalities[column] for column in self.columns}) < len(self.columns)
        return tuple(
            Side.of(column, None if alike else modalities[column], self.features.column(column, self.seen))
            for column in self.columns
        )

    @property
    def both(self) -> bool:
        """Return whether there are embeddings of two columns."""
        return len(self.sides) > 1

    @property
    def of_captions(self) -> bool:
        """Return whether the two columns are pictures and their captions."""
        return [self.features.shared[column] for column in self.columns] == ["image", "text"]

    def pictures(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        """Return the pictures of some rows.

        Raises:
            ValueError: for data without.
        """
        return torch.as_tensor(self.data.read(self.picture, rows))

    @property
    def picture(self) -> str:
        """The column of pictures among those that are looked at.

        Raises:
            ValueError: if there is none.
        """
        for column in self.columns:
            if self.features.shared[column] == "image":
                return column
        raise ValueError("the data has no pictures")

    def captioned(self, most: int) -> tuple[Rows, list[str]]:
        """Return some rows with a picture and a text, evenly spaced, and the first text of each.

        Raises:
            ValueError: for data without pictures or texts, or a model that takes no pictures.
        """
        if "image" not in self.model.columns or "text" not in self.data.columns:
            raise ValueError("the model and the data must both have pictures, and the data texts")
        has_both = self.data.present("image", self.test) & self.data.present("text", self.test)
        rows = spaced(self.test[has_both], most)
        return rows, [str(self.data.evaluation_texts("text", int(row))[0]) for row in rows]

    @cached_property
    def label(self) -> str | None:
        """The first of the data's ways to classify, the learned one before all, that tells rows apart; None of none."""
        for name, labels in sorted(self.data.classes.items(), key=lambda each: each[0] != self.data.learned):
            if len(np.unique(labels.values[self.rows][labels.values[self.rows] >= 0])) > 1:
                return name
        return None

    def labels(self, rows: Rows) -> Int[Tensor, " n"]:
        """Return the classes of rows, by `label`.

        Raises:
            ValueError: if there is none.
        """
        if self.label is None:
            raise ValueError(f"no label of the data {self.data.name!r} tells these examples apart")
        return torch.from_numpy(self.data.classes[self.label].values[rows])

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @cached_property
    def inside(self) -> Rows:
        return spaced(self.rows, INSIDE)

    def captures(
        self, model: TowerMethod, pictures: UInt8[Tensor, "n 3 H W"] | None = None
    ) -> Iterator[Captured]:
        """Yield the inside of a model's image tower, batch by batch; with the pictures of `inside` unless given."""
        tower = model.to(self.device).image_tower
        for part in torch.split(self.pictures(self.inside) if pictures is None else pictures, BATCH):
            yield captured(tower, tower.input(part).to(self.device))

    def items(self, form: type[SomeItems]) -> SomeItems:
        """Return the items of this form about the rows of `inside`.

        Raises:
            ValueError: if the data has nothing of this form.
        """
        try:
            return self.data.items(form, self.inside)
        except LookupError as error:
            raise ValueError(str(error.args[0] if error.args else error)) from error


def spaced(rows: Rows, most: int) -> Int[np.ndarray, " some"]:
    """Choose some of the rows, evenly spaced."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))]
