"""Direct preference optimisation: good replies become likelier than worse ones, relative to a reference."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..forms import NonNegative
from ..pairwise.inputs import paired
from ..pairwise.loss import Loss


class DPOLoss(Loss):
    """Logistic regression on the difference of two log-likelihoods.

        r(y) = β (log π(y | x) − log ρ(y | x)),   L = − mean log σ(r(y⁺) − r(y⁻))

    π is the model, ρ the reference, y⁺ the good reply to the request x and y⁻ the worse one. The log-likelihood of a
    reply is the sum over its tokens. The reference gets no gradient.

    Args:
        beta: β.

    Raises:
        ValueError: for tensors of another shape than ``(B, 2)``.

    Source: Rafailov et al., "Direct Preference Optimization: Your Language Model is Secretly a Reward Model" (2023),
    arXiv 2305.18290.

    >>> import torch
    >>> DPOLoss()(torch.tensor([[-3.0, -5.0]]), torch.tensor([[-3.0, -5.0]])).item()  # log 2
    0.6931471824645996
    """

    family = "preference"
    stop_gradient = True
    papers = ("bpo",)

    def __init__(self, beta: NonNegative = 0.1) -> None:
        super().__init__()
        self.beta = beta

    def forward(
        self,
        policy: Float[Tensor, "B 2"],
        reference: Float[Tensor, "B 2"],
        weights: Float[Tensor, " B"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss.

        Args:
            policy: log-likelihoods of the good reply and of the worse one.
            reference: those under the reference.
            weights: of the pairs; all the same unless given.
        """
        policy, reference = paired(policy=policy, reference=reference)
        if policy.shape[1] != 2:
            raise ValueError(f"policy and reference must be (B, 2), got {tuple(policy.shape)}")
        good, worse = self.rewards(policy, reference).unbind(1)
        return self.mean(-F.logsigmoid(good - worse), weights)

    def rewards(self, policy: Float[Tensor, "B 2"], reference: Float[Tensor, "B 2"]) -> Float[Tensor, "B 2"]:
        """Return the rewards r of good and worse replies."""
        return self.beta * (policy - reference.detach())
