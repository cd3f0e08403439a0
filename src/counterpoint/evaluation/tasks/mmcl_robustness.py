"""Robustness to a shortcut that breaks: accuracy where it holds and where it misleads."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Int

from ...data.base import Data, Rows
from ...data.embeddings import EmbeddingCache
from ...types import Embedder, Metric, Scores
from ..statistic import mean, mean_per_class
from ..task import EmbedderTask, NotApplicableError, check_rows, similarity, table, top1


@final
class MMCLRobustness(EmbedderTask):
    """Zero-shot accuracy where a shortcut of the training rows holds and where it misleads.

    Each class has a usual value of the shortcut: the most frequent one among the training rows of the class. A test
    picture is ``aligned`` if it shows the usual value of its class, else ``conflicting``. Prompts name the class and
    nothing of the shortcut.

    Metrics: ``top1``; ``aligned`` and ``conflicting``, the same on either part, and ``balanced``, the mean of both,
    which is the accuracy under a shift that makes them as frequent; ``misled``, how often a conflicting picture is
    taken for a class whose usual value it shows. Chance is 1/classes, for ``misled`` the share of such classes. Classes
    that tie share the answer. Subsets are the two parts. Rows of a class without a usual value are left out, and so are
    rows without a picture.

    Compare models at the same accuracy where the shortcut holds: see `Trend`.

    Args:
        label: what to classify by.
        shortcut: the label that gives it away in training.

    Raises:
        NotApplicableError: if the data does not have both labels.
        ValueError: if no training row, or none of these rows, has both.

    Source: Xue et al., "Understanding the Robustness of Multi-modal Contrastive Learning to Distribution Shift" (2023),
    arXiv 2310.04971; its shifted data sets are here scenes whose shortcut is turned off.
    """

    family = "shortcuts"
    name = "mmcl_robustness"
    primary = "conflicting"
    modalities = ("image", "text")
    learns = True
    papers = ("mmcl-robustness",)

    def __init__(self, label: str = "concept", shortcut: str = "background") -> None:
        self.label, self.shortcut = label, shortcut
        self.labels = (shortcut,)  # the rarer one, which runs check for before they train

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        for needed in (self.label, self.shortcut):
            if needed not in data.classes:
                raise NotApplicableError(
                    f"{self.name} needs the label {needed!r}, which {data.name!r} does not have"
                )
        classes, values = data.classes[self.label].values, data.classes[self.shortcut].values
        usual = usual_values(
            classes[data.splits.train], values[data.splits.train], len(data.classes[self.label].names)
        )
        kept = rows[(classes[rows] >= 0) & (values[rows] >= 0) & (usual[classes[rows]] >= 0)]
        kept = kept[data.present("image", kept)]
        if not len(kept):
            raise ValueError(
                f"{self.name}: none of {len(rows)} rows of {data.name!r} has a {self.label} and a {self.shortcut} that "
                "training rows have too"
            )
        features = EmbeddingCache.of(model, data)
        truth, shown = classes[kept], values[kept]
        panel = similarity(features, features.images(kept), features.classes(data.classes[self.label]))
        target = torch.from_numpy(truth)
        right = top1(panel, target)
        others = panel.scatter(1, target[:, None], -torch.inf)
        goes: Bool[np.ndarray, "n K"] = usual[None] == shown[:, None]
        best = (panel == panel.amax(1, keepdim=True)).numpy()
        conflict = usual[truth] != shown
        outcomes = {
            "right": right,
            "aligned": np.where(conflict, np.nan, right),
            "conflicting": np.where(conflict, right, np.nan),
            "misled": np.where(conflict, (best & goes).sum(1) / best.sum(1), np.nan),
            "conflict": conflict.astype(float),
            "predicted": panel.argmax(1).double().numpy(),
            "margin": (panel.gather(1, target[:, None])[:, 0] - others.amax(1)).double().numpy(),
        }
        chance = 1 / panel.shape[1]
        metrics = {
            "top1": Metric("right", mean, chance=chance),
            "aligned": Metric("aligned", mean, chance=chance),
            "conflicting": Metric("conflicting", mean, chance=chance),
            "balanced": Metric(("conflict", "right"), mean_per_class, chance=chance),
            "misled": Metric(
                "misled",
                mean,
                higher_is_better=False,
                chance=mean(goes.mean(1)[conflict]) if conflict.any() else None,
            ),
        }
        parts = ["conflicting" if c else "aligned" for c in conflict]
        return table(self.name, data.ids[kept], parts, outcomes, metrics)


def usual_values(
    classes: Int[np.ndarray, " n"], values: Int[np.ndarray, " n"], count: int
) -> Int[np.ndarray, " K"]:
    """Return the most frequent value of each class (the lowest of several), −1 where no row of the class has one.

    >>> usual_values(np.array([0, 0, 0, 1]), np.array([2, 2, 1, -1]), 2).tolist()
    [2, -1]

    Args:
        classes, values: of the same rows; those below 0 are unknown.
        count: K, of the classes.
    """
    known = (classes >= 0) & (values >= 0)
    seen = np.zeros((count, values.max(initial=0) + 1), dtype=np.int64)
    np.add.at(seen, (classes[known], values[known]), 1)
    return np.where(seen.any(1), seen.argmax(1), -1)
