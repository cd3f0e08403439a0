"""The built-in towers of clips: a tower of pictures on each frame, then their order."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ...raw import ends
from ..base import ImageTower, Tower
from ..weights import TowerSource
from .footage import Footage
from .parts.temporal import before, mean_inside
from .transformer import Embedding, TransformerBlock


class VideoTower(Tower, ABC):
    """Clips to features.

    Attributes:
        size: height and width in pixels of the frames that it takes.
        frames: of a clip that it sees at most.
    """

    modality: ClassVar[str] = "video"
    size: int
    frames: int

    @property
    def input(self) -> Footage:
        return Footage(self.size, self.frames)

    @property
    def sizes(self) -> Mapping[str, int | float | str]:
        return {"image_size": self.size, "video_frames": self.frames}

    def states(self, clips: Float[Tensor, "B T 3 H W"]) -> Float[Tensor, "B t width"]:
        """Return features of times, in the space of `forward`'s, before they are pooled; zero behind a clip's end.

        Raises:
            LookupError: for a tower without them.
        """
        raise LookupError(f"{type(self).__name__} has no features of single times of a clip")


class FramesTower(VideoTower):
    """A tower of pictures on each frame, and a block of a transformer over the frames, read as the mean of its states.

    It works clip by clip, and only frames that there are pass through the tower of pictures: neither padding nor the
    clips beside one change its features.

    Args:
        image: the tower of pictures.
        frames: of a clip that it sees.
        ordered: whether the block is there; without it features are the mean of the pictures', in which the order of
            frames is lost.

    >>> from .convnet import ConvNet
    >>> tower = FramesTower(ConvNet(16), frames=4)
    >>> tower.states(torch.rand(2, 3, 3, 16, 16)).shape
    torch.Size([2, 3, 128])
    """

    def __init__(self, image: ImageTower, frames: int = 8, *, ordered: bool = True) -> None:
        super().__init__()
        self.image, self.size, self.frames, self.width = image, image.size, frames, image.width
        self.block = self.place_embedding = self.norm = None
        if ordered:
            self.place_embedding = Embedding(frames, self.width, std=0.02)
            self.block = TransformerBlock(self.width, math.gcd(4, self.width), depth=1, causal=False)
            self.norm = nn.LayerNorm(self.width)

    @property
    def sizes(self) -> Mapping[str, int | float | str]:
        image = str(replace(TowerSource.parse(self.image.name), weights=None))
        return {**self.image.sizes, **super().sizes, "image": image}

    def forward(self, clips: Float[Tensor, "B T 3 H W"]) -> Float[Tensor, "B width"]:
        states, inside = self._states(clips)
        return mean_inside(states.mT, inside)

    def states(self, clips: Float[Tensor, "B T 3 H W"]) -> Float[Tensor, "B T width"]:
        states, inside = self._states(clips)
        return states * inside[..., None]

    def _states(
        self, clips: Float[Tensor, "B T 3 H W"]
    ) -> tuple[Float[Tensor, "B T width"], Bool[Tensor, "B T"]]:
        times = clips.shape[1]
        inside = before(ends(clips[:, :, 0, 0, 0]), times)  # a frame is there as a whole or not at all
        features = self.image(clips[inside])
        x = features.new_zeros(*inside.shape, self.width)
        x[inside] = features
        if self.block is None or self.place_embedding is None or self.norm is None:
            return x, inside
        x = x + self.place_embedding.weight[:times]
        seen = inside | (torch.arange(times, device=clips.device) == 0)  # of a clip that is not there, one
        return self.norm(self.block(x, mask=seen)), inside
