"""A mixture of two beta distributions of losses: those of right labels, and those of wrong ones."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

PAPERS = {"bmm-bootstrapping": ("BetaMixture",)}

_EDGE, _INNER, _FLOOR = 1e-3, 1e-4, 1e-12
_PLACES = 100
_ITERATIONS = 10
_START = {"alpha": (1.0, 2.0), "beta": (2.0, 1.0), "weight": (0.5, 0.5)}


class BetaMixture(nn.Module):
    """Two beta distributions of losses x in (0, 1), by expectation maximisation whose second half matches moments.

        r_k(x) ∝ π_k Beta(x; α_k, β_k),   m = Σ r x / Σ r,   s² = Σ r (x − m)² / Σ r,
        α = m (m (1 − m) / s² − 1),   β = α (1 − m) / m,   π_k = mean r_k

    Losses between their 5th and 95th percentiles are fitted, mapped to (0, 1) by these; all are judged, those beyond as
    at the ends. Components are in the order of their means: the second is of the larger losses. Its posterior may fall
    again where a density vanishes, and here it never does: it is read off a table of 100 places, in which what lies
    below the lowest place left of the first mean has its value, and what lies above the highest place right of the
    second mean has that one's. The authors' table has the second rule alone.

    Mapped losses are clamped to [0.001, 0.999]. The release sets only those at or beyond 0 and 1 to these values and
    keeps the others down to 0.0001; its α of the second component differs by 0.2 to 0.4 %.

    Losses that are nearly equal, and moments of no beta distribution, leave the mixture as it was.

    Attributes:
        alpha, beta, weight: α, β and π of both, ``(2,)``.
        bounds: the losses that 0 and 1 stand for.
        fitted: it was fitted once at least.

    Source: Arazo et al., "Unsupervised Label Noise Modeling and Loss Correction" (2019), arXiv 1904.11238.

    >>> mixture, losses = BetaMixture(), torch.cat([torch.linspace(0.0, 0.5, 80), torch.linspace(2.0, 3.0, 40)])
    >>> mixture.fit(losses)
    >>> [round(w, 2) for w in mixture.posterior(torch.tensor([0.1, 2.5])).tolist()]
    [0.0, 1.0]
    """

    alpha: Tensor
    beta: Tensor
    weight: Tensor
    bounds: Tensor
    fitted: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, start in _START.items():
            self.register_buffer(name, torch.tensor(start))
        self.register_buffer("bounds", torch.tensor([0.0, 1.0]))
        self.register_buffer("fitted", torch.tensor(False))

    @torch.no_grad()
    def fit(self, losses: Float[Tensor, " n"]) -> None:
        """Fit the mixture, from the same start every time."""
        losses = losses.double().cpu()
        low, high = torch.quantile(losses, losses.new_tensor([0.05, 0.95]))
        bounds = torch.stack([low + 1e-5, high + 1e-6])
        if not bounds[1] > bounds[0]:
            return
        x = _mapped(losses[(losses >= low) & (losses <= high)], bounds).clamp(_EDGE, 1 - _EDGE)
        alpha, beta, weight = (x.new_tensor(start) for start in _START.values())
        for _ in range(_ITERATIONS):
            share = _shares(x, alpha, beta, weight)
            whole = share.sum(0)
            m = (share * x[:, None]).sum(0) / whole
            variance = (share * (x[:, None] - m) ** 2).sum(0) / whole
            alpha = m * (m * (1 - m) / variance - 1)
            beta, weight = alpha * (1 - m) / m, whole / len(x)
            if not all((part.isfinite() & (part > 0)).all() for part in (alpha, beta, weight)):
                return
        order = (alpha / (alpha + beta)).argsort()
        for name, part in zip(_START, (alpha, beta, weight), strict=True):
            self.get_buffer(name).copy_(part[order])
        self.bounds.copy_(bounds)
        self.fitted.fill_(True)

    @torch.no_grad()
    def posterior(self, losses: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the probability that each loss is of the second component, between 1e-4 and 1 − 1e-4."""
        x = _mapped(losses.to(self.bounds), self.bounds).clamp(_INNER, 1 - _INNER)
        return self._table()[(x * _PLACES).long()].clamp(_INNER, 1 - _INNER).to(losses)

    def _table(self) -> Float[Tensor, " 100"]:
        places = torch.linspace(_INNER, 1 - _INNER, _PLACES).to(self.alpha)
        table = _shares(places, self.alpha, self.beta, self.weight)[:, 1]
        means = self.alpha / (self.alpha + self.beta)
        first, second = (means * _PLACES).long().clamp(max=_PLACES - 1).tolist()
        lowest, highest = int(table[: first + 1].argmin()), second + int(table[second:].argmax())
        table[:lowest], table[highest:] = table[lowest].clone(), table[highest].clone()
        return table.cummax(0).values


def _mapped(losses: Float[Tensor, " n"], bounds: Float[Tensor, " 2"]) -> Float[Tensor, " n"]:
    return (losses - bounds[0]) / (bounds[1] - bounds[0])


def _shares(
    x: Float[Tensor, " n"], alpha: Float[Tensor, " 2"], beta: Float[Tensor, " 2"], weight: Float[Tensor, " 2"]
) -> Float[Tensor, "n 2"]:
    """Return the posteriors of both components."""
    x = x.clamp(_INNER, 1 - _INNER)[:, None]
    log = (alpha - 1) * x.log() + (beta - 1) * (1 - x).log()
    log = log + torch.lgamma(alpha + beta) - torch.lgamma(alpha) - torch.lgamma(beta)
    density = (weight * log.exp()).clamp_min(_FLOOR)
    return density / density.sum(1, keepdim=True)
