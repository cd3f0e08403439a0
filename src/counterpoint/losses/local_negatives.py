"""FSC-CLIP's loss: a picture tells its caption from hard negatives by patches and tokens, with focal weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..forms import Fraction, NonNegative, Positive
from ..pairwise import moments
from ..pairwise.inputs import upcast
from ..pairwise.loss import Loss
from ..pairwise.ranks import Ranks
from ..pairwise.temperature import Temperature

_EPSILON = 1e-10


class LocalNegativesLoss(Loss):
    """Cross-entropy of a caption among its own hard negatives, scored token by token on the picture's patches.

        a_lp = <t_l, v_p>, scaled to [0, 1] over p and divided by its sum;   u_l = nz(Σ_p a_lp v_p)
        s(V, T) = log Σ_l exp(<u_l, nz(t_l)> / τ)
        loss = mean_i Σ_c y_ic (1 − p_ic)^γ (−log p_ic),   p_i = softmax of s over the caption and its K_i negatives
        y_ic = 1 − β + β / (1 + K_i) of the caption,   β / (1 + K_i) of a negative

    The mean is over the examples with a negative. The weights a carry no gradient. A negative that does not count has
    the logit −∞; the published code gives it 0, which is a term of the denominator. Padding and start tokens are
    masked, end tokens are not. Patches that are all alike have equal weights.

    Args:
        temperature: τ; a number is fixed. The default is learned from 0.07, within [0.01, 1].
        smoothing: β.
        gamma: γ; 0 with β = 0 is cross-entropy.

    Raises:
        ValueError: for shapes that do not fit, and for an empty batch.

    Source: Oh et al., "Preserving Multi-Modal Capabilities of Pre-trained VLMs for Improving Vision-Linguistic
    Compositionality" (2024), arXiv 2410.05210, and its code, ytaek-oh/fsc-clip.
    """

    family = "softmax"
    stop_gradient = True
    papers = ("fsc-clip",)

    def __init__(
        self,
        temperature: Positive | Temperature | None = None,
        *,
        smoothing: Fraction = 0.02,
        gamma: NonNegative = 2.0,
    ) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.07, bounds=(0.01, 1.0)))
        self.smoothing, self.gamma = smoothing, gamma

    def forward(
        self,
        patches: Float[Tensor, "B P d"],
        tokens: Float[Tensor, "B A L d"],
        *,
        mask: Bool[Tensor, "B A L"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of patches and of captions, each followed by its hard negatives.

        Args:
            patches: of the pictures, in the common space.
            tokens: of each picture's caption and then of its negatives, in the common space.
            mask: the tokens that count; all unless given. A negative without any does not count.
        """
        if len(patches) != len(tokens) or (mask is not None and mask.shape != tokens.shape[:3]):
            raise ValueError(
                f"patches {tuple(patches.shape)}, tokens {tuple(tokens.shape)} and the mask must be of as many pictures"
            )
        if not sum(Ranks.present().counts(len(patches), patches.device)):
            raise ValueError("the batch has no pictures: give one at least")
        patches, tokens = upcast(patches), upcast(tokens)
        if mask is None:
            mask = torch.ones_like(tokens[..., 0], dtype=torch.bool)
        scale = self.temperature.inverse(tokens.dtype).to(tokens.device)
        return self.of_logits(scores(patches, tokens, mask, scale), mask.any(2))

    def of_logits(self, logits: Float[Tensor, "B A"], valid: Bool[Tensor, "B A"]) -> Float[Tensor, ""]:
        """Return the loss of scores of captions and their negatives, of which ``valid`` says which there are."""
        alternatives = valid.sum(1, keepdim=True).clamp_min(1).to(logits)
        target = torch.where(valid, self.smoothing / alternatives, 0.0)
        target[:, 0] += 1 - self.smoothing
        # A finite number in place of −∞, whose product with 0 is no number.
        log_p = logits.masked_fill(~valid, torch.finfo(logits.dtype).min).log_softmax(1)
        log_p = log_p.masked_fill(~valid, 0.0)
        rest = (-torch.expm1(log_p)).clamp_min(torch.finfo(logits.dtype).tiny)
        terms = (target * rest**self.gamma * -log_p).sum(1)
        counted = (valid[:, 0] & valid[:, 1:].any(1)).to(terms)
        return moments.mean(terms, counted, ranks=Ranks.present())


def scores(
    patches: Float[Tensor, "B P d"],
    tokens: Float[Tensor, "B A L d"],
    mask: Bool[Tensor, "B A L"],
    scale: Float[Tensor, ""],
) -> Float[Tensor, "B A"]:
    """Return the local score of each picture with each of its texts; 0 for a text without a token."""
    with torch.autocast(
        tokens.device.type, enabled=False
    ):  # which would round the products to half precision
        similarity = torch.einsum("bpd,bald->balp", patches, tokens).detach()
        low, high = similarity.amin(3, keepdim=True), similarity.amax(3, keepdim=True)
        weights = (similarity - low) / (high - low).clamp_min(_EPSILON)
        weights = weights.masked_fill(high - low < _EPSILON, 1.0)
        aligned = F.normalize(
            torch.einsum("balp,bpd->bald", weights / weights.sum(3, keepdim=True), patches), dim=-1
        )
        cosines = scale * (aligned * F.normalize(tokens, dim=-1)).sum(-1)
        some = mask.any(2)
        visible = torch.where(some[..., None], mask, True)
        cosines = cosines.masked_fill(~visible, torch.finfo(cosines.dtype).min)
        return torch.where(some, cosines.logsumexp(2), 0.0)
