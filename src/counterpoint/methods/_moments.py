"""The terms of a detector of moments, each a number a clip and whether the clip has one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import generalized_box_iou

MARGIN = 0.2
"""The least distance of the saliency of frames that are asked for from that of others."""
L1, OVERLAP, CLASS, BACKGROUND = 10.0, 1.0, 4.0, 0.1
"""Weights of the terms of the set loss, and of spans without a true span in the cross-entropy."""
TEMPERATURE, HARD = 0.5, 10.0

Term = tuple[Float[Tensor, " B"], Bool[Tensor, " B"]]


def spans_of(timelines: Float[Tensor, "B L"]) -> list[Float[Tensor, "_ 2"]]:
    """Return the runs of places above 0 of each row, as starts and ends in shares of its length.

    >>> spans_of(torch.tensor([[0.0, 1.0, 1.0, 0.0, 1.0, float("nan")]]))[0].tolist()
    [[0.20000000298023224, 0.6000000238418579], [0.800000011920929, 1.0]]
    """
    above = F.pad((timelines > 0).float(), (1, 1)).diff(dim=1)
    lengths = (torch.arange(1, timelines.shape[1] + 1, device=timelines.device) * ~timelines.isnan()).amax(1)
    return [
        torch.stack([(of_row == 1).nonzero()[:, 0], (of_row == -1).nonzero()[:, 0]], 1) / length.clamp_min(1)
        for of_row, length in zip(above, lengths, strict=True)
    ]


def overlaps(one: Float[Tensor, "n 2"], other: Float[Tensor, "m 2"]) -> Float[Tensor, "n m"]:
    """Return the generalised IoU of spans, starts and ends: that of boxes of one height.

    >>> overlaps(torch.tensor([[0.0, 0.5]]), torch.tensor([[0.0, 1.0], [0.5, 1.0], [0.75, 1.0]])).tolist()
    [[0.5, 0.0, -0.25]]
    """
    boxes = (torch.stack([s[:, 0], 0 * s[:, 0], s[:, 1], 1 + 0 * s[:, 0]], 1) for s in (one, other))
    return generalized_box_iou(*boxes)


def ends_of(spans: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n 2"]:
    """Return starts and ends of spans that are given as centre and width."""
    centre, width = spans.unbind(-1)
    return torch.stack([centre - width / 2, centre + width / 2], -1)


def set_loss(
    spans: Float[Tensor, "B layers q 2"],
    logits: Float[Tensor, "B layers q"],
    truth: list[Float[Tensor, "_ 2"]],
    known: Bool[Tensor, " B"],
) -> Term:
    """Return the loss of spans, each true one matched with one of a layer's at the least cost, the sum over layers.

        10 |span − true| + (1 − gIoU), mean over true spans, + 4 cross-entropy, weighted by 0.1 for unmatched spans

    A clip without a true span has the last part alone.
    """
    values = []
    for of_row, scores, ends in zip(spans, logits, truth, strict=True):
        total = scores.new_zeros(())
        centred = torch.stack([ends.mean(1), ends[:, 1] - ends[:, 0]], 1).to(of_row)
        for layer, score in zip(of_row, scores, strict=True):
            far, near = torch.cdist(layer, centred, p=1), overlaps(ends_of(layer), ends.to(layer))
            cost = L1 * far - OVERLAP * near - CLASS * score.sigmoid()[:, None]
            chosen, matched = (
                torch.from_numpy(it).to(layer.device)
                for it in linear_sum_assignment(cost.detach().cpu().numpy())
            )
            if len(ends):
                total = total + (L1 * far + OVERLAP * (1 - near))[chosen, matched].mean()
            is_span = torch.zeros_like(score).index_fill(0, chosen, 1.0)
            weights = BACKGROUND + (1 - BACKGROUND) * is_span
            wrong = F.binary_cross_entropy_with_logits(score, is_span, reduction="none")
            total = total + CLASS * (weights * wrong).sum() / weights.sum()
        values.append(total)
    return torch.stack(values) if values else logits.sum((1, 2)), known


def separated(
    saliency: Float[Tensor, "B T"], label: Float[Tensor, "B T"], known: Bool[Tensor, "B T"], margin: float
) -> Term:
    """Return the mean of ``max(0, margin + s_j − s_i)`` over frames i with more saliency by the label than j."""
    above = (label[:, :, None] > label[:, None]) & known[:, :, None] & known[:, None]
    excess = (margin + saliency[:, None] - saliency[:, :, None]).clamp_min(0)
    count = above.sum((1, 2))
    return (excess * above).sum((1, 2)) / count.clamp_min(1), count > 0


def ranked(
    saliency: Float[Tensor, "B T"],
    negative: Float[Tensor, "B T"],
    label: Float[Tensor, "B T"],
    known: Bool[Tensor, "B T"],
    paired: Bool[Tensor, "B T"],
) -> Term:
    """Return the contrast of frames at and above each level of the label with all frames, also of another query's.

    The mean over the levels 1, 2, 3, 4 of a clip that have frames.
    """
    logits = torch.cat([saliency, negative], 1) / TEMPERATURE
    logits = logits.masked_fill(~torch.cat([known, paired], 1), -torch.inf)
    likely = saliency / TEMPERATURE - logits.logsumexp(1, keepdim=True)
    total, count = 0 * saliency.sum(1), torch.zeros(len(saliency), device=saliency.device)
    for level in range(1, 5):
        positive = known & (label >= level)
        has = positive.any(1)
        of_level = (likely.masked_fill(~positive, 0.0)).sum(1) / positive.sum(1).clamp_min(1)
        total, count = total - torch.where(has, of_level, 0.0), count + has
    return total / count.clamp_min(1), count > 0


def agreement(
    saliency: Float[Tensor, "B T"], label: Float[Tensor, "B T"], known: Bool[Tensor, "B T"]
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"], Bool[Tensor, " B"]]:
    """Return ``1 − cos(label, s − min s)`` of each clip, ten times the squared distance of both, and which have some.

    Both are of unit norm. A clip whose label is the same in all frames has none, as it has no order to agree with.
    """
    least = saliency.masked_fill(~known, torch.inf).amin(1, keepdim=True)
    shifted = torch.where(known, saliency - torch.where(least.isfinite(), least, 0.0), 0.0)
    s, g = F.normalize(shifted, dim=1), F.normalize(label * known, dim=1)
    high = (label * known).amax(1)
    low = label.masked_fill(~known, torch.inf).amin(1)
    count = known.sum(1).clamp_min(1)
    # The means over frames that are asked for and over the others.
    asked = known & (label > 0)
    parts = [((s - g).square() * mask).sum(1) / count for mask in (asked, known & ~asked)]
    return 1 - (s * g).sum(1), HARD * (parts[0] + parts[1]), high > low
