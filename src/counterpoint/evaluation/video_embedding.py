"""Embeddings of videos by an embedder of pictures, or of clips."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..data.embeddings import EmbeddingCache
from ..data.items import Videos
from ..data.pictures.frames import middle, sheet
from ..raw import check_clips
from ..registry import unknown
from .item_scores import batches

PICTURES, CLIPS = "image", "video"
WAYS = ("mean", "sheet", "middle")
VIDEOS = 32
"""Videos whose frames are held at once."""


def embed_videos(features: EmbeddingCache, items: Videos, way: str = "mean") -> Float[Tensor, "n d"]:
    """Embed the video of each item, with unit norm, once for all tasks that ask.

    ``mean``: the mean of the embeddings of its frames, so what shows in no frame (their order) is lost; an embedder of
    clips, and of no pictures, embeds the clip itself. ``sheet``: of nine frames side by side, which the embedder scales
    like any picture. ``middle``: of the frame in the middle. A picture is a clip of one frame to an embedder of clips.

    Raises:
        UnknownNameError: for another way.
    """
    if way not in WAYS:
        raise unknown("way to embed a video", way, WAYS)
    column = _column(features)
    if way == "mean" and column == PICTURES:
        return F.normalize(embed_frames(features, items).mean(1), dim=-1)
    made: dict[str, Any] = {"mean": check_clips, "sheet": sheet, "middle": middle}

    def compute() -> Tensor:
        return torch.cat([features.raw(column, made[way](items.frames(at))) for at in _batches(items)])

    return features.once(("videos", way, items), lambda: F.normalize(compute(), dim=-1))


def embed_frames(features: EmbeddingCache, items: Videos) -> Float[Tensor, "n T d"]:
    """Embed all frames of each item's video."""
    column = _column(features)

    def compute() -> Tensor:
        embedded = []
        for at in _batches(items):
            frames = items.frames(at)
            embedded.append(features.raw(column, frames.flatten(0, 1)).view(*frames.shape[:2], -1))
        return torch.cat(embedded)

    return features.once(("frames", items), compute)


def _column(features: EmbeddingCache) -> str:
    """Return the column that frames are embedded by: that of pictures, of an embedder that has none that of clips."""
    return PICTURES if PICTURES in features.columns else CLIPS


def _batches(items: Videos) -> list[Int[np.ndarray, " k"]]:
    return list(batches(len(items), VIDEOS))
