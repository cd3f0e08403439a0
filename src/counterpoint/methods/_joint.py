"""Methods that embed several columns of an example together, beside each by itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..data.columns import parts_of
from ..registry import unknown
from .tower_method import TowerMethod


class JointMethod(TowerMethod):
    """The base of methods with embeddings of joint columns, ``audio+video``; see `counterpoint.types.JointEmbedder`."""

    @property
    def joint_columns(self) -> tuple[str, ...]:
        """The joint columns: all columns, and of three or more all but one."""
        least = max(len(self.columns) - 1, 2)
        sizes = range(least, len(self.columns) + 1)
        return tuple("+".join(parts) for size in sizes for parts in combinations(self.columns, size))

    @abstractmethod
    def joint_features(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "n w"]:
        """Return the features of a joint column, which `project` reads, of the prepared inputs of its columns."""

    @torch.no_grad()
    def embed(self, column: str, inputs: Any, head: str = "default") -> Tensor:
        """Return unit-norm embeddings ``(n, d)`` of examples of a column or of a joint column.

        Inputs are those of `TowerMethod.embed`; of a joint column a mapping from each of its columns to them.

        Raises:
            UnknownNameError: for a column or a head the method does not have.
            ValueError: for inputs that are not of the column's modality, for none, and for inputs of a joint column
                that are not of its columns or not as many of each.
        """
        if column not in self.joint_columns:
            return super().embed(column, inputs, head)
        parts = parts_of(column)
        if not isinstance(inputs, Mapping) or {*inputs} != {*parts}:
            raise ValueError(f"inputs of {column} are a mapping with the keys {' and '.join(parts)}")
        if head not in ("default", *self.heads):
            raise unknown("head", head, self.heads)
        device = next(self.parameters()).device
        prepared: dict[str, Tensor] = {}
        for part in parts:
            raw = self.raw_inputs(part, inputs[part])
            raw = raw.to(device) if isinstance(raw, Tensor) else raw
            prepared[part] = self.inputs[part](raw).to(device)
        counts = {part: len(of_part) for part, of_part in prepared.items()}
        if len({*counts.values()}) > 1:
            raise ValueError(f"inputs of {column} must be of the same examples, got {counts}")
        was_training = self.training
        self.eval()
        try:
            features = self.joint_features(prepared)
            return F.normalize(self.project(column, features, self.heads[0]), dim=-1)
        finally:
            self.train(was_training)
