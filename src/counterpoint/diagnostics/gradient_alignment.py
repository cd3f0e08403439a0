"""Whether a step for some examples is one for others, too: the cosine of their mean gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..methods.tower_method import TowerMethod
from ..types import Batch, StepInfo

PAPERS = {"simple-to-hard-vlm": ("gradient_alignment",)}


def gradient_alignment(
    model: TowerMethod, these: Sequence[Batch], those: Sequence[Batch], clock: StepInfo
) -> float:
    """Return the cosine of the mean gradients of a model's loss over some batches and over others.

        ⟨g, g'⟩ / (‖g‖ ‖g'‖),   g = mean over batches of ∇ L

    A small step along g lowers the loss of the other batches by its length times ⟨g, g'⟩ / ‖g‖. The paper leaves open
    whether the product is normalised. Gradients that the model has are left as they are, and so is its mode.

    Args:
        model: whose trainable parameters the gradients are of.
        these: batches, as easy ones that a run trains on.
        those: batches, as hard ones that it does not.
        clock: the step for which losses are computed.

    Raises:
        ValueError: for no batches on one side, and for a gradient of 0.

    Source: Park et al., "Generalizing from SIMPLE to HARD Visual Reasoning: Can We Mitigate Modality Imbalance in
    VLMs?" (2025), arXiv 2501.02669.
    """
    if not these or not those:
        raise ValueError("gradients of two sets of batches are compared, and one of them is empty")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError("no parameter of the model is trained, so that it has no gradient")
    one, other = (_mean_gradient(model, parameters, batches, clock) for batches in (these, those))
    norms = one.norm() * other.norm()
    if not norms:
        raise ValueError("the gradient of one set of batches is 0 and has no direction")
    return float(one @ other / norms)


def _mean_gradient(
    model: TowerMethod, parameters: Sequence[nn.Parameter], batches: Sequence[Batch], clock: StepInfo
) -> torch.Tensor:
    was_training, total = model.training, torch.zeros(sum(p.numel() for p in parameters))
    model.eval()  # dropout would make equal batches differ
    try:
        for batch in batches:
            with torch.enable_grad():
                losses = model.losses(model.targets(batch) | model.encode(batch), batch, clock)
                loss = torch.stack([*losses.values()]).sum()
                found = torch.autograd.grad(loss, parameters, allow_unused=True)
            parts = [
                torch.zeros(p.numel()) if g is None else g.detach().flatten().cpu().float()
                for p, g in zip(parameters, found, strict=True)
            ]
            total += torch.cat(parts) / len(batches)
    finally:
        model.train(was_training)
    return total
