"""Queries of trained models and their queues: for claims about the keys that a query meets."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from counterpoint.data.base import Data
from counterpoint.methods._queue import MomentumContrast
from counterpoint.networks import KeyQueue
from counterpoint.training.start import load


@torch.no_grad()
def queries_and_queue(folder: Path, data: Data, test: str) -> tuple[Float[Tensor, "n d"], KeyQueue]:
    """Return the queries that the model of a run makes of a test set's pictures, and the queue that it ended with."""
    method = load(folder)
    assert isinstance(method, MomentumContrast)
    tower = method.image_tower
    features = tower(tower.input(data.read("image", data.splits.test[test])))
    return F.normalize(method.projection(features), dim=-1), method.long_queue()
