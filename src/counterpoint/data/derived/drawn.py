"""Data of which the seed of a run draws the rows that are trained on, or the tags that are known."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import ClassVar, Self, final

import numpy as np
from jaxtyping import Float, Int, Shaped

from ..base import Data, Rows, Splits
from ..labels import Label, Tags
from ..views.keys import key, uniform
from ._derived import DerivedData
from .labelling import Labelling
from .relabelled import ranks_within, without_rows


@final
class DrawnData(DerivedData):
    """Data with few rows to train on, or few known tags, as the seed of a run draws them.

    The draw follows from the ids of items and the seed. It is the same for all methods, whatever the order of the rows,
    and a larger number of shots holds the smaller ones. With classes, training has that number of rows of each, or
    all where there are fewer; a class without rows has none. With tags, rows are taken in the order of the draw until
    each tag has that number of rows. All other rows leave training and hide the label. Rows that a validation or test
    set holds too are not touched. With ``fold`` a part of the shots leaves training and is the only test set.

    Args:
        data: all of it.
        labelling: the label, with ``shots`` or ``known``.
        seed: of the run.
        unlabelled: keep the rows that were not drawn to train on, without the label.

    Raises:
        UnknownNameError: for a label that the data does not have.
        LabelTypeError: for a label of another kind.
        ValueError: for shots where no row to train on has a class or a tag, for folds without shots or more folds than
            shots, and of data that lies in shards.
    """

    part: ClassVar[str] = "draw"

    def __init__(self, data: Data, labelling: Labelling, seed: int, *, unlabelled: bool = False) -> None:
        super().__init__(data, data.name)
        self.labelling, self.learned = labelling, labelling.label
        if len(data.shards):
            raise ValueError(
                f"labels {labelling.label}: {data.name!r} lies in shards, of which every row is trained on: leave "
                "shots and known out, or open a part of it as files"
            )
        self._label = data.label(labelling.label, *(labelling.kinds or ("classes", "tags")))
        self._seed, splits = seed, data.splits
        held = np.concatenate([np.arange(0), *splits.validation.values(), *splits.test.values()])
        train = splits.train[~np.isin(splits.train, held)]
        self._values = np.array(self._label.values)
        if labelling.known < 1:
            of_train = self._values[train]
            cells = of_train >= 0
            of_train[(self._draws(train, "known", len(self._label.names)) >= labelling.known) & cells] = -1
            self._values[train] = of_train
        if labelling.shots is not None:
            shown = self._shots(train, labelling.shots)
            others = np.setdiff1d(train, shown)
            self._values[others] = -1
            if not unlabelled:
                self.splits = without_rows(splits, others)
        if labelling.folds is not None:
            if labelling.folds > (labelling.shots or 1):
                raise ValueError(
                    f"labels {labelling.label}: {labelling.folds} folds of {labelling.shots or 'no'} shots: take at "
                    "most as many folds as shots"
                )
            self._held = self._fold(shown, labelling.folds)
            self.splits = self._with_fold(self.splits)
        self.changes = (f"{labelling.in_words}, seed {seed}",)

    def evaluated(self) -> Self:
        """Return the data that tasks are given: all rows to train on, of which the drawn ones show the label.

        So tasks that learn, as probes do, learn the label of the same rows, and other labels of all rows.
        """
        other = copy(self)
        other.splits = self.data.splits if self.labelling.folds is None else self._with_fold(self.data.splits)
        return other

    def _fold(self, shown: Rows, folds: int) -> Int[np.ndarray, " k"]:
        """Return the rows of a fold, which has its part of every class."""
        assert self.labelling.fold is not None
        draws, values = self._draws(shown, "shots")[:, 0], self._values[shown]
        classes = np.zeros(len(shown), int) if isinstance(self._label, Tags) else values
        return shown[ranks_within(classes, draws) % folds == self.labelling.fold - 1]

    def _with_fold(self, splits: Splits) -> Splits:
        return replace(without_rows(splits, self._held), validation={}, test={"fold": self._held})

    def _draws(self, rows: Rows, purpose: str, count: int = 1) -> Float[np.ndarray, "n count"]:
        return uniform(key(self._seed, 0, self.ids[rows], f"labels {self.learned}"), purpose, count)

    def _shots(self, train: Rows, shots: int) -> Int[np.ndarray, " k"]:
        """Return the rows that are trained on."""
        label = self._label
        of_train = self._values[train]
        tags = isinstance(label, Tags)
        positive = of_train == 1 if tags else of_train[:, None] == np.arange(len(label.names))
        counts = positive.sum(0)
        if not counts.any():
            raise ValueError(
                f"labels {self.learned}: no row to train on of {self.data.name!r} has a {'tag' if tags else 'class'}"
            )
        draws = self._draws(train, "shots")[:, 0]
        if not tags:
            known = of_train >= 0
            return train[known][ranks_within(of_train[known], draws[known]) < shots]
        order = np.argsort(draws, kind="stable")
        reached = (np.cumsum(positive[order], 0) >= np.minimum(shots, counts)).all(1)
        return train[order[: reached.argmax() + 1]]

    @cached_property
    def labels(self) -> Mapping[str, Label]:
        return {**self.data.labels, self.learned: replace(self._label, values=self._values)}

    def _became(self) -> Shaped[np.ndarray, "N _"]:
        return self._values.reshape(len(self), -1)
