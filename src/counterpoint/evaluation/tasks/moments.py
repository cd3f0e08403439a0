"""Which moments of a clip a query asks for, and which of its frames show it best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.ops import box_iou

from ...data.base import Data, Rows
from ...data.embeddings import uncached
from ...data.labels import Timelines
from ...data.timelines import lengths_of, resampled
from ...types import Embedder, FindsMoments, FoundMoments, Metric, Scores
from ..several import average_precision
from ..statistic import mean
from ..task import (
    EmbedderTask,
    NotApplicableError,
    check_columns,
    check_labels,
    check_rows,
    scores,
    subsample_by_hash,
)

BATCH = 64
"""Rows that are asked about at once."""
SHOWN = 6
"""Clips whose timelines stand in the report of a study."""
OVERLAPS = tuple((50 + 5 * k) / 100 for k in range(10))
"""The least IoU of a span with a true one, of which mAP is the mean."""


@final
class Moments(EmbedderTask):
    """The moments of a clip that its query asks for, by the label ``moments``, and its highlights, by ``saliency``.

    ``R1@0.5`` and ``R1@0.7``: whether the span of highest score has at least this IoU with a true one. ``mAP``: the
    mean over IoU 0.5, 0.55, …, 0.95 of the average precision of a clip's spans, each true span found once. Of
    frames ``highlight_mAP`` is the average precision of those with the highest saliency that the data has, and
    ``HIT@1`` whether the best frame is one of them. All are means over the clips that have a moment or a highlight.

    Raises:
        NotApplicableError: for a model that finds no moments, and data without these labels.
        ValueError: for no rows.

    Source: the metrics of Lei et al., "Detecting Moments and Highlights in Videos via Natural Language Queries" (2021),
    arXiv 2107.09609, where highlights are judged by three people.
    """

    family = "video"
    name = "moments"
    primary = "mAP"
    modalities = ("video",)
    reads = ("video", "text")
    labels = ("moments", "saliency")
    kind = Timelines

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        check_columns(self, data)
        self.check_model(model, data)
        known = check_labels(data, self.labels, self.name, Timelines)
        finder: Any = uncached(model)
        spans: list[Tensor] = []
        saliency: list[Tensor] = []
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            of_part = finder.find_moments({column: data.read(column, part) for column in self.reads})
            spans += of_part[0].double().cpu()
            saliency += of_part[1].double().cpu()
        outcomes: dict[str, np.ndarray] = {}
        truth: list[Tensor] = [torch.zeros(0, 2, dtype=torch.float64)] * len(rows)
        if "moments" in known:
            truth = runs(torch.from_numpy(data.labels["moments"].values[rows]))
            of_rows = [detected(one, true) for one, true in zip(spans, truth, strict=True)]
            outcomes |= {
                name: np.array([of_row[k] for of_row in of_rows])
                for k, name in enumerate(("R1@0.5", "R1@0.7", "mAP"))
            }
        if "saliency" in known:
            values = data.labels["saliency"].values
            label = torch.from_numpy(values[rows])
            padded = torch.nn.utils.rnn.pad_sequence(saliency, batch_first=True, padding_value=torch.nan)
            aligned = resampled(padded, lengths_of(label), label.shape[1])
            found = [
                highlighted(one, true >= np.nanmax(values), ~np.isnan(true))
                for one, true in zip(aligned.numpy(), label.numpy(), strict=True)
            ]
            outcomes |= {
                name: np.array([of_row[k] for of_row in found])
                for k, name in enumerate(("highlight_mAP", "HIT@1"))
            }
        metrics = {name: Metric(name, mean) for name in outcomes}
        made = scores(self.name, data, rows, outcomes, metrics)
        return replace(made, moments=self._shown(data, rows, truth, spans, saliency))

    def _shown(
        self,
        data: Data,
        rows: Rows,
        truth: Sequence[Tensor],
        spans: Sequence[Tensor],
        saliency: Sequence[Tensor],
    ) -> FoundMoments:
        """Return the moments of a few clips, which are chosen by the hash of their ids."""
        chosen = subsample_by_hash(data, rows, SHOWN, self.name).tolist()
        label = data.labels.get("saliency")
        known = np.full((len(chosen), 1), np.nan) if label is None else label.values[rows[chosen]]
        of_spans, of_truth, of_frames = (
            torch.nn.utils.rnn.pad_sequence(
                [some[k].double() for k in chosen], batch_first=True, padding_value=torch.nan
            ).numpy()
            for some in (spans, truth, saliency)
        )
        queries = tuple(str(query) for query in data.read("text", rows[chosen]))
        return FoundMoments(queries, of_truth, known, of_spans, of_frames)

    def check_model(self, model: Any, data: Any) -> None:
        if not self.can_ask(model):
            raise NotApplicableError(
                f"{self.name} asks models that find moments, as videolights does: leave the task out"
            )

    def can_ask(self, model: Any) -> bool:
        return isinstance(uncached(model), FindsMoments)


def runs(timelines: Float[Tensor, "n L"]) -> list[Float[Tensor, "_ 2"]]:
    """Return the runs of places above 0 of each row, as starts and ends in shares of its length.

    >>> runs(torch.tensor([[0.0, 1.0, 1.0, 0.0, float("nan")]], dtype=torch.float64))[0].tolist()
    [[0.25, 0.75]]
    """
    spans = []
    for row, length in zip(timelines, lengths_of(timelines).tolist(), strict=True):
        steps = torch.nn.functional.pad((row > 0).double(), (1, 1)).diff()
        ends = torch.stack([(steps == 1).nonzero()[:, 0], (steps == -1).nonzero()[:, 0]], 1)
        spans.append(ends / max(length, 1))
    return spans


def detected(spans: Float[Tensor, "q 3"], truth: Float[Tensor, "m 2"]) -> tuple[float, float, float]:
    """Return R1 at IoU 0.5 and 0.7, and the mean average precision of some spans; NaN where no span is true.

    >>> detected(torch.tensor([[0.0, 0.6, 0.9], [0.5, 1.0, 0.8]]), torch.tensor([[0.0, 0.5]]))
    (1.0, 1.0, 0.7)
    """
    if not len(truth):
        return float("nan"), float("nan"), float("nan")
    order = spans[:, 2].argsort(descending=True, stable=True)
    overlap = box_iou(_boxes(spans[order, :2]), _boxes(truth.to(spans)))
    precision = [_precision(overlap, least) for least in OVERLAPS]
    best = float(overlap[0].max())
    return float(best >= 0.5), float(best >= 0.7), float(np.mean(precision))


def _precision(overlap: Float[Tensor, "q m"], least: float) -> float:
    """Return the average precision of spans in their order; each takes the true span that it overlaps most, once."""
    free = torch.ones(overlap.shape[1], dtype=torch.bool)
    hits, total = 0, 0.0
    for number, row in enumerate(overlap, 1):
        left = row.masked_fill(~free, -1.0)
        if float(left.max()) >= least:
            free[int(left.argmax())] = False
            hits += 1
            total += hits / number
    return total / overlap.shape[1]


def highlighted(saliency: Float[np.ndarray, " L"], top: np.ndarray, known: np.ndarray) -> tuple[float, float]:
    """Return the average precision of the top frames, and whether the best frame is one; NaN where none is."""
    known = known & ~np.isnan(saliency)
    if not top[known].any():
        return float("nan"), float("nan")
    pairs = np.stack([top[known], saliency[known]], 1).astype(np.float64)
    return average_precision(pairs), float(top[known][saliency[known].argmax()])


def _boxes(spans: Float[Tensor, "n 2"]) -> Float[Tensor, "n 4"]:
    """Return boxes of one height."""
    start, end = spans.unbind(1)
    return torch.stack([start, torch.zeros_like(start), end, torch.ones_like(start)], 1)
