"""FILIP: pictures and captions compared token by token, each with the best one of the other side."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..forms import Positive
from ..pairwise import recording
from ..pairwise.inputs import upcast
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, Reduction
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile
from .mil import check_bags, of_pairs, with_mask


class FILIPLoss(PairwiseLoss):
    """InfoNCE on similarities by late interaction, of which each direction has its own.

        s(X, Y) = mean_n max_m <x_n, y_m>,   s(Y, X) = mean_m max_n <x_n, y_m>
        loss = ½ mean_i [CE(s(X_i, ·)/τ, i) + CE(s(Y_i, ·)/τ, i)]

    Padding of either side is masked and changes nothing. With one token a side this is InfoNCE. On several ranks N and
    M must be the same everywhere. A ``tile`` of r pictures and c captions holds r · N · c · M similarities; unless
    given, it is so many times smaller.

    Args:
        temperature: τ; a number is fixed. The default is learned from 0.07 within [0.01, 1].

    Raises:
        ValueError: for inputs or masks whose shapes do not fit, or an example all of whose tokens are masked.

    Source: Yao et al., "FILIP: Fine-grained Interactive Language-Image Pre-Training" (2021), arXiv 2111.07783, without
    its selection of tokens, which saves memory; it stands for the fine-grained family of Roy et al. (2024), arXiv
    2406.07450.

    >>> x = torch.eye(8)[:, None]                     # one token a side: log(1 + 7 / e)
    >>> round(FILIPLoss(temperature=1.0)(x, x).item(), 4)
    1.274
    """

    family = "local features"
    symmetric = True
    papers = ("medical-vl-benchmark",)

    def __init__(self, *, temperature: Positive | Temperature | None = None) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.07, bounds=(0.01, 1.0)))

    def forward(
        self,
        x: Float[Tensor, "B N d"],
        y: Float[Tensor, "B M d"],
        *,
        x_mask: Bool[Tensor, "B N"] | None = None,
        y_mask: Bool[Tensor, "B M"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm tokens of pictures ``x`` and captions ``y``; masks are True where one is."""
        check_bags(x, y, x_mask, y_mask)
        x, y = upcast(x), upcast(y)

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            h = tile.dot()
            masks, a, b = of_pairs(tile), tile.row.z, tile.column.z
            of_x = recording.matrix(late(h, *masks), a, b)
            of_y = recording.matrix(late(h.mT, *masks[::-1]).mT, b, a).mT
            return {
                "row": {"all": LogSumExp(of_x * tile.scale)},
                "column": {"all": LogSumExp(of_y * tile.scale)},
            }

        scale = self.temperature.inverse(x.dtype).to(x.device)
        r = self.reduce(
            terms,
            rows=with_mask(x, x_mask),
            columns=with_mask(y, y_mask),
            shared={"scale": scale},
            bags=(x.shape[1], y.shape[1]),
        )
        with torch.autocast(x.device.type, enabled=False):
            h = torch.einsum("bnd,bmd->bnm", x, y)
            of_x = recording.diagonal(late(h, x_mask, y_mask), x, y)
            of_y = recording.diagonal(late(h.mT, y_mask, x_mask), y, x)
        return self.mean(r.row.all + r.column.all - (of_x + of_y) * scale) / 2


def late(
    h: Float[Tensor, "*B N M"], x_mask: Bool[Tensor, "*#B N"] | None, y_mask: Bool[Tensor, "*#B M"] | None
) -> Float[Tensor, "*B"]:
    """Return the mean over x's tokens of the best similarity with one of y's; without a mask, of all.

    >>> h, one = torch.tensor([[0.9, 0.1], [0.2, 0.4]]), torch.tensor([True, True])
    >>> round(late(h, None, one).item(), 4), round(late(h, one, torch.tensor([True, False])).item(), 4)
    (0.65, 0.55)
    """
    best = (h if y_mask is None else h.masked_fill(~y_mask[..., None, :], NEG)).amax(-1)
    if x_mask is None:
        return best.mean(-1)
    there = x_mask.to(h.dtype)
    return (best * there).sum(-1) / there.sum(-1)
