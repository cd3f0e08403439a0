"""The built-in convolutional tower: a small residual network, sized for a CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..base import ImageTower
from .parts.pixels import Normalise

_FIRST, _LAYERS = 32, 3
"""Channels of the first stage, and stages, unless given."""


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel; fast in channels-last memory."""

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Convolution(nn.Conv2d):
    """A convolution that starts from N(0, 2/fan-in), its bias, if any, from zero."""

    def reset_parameters(self) -> None:
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Residual(nn.Module):
    """x ← skip(x) + conv(gelu(norm(conv(gelu(norm(x)))))).

    The skip is an average pool and a 1×1 convolution where sizes change.
    """

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.norm_1, self.norm_2 = ChannelNorm(channels), ChannelNorm(out)
        self.conv_1 = Convolution(channels, out, 3, stride, padding=1, bias=False)
        self.conv_2 = Convolution(out, out, 3, padding=1, bias=False)
        self.skip = Convolution(channels, out, 1, bias=False) if channels != out else None

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        h = F.gelu(self.norm_1(x))
        if self.skip is not None:
            x = self.skip(F.avg_pool2d(h, self.stride, ceil_mode=True) if self.stride > 1 else h)
        branch: Tensor = self.conv_2(F.gelu(self.norm_2(self.conv_1(h))))
        return x + branch


class ConvNet(ImageTower):
    """A pre-activation residual network on 4×4 patches, its norms over the channels of each pixel.

    It works sample by sample (no batch statistics), so gradient caching and small batches change nothing.

    Args:
        size: pixels of a side; the network itself takes any size from 16.
        widths: channels of the stages; each further stage halves the resolution. The last is the feature
            width.

    Raises:
        ValueError: for pictures too small for the stages.

    Source: residual networks with pre-activation (arXiv 1603.05027).
    """

    kept_in_timm = "counterpoint_cnn"

    def __init__(self, size: int = 48, widths: Sequence[int] = (32, 64, 128)) -> None:
        super().__init__()
        least = 4 * 2 ** (len(widths) - 1)
        if size < least:
            raise ValueError(f"image size {size} is too small for this network; give at least {least}")
        self.size, self.width = size, widths[-1]
        self.normalise = Normalise()
        self.stem = Convolution(3, widths[0], 4, stride=4, bias=False)
        stages = [Residual(widths[0], widths[0], stride=1)]
        stages += [Residual(a, b, stride=2) for a, b in pairwise(widths)]
        self.stages = nn.Sequential(*stages)
        self.norm = ChannelNorm(widths[-1])
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def of_sizes(
        cls, size: int, width: int | None = None, layers: int | None = None, patch: int | None = None
    ) -> Self:
        """Build a network of so many stages.

        Args:
            size: pixels of a side.
            width: channels of the last stage; each other stage has half of those of the next. Unless given, the first
                stage has 32.
            layers: number of stages, 3 unless given.
            patch: means nothing to this network.

        Raises:
            ValueError: for a width that cannot be halved for each stage.
        """
        layers = layers or _LAYERS
        width = width or _FIRST * 2 ** (layers - 1)
        if width % 2 ** (layers - 1):
            raise ValueError(
                f"towers.image_width={width}: a cnn of {layers} stages needs a multiple of {2 ** (layers - 1)}"
            )
        return cls(size, [width // 2**n for n in reversed(range(layers))])

    @property
    def sizes(self) -> Mapping[str, int | float | str]:
        layers = len(self.stages)
        own = {"image_width": self.width, "image_layers": layers}
        usual = {"image_width": _FIRST * 2 ** (layers - 1), "image_layers": _LAYERS}
        return {name: value for name, value in own.items() if value != usual[name]}

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        return self.patches(images).mean((2, 3))

    def patches(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width h w"]:
        x = self.normalise(images).contiguous(memory_format=torch.channels_last)
        return F.gelu(self.norm(self.stages(self.stem(x))))

    def summary_and_patches(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B width"], Float[Tensor, "B width h w"]]:
        maps = self.patches(images)
        return maps.mean((2, 3)), maps
