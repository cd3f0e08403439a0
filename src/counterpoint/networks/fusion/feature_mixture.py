"""Mixture of Features: the tokens of two vision towers as one sequence for a language model.

Source: Tong et al., "Eyes Wide Shut? Exploring the Visual Shortcomings of Multimodal LLMs" (2024), arXiv 2401.06209;
projectors as in LLaVA-1.5 (arXiv 2310.03744).
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...forms import Count, Fraction
from ...ranges import Checked

PAPERS = {"mmvp": ("AdditiveMixture", "InterleavedMixture")}


def visual_projector(width: int, out: int) -> nn.Sequential:
    """Build a projector from a vision tower's tokens to a language model's embeddings: linear, GELU, linear.

    >>> visual_projector(8, 16)(torch.zeros(2, 9, 8)).shape
    torch.Size([2, 9, 16])
    """
    return nn.Sequential(nn.Linear(width, out), nn.GELU(), nn.Linear(out, out))


@final
class AdditiveMixture(Checked, nn.Module):
    """A weighted sum of two towers' tokens, place by place, then one projector (A-MoF).

        P(α · second + (1 − α) · first)

    As many tokens as either tower gives. α = 0 is the first tower alone, α = 1 the second; in the paper (CLIP first,
    DINOv2 second) more of the second grounds better and follows instructions worse.

    Args:
        width: of both towers' tokens.
        out: of the language model's embeddings.
        alpha: α, between 0 and 1.

    Raises:
        ValueError: for α outside [0, 1]; from a call, where the towers do not give as many tokens.

    >>> mixture = AdditiveMixture(8, 16, alpha=0.5)
    >>> mixture(torch.zeros(2, 9, 8), torch.zeros(2, 9, 8)).shape
    torch.Size([2, 9, 16])
    """

    def __init__(self, width: Count, out: Count, alpha: Fraction = 0.5) -> None:
        super().__init__()
        self.alpha = alpha
        self.project = visual_projector(width, out)

    def forward(
        self, first: Float[Tensor, "B n width"], second: Float[Tensor, "B m width"]
    ) -> Float[Tensor, "B n out"]:
        _check_places(first, second)
        return self.project(torch.lerp(first, second, self.alpha))


@final
class InterleavedMixture(nn.Module):
    """Each tower's tokens through a projector of its own, then in turn: the two of one place are neighbours (I-MoF).

        output[2k] = P₁(first[k]),     output[2k + 1] = P₂(second[k])

    Twice as many tokens as either tower gives. To see what the second tower's features add, and not the longer
    sequence, compare with the first tower in both places.

    Args:
        widths: of the first and of the second tower's tokens.
        out: of the language model's embeddings.

    Raises:
        ValueError: from a call, where the towers do not give as many tokens.

    >>> mixture = InterleavedMixture((8, 12), 16)
    >>> mixture(torch.zeros(2, 9, 8), torch.zeros(2, 9, 12)).shape
    torch.Size([2, 18, 16])
    """

    def __init__(self, widths: tuple[int, int], out: int) -> None:
        super().__init__()
        self.first, self.second = (visual_projector(width, out) for width in widths)

    def forward(
        self, first: Float[Tensor, "B n a"], second: Float[Tensor, "B m b"]
    ) -> Float[Tensor, "B tokens out"]:
        _check_places(first, second)
        return torch.stack([self.first(first), self.second(second)], 2).flatten(1, 2)


def _check_places(first: Tensor, second: Tensor) -> None:
    if first.shape[:2] != second.shape[:2]:
        raise ValueError(
            f"both towers must give tokens of the same places of the same pictures, without class tokens; got "
            f"{first.shape[1]} of {len(first)} and {second.shape[1]} of {len(second)} pictures: resize the pictures "
            "of one tower until the grids agree"
        )
