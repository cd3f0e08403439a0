"""MD-DYR: what is likely wrong has the smaller share of a mixture, and beliefs go from soft to hard."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..networks.mixup import mixup
from ..types import Batch, StepInfo
from .m_dyr import MDYR, WRONG

_LAST = 1e-3


class MDDYR(MDYR):
    """`MDYR` for much noise: mixtures by how likely each label is right, and z that hardens.

        x̃ = δ_p x_p + δ_q x_q,   δ_p = (1 − w_p) / ((1 − w_p) + (1 − w_q)),   δ_q = 1 − δ_p
        L = mean (l_p + l_q) / 2 + ρ R,   z = softmax(logits / T)

    T goes linearly from 1, at the end of the warm-up, to 0.001 at the end of the run. The paper mixes so for five
    epochs before it corrects labels; here both begin together.

    Source: Arazo et al., "Unsupervised Label Noise Modeling and Loss Correction" (2019), arXiv 1904.11238.
    """

    family = "supervised"
    papers = ("bmm-bootstrapping",)

    def mixed(self, batch: Batch) -> Batch:
        return mixup(batch, self.alpha, trust=1 - batch.labels[WRONG])

    def believed(self, logits: Float[Tensor, "B classes"], clock: StepInfo) -> Float[Tensor, "B classes"]:
        passed = (clock.progress - self.warmup) / max(1 - self.warmup, 1e-9)
        return (logits / (1 + passed * (_LAST - 1))).softmax(1)

    def share(self, batch: Batch) -> Float[Tensor, " B"]:
        share = super().share(batch)
        return torch.full_like(share, 0.5) if WRONG in batch.labels else share
