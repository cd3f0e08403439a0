"""The search for attention heads by REINFORCE: masks that are drawn, and the loss of the policy that draws them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

PAPERS = {"multimodal-task-vectors": ("masks_of", "policy_loss")}
_BOUND = 1e-3
"""Least probability of a head, and of its absence."""


def policy_loss(
    theta: Float[Tensor, "layers H"], masks: Bool[Tensor, "m layers H"], losses: Float[Tensor, " m"]
) -> Float[Tensor, ""]:
    """Return ``Σ_m log P(m) (L(m) − mean) / (std + 1e-3)``, whose minimum makes masks with a high loss unlikely.

    >>> theta = torch.zeros(1, 2, requires_grad=True)
    >>> masks = torch.tensor([[[True, False]], [[False, True]]])
    >>> policy_loss(theta, masks, torch.tensor([3.0, 1.0])).backward()
    >>> (theta.grad > 0).tolist()  # the first head, whose mask has the higher loss, becomes less likely
    [[True, False]]
    """
    p = theta.sigmoid().clamp(_BOUND, 1 - _BOUND)
    log_p = torch.where(masks, p.log(), torch.log1p(-p)).sum((1, 2))
    spread = losses.std() if len(losses) > 1 else losses.new_zeros(())
    return (log_p * (losses - losses.mean()) / (spread + 1e-3)).sum()


def masks_of(
    theta: Float[Tensor, "layers H"], count: int, most: int, generator: torch.Generator
) -> Bool[Tensor, "{count} layers H"]:
    """Draw masks whose heads are independent of one another, under the condition that there are few.

    Args:
        theta: logits of the heads.
        count: masks.
        most: heads of a mask.
        generator: of the draws.

    >>> masks_of(torch.full((2, 4), 9.0), 3, 2, torch.Generator()).sum((1, 2))
    tensor([2, 2, 2])
    """
    p = theta.flatten().double().sigmoid().clamp(_BOUND, 1 - _BOUND)
    heads = len(p)
    most = min(most, heads)
    # fits[h, n]: the probability that the heads from h on are n or fewer.
    fits = p.new_ones(heads + 1, most + 1)
    for head in reversed(range(heads)):
        without = F.pad(fits[head + 1, :-1], (1, 0))
        fits[head] = p[head] * without + (1 - p[head]) * fits[head + 1]
    draws = torch.rand(count, heads, generator=generator, dtype=p.dtype)
    masks, room = torch.zeros(count, heads, dtype=torch.bool), torch.full((count,), most)
    for head in range(heads):
        on = p[head] * fits[head + 1, (room - 1).clamp_min(0)] * (room > 0) / fits[head, room]
        masks[:, head] = draws[:, head] < on
        room -= masks[:, head].long()
    return masks.view(count, *theta.shape)
