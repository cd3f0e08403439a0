"""CLIP on one weak global pair and several strong local pairs, as in the improved recipe of CLIP-rocket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from ..forms import BelowOne, Positive
from ..pairwise.inputs import paired, upcast
from ..pairwise.loss import Loss
from ..pairwise.temperature import Temperature
from .infonce import InfoNCELoss


class GlobalLocalLoss(Loss):
    """InfoNCE of the global pair and of every image view with every text view of the local stream.

    With A local views per modality:

        loss = r · (L_global + A · mean_{a,b} L_local(h_I^a, h_T^b)) / (1 + A),
        r = 1 for "mean", 2 for "sum",

    where L is the mean of both directions of `InfoNCELoss`. Labels are smoothed in the local stream only, which
    has its own temperature; global and local features never meet. A = 0 is plain CLIP.

    Args:
        temperature: of the global stream; learned from 0.07 within [0.01, 1] unless stated.
        local_temperature: of the local stream; learned from 0.1 within [0.01, 1] unless stated.
        label_smoothing: ε of the local stream.
        reduction: ``"mean"`` or ``"sum"`` of the two directions.

    Attributes:
        global_: the `InfoNCELoss` of the global stream.
        local: the `InfoNCELoss` of the local stream; ``local.temperature`` may be shared with `SwALIPLoss`.

    Raises:
        ValueError: for unequal numbers of local views, or an unknown reduction.

    Source: Fini et al., "Improved baselines for vision-language pre-training" (2023), arXiv 2305.08675.

    >>> import torch
    >>> x = torch.eye(8)
    >>> loss = GlobalLocalLoss(temperature=1.0, local_temperature=1.0, label_smoothing=0.0)
    >>> round(loss(x, x, [x, x], [x, x]).item(), 4)   # every pair log(1 + 7 / e)
    1.274
    """

    family = "softmax"
    symmetric = True
    pairwise = True
    papers = ("clip-rocket",)

    def __init__(
        self,
        temperature: Positive | Temperature | None = None,
        local_temperature: Positive | Temperature | None = None,
        *,
        label_smoothing: BelowOne = 0.1,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> None:
        super().__init__()
        each = 0.5 if reduction == "mean" else 1.0
        self.global_ = InfoNCELoss(temperature, weights=(each, each))
        self.local = InfoNCELoss(
            Temperature.of(local_temperature, Temperature(0.1, bounds=(0.01, 1.0))),
            label_smoothing=label_smoothing,
            weights=(each, each),
        )

    def forward(
        self,
        image: Float[Tensor, "B d"],
        text: Float[Tensor, "B d"],
        local_images: Sequence[Float[Tensor, "B e"]] = (),
        local_texts: Sequence[Float[Tensor, "B e"]] = (),
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm global embeddings and A local ones per modality."""
        views = len(local_images)
        if views != len(local_texts):
            raise ValueError(
                f"local_images has {views} views but local_texts {len(local_texts)}: they must agree"
            )
        # Half precision is raised once, so that a view's gradients add up in float32 too.
        image, text = paired(image=image, text=text)
        local_images, local_texts = [*map(upcast, local_images)], [*map(upcast, local_texts)]
        loss: Tensor = self.global_(image, text)
        for local_image in local_images:
            for local_text in local_texts:
                loss = loss + self.local(local_image, local_text) / views
        return loss / (1 + views)
