"""Small towers for short videos and for short captions, in which order counts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from counterpoint.data.items import Items, Videos
from counterpoint.data.synthetic.clips.items import items_of
from counterpoint.data.synthetic.clips.world import VideoClips
from counterpoint.networks import BytePairTokenizer
from counterpoint.networks.heads import Linear
from counterpoint.networks.init import initialise
from counterpoint.networks.towers.transformer import Embedding, TextTransformer, TransformerBlock

SIDE = 24
"""Pixels of a side of a frame."""
COLOURS = "red+yellow+green+blue"
"""Four that are told apart where a thing is five pixels wide."""


@final
class FrameNetwork(nn.Module):
    """Three convolutions on small pictures, with batch normalisation as things are a small part of a picture.

    Args:
        width: of the features.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, size in ((3, 16, 5), (16, 32, 3), (32, 32, 3)):
            layers += [
                nn.Conv2d(before, after, size, stride=2, padding=size // 2),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(32 * (SIDE // 8) ** 2, width)

    def feature_map(self, pictures: UInt8[Tensor, "n 3 H W"]) -> Float[Tensor, "n 32 h w"]:
        """Return what the convolutions find at every place; white is 0 to the convolutions."""
        return self.layers(1 - pictures.float() / 255)

    def forward(self, pictures: UInt8[Tensor, "n 3 H W"]) -> Float[Tensor, "n width"]:
        return self.out(self.feature_map(pictures).flatten(1))


@final
class FramesTransformer(nn.Module):
    """A `FrameNetwork` on every frame, then one transformer block over the frames, and their mean.

    Args:
        frames: of a video.
        width: of the features.
    """

    def __init__(self, frames: int, width: int = 64) -> None:
        super().__init__()
        self.frame = FrameNetwork(width)
        self.position = Embedding(frames, width, std=0.02)
        self.block = TransformerBlock(width, heads=4, depth=1, causal=False)

    def forward(self, frames: UInt8[Tensor, "n T 3 H W"]) -> Float[Tensor, "n width"]:
        states = self.frame(frames.flatten(0, 1)).view(*frames.shape[:2], -1)
        return self.block(states + self.position.weight).mean(1)


@final
class ClipTowers(nn.Module):
    """An embedder of videos and captions.

    Args:
        captions: that the vocabulary is made of.
        frames: of a video.
        seed: of the initial weights.
        width: of the embedding.
    """

    def __init__(self, captions: Sequence[str], frames: int, seed: int, width: int = 64) -> None:
        super().__init__()
        self.video = FramesTransformer(frames, width)
        self.seen = Linear(width, width)
        self.words = TextTransformer(BytePairTokenizer.train(sorted(set(captions)), 512, 48), width, depth=1)
        self.text = Linear(width, width)
        initialise(self, seed)

    def videos(self, frames: UInt8[Tensor, "n T 3 H W"]) -> Float[Tensor, "n d"]:
        return F.normalize(self.seen(self.video(frames)), dim=-1)

    def captions(self, tokens: Int[Tensor, "n L"]) -> Float[Tensor, "n d"]:
        return F.normalize(self.text(self.words(tokens)), dim=-1)


class ClipFrames(NamedTuple):
    """Items of clips with their frames."""

    items: Videos
    frames: UInt8[Tensor, "n T 3 S S"]

    def __len__(self) -> int:
        return len(self.items)


@lru_cache(maxsize=8)
def filmed(source: str, split: str, count: int, form: type[Items]) -> ClipFrames:
    """Return the items of the first rows of a world's training split, or of a test split, with their frames.

    Args:
        source: the world, as a user writes it; its frames are drawn at `SIDE` pixels.
        split: ``"train"``, or the name of a test split.
        count: rows; some may have no item.
        form: of the items.
    """
    world = VideoClips.parse(f"{source},pixels={SIDE},train={count},test={count}")
    rows = world.splits.train if split == "train" else world.splits.test[split]
    items = items_of(world, form, rows)
    assert isinstance(items, Videos)
    parts = np.array_split(np.arange(len(items)), max(1, len(items) // 128))
    return ClipFrames(items, torch.cat([items.frames(part) for part in parts]))
