"""Target classes of this rank's part of a batch."""

from __future__ import annotations

import torch
from method_stubs import build

CLASSES = torch.tensor([0, 0, 0, 1, 1, 2, 3, 4, 4, -1, 2])


def job_targets(rank: int, size: int, targets: str) -> list[int]:
    cuts = {1: [0, 11], 2: [0, 4, 11], 3: [0, 2, 2, 11]}[size]
    torch.manual_seed(5 + rank)  # as in a step of the loop, where each rank draws what the others do not
    chosen: list[int] = build("hydra", targets=targets).chosen(CLASSES[cuts[rank] : cuts[rank + 1]]).tolist()
    return chosen
