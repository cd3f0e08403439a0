"""InfoNCE against mixed examples, as M3CoL has it."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import paired, upcast
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, Reduction, Sum
from ..pairwise.temperature import Temperature
from ..pairwise.tile import Tile


class M3CoLoss(PairwiseLoss):
    """A mixture of two examples of one modality is as near to each of them in the other as its shares say.

        m_i = nz(b_i u_i + (1 − b_i) u_p(i)),   P = diag(b),   P_i,p(i) += 1 − b_i,   S = m vᵀ / τ
        l(m, v) = −½ mean_i Σ_j P_ij (log softmax(S_i)_j + log softmax(Sᵀ_j)_i)
        loss = l(mixed x, y) + l(mixed y, x)

    Who is mixed with whom, and how much, is the caller's to draw, anew for each modality, and so is the
    mixing: before the embeddings are normalised, and not in place, since the other side of either term is
    unmixed. The columns of P do not sum to 1 and are not normalised. An example mixed with itself has a share
    of 1. With all shares 1 the loss is twice `InfoNCELoss`. A batch of one has no negatives: the loss is 0.

    Args:
        temperature: τ; a number is fixed.

    Raises:
        ValueError: for embeddings that do not pair up, or ids, partners or shares that are not one per row.

    Source: Kumar et al., "Harnessing Shared Relations via Multimodal Mixup Contrastive Learning for
    Multimodal Classification" (2024), arXiv 2409.17777.

    >>> import torch
    >>> x, ids, whole = torch.eye(8), torch.arange(8), torch.ones(8)
    >>> mixing = dict(mixed_x=x, partners_x=ids, shares_x=whole, mixed_y=x, partners_y=ids, shares_y=whole)
    >>> round(M3CoLoss(temperature=1.0)(x, x, ids, **mixing).item(), 4)   # 2 log(1 + 7 / e)
    2.548
    """

    family = "softmax"
    symmetric = True
    needs_ids = True
    papers = ("m3col",)

    def __init__(self, temperature: Positive | Temperature = 0.1) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.1))

    def forward(
        self,
        x: Float[Tensor, "B d"],
        y: Float[Tensor, "B d"],
        ids: Int[Tensor, " B"],
        *,
        mixed_x: Float[Tensor, "B d"],
        partners_x: Int[Tensor, " B"],
        shares_x: Float[Tensor, " B"],
        mixed_y: Float[Tensor, "B d"],
        partners_y: Int[Tensor, " B"],
        shares_y: Float[Tensor, " B"],
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm ``x`` and ``y`` and of mixtures of each.

        Args:
            x, y: unmixed embeddings.
            ids: a different integer for each example.
            mixed_x, mixed_y: unit-norm mixtures; row i holds the larger or smaller part of example i.
            partners_x, partners_y: the id of the example that row i was mixed with.
            shares_x, shares_y: b, the share of example i itself, in [0, 1].
        """
        x, y, mixed_x, mixed_y = paired(x=x, y=y, mixed_x=mixed_x, mixed_y=mixed_y)
        rows = (partners_x, shares_x, partners_y, shares_y)
        if any(t.shape != x.shape[:1] for t in (ids, *rows)):
            raise ValueError(
                f"ids, partners and shares must be one per row, ({len(x)},), got "
                f"{', '.join(str(tuple(t.shape)) for t in (ids, *rows))}"
            )
        return self.mixture(mixed_x, y, ids, partners_x, upcast(shares_x)) + self.mixture(
            mixed_y, x, ids, partners_y, upcast(shares_y)
        )

    def mixture(
        self,
        mixed: Float[Tensor, "B d"],
        fixed: Float[Tensor, "B d"],
        ids: Int[Tensor, " B"],
        partners: Int[Tensor, " B"],
        shares: Float[Tensor, " B"],
    ) -> Float[Tensor, ""]:
        """Return ``l(mixed, fixed)``."""

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            logits, share = tile.dot(), tile.row.share[:, None]
            same = tile.same("id")
            partner = tile.row.partner[:, None] == tile.column.id[None]
            target = same * share + partner * (1 - share)
            everything, mass, pull = LogSumExp(logits), Sum(target), Sum(target * logits)
            return {
                "row": {"all": everything, "mass": mass, "pull": pull},
                "column": {"all": everything, "mass": mass},
            }

        rows = {"z": self.temperature.scale(mixed), "id": ids, "partner": partners, "share": shares}
        r = self.reduce(terms, rows=rows, columns={"z": fixed, "id": ids})
        return self.mean(r.row.mass * r.row.all + r.column.mass * r.column.all - 2 * r.row.pull) / 2
