"""Up-sampling of features guided by the picture they are of, and the down-sampling that teaches it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..pairwise.inputs import upcast

PAPERS = {"llava-uhd-v2": ("GuidedUpsampler", "AttentionDownsampler", "bicubic")}
_RADIUS = 3
_OFFSETS = (2 * _RADIUS + 1) ** 2


def bicubic(features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C H W"]:
    """Return a map of features of twice the side, by bicubic interpolation."""
    return F.interpolate(features, scale_factor=2, mode="bicubic", align_corners=False)


class GuidedUpsampler(nn.Module):
    """Twice the side, by a weighted mean of bicubic features near by; the picture gives the weights.

        r_q = softmax_q(exp(θ) <φ(g_p), φ(g_q)>),   s_q = exp(−|d_q|² / 2σ²)
        k = r s / Σ_q r_q s_q,   K = k + 0.1 MLP([k; g_p])
        output_p = Σ_q K_q bicubic(features)_q

    q are the 49 positions around p, d_q is their offset in [−1, 1]², and g is the picture at the size of the output.
    Borders are reflected. It computes in float32 at least.

    Args:
        width: of φ.

    Source: Fu et al., "FeatUp: A Model-Agnostic Framework for Features at Any Resolution" (2024), arXiv 2403.10516,
    after Kopf et al., "Joint Bilateral Upsampling" (2007). There φ drops out a tenth.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.range = nn.Sequential(nn.Conv2d(3, width, 1), nn.GELU(), nn.Conv2d(width, width, 1))
        self.correction = nn.Sequential(
            nn.Conv2d(_OFFSETS + 3, _OFFSETS, 1), nn.GELU(), nn.Conv2d(_OFFSETS, _OFFSETS, 1)
        )
        self.theta, self.sigma = nn.Parameter(torch.zeros(())), nn.Parameter(torch.ones(()))

    def forward(
        self, features: Float[Tensor, "B C h w"], picture: Float[Tensor, "B 3 H W"]
    ) -> Float[Tensor, "B C h2 w2"]:
        """Return features of twice the side.

        Args:
            features: of more than one row and column.
            picture: of any size.
        """
        with torch.autocast(picture.device.type, enabled=False):
            maps = upcast(features)
            kernel = self.kernel(upcast(picture), (2 * maps.shape[2], 2 * maps.shape[3]))
            total = maps.new_zeros(())
            for number, part in enumerate(_around(bicubic(maps))):  # a sum in turns: no 49 copies in memory
                total = total + kernel[:, number, None] * part
        return total

    def kernel(self, picture: Float[Tensor, "B 3 H W"], size: tuple[int, int]) -> Float[Tensor, "B 49 h w"]:
        """Return the weights of the neighbours of each position of a map of some size."""
        guidance = F.adaptive_avg_pool2d(picture, size)
        ranged = self.range(guidance)
        alike = torch.stack([(ranged * part).sum(1) for part in _around(ranged)], 1)
        near = (self.theta.exp().clamp(1e-4, 1e4) * alike).softmax(1) * self._spatial()
        kernel = near / near.sum(1, keepdim=True).clamp_min(1e-7)
        return kernel + 0.1 * self.correction(torch.cat([kernel, guidance], 1))

    def _spatial(self) -> Float[Tensor, "49 1 1"]:
        line = torch.linspace(-1, 1, 2 * _RADIUS + 1).to(self.sigma)
        squared = (line[:, None].square() + line.square()).flatten()
        return (-squared / (2 * self.sigma.square())).exp()[:, None, None]


def _around(maps: Float[Tensor, "B C h w"]) -> list[Float[Tensor, "B C h w"]]:
    """Return the maps moved by each offset, row by row of the window."""
    height, width = maps.shape[2:]
    padded = F.pad(maps, (_RADIUS,) * 4, mode="reflect")
    side = range(2 * _RADIUS + 1)
    return [padded[:, :, y : y + height, x : x + width] for y in side for x in side]


class AttentionDownsampler(nn.Module):
    """A map of a smaller side: of each cell the mean of its positions, weighted by attention.

        softmax over the positions of a cell of  a(feature) · w + b

    w and b are learned for each position within a cell.

    Args:
        width: of features.
        factor: positions of a cell's side.

    Source: Fu et al., "FeatUp" (2024), arXiv 2403.10516. There a fifth of the features is dropped out.
    """

    def __init__(self, width: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.attention = nn.Linear(width, 1)
        self.scale = nn.Parameter(torch.ones(factor**2))
        self.offset = nn.Parameter(torch.zeros(factor**2))

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
        """Return the smaller map."""
        rows, columns = (length // self.factor for length in features.shape[2:])
        cells: Tensor = F.unfold(features, self.factor, stride=self.factor)
        cells = cells.view(*features.shape[:2], self.factor**2, -1)
        attention: Tensor = self.attention(cells.permute(0, 3, 2, 1))[..., 0] * self.scale + self.offset
        made: Tensor = (cells * attention.softmax(-1).mT[:, None]).sum(2)
        return made.view(*made.shape[:2], rows, columns)
