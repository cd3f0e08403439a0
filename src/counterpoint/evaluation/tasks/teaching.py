"""How well a model predicts the features of the teachers that it learned from."""

from __future__ import annotations

from typing import Any, NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from ...data.base import Data, Rows
from ...data.embeddings import uncached
from ...types import Embedder, Metric, PredictsTeachers, Scores
from ..statistic import mean
from ..task import EmbedderTask, NotApplicableError, check_columns, check_rows, scatter, scores

BATCH = 64
"""Pictures shown at once."""


@final
class Teaching(EmbedderTask):
    """How far are the features that a model predicts of its teachers from those that the teachers have?

    ``distance_summary`` is 1 − cosine between the predicted and the true features of a picture, ``distance_patches``
    the mean over its patches. ``error_patches`` is the squared error of patches in units of the variance of the
    teacher's features over the test set; the best constant features score 1. Features of pictures have no error, as
    methods learn their direction alone; so does `UTA` of patches, whose error says nothing. Of several teachers the
    names end in their numbers, ``error_patches_2``. ``distance`` and ``error`` are the means of these over teachers,
    features and sides.

    The teachers see pictures of their own size. The model sees them at each of ``sides``, whose numbers end the names
    where sides are given: ``error_patches_48``.

    Args:
        sides: in pixels, that the model sees pictures at, joined with ``+``; that of its tower unless given.

    Raises:
        NotApplicableError: for data without pictures, a model that learned from no teacher, a teacher that cannot be
            read any more, and a side that the model's tower cannot take.
        ValueError: if there are no rows, or features are not finite.

    Source: Heinrich et al. (2024), arXiv 2412.07679, whose release measures both by the side of the picture.
    """

    family = "distillation"
    name = "teaching"
    primary = "distance"
    papers = ("radio-amplified",)
    modalities = ("image",)
    reads = ("image",)

    def __init__(self, sides: str = "") -> None:
        if not all(side.isdigit() and int(side) for side in sides.split("+")) and sides:
            raise ValueError(f"sides={sides!r}: give sides in pixels, as in sides=32+64")
        self.sides = tuple(int(side) for side in sides.split("+")) if sides else (None,)

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        check_columns(self, data)
        self.check_model(model, data)
        pupil: PredictsTeachers = uncached(model)
        present = np.flatnonzero(data.present("image", rows))
        if not len(present):
            raise NotApplicableError(
                f"{self.name} asks about pictures, and {data.name!r} has none in these rows"
            )
        sums: dict[str, list[_Sums]] = {}
        for start in range(0, len(present), BATCH):
            pictures = data.read("image", rows[present[start : start + BATCH]])
            for side in self.sides:
                for name, (predicted, true) in self._features(pupil, pictures, side).items():
                    end = "" if side is None else f"_{side}"
                    sums.setdefault(name + end, []).append(_compare(predicted, true))
        outcomes: dict[str, np.ndarray] = {}
        for name, parts in sums.items():
            outcomes[f"distance_{name}"] = torch.cat([part.distance for part in parts]).numpy()
            if name.startswith("patches"):
                squares = torch.cat([part.squares for part in parts]).numpy()
                variance = _variance(parts)
                outcomes[f"error_{name}"] = squares / variance if variance else np.full(len(squares), np.nan)
        for kind in ("distance", "error"):
            if of_kind := [values for name, values in outcomes.items() if name.startswith(f"{kind}_")]:
                outcomes[kind] = np.mean(of_kind, 0)
        spread = {name: scatter(values, present, len(rows)) for name, values in outcomes.items()}
        metrics = {name: Metric(name, mean, higher_is_better=False) for name in sorted(spread)}
        return scores(self.name, data, rows, spread, metrics)

    def check_model(self, model: Any, data: Any) -> None:
        if not self.can_ask(model):
            raise NotApplicableError(
                f"{self.name} asks models that learned features of a teacher, as distil, uta and radio do: leave the "
                "task out"
            )

    def can_ask(self, model: Any) -> bool:
        return isinstance(uncached(model), PredictsTeachers)

    def _features(
        self, model: PredictsTeachers, pictures: UInt8[Tensor, "n 3 H W"], side: int | None
    ) -> dict[str, tuple[Tensor, Tensor]]:
        try:
            features = dict(model.teacher_features(pictures, side))
        except (LookupError, ValueError) as error:
            raise NotApplicableError(
                f"{self.name} compares a model with its teachers: {error.args[0] if error.args else error}"
            ) from error
        for name, pair in features.items():
            if not all(torch.isfinite(tensor).all() for tensor in pair):
                raise ValueError(f"features of the teacher ({name}) or their predictions are NaN or infinite")
        return features


class _Sums(NamedTuple):
    """Comparisons of some pictures, and sums over the teacher's features of all their parts.

    Attributes:
        distance, squares: means over the parts of each picture.
        parts: their number.
        total, total_squares: of the teacher's features, and of their squared norms.
    """

    distance: Float[Tensor, " n"]
    squares: Float[Tensor, " n"]
    parts: int
    total: Float[Tensor, " d"]
    total_squares: float


def _compare(predicted: Float[Tensor, "n m d"], true: Float[Tensor, "n m d"]) -> _Sums:
    predicted, true = (tensor.detach().cpu().double() for tensor in (predicted, true))
    return _Sums(
        1 - F.cosine_similarity(predicted, true, dim=2).mean(1),
        (predicted - true).square().sum(2).mean(1),
        true.shape[0] * true.shape[1],
        true.sum((0, 1)),
        float(true.square().sum()),
    )


def _variance(parts: list[_Sums]) -> float:
    """Return the variance of the teacher's features, summed over channels; 0 where it is rounding."""
    count = sum(part.parts for part in parts)
    second = sum(part.total_squares for part in parts) / count
    total = torch.stack([part.total for part in parts]).sum(0)
    variance = second - float((total / count).square().sum())
    return variance if variance > 1e-9 * second else 0.0
