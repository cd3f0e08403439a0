"""Scenes of layers that are drawn with gradient: pictures of a bank, dyed, each at a place and of a size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

PAPERS = {"xbind": ("LayeredScenes",)}

_LUMA = (0.299, 0.587, 0.114)
_SPREAD = 0.25
"""Standard deviation of where layers begin, as a share of the picture's side."""


class LayeredScenes(nn.Module):
    """Scenes whose layers are parameters; the picture of a scene is differentiable in all of them.

        c = Σ_b softmax(w)_b bank_b,   c' = (1 − m) c + m · dye · luma(c) / mean luma
        picture = background, then for every layer:  picture ← α c' + (1 − α) picture

    A layer's pixels are c', moved to its place, with opacity α. ``w`` are logits over the bank, and m and the dye are
    sigmoids of parameters. Places are shares of the picture's side, (0.5, 0.5) the middle; a size is the share of the
    side that a picture of the bank takes.

    Args:
        bank: red, green, blue and opacity in [0, 1]; colours are not multiplied by opacity.
        count: scenes.
        layers: of each scene; the last one is in front.
        size: height and width of pictures in pixels.
        scale: size of the layers at the start.
        background: value of the background's pixels.

    >>> scenes = LayeredScenes(torch.rand(5, 4, 16, 16), count=2, layers=3, size=32)
    >>> scenes().shape
    torch.Size([2, 3, 32, 32])

    Source: Lin et al., "XBind" (2024), arXiv 2411.14715, whose renderer is one of radiance fields and meshes, in the
    place of which these layers stand.
    """

    bank: Tensor

    def __init__(
        self,
        bank: Float[Tensor, "C 4 h w"],
        count: int,
        *,
        layers: int = 1,
        size: int = 48,
        scale: float = 0.4,
        background: float = 1.0,
    ) -> None:
        super().__init__()
        self.size, self.background = size, background
        # Multiplied by opacity: mixed otherwise, colours of invisible pixels would bleed in.
        self.register_buffer("bank", torch.cat([bank[:, :3] * bank[:, 3:], bank[:, 3:]], 1))
        self.choice = nn.Parameter(torch.zeros(count, layers, len(bank)))
        self.place = nn.Parameter(0.5 + _SPREAD / 2 * torch.randn(count, layers, 2))
        self.log_scale = nn.Parameter(torch.full((count, layers), scale).log())
        self.mix = nn.Parameter(torch.zeros(count, layers))
        self.dye = nn.Parameter(torch.zeros(count, layers, 3))

    def probabilities(self) -> Float[Tensor, "n K C"]:
        """Return how much of each picture of the bank is in a layer."""
        return self.choice.softmax(2)

    def dyes(self) -> Float[Tensor, "n K 4"]:
        """Return red, green and blue of each layer's dye, and how much of the layer is dyed, in [0, 1]."""
        return torch.cat([self.dye, self.mix[..., None]], 2).sigmoid()

    def forward(self) -> Float[Tensor, "n 3 size size"]:
        """Draw all scenes."""
        n, layers = self.mix.shape
        mixed = torch.einsum("nkc,cdhw->nkdhw", self.probabilities(), self.bank)
        opacity = mixed[:, :, 3:]
        luma = torch.einsum("nkdhw,d->nkhw", mixed[:, :, :3], mixed.new_tensor(_LUMA))[:, :, None]
        mean = luma.sum((3, 4), keepdim=True) / opacity.sum((3, 4), keepdim=True).clamp_min(1e-6)
        dyes = self.dyes()[..., None, None]
        dyed = torch.minimum(dyes[:, :, :3] * luma / mean.clamp_min(1e-6), opacity)
        colours = torch.lerp(mixed[:, :, :3], dyed, dyes[:, :, 3:])
        stamps = torch.cat([colours, opacity], 2).flatten(0, 1)
        # Where a pixel of the picture lies in the stamp, both from −1 to 1.
        inverse = (-self.log_scale).exp().flatten()
        theta = torch.zeros(n * layers, 2, 3, dtype=stamps.dtype, device=stamps.device)
        theta[:, 0, 0] = theta[:, 1, 1] = inverse
        theta[:, :, 2] = -(2 * self.place.flatten(0, 1) - 1) * inverse[:, None]
        grid = F.affine_grid(theta, [n * layers, 4, self.size, self.size], align_corners=False)
        moved = F.grid_sample(stamps, grid, align_corners=False).view(n, layers, 4, self.size, self.size)
        picture = torch.full_like(moved[:, 0, :3], self.background)
        for layer in moved.unbind(1):
            picture = layer[:, :3] + (1 - layer[:, 3:]) * picture
        return picture.clamp(0, 1)
