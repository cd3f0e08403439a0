"""Data whose training lacks some classes of a label, which tests ask about by their names alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b
from typing import ClassVar, final

import numpy as np
from jaxtyping import Shaped

from ..base import Data
from ..labels import Classes, Label
from ._derived import DerivedData
from .relabelled import without_rows


def new_label(label: str) -> str:
    """Return the name of the label that holds the classes which training lacks."""
    return f"new_{label}"


@final
class NewClassesData(DerivedData):
    """Data whose label is divided into base classes, which are trained on, and new classes, which are not.

    The label keeps the base classes, and the label ``new_LABEL`` has the others. The hash of a class's name decides, so
    that neither the order of the classes nor a seed counts.

    Args:
        data: all of it.
        label: of classes.
        share: of the classes that are new.

    Raises:
        UnknownNameError: for a label that the data does not have.
        LabelTypeError: for a label that is no classes.
        ValueError: where fewer than two classes are base or new.
    """

    part: ClassVar[str] = "new classes"

    def __init__(self, data: Data, label: str, share: float) -> None:
        super().__init__(data, data.name)
        self.learned = label
        whole = data.label(label, "classes")
        assert isinstance(whole, Classes)
        names = whole.names
        order = sorted(range(len(names)), key=lambda number: blake2b(names[number].encode()).digest())
        count = round(share * len(names))
        if not 2 <= count <= len(names) - 2:
            raise ValueError(
                f"labels {label}: new={share:g} makes {count} of {len(names)} classes new; at least two must be new "
                "and two must stay"
            )
        self._labels = {
            name: _part(whole, sorted(chosen))
            for name, chosen in ((label, order[count:]), (new_label(label), order[:count]))
        }
        train = data.splits.train
        self.splits = without_rows(data.splits, train[self._labels[new_label(label)].known[train]])
        self.changes = (f"new classes of {label}: {', '.join(self._labels[new_label(label)].names)}",)

    @cached_property
    def labels(self) -> Mapping[str, Label]:
        return {**self.data.labels, **self._labels}

    def _became(self) -> Shaped[np.ndarray, "N _"]:
        return np.stack([label.values for label in self._labels.values()], 1)

    def findings(self) -> Mapping[str, str]:
        base, new = self._labels.values()
        line = f"{self.learned}: {len(base.names)} classes are trained on, {len(new.names)} are new"
        return {**self.data.findings(), "classes": line}


def _part(label: Classes, chosen: list[int]) -> Classes:
    """Return some classes of a label as a label of their own; other rows have no class."""
    number = np.full(len(label.names) + 1, -1)
    number[chosen] = np.arange(len(chosen))
    return replace(label, names=tuple(label.names[k] for k in chosen), values=number[label.values])
