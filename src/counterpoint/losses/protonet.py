"""Prototypical networks: each query must find the mean of its class's supports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Positive
from ._class_scores import ClassLoss, checked
from .cross_entropy import CrossEntropyLoss


class ProtoNetLoss(ClassLoss):
    """Each query must lie nearer to the prototype of its class than to those of the other classes of its episode.

        loss = CE(s, y),   s_qc = −‖z_q − p_c‖² / T,   p_c = the mean of the supports of class c

    Embeddings are not normalised: T has the scale of their squared distances.

    Args:
        temperature: T.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning" (2017), arXiv 1703.05175; the base
    of Méndez-Ruiz et al., "SuSana Distancia is all you need" (2023), arXiv 2305.09062.

    >>> import torch
    >>> p = torch.tensor([[0.0, 0.0], [1.0, 0.0]])    # squared distances 0 and 1: log(1 + 1 / e)
    >>> round(ProtoNetLoss()(p[:1], p, labels=torch.tensor([0])).item(), 4)
    0.3133
    """

    family = "supervised"
    papers = ("susana-distancia",)
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.1, 100.0)}

    def __init__(self, temperature: Positive = 1.0) -> None:
        super().__init__()
        self.temperature, self.cross_entropy = temperature, CrossEntropyLoss()

    def forward(
        self, z: Float[Tensor, "B d"], bank: Float[Tensor, "C d"], *, labels: Int[Tensor, " B"]
    ) -> Float[Tensor, ""]:
        """Return the loss of queries and prototypes.

        Args:
            z: the queries.
            bank: p, the same on every rank.
            labels: positions in ``bank``, −1 for what is no query.
        """
        z, bank = checked(z, bank, labels)
        # ‖z‖² is the same for all classes, and drops out.
        bias = -bank.square().sum(1) / self.temperature
        return self.cross_entropy(z, 2 / self.temperature * bank, bias, labels=labels)
