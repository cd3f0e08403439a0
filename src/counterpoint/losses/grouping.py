"""The grouping loss: each of several texts of a picture meets the patches that it describes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..forms import BelowOne, Positive
from ..pairwise.inputs import upcast
from ..pairwise.loss import Loss
from ..pairwise.temperature import Temperature
from .infonce import InfoNCELoss


class GroupingLoss(Loss):
    """InfoNCE between texts of pictures and, for each text, the patches of its own picture weighted by similarity.

        a_kp = <t_ik, v_ip>, scaled to [0, 1] over p; below δ it is 0;   g_ik = nz(Σ_p a_kp v_ip / Σ_p a_kp)
        loss = InfoNCE over all pairs (g_ik, t_ik), in both directions

    The other texts of the same picture are negatives, too. The weights carry gradient. Only the grouped patches of a
    picture with its own texts are formed, so that patches never meet the texts of other pictures.

    Args:
        temperature: τ; a number is fixed. The default is learned from 0.07, within [0.01, 1].
        threshold: δ.

    Raises:
        ValueError: for patches and texts of different numbers of pictures, or no text at all.

    Source: Zheng et al., "DreamLIP: Language-Image Pre-training with Long Captions" (2024), arXiv 2403.17007. The
    released code views texts of shape (K, B) as (B, K), which pairs patches with texts of other pictures; its local
    scale is None. Here positions agree, and the scale is a parameter.
    """

    family = "softmax"
    papers = ("dreamlip",)

    def __init__(
        self, temperature: Positive | Temperature | None = None, *, threshold: BelowOne = 0.0
    ) -> None:
        super().__init__()
        self.infonce, self.threshold = InfoNCELoss(temperature), threshold

    def forward(
        self,
        patches: Float[Tensor, "B P d"],
        texts: Float[Tensor, "B K d"],
        *,
        mask: Bool[Tensor, "B K"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm patches and texts; ``mask`` says which texts there are, all unless given."""
        if len(patches) != len(texts):
            raise ValueError(
                f"patches are of {len(patches)} pictures but texts of {len(texts)}: they must agree"
            )
        patches, texts = upcast(patches), upcast(texts)
        groups = grouped(patches, texts, self.threshold)
        groups, texts = (
            (groups.flatten(0, 1), texts.flatten(0, 1)) if mask is None else (groups[mask], texts[mask])
        )
        return self.infonce(groups, texts)


def grouped(
    patches: Float[Tensor, "B P d"], texts: Float[Tensor, "B K d"], threshold: float = 0.0
) -> Float[Tensor, "B K d"]:
    """Return, for each text, the unit-norm mean of its picture's patches, weighted by their similarity with it."""
    with torch.autocast(texts.device.type, enabled=False):  # which would round the products to half precision
        similarity = texts @ patches.mT
        low, high = similarity.amin(2, keepdim=True), similarity.amax(2, keepdim=True)
        weights = (similarity - low) / (high - low + 1e-10)
        weights = weights.masked_fill(weights < threshold, 0)
        # The sum of the weights cancels in the norm; a picture of equal patches has their mean.
        equal = (high - low) < 1e-10
        return F.normalize(weights.masked_fill(equal, 1.0) @ patches, dim=-1)
