"""From tower features to the space of a loss: linear heads, projectors and predictors, prototypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .batch_norm import BatchNorm1d
from .weights import is_restored

PAPERS = {"crl-framework": ("mlp",)}

LastNorm = Literal["affine", "plain"] | None
HeadKind = Literal["linear", "cosine", "distance"]
"""Choices of what a class scores by its vector."""


class Linear(nn.Linear):
    """A linear layer that starts from N(0, std²), its bias, if any, from zero.

    With std = width^−½ and no bias, the default, CLIP's head; else the layers of its transformer.

    >>> Linear(512, 256).weight.shape
    torch.Size([256, 512])

    Source: CLIP (arXiv 2103.00020).
    """

    def __init__(self, width: int, out: int, *, std: float | None = None, bias: bool = False) -> None:
        self.std = width**-0.5 if std is None else std
        super().__init__(width, out, bias=bias)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.std)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class TargetHead(Linear):
    """A linear layer to the width of a teacher, which a trained method that is read again does not know.

    Weights that are loaded into such a method replace those of the layer, whatever their shape.

    Args:
        width: of the input.
        out: the width of each teacher, the first of which counts; none where a trained method is read again.
        bias: whether the layer has one.
    """

    def __init__(self, width: int, out: Sequence[int], bias: bool = True) -> None:
        super().__init__(width, out[0] if out else 1, bias=bias)
        self._any_shape = is_restored()

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        weight = state_dict.get(f"{prefix}weight")
        if self._any_shape and weight is not None:
            self.out_features = len(weight)
            self.weight = nn.Parameter(torch.empty_like(weight), self.weight.requires_grad)
            if self.bias is not None:
                self.bias = nn.Parameter(torch.empty_like(weight[:, 0]))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class BorrowedHead(TargetHead):
    """A head without a bias that another model has trained. Its weights neither start anew nor move.

    Args:
        width: of the input.
        weight: of the head; None where a trained method is read again.
    """

    def __init__(self, width: int, weight: Tensor | None) -> None:
        super().__init__(width, () if weight is None else (len(weight),), bias=False)
        if weight is not None:
            self.weight.data.copy_(weight)
        self.requires_grad_(False)

    def reset_parameters(self) -> None:
        """Keep the weights."""


def mlp(
    width: int,
    hidden: int,
    out: int,
    *,
    layers: int = 3,
    last_norm: LastNorm = None,
    bias: bool | Literal["last"] = True,
    norm: bool = True,
) -> nn.Sequential:
    """Build linear–BatchNorm–ReLU, ``layers − 1`` times, then a linear layer: projectors and predictors.

    - CLIP-rocket's local head: ``mlp(W, 4096, 256)``.
    - SiamLIP's projector: ``mlp(W, 2048, 128, layers=2, last_norm="plain", bias=False)``; its predictor:
      ``mlp(128, 2048, 128, layers=2, bias="last")``.
    - BarLIP's projector: ``mlp(W, 3000, 8192, last_norm="affine")``.
    - ConVIRT's head: ``mlp(W, 512, 512, layers=2, norm=False)``.

    >>> [type(layer).__name__ for layer in mlp(8, 16, 4, layers=2, last_norm="plain")]
    ['Linear', 'BatchNorm1d', 'ReLU', 'Linear', 'BatchNorm1d']

    Args:
        width: size of the input.
        hidden: size of the hidden layers.
        out: size of the output.
        layers: number of linear layers, at least 1.
        last_norm: a BatchNorm after the last layer, with (``"affine"``) or without (``"plain"``) scale and
            shift.
        bias: whether the linear layers have biases; ``"last"``: only the last one.
        norm: whether a BatchNorm follows each hidden layer.

    Raises:
        ValueError: for ``layers`` below 1.
    """
    if layers < 1:
        raise ValueError(f"layers={layers}: a perceptron has at least one layer")
    modules: list[nn.Module] = []
    sizes = [width] + [hidden] * (layers - 1)
    for a, b in pairwise(sizes):
        modules += [nn.Linear(a, b, bias=bias is True)]
        modules += [BatchNorm1d(b)] if norm else []
        modules += [nn.ReLU(inplace=True)]
    modules.append(nn.Linear(sizes[-1], out, bias=bool(bias)))
    if last_norm is not None:
        modules.append(BatchNorm1d(out, affine=last_norm == "affine"))
    return nn.Sequential(*modules)


class ResidualMLP(nn.Module):
    """``x + W₂ drop(GELU(W₁ LN(x)))``, four times as wide inside.

    >>> ResidualMLP(8)(torch.zeros(5, 8)).shape
    torch.Size([5, 8])

    Args:
        width: of input and output.
        dropout: of the hidden layer.
        std: standard deviation of W₂ at the start, its bias then zero: small, the block begins near the identity;
            PyTorch's own start of a linear layer unless given.
    """

    def __init__(self, width: int, dropout: float = 0.0, std: float | None = None) -> None:
        super().__init__()
        last = nn.Linear(4 * width, width) if std is None else Linear(4 * width, width, std=std, bias=True)
        self.branch = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), last
        )

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        return x + self.branch(x)


class ResidualProjection(nn.Module):
    """``LayerNorm(e + drop(W_2 gelu(e)))`` with e = W_1 u; no biases but the norm's.

    >>> ResidualProjection(8, 4)(torch.randn(5, 8)).shape
    torch.Size([5, 4])

    Source: the released code of CLAP (arXiv 2309.05767).
    """

    def __init__(self, width: int, out: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.first, self.second = Linear(width, out), Linear(out, out)
        self.norm, self.dropout = nn.LayerNorm(out), dropout

    def forward(self, features: Float[Tensor, "B width"]) -> Float[Tensor, "B out"]:
        e = self.first(features)
        return self.norm(e + F.dropout(self.second(F.gelu(e)), self.dropout, self.training))


class Prototypes(nn.Module):
    """Scores of features against learned unit vectors: s = v̂ ĉᵀ, with v̂ = v/‖v‖ and ĉ_k = c_k/‖c_k‖.

    A linear layer without bias under weight normalisation, the norm frozen at 1.

    >>> Prototypes(8, 30)(torch.randn(5, 8)).shape
    torch.Size([5, 30])

    Source: SwAV (arXiv 2006.09882); CLIP-rocket's SwALIP with prototypes (arXiv 2305.08675).
    """

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.weight.shape[1] ** -0.5)

    def forward(self, features: Float[Tensor, "B width"], frozen: bool = False) -> Float[Tensor, "B count"]:
        """Return the scores; ``frozen`` gives the prototypes no gradient, as in a run's first steps."""
        # Detached: without a gradient the optimiser leaves them alone, decay included, and yet has them for later.
        weight = self.weight.detach() if frozen else self.weight
        return F.linear(F.normalize(features, dim=-1), F.normalize(weight, dim=-1))


