"""LP++: a linear classifier whose logits are blended with those of the names, with computed rates."""

from __future__ import annotations

from typing import Unpack

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import Count, NonNegative
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import Target
from ._adapting import Adapting, AdaptingOptions


class LPPlusPlus(Adapting):
    """``s_c = v·w_c + b_c + α_c v·t_c``, with a learned weight α_c of the name of each class.

    w_c starts at the sum of the features of class c, b_c at 0, and every α_c at the mean over classes of
    ``a · mean cosine of the examples of c with t_c``. Gradient descent over all N examples moves w and b with a
    momentum of 0.9 and the rate ``4 N / λ_max(Vᵀ V)``, and α every tenth step by ``N / (4 max_c Σ_i (v_i·t_c)²)`` times
    its gradient. The released code adds up the gradients of α over all steps, as nothing clears them, and keeps the
    step that is best on a validation set; here a step of α takes the gradient of that step, and the last step counts.

    Args:
        towers: the tower of the column, and that of texts.
        recipe: gives the width of the pair's common space.
        target: the label.
        start: a, from which the weights of the names start.
        epochs: steps over all labelled examples.
        options: see `Adapting`.

    Source: Huang et al., "LP++: A Surprisingly Strong Linear Probe for Few-Shot CLIP" (2024), arXiv 2404.02285, and its
    code, FereshteShakeri/FewShot-CLIP-Strong-Baseline.
    """

    family = "few labels"
    starts_as_zero_shot = False

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        start: NonNegative = 250.0,
        epochs: Count = 300,
        **options: Unpack[AdaptingOptions],
    ) -> None:
        super().__init__(towers, recipe, target=target, **options)
        self.start, self.epochs = start, epochs
        classes, width = self.texts.shape
        self.head = nn.Linear(width, classes).requires_grad_(False)
        self.alpha = nn.Parameter(torch.zeros(classes), requires_grad=False)

    def fit(self, z: Float[Tensor, "N w"], classes: Int[Tensor, " N"]) -> None:
        v = self.shared(z).detach()
        own = F.one_hot(classes, len(self.texts)).to(v.dtype)
        cosines = v @ self.texts.T
        counts = own.sum(0)
        mean = ((own * cosines).sum(0) / counts.clamp_min(1))[counts > 0].mean()
        with torch.no_grad():
            self.head.weight.copy_(own.T @ v)
            self.head.bias.zero_()
            self.alpha.fill_(float(self.start * mean))
        rate = 4 * len(v) / float(torch.linalg.eigvalsh((v.T @ v).double())[-1])
        rate_of_names = len(v) / (4 * cosines.square().sum(0).max())
        learned = [self.head.weight, self.head.bias, self.alpha]
        for parameter in learned:
            parameter.requires_grad_(True)
        optimizer = torch.optim.SGD(learned[:2], lr=rate, momentum=0.9)
        for step in range(1, self.epochs + 1):
            optimizer.zero_grad()
            self.alpha.grad = None
            torch.autograd.backward(F.cross_entropy(self._scores(v), classes))
            optimizer.step()
            if step % 10 == 0:
                assert self.alpha.grad is not None
                with torch.no_grad():
                    self.alpha.sub_(rate_of_names * self.alpha.grad)
        for parameter in learned:
            parameter.requires_grad_(False)
            parameter.grad = None

    def scores(self, z: Float[Tensor, "B w"]) -> Float[Tensor, "B C"]:
        return self._scores(self.shared(z))

    def _scores(self, v: Float[Tensor, "B d"]) -> Float[Tensor, "B C"]:
        return self.head(v) + self.alpha * (v @ self.texts.T)
