"""Mixup: examples blended two by two, and whom each was blended with."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..forms import Positive
from ..pairwise.ranks import Ranks
from ..types import Batch

PARTNER = "partner."
"""Prefix of the names of the labels of the example that each example was blended with."""
PARTNER_ID = PARTNER + "id"
"""Name under which the labels of a blended batch hold the id of that example."""
SHARE = "share"
"""Name under which they hold λ, the share of the example itself."""


@torch.no_grad()
def mixup(batch: Batch, alpha: Positive, *, trust: Float[Tensor, " B"] | None = None) -> Batch:
    """Blend every example with another one of the whole batch, for `counterpoint.methods.base.Method.prepare`.

        x̃_i = λ x_i + (1 − λ) x_p(i),   λ ~ Beta(α, α),   p a random permutation

    One λ and one permutation a step, of the rows of all ranks. The views are blended; ids and labels stay those of the
    example itself, and beside every label stands that of its partner, so that a loss of targets is
    λ · loss(y_i) + (1 − λ) · loss(y_p(i)).

    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch...>
    >>> x, labels = torch.tensor([[0.0], [1.0]]), {"group": torch.tensor([4, 7])}
    >>> mixed = mixup(Batch(torch.arange(2), {"image": x}, labels), alpha=1.0)
    >>> share, partner = mixed.labels[SHARE], mixed.labels[PARTNER_ID]
    >>> torch.equal(mixed["image"], share[:, None] * x + (1 - share[:, None]) * x[partner])
    True
    >>> torch.equal(mixed.labels[PARTNER + "group"], labels["group"][partner])
    True

    Args:
        batch: this rank's part; without gaps.
        alpha: α; the smaller it is, the nearer are blends to one of their two examples.
        trust: of each example, above 0; then λ_i = trust_i / (trust_i + trust_p(i)), and nothing is drawn for it.

    Raises:
        ValueError: for views that are no numbers to blend: token ids of texts.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2018), arXiv 1710.09412.
    """
    for name, view in batch.views.items():
        if not view.is_floating_point():
            raise ValueError(
                f"mixup blends numbers, and {name} holds {view.dtype}: leave mixup out on texts, "
                "and towers.keep where pictures are mixed"
            )
    ranks = Ranks.present()
    counts = ranks.counts(len(batch), batch.ids.device)
    # Drawn on the processor, where the loop seeds every rank alike.
    share = torch.distributions.Beta(alpha, alpha).sample()
    partners = torch.randperm(sum(counts))[ranks.rows(counts)].to(batch.ids.device)
    share = share.to(batch.ids.device).expand(len(batch))
    if trust is not None:
        share = trust / (trust + ranks.gather(trust, counts)[partners])

    def blended(view: Tensor) -> Tensor:
        weight = share.to(view).view(-1, *[1] * (view.ndim - 1))
        return torch.lerp(ranks.gather(view, counts)[partners], view, weight)

    views = {name: blended(view) for name, view in batch.views.items()}
    labels = {PARTNER + name: ranks.gather(label, counts)[partners] for name, label in batch.labels.items()}
    labels |= {
        PARTNER_ID: ranks.gather(batch.ids, counts)[partners],
        SHARE: share,
    }
    return replace(batch, views=views, labels={**batch.labels, **labels})
