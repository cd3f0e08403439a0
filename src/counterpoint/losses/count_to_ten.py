"""Teaching CLIP to count: the true caption against the same caption with another number."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from ..forms import NonNegative, Positive
from ..pairwise.inputs import dot, paired, softplus
from ..pairwise.loss import Loss
from ..pairwise.temperature import Temperature
from .infonce import InfoNCELoss


class CountToTenLoss(Loss):
    """InfoNCE of all pairs, and a choice between two captions for the pairs that state a count.

        loss = L_InfoNCE(image, text) + λ · mean over counting i of softplus((<e_i, c_i> − <e_i, t_i>) / τ)

    c_i is the caption of image i with its number replaced; it is a negative of its own image and of no other.
    Both terms share τ. At CLIP's τ = 0.01 the choice saturates fast: a margin of 0.1 is worth 10 in the
    exponent. Without a counting example, and with λ = 0, this is `InfoNCELoss`.

    Args:
        weight: λ ≥ 0.
        temperature: τ; a number is fixed. The default is learned from 0.07 within [0.01, 1].

    Attributes:
        infonce: the `InfoNCELoss` of all pairs; holds τ.

    Raises:
        ValueError: for λ < 0, embeddings that do not pair up, or a mask that is not one per row.

    Source: Paiss et al., "Teaching CLIP to Count to Ten" (2023), arXiv 2302.12066.

    >>> import torch
    >>> x = torch.eye(8)                              # log(1 + 7 / e), and log(1 + 1 / e) for the choice
    >>> round(CountToTenLoss(temperature=1.0)(x, x, x.roll(1, 0)).item(), 4)
    1.5873
    """

    family = "margin"
    pairwise = True
    papers = ("count-to-ten",)

    def __init__(self, weight: NonNegative = 1.0, temperature: Positive | Temperature | None = None) -> None:
        super().__init__()
        self.infonce = InfoNCELoss(temperature)
        self.weight = weight

    def forward(
        self,
        image: Float[Tensor, "B d"],
        text: Float[Tensor, "B d"],
        counterfactual: Float[Tensor, "B d"],
        *,
        counting: Bool[Tensor, " B"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm embeddings.

        Args:
            image, text: matched pairs.
            counterfactual: of the captions with another number; where ``counting`` is False anything finite.
            counting: which examples state a count; all unless given.
        """
        # Half precision is raised once, so that the gradients of both terms add up in float32.
        image, text, counterfactual = paired(image=image, text=text, counterfactual=counterfactual)
        if counting is not None and counting.shape != image.shape[:1]:
            raise ValueError(f"counting must be one per row, ({len(image)},), got {tuple(counting.shape)}")
        gap = self.infonce.temperature.scale(dot(image, counterfactual) - dot(image, text))
        count = self.mean(softplus(gap), None if counting is None else counting.to(gap.dtype))
        clip: Tensor = self.infonce(image, text)
        return clip + self.weight * count
