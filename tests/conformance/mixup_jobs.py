"""Mixup on this rank's part of a batch."""

from __future__ import annotations

import torch

from counterpoint.networks.mixup import mixup
from counterpoint.pairwise.ranks import Ranks
from counterpoint.types import Batch


def whole(rows: int = 11) -> Batch:
    g = torch.Generator().manual_seed(0)
    views = {"image": torch.rand(rows, 3, 2, 2, generator=g), "table": torch.rand(rows, 4, generator=g)}
    labels = {"group": torch.arange(rows) % 3, "tags": torch.rand(rows, 5, generator=g) < 0.5}
    return Batch(10 + torch.arange(rows), views, labels)


def job_mixed(rank: int, size: int) -> dict[str, torch.Tensor]:
    batch, cuts = whole(), {1: [0, 11], 2: [0, 4, 11], 3: [0, 2, 2, 11]}[size]
    part = batch.map(lambda t: t[cuts[rank] : cuts[rank + 1]])
    torch.manual_seed(3)
    mixed = mixup(part, 0.4)
    ranks = Ranks.present()
    counts = ranks.counts(len(part), part.ids.device)
    return {n: ranks.gather(t, counts) for n, t in {**mixed.views, **mixed.labels}.items()}
