"""ColloSSL: devices on one body are views of each other; how alike they are says which, and how much."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Positive
from ..modalities import MODALITIES
from ..networks.base import Towers
from ..pairwise.loss import Loss
from ..pairwise.mmd import mmd
from ..pairwise.ranks import Ranks
from ..pairwise.temperature import Temperature
from ..recipes.schema import Recipe
from ..registry import unknown
from ..types import Batch, Embeddings, StepInfo, View
from .base import Ranges
from .needs import Needs
from .tower_method import TowerMethod

PARTNER, POSITIVE, WEIGHT = "partner", "positive", "weight"
"""Views that `ColloSSL.prepare` adds: rows of other times, and for each device if it is a positive, and its weight."""
_LEAST = 1e-4  # of a discrepancy
_AXES = 3

Choice = Literal["closest", "random", "all"]
"""Choices of positive devices: the one most like the anchor, another one in every step, or each."""


class ColloSSL(TowerMethod):
    """Windows of other devices at the same time are positives, those at another time negatives.

        L = mean_i −log [ Σ_p e(z_i, z_i^p) / ( Σ_p e(z_i, z_i^p) + Σ_q w_q e(z_i, z_j(i)^q) ) ]
        e(a, b) = exp(<a, b> / τ)

    z_i is the anchor device's window, z_i^p that of a positive device at the same time, z_j(i)^q that of any other
    device, the positive ones too, in another row of the batch; z = nz(f(x)) of the tower that all devices share,
    without a head. The discrepancy r_q of a device is that between the lengths of its acceleration (its first three
    channels) and the anchor's, step by step, over the batch (`mmd`); the positive is the device of the least, and w_q
    = min(1 / r_q, cap).

    Devices are columns of series with the same channels, measured at the same rate and at the same time; all show the
    same steps of a row.

    Args:
        towers: of the devices, which share one.
        recipe: of the run; gives nothing here, as there is no head.
        anchor: the device that all others are held against, and which the model is for; the first one unless given.
        positive: which devices are positives.
        temperature: τ, fixed.
        cap: the most that a negative weighs beside a positive; without one, devices that are nearly the same drown the
            positives, as 1 / r reaches 10,000. With 1, close devices weigh all the same.

    Raises:
        UnknownNameError: for an anchor that is none of the devices.
        ValueError: for a column that holds no series.

    Source: Jain et al., "ColloSSL: Collaborative Self-Supervised Learning for Human Activity Recognition" (2022),
    arXiv 2202.00758, by its formula: the released code minimises the cosine of positives. Weights are not divided by
    the largest one, which changes nothing. A permutation of the batch leaves no row in its place here.
    """

    family = "time series"
    papers = ("collossl",)
    needs: ClassVar[Needs] = Needs(2, None, only="series")
    tunable: ClassVar[Ranges] = {"temperature": (0.02, 0.5), "cap": (1.0, 100.0)}
    draws = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        anchor: str = "",
        positive: Choice = "closest",
        temperature: Positive = 0.05,
        cap: Positive = 10.0,
    ) -> None:
        super().__init__(towers)
        if anchor and anchor not in towers:
            raise unknown("device", anchor, towers)
        self.anchor = anchor or next(iter(towers))
        self.others = tuple(column for column in towers if column != self.anchor)
        self.positive, self.cap = positive, cap
        self.views = {
            column: View(
                tower.modality,
                MODALITIES.get(tower.modality).paired,
                column,
                like="" if column == self.anchor else self.anchor,
            )
            for column, tower in towers.items()
        }
        self.objective = _Contrast(temperature)

    def discrepancies(self, batch: Batch) -> dict[str, float]:
        """Return how far each other device's lengths of acceleration are from the anchor's, over the whole batch."""
        anchor = _lengths(batch[self.anchor])
        # Devices of one row show the same steps, but a rank's longest row may be another's shortest.
        steps = _most(anchor.shape[1], anchor.device)
        padded = F.pad(anchor, (0, steps - anchor.shape[1]))
        return {
            device: max(float(mmd(padded, F.pad(x, (0, steps - x.shape[1])))), _LEAST)
            for device in self.others
            for x in [_lengths(batch[device])]
        }

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Choose for the batch which devices are positives, what the others weigh, and which rows they are of."""
        apart = self.discrepancies(batch)
        chosen = {
            "closest": {min(apart, key=lambda device: apart[device])},
            "random": {self.others[int(torch.randint(len(self.others), ()))]},
            "all": set(self.others),
        }[self.positive]
        weights = [min(1 / apart[device], self.cap) for device in self.others]
        count, like = len(batch), batch.ids
        positive = torch.tensor([device in chosen for device in self.others], device=like.device)
        return replace(
            batch,
            views={
                **batch.views,
                PARTNER: _other_rows(count, like.device),
                POSITIVE: positive.expand(count, -1),
                WEIGHT: torch.tensor(weights, dtype=torch.float64, device=like.device).expand(count, -1),
            },
        )

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        anchor, *others = (F.normalize(z[device], dim=-1) for device in (self.anchor, *self.others))
        loss = self.objective(anchor, torch.stack(others, 1), batch[PARTNER], batch[POSITIVE], batch[WEIGHT])
        return {"collossl": loss}


@final
class _Contrast(Loss):
    """The loss of embeddings of an anchor device and of all others, with the choices that were made for the batch."""

    papers = ("collossl",)

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.05))

    def forward(
        self,
        anchor: Float[Tensor, "B d"],
        others: Float[Tensor, "B D d"],
        partner: Int[Tensor, " B"],
        positive: Tensor,
        weight: Tensor,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm embeddings.

        Args:
            anchor: of its device.
            others: of the other devices at the same time.
            partner: the row of the whole batch that a row's negatives are of; −1 where there is no other.
            positive: which devices are positives, ``(B, D)``.
            weight: of each device's negatives, ``(B, D)``.
        """
        anchor, others = (z if z.dtype == torch.float64 else z.float() for z in (anchor, others))
        scaled = self.temperature.scale(anchor)[:, None]
        same = (scaled * others).sum(-1).masked_fill(~positive, -torch.inf).logsumexp(1)
        # The rows of all ranks, differentiable.
        whole = self.ranks.sum(
            others.new_zeros(self.count(others), *others.shape[1:]).index_copy(0, self.index(others), others)
        )
        apart = ((scaled * whole[partner.clamp_min(0)]).sum(-1) + weight.to(scaled.dtype).log()).logsumexp(1)
        apart = apart.masked_fill(partner < 0, -torch.inf)
        return self.mean(torch.logaddexp(same, apart) - same)


def _lengths(series: Float[Tensor, "B T C"]) -> Float[Tensor, "B T"]:
    """Return the length of the acceleration at each step, 0 where nothing was measured."""
    return series[..., :_AXES].nan_to_num(0.0).norm(dim=-1)


def _most(steps: int, device: torch.device) -> int:
    """Return the most steps that a series has on any rank."""
    return int(torch.stack(Ranks.present().stack(torch.tensor([steps], device=device))).max())


def _other_rows(count: int, device: torch.device) -> Int[Tensor, " B"]:
    """Draw for each of this rank's rows another row of the whole batch, a different one for each; −1 for none."""
    ranks = Ranks.present()
    counts = ranks.counts(count, device)
    n = sum(counts)
    if n < 2:
        return torch.full((count,), -1, device=device)
    # A step along a random circle of all rows: a permutation that leaves none in its place.
    circle, partner = torch.randperm(n), torch.empty(n, dtype=torch.long)
    partner[circle] = circle.roll(-1)
    return partner[ranks.rows(counts)].to(device)
