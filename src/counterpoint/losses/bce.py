"""Binary cross-entropy of tags."""

from __future__ import annotations

from .asymmetric import AsymmetricLoss


class BCELoss(AsymmetricLoss):
    """Each tag of each example is a question of its own: binary cross-entropy.

        loss = −mean_i [ Σ_{c ∈ P_i} log p_ic + Σ_{c ∉ P_i} log(1 − p_ic) ],   p_ic = σ(<z_i, w_c> + b_c)

    The sum over tags and the mean over examples, as CatLIP has it: a tag has the same part in it however many there
    are. Tags that are not known are left out; see `AsymmetricLoss` for the arguments.

    Source: the baseline in Ridnik et al., "Asymmetric Loss For Multi-Label Classification" (2021), arXiv 2009.14119.

    >>> import torch
    >>> w = torch.eye(2)                              # softplus(−1) + softplus(0)
    >>> round(BCELoss()(w[:1], w, targets=torch.tensor([[True, False]])).item(), 4)
    1.0064
    """

    family = "tags"
    papers = ("comic",)

    def __init__(self) -> None:
        super().__init__(0.0, 0.0, 0.0)
