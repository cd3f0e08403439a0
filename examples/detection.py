"""Train torchvision's own detector on the image tower of a run.

    python examples/detection.py

A run of ``clip`` on scenes gives the tower; `counterpoint.networks.regions.pyramid` makes it a backbone. The detector
finds the things of other scenes, all as one class, so that no names are needed. It takes a handful of steps here, which
is enough to see the loss fall.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign, masks_to_boxes

import counterpoint as cp
from counterpoint.data.items import Regions
from counterpoint.data.source import load
from counterpoint.networks.regions import pyramid

DATA = "scenes:basic,pixels=64,train=64,validation=8,test=8"
SIDE, BATCH = 64, 8


def detector(tower: cp.networks.ImageTower) -> FasterRCNN:
    """Return a detector of one class on a tower, for pictures of 64 pixels."""
    scales = (2, 1, 0.5)
    return FasterRCNN(
        pyramid(tower, channels=32, scales=scales),
        num_classes=2,  # the background is one
        rpn_anchor_generator=AnchorGenerator(((8,), (16,), (32,)), ((0.5, 1.0, 2.0),) * len(scales)),
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], output_size=7, sampling_ratio=2),
        # The tower normalises pictures itself.
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
        min_size=SIDE,
        max_size=SIDE,
        size_divisible=SIDE,
    )


def annotated(data: cp.data.Data) -> list[tuple[Tensor, Tensor]]:
    """Return the pictures of training rows, each with the boxes of its things in pixels."""
    items = data.items(Regions, data.splits.train)
    of_row: dict[int, list[int]] = {}
    for position, row in enumerate(items.rows.tolist()):
        of_row.setdefault(row, []).append(position)
    examples = []
    for positions in map(np.array, of_row.values()):
        picture = items.pictures(positions[:1])[0] / 255
        examples.append((picture, masks_to_boxes(items.masks(positions)) + torch.tensor([0.0, 0, 1, 1])))
    return examples


def main(steps: int = 12) -> list[float]:
    """Train a run and then a detector on its tower; return the detector's loss at every step."""
    changes = {"steps": 20, "batch_size": 16, "towers.image": "vit", "towers.image_size": SIDE}
    changes |= {"towers.image_width": 64, "towers.image_layers": 2}
    with tempfile.TemporaryDirectory() as scratch:
        recipe = cp.recipes.override(cp.recipes.load("seconds"), changes)
        model = cp.train("clip", DATA, recipe=recipe, folder=Path(scratch) / "run", tasks=["retrieval"])
    torch.manual_seed(0)
    network = detector(model.image_tower).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    examples, losses = annotated(load(DATA)), []
    for step in range(steps):
        batch = [examples[(step * BATCH + k) % len(examples)] for k in range(BATCH)]
        targets = [{"boxes": boxes, "labels": torch.ones(len(boxes), dtype=torch.long)} for _, boxes in batch]
        loss = sum(network([picture for picture, _ in batch], targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"the detector's loss: {losses[0]:.3f} at first, {losses[-1]:.3f} after {steps} steps")
    return losses


if __name__ == "__main__":
    main()
