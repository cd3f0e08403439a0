"""Pictures made so small that they can be compared pixel by pixel."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float

from ..base import Data, Rows

SIDE = 16
"""Side of a small picture, in pixels."""


def thumbnails(data: Data, rows: Rows) -> Float[np.ndarray, "n d"]:
    """Return pictures of 16 × 16 pixels as vectors.

    Raises:
        ValueError: for data without pictures.
    """
    if "image" not in data.columns:
        raise ValueError(
            f"kind=similar compares pictures, and {data.name!r} has {', '.join(data.columns)}: name what compares "
            "them, encoder=MODEL"
        )
    small = [
        F.adaptive_avg_pool2d(data.read("image", part).float() / 255, SIDE).flatten(1).numpy()
        for part in np.array_split(rows, -(-len(rows) // 256))
    ]
    return np.concatenate(small)
