"""CompA's losses: captions in part and captions with a wrong composition, besides the whole one of each sound."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import dot, upcast
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile


class ModularContrastLoss(PairwiseLoss):
    """InfoNCE between sounds (or pictures, or videos) that each have several true and several false captions.

    With s_ic the similarity of sound i and caption c over τ, P_i the true and N_i the false captions of i, and f_j the
    first true one of j:

        L_a = mean over i of [log Σ_{c ∈ C_i} exp s_ic − mean_{p ∈ P_i} s_ip],   C_i = P_i ∪ N_i ∪ {f_j : j ≠ i}
        L_t = mean over all true captions p, of i, of [log Σ_j exp s_jp − s_ip]
        loss = (L_a + L_t) / 2

    So a false caption is held against its own sound alone, and the other true ones stay in the denominator. A caption
    in part may be true of another sound; where ``needs`` and ``has`` say so, that pair takes no part. What takes no
    part has a logit of −∞; a factor in its place, as in released code, makes a negative similarity a huge logit.

    =============  =====================================================
    stage 1        one true caption each: `InfoNCELoss`
    stage 2        one true caption and false ones: hard negatives
    stage 3        several true captions, the whole one first
    =============  =====================================================

    Args:
        temperature: τ; a number is fixed. The default is learned from 0.07 within [0.01, 1].

    Raises:
        ValueError: for captions of no sound, a sound without a true caption, or one of ``has`` and ``needs`` alone.

    Source: Ghosh et al., "CompA: Addressing the Gap in Compositional Reasoning in Audio-Language Models" (2023),
    arXiv 2310.08753.

    >>> x = torch.eye(8)                              # one true caption each: as InfoNCE, log(1 + 7 / e)
    >>> loss = ModularContrastLoss(temperature=1.0)(x, x, torch.arange(8), torch.ones(8, dtype=torch.bool))
    >>> round(loss.item(), 4)
    1.274
    """

    papers = ("compa",)

    def __init__(self, temperature: Positive | Temperature | None = None) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.07, bounds=(0.01, 1.0)))

    def forward(
        self,
        x: Float[Tensor, "B d"],
        captions: Float[Tensor, "C d"],
        owner: Int[Tensor, " C"],
        true: Bool[Tensor, " C"],
        *,
        has: Float[Tensor, "B f"] | None = None,
        needs: Float[Tensor, "C f"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm embeddings.

        Args:
            x: the sounds.
            captions: of all of them, in any order.
            owner: whose each caption is, a row of ``x``.
            true: whether it is true of its owner; an owner's first true one is the whole caption.
            has, needs: 1 for every feature that a sound has, or that a caption speaks of: a caption all of whose
                features another sound has is not held against that one. Nothing is passed over unless given.
        """
        x, captions = upcast(x), upcast(captions)
        if (has is None) != (needs is None):
            raise ValueError("has and needs are compared with each other: give both, or neither")
        first = _first(owner, true, len(x))
        x = self.temperature.scale(x)
        whose = self.index(x)
        rows = {"z": x, "index": whose}
        columns = {"z": captions, "owner": whose[owner], "first": first}
        if has is not None and needs is not None:
            rows["has"] = has.to(x.dtype)
            columns |= {"needs": needs.to(x.dtype), "needed": needs.sum(1).to(x.dtype)}

        def terms(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            logits = tile.dot()
            same = tile.row.index[:, None] == tile.column.owner[None]
            other = ~same
            if has is not None and needs is not None:
                with torch.no_grad():
                    other &= tile.dot("has", "needs") < tile.column.needed[None] - 0.5
            to_captions = logits.masked_fill(~(same | (other & tile.column.first[None])), NEG)
            to_sounds = logits.masked_fill(~(same | other), NEG)
            return {"row": {"all": LogSumExp(to_captions)}, "column": {"all": LogSumExp(to_sounds)}}

        r = self.reduce(terms, rows=rows, columns=columns)
        right = dot(x[owner], captions)
        weights = true.to(right.dtype)
        count = torch.zeros(len(x), dtype=right.dtype, device=x.device).index_add(0, owner, weights)
        mean = torch.zeros_like(count).index_add(0, owner, right * weights) / count
        return (self.mean(r.row.all - mean) + self.mean(r.column.all - right, weights)) / 2


def _first(owner: Int[Tensor, " C"], true: Bool[Tensor, " C"], count: int) -> Bool[Tensor, " C"]:
    """Mark the caption that is its owner's first true one."""
    if len(owner) and not 0 <= int(owner.min()) <= int(owner.max()) < count:
        raise ValueError(
            f"owner must be rows of x, 0 to {count - 1}, got {int(owner.min())} to {int(owner.max())}"
        )
    places = torch.arange(len(owner), device=owner.device)
    first = torch.full((count,), len(owner), device=owner.device)
    first = first.scatter_reduce(0, owner, torch.where(true, places, len(owner)), "amin")
    if bool((first == len(owner)).any()):
        row = int((first == len(owner)).nonzero()[0])
        raise ValueError(f"row {row} of x has no true caption: give each at least one")
    return places == first[owner]
