"""CLAP: a cosine classifier that stays near the names of the classes where these are right."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .linear_text import LinearText, Penalty


class CLAP(LinearText):
    """`LinearText` with a penalty on how far the vectors move from the names.

        L = CE(s, y) + (1/C) Σ_c λ_c ‖w_c − t_c‖²

    λ_c is the mean probability that the pair itself gives class c on the labelled examples of c. The released code
    trains on twenty augmented copies of each example and penalises vectors that are not of unit norm; here each example
    counts as it is, and t is of unit norm.

    Source: Silva-Rodríguez et al., "A Closer Look at the Few-Shot Adaptation of Large Vision-Language Models" (2024),
    arXiv 2312.12730, and its code, jusiro/CLAP.
    """

    family = "few labels"

    def penalty(self, v: Float[Tensor, "N d"], classes: Int[Tensor, " N"]) -> Penalty:
        own = self.zero_shot_scores(v).softmax(1).gather(1, classes[:, None])[:, 0]
        counts = torch.bincount(classes, minlength=len(self.texts)).clamp_min(1)
        sums = torch.zeros_like(self.texts[:, 0]).index_add(0, classes, own)
        multipliers = sums / counts
        return lambda weight: (multipliers * (weight - self.texts).square().sum(1)).mean()