class ClassHead(nn.Module):
    """A vector of each class, and what a class scores: an inner product, a cosine, or a distance.

    ============  =========================================================================================
    ``linear``    ``s_c = <z, w_c> + b_c``
    ``cosine``    ``s_c = <z, w_c> / (‖z‖ ‖w_c‖ τ)``, without a bias
    ``distance``  ``s_c = <z, w_c> − ½ ‖w_c‖²``: in a softmax ``−½ ‖z − w_c‖²``, as ``½ ‖z‖²`` is the same for all
    ============  =========================================================================================

    All are inner products of something with something and a bias, so that a loss need never form the scores.

    >>> head = ClassHead(8, 30, "cosine")
    >>> z, bank, bias = head(torch.randn(5, 8))
    >>> z.shape, bank.shape, bias, head.scores(torch.randn(5, 8)).shape
    (torch.Size([5, 8]), torch.Size([30, 8]), None, torch.Size([5, 30]))

    Args:
        width: of the features.
        classes: how many.
        kind: ``"linear"``, ``"cosine"`` or ``"distance"``.
        temperature: τ, of cosines; 0.05 unless given.

    Attributes:
        starts: by class, the vector and the bias that it starts from in place of ones by chance.

    Raises:
        ValueError: for a temperature of scores that are no cosines.
    """

    def __init__(
        self, width: int, classes: int, kind: HeadKind = "linear", temperature: float | None = None
    ) -> None:
        super().__init__()
        if temperature is not None and kind != "cosine":
            raise ValueError(f"temperature={temperature:g} is of cosines: take head=cosine, or leave it out")
        self.kind, self.temperature = kind, 0.05 if temperature is None else temperature
        self.weight = nn.Parameter(torch.empty(classes, width))
        self.bias = nn.Parameter(torch.empty(classes)) if kind == "linear" else None
        self.starts: Mapping[int, tuple[Tensor, float]] = {}
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.weight.shape[1] ** -0.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        for number, (weight, bias) in self.starts.items():
            self.weight[number] = weight
            if self.bias is not None:
                self.bias[number] = bias

    def forward(self, z: Float[Tensor, "B W"]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return what the inner products are of: rows ``(B, W)``, class vectors ``(C, W)`` and biases ``(C,)``."""
        if self.kind == "cosine":
            return F.normalize(z, dim=-1) / self.temperature, F.normalize(self.weight, dim=-1), None
        if self.kind == "distance":
            return z, self.weight, -0.5 * self.weight.square().sum(1)
        return z, self.weight, self.bias

    def scores(self, z: Float[Tensor, "B W"]) -> Float[Tensor, "B C"]:
        """Return the scores themselves, for few classes."""
        rows, bank, bias = self(z)
        return F.linear(rows, bank, bias)
