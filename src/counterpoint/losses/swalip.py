"""Codes of one modality predicted from the other, with the batch as prototypes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..forms import Count, Positive
from ..pairwise.inputs import paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, Reduction, Sum
from ..pairwise.temperature import Temperature
from ..pairwise.tile import Tile


class SwALIPLoss(PairwiseLoss):
    """Swapped prediction with the other modality's batch as the cluster centres.

    For image views h_I^1, h_I^2 and text views h_T^1, h_T^2, U^{ab} = h_I^a (h_T^b)ᵀ, and a', b' the other
    views of a, b:

        loss = (1/4) Σ_{a,b} ½ [ H(Q(U^{a'b'}), softmax(U^{ab}/τ)) + H(Q(U^{a'b'}ᵀ), softmax(U^{ab}ᵀ/τ)) ],
        H(q, p) = −mean_i Σ_j q_ij log p_ij

    Q is Sinkhorn–Knopp on the unscaled cosines: ``exp(U/ε)``, then ``iterations`` times the mass of every
    centre made equal and the mass of every sample made equal; its rows sum to 1 and it carries no gradient.
    The stages of Sinkhorn are reductions of a similarity matrix like any other, so the batch has no B × B
    cost here either.

    Args:
        temperature: τ, to be shared with the local stream of `GlobalLocalLoss`; learned from 0.1 within [0.01, 1]
            unless stated.
        epsilon: ε.
        iterations: at least 1.

    Raises:
        ValueError: unless there are exactly two views of each modality.

    Source: Fini et al., "Improved baselines for vision-language pre-training" (2023), arXiv 2305.08675; Caron
    et al. (2020).

    >>> x = torch.eye(4)                              # the target is the identity: log(1 + 3 / e)
    >>> round(SwALIPLoss(temperature=1.0)([x, x], [x, x]).item(), 4)
    0.7437
    """

    family = "clustering"
    symmetric = True
    stop_gradient = True
    papers = ("clip-rocket",)

    def __init__(
        self,
        temperature: Positive | Temperature | None = None,
        *,
        epsilon: Positive = 0.05,
        iterations: Count = 3,
    ) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.1, bounds=(0.01, 1.0)))
        self.epsilon = epsilon
        self.iterations = iterations

    def forward(
        self, images: Sequence[Float[Tensor, "B d"]], texts: Sequence[Float[Tensor, "B d"]]
    ) -> Float[Tensor, ""]:
        """Return the loss of two unit-norm views of each modality."""
        if len(images) != 2 or len(texts) != 2:
            raise ValueError(f"SwALIP swaps two views of each modality, got {len(images)} and {len(texts)}")
        image1, image2, text1, text2 = paired(
            image1=images[0], image2=images[1], text1=texts[0], text2=texts[1]
        )
        pairs = [(image1, text1, image2, text2), (image1, text2, image2, text1)]
        pairs += [(a_other, b_other, a, b) for a, b, a_other, b_other in pairs]
        return torch.stack([self._predict(a, b, *self._assign(other)) for a, b, *other in pairs]).mean()

    @torch.no_grad()
    def _assign(
        self, target: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Return log potentials f, g with Q_ij = exp(U_ij/ε + f_i + g_j): for images and for texts as the samples.

        Sinkhorn for the texts runs in step with that for the images, so that each stage is one sweep for
        both.
        """
        image, text = (t.detach() for t in target)
        rows, columns = {"z": image / self.epsilon}, {"z": text}
        f = {"image": image.new_zeros(len(image)), "text": image.new_zeros(len(image))}
        g = {"image": image.new_zeros(len(text)), "text": image.new_zeros(len(text))}

        def centres(tile: Tile) -> dict[str, dict[str, Reduction]]:
            logits = tile.dot()
            return {
                "column": {"image": LogSumExp(logits + tile.row.image[:, None])},
                "row": {"text": LogSumExp(logits + tile.column.text[None])},
            }

        def samples(tile: Tile) -> dict[str, dict[str, Reduction]]:
            logits = tile.dot()
            return {
                "row": {"image": LogSumExp(logits + tile.column.image[None])},
                "column": {"text": LogSumExp(logits + tile.row.text[:, None])},
            }

        for _ in range(self.iterations):
            r = self.reduce(
                centres, rows={**rows, "image": f["image"]}, columns={**columns, "text": g["text"]}
            )
            g["image"], f["text"] = -r.column.image, -r.row.text
            r = self.reduce(
                samples, rows={**rows, "text": f["text"]}, columns={**columns, "image": g["image"]}
            )
            f["image"], g["text"] = -r.row.image, -r.column.text
        return rows["z"], text, f, g

    def _predict(
        self,
        image: Tensor,
        text: Tensor,
        target_image: Tensor,
        target_text: Tensor,
        f: dict[str, Tensor],
        g: dict[str, Tensor],
    ) -> Tensor:
        """Return ½ [H for the images + H for the texts]; rows of Q sum to 1, so −Σ q log p = lse − Σ q · logit."""

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            logits, target = tile.dot(), tile.dot("target")
            of_images = (target + tile.row.image[:, None] + tile.column.image[None]).exp()
            of_texts = (target + tile.row.text[:, None] + tile.column.text[None]).exp()
            everything = LogSumExp(logits)
            return {
                "row": {"all": everything, "target": Sum(of_images * logits)},
                "column": {"all": everything, "target": Sum(of_texts * logits)},
            }

        r = self.reduce(
            terms,
            rows={"z": self.temperature.scale(image), "target": target_image, **f},
            columns={"z": text, "target": target_text, **g},
        )
        return self.mean(r.row.all - r.row.target + r.column.all - r.column.target) / 2
