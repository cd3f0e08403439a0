"""The same thing in two pictures: which of the second's objects is that of the first?"""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch

from ...data.base import Data, Rows
from ...data.embeddings import uncached
from ...types import Embedder, MatchesThings, Metric, Scores
from ..statistic import mean
from ..task import EmbedderTask, NotApplicableError, check_columns, check_rows, scores

BATCH = 64
"""Rows whose pictures are held at once."""


@final
class SameThing(EmbedderTask):
    """Objects of a picture, each to be found among the objects of another picture.

    The data has two columns of pictures and two of maps, which number the objects of each; an object has one number in
    both maps of a row. ``accuracy`` is the share of a row's objects whose best match is the object itself, the mean
    over rows; equal scores are wrong. ``own`` is the same with the speaking model's vectors on both sides, without
    the expert. Subsets are the cues that the data names. Chance is the mean of 1 / number of objects.

    Raises:
        NotApplicableError: for a model that matches no objects, and data without two columns of maps.
        ValueError: for no rows.

    Source: Zhou et al., "Are They the Same? Exploring Visual Correspondence Shortcomings of Multimodal LLMs" (2025),
    arXiv 2501.04670.
    """

    family = "local features"
    name = "same_thing"
    papers = ("colva",)
    primary = "accuracy"
    modalities = ("image",)
    reads = ("image", "map")

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        check_columns(self, data)
        self.check_model(model, data)
        matcher: Any = uncached(model)
        pictures, maps = ([c for c, m in data.columns.items() if m == kind] for kind in ("image", "map"))
        if len(pictures) < 2 or len(maps) < 2:
            raise NotApplicableError(
                f"{self.name} asks about two pictures with maps, and {data.name!r} has {', '.join(data.columns)}"
            )
        right: dict[str, list[float]] = {"accuracy": [], "own": []}
        chances: list[float] = []
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            seen = torch.stack([data.read(column, part) for column in pictures[:2]], 1)
            objects = torch.stack([data.read(column, part).values for column in maps[:2]], 1)
            for name, own in (("accuracy", False), ("own", True)):
                for matrix in matcher.match(seen, objects, own=own).cpu():
                    there = matrix.isfinite().any(1)
                    among = matrix[there][:, there]
                    best = among.amax(1, keepdim=True) if len(among) else among
                    hits = (among == best) & ((among == best).sum(1, keepdim=True) == 1)
                    right[name].append(float(hits.diagonal().float().mean()) if len(among) > 1 else np.nan)
                    if own:
                        chances.append(1 / len(among) if len(among) > 1 else np.nan)
        outcomes = {name: np.array(of) for name, of in right.items()}
        chance = float(np.nanmean(chances)) if np.isfinite(chances).any() else None
        metrics = {name: Metric(name, mean, chance=chance) for name in outcomes}
        return scores(self.name, data, rows, outcomes, metrics)

    def check_model(self, model: Any, data: Any) -> None:
        if not self.can_ask(model):
            raise NotApplicableError(
                f"{self.name} asks models that match objects of two pictures, as colva trains them: leave the task out"
            )

    def can_ask(self, model: Any) -> bool:
        return isinstance(uncached(model), MatchesThings)
