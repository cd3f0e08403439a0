"""The base of methods that learn a label: the loss of its classes, and how a user asks for them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..modalities import MODALITIES, resolve
from ..networks.base import Towers
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from ..registry import unknown
from ..types import Batch, Embeddings, Kind, Target, TrainingExamples
from .tower_method import TowerMethod, paired


class Classifying(TowerMethod):
    """A method that learns the classes of a label from the features of its columns.

    Args:
        towers: by column.
        target: the label; None for none.

    Raises:
        ValueError: for a label of fewer than two classes.
    """

    learns: ClassVar[tuple[Kind, ...]] = ("classes",)

    def __init__(self, towers: Towers, target: Target | None) -> None:
        super().__init__(towers)
        if target is not None and len(target.classes) < 2:
            raise ValueError(
                f"the label {target.label} has {len(target.classes)} classes: 2 or more tell apart"
            )
        self.target = target
        self.views = paired(towers)

    def required_target(self) -> Target:
        """Return the label, of a method that learns nothing without one.

        Raises:
            ValueError: if there is none.
        """
        if self.target is None:
            raise ValueError(
                f"{type(self).__name__.lower()} learns the classes of a label: name one of the data's with "
                "--labels NAME (counterpoint data describe lists them)"
            )
        return self.target

    @property
    def required(self) -> tuple[str, ...]:
        """The columns without which it has no answer: all of them, for a method that uses no rows with gaps."""
        return tuple(self.columns) if self.incomplete == "drop" else ()

    def probabilities(self, logits: Float[Tensor, "B classes"]) -> Float[Tensor, "B classes"]:
        """Return the probability of every class: one of them applies, unless a method says otherwise."""
        return logits.softmax(1)

    @abstractmethod
    def logits(self, z: Embeddings, batch: Batch) -> Float[Tensor, "B classes"]:
        """Return the logits of the classes, from what ``encode`` gave; of the batch, which columns there are."""

    def outputs(self, column: str) -> tuple[str, ...]:
        """Return the names of what ``encode`` makes of a column, as wide as its tower each."""
        return (column,)

    def seen(self, column: str, inputs: Tensor) -> Embeddings:
        """Return what ``encode`` makes of a column."""
        return {column: self.features(column, inputs)}

    def encode(self, batch: Batch) -> Embeddings:
        # What stands in a view where an example lacks its column must not matter, and its NaN would in gradients.
        return {
            name: torch.where(batch.has(column).view(-1, *[1] * (z.ndim - 1)), z, 0.0)
            for column in self.columns
            for name, z in self.seen(column, batch[column]).items()
        }

    def cross_entropy(
        self, logits: Float[Tensor, "B classes"], batch: Batch, weights: Tensor | None = None
    ) -> Float[Tensor, ""]:
        """Compute the mean cross-entropy of the examples that have a class, those of all ranks.

        Args:
            logits: of the classes.
            batch: its labels.
            weights: of examples ``(B,)``; one of 0 counts neither above nor below.

        Raises:
            UnknownNameError: for a label that the data does not have.
            ValueError: for a class beyond those that the label had.
        """
        classes = self.classes(batch)
        known = (classes >= 0).to(logits.dtype)
        # Without a class an example has weight 0, and any class that exists.
        terms = F.cross_entropy(logits, classes.clamp_min(0), reduction="none")
        return moments.mean(terms, known if weights is None else known * weights, ranks=Ranks.present())

    def classes(self, batch: Batch | TrainingExamples, prefix: str = "") -> Tensor:
        """Return the class of every example, −1 where it has none; see `cross_entropy` for errors.

        Args:
            batch: some examples, or all.
            prefix: before the label's name, as mixup has it for the labels of partners.
        """
        assert self.target is not None
        if self.target.label not in batch.labels:
            raise unknown("label", self.target.label, batch.labels)
        classes = batch.labels[prefix + self.target.label]
        if int(classes.max()) >= len(self.target.classes):
            raise ValueError(
                f"{self.target.label} has a class {int(classes.max())}, and the model was built for "
                f"{len(self.target.classes)}"
            )
        return classes

    @torch.no_grad()
    def classify(
        self, inputs: Mapping[str, Any] | Any, present: Mapping[str, Bool[np.ndarray, " n"]] | None = None
    ) -> Float[Tensor, "n classes"]:
        """Return the probability of every class of the label that the model learned, ``target.classes``.

        Args:
            inputs: the raw form of the examples by column, as `embed` takes it. A column may be left out. Of a model of
                one column the raw form alone will do.
            present: of columns that some examples lack, which ones have it, ``(n,)``; ``inputs`` holds these alone.

        Raises:
            LookupError: for a model that was trained without a label.
            UnknownNameError: for a column that the model does not look at.
            ValueError: for columns of different lengths, for none, for a column that is missing where the model needs
                all of them, and for examples of no column where it has several.
        """
        if self.target is None:
            raise LookupError("this model learned no label: train it with --labels NAME")
        if not isinstance(inputs, Mapping):
            if len(self.columns) > 1:
                raise ValueError(
                    f"give the examples by column, of {', '.join(self.columns)}: {{column: examples}}"
                )
            inputs = dict.fromkeys(self.columns, inputs)
        # One text is a list of one, as it is to `embed`: its length is that of its letters.
        inputs = {column: [raw] if isinstance(raw, str) else raw for column, raw in inputs.items()}
        rows = self._rows(inputs, present or {})
        device, was_training = next(self.parameters()).device, self.training
        n = len(next(iter(rows.values())))
        z: Embeddings = {}
        self.eval()
        try:
            for column in self.columns:
                tower, there = self.tower(column), rows[column].to(device)
                for name in self.outputs(column):
                    z[name] = torch.zeros(n, tower.width, device=device)
                if not there.any():
                    continue
                raw = resolve(MODALITIES.get(tower.modality).check)(inputs[column])
                prepared = tower.input(raw.to(device) if isinstance(raw, Tensor) else raw).to(device)
                for name, seen in self.seen(column, prepared).items():
                    # Features of patches have one more dimension than those of whole pictures.
                    z[name] = z[name].new_zeros(n, *seen.shape[1:])
                    z[name][there] = seen.to(z[name].dtype)
            ids = torch.arange(n, device=device)
            batch = Batch(ids, {}, present={column: there.to(device) for column, there in rows.items()})
            return self.probabilities(self.logits(z, batch).float())
        finally:
            self.train(was_training)

    def _rows(
        self, inputs: Mapping[str, Any], present: Mapping[str, Bool[np.ndarray, " n"]]
    ) -> dict[str, Bool[Tensor, " n"]]:
        """Return which examples have each column."""
        for column in (*inputs, *present):
            if column not in self.columns:
                raise unknown("column", column, self.columns)
        rows = {column: torch.ones(len(raw), dtype=torch.bool) for column, raw in inputs.items()}
        rows |= {column: torch.from_numpy(np.asarray(there, dtype=bool)) for column, there in present.items()}
        if not rows:
            raise ValueError(f"give some of {', '.join(self.columns)} to be classified by")
        if len(lengths := {len(there) for there in rows.values()}) > 1:
            listing = ", ".join(f"{len(there)} of {column}" for column, there in rows.items())
            raise ValueError(f"columns must hold the same examples, and there are {listing}")
        for column, there in rows.items():
            count = len(inputs[column]) if column in inputs else 0
            if count != int(there.sum()):
                raise ValueError(
                    f"{int(there.sum())} examples have {column}, and {count} are given: leave out those without"
                )
        none = torch.zeros(lengths.pop(), dtype=torch.bool)
        rows = {column: rows.get(column, none) for column in self.columns}
        if not all(rows[column].all() for column in self.required):
            raise ValueError(
                f"{type(self).__name__} needs all of {', '.join(self.required)} of every example"
            )
        return rows
