"""Bilinear pooling: operators that make one vector of two by products of their entries.

Each is a module of two widths, an output width and a width of its own, on which its number of parameters depends:
`matched` finds the one that spends a given number of parameters, so that operators are compared at equal size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

PAPERS = {"bilinear-pooling-video-qa": ("OPERATORS", "matched")}


class BilinearOperator(nn.Module, ABC):
    """One vector of two.

    Args:
        first, second: widths of the inputs.
        out: width of the output.
        width: of what the operator computes between them; operators divide it as their own constants say.
    """

    widest: ClassVar[int] = 16_000
    """Largest width that `matched` tries: that of MCB's paper."""

    @abstractmethod
    def __init__(self, first: int, second: int, out: int, width: int) -> None: ...

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "B first"], y: Float[Tensor, "B second"]
    ) -> Float[Tensor, "B out"]: ...


@final
class FullBilinear(BilinearOperator):
    """``z_k = xᵀ W_k y + b_k``. It has no width of its own."""

    def __init__(self, first: int, second: int, out: int, width: int) -> None:
        nn.Module.__init__(self)
        self.bilinear = nn.Bilinear(first, second, out)

    def forward(self, x: Float[Tensor, "B first"], y: Float[Tensor, "B second"]) -> Float[Tensor, "B out"]:
        return self.bilinear(x, y)


@final
class MCB(BilinearOperator):
    """``z = P u``, u the circular convolution of count sketches of x and y, under a signed root and of unit norm.

    A sketch adds each entry, with a random sign, to a random one of ``width`` places. Signs and places are drawn once
    and saved with the model. The convolution is computed by FFT in float32.

    Source: Fukui et al., "Multimodal Compact Bilinear Pooling for Visual Question Answering and Visual Grounding"
    (2016), arXiv 1606.01847.
    """

    def __init__(self, first: int, second: int, out: int, width: int) -> None:
        nn.Module.__init__(self)
        generator = torch.Generator().manual_seed(0)
        for name, size in (("first", first), ("second", second)):
            self.register_buffer(f"{name}_index", torch.randint(width, (size,), generator=generator))
            self.register_buffer(f"{name}_sign", torch.randint(2, (size,), generator=generator) * 2.0 - 1)
        self.width, self.out = width, nn.Linear(width, out)

    def forward(self, x: Float[Tensor, "B first"], y: Float[Tensor, "B second"]) -> Float[Tensor, "B out"]:
        spectra = [torch.fft.rfft(self.sketch(name, z)) for name, z in (("first", x), ("second", y))]
        convolved = torch.fft.irfft(spectra[0] * spectra[1], n=self.width)
        return self.out(F.normalize(signed_root(convolved), dim=1).to(x.dtype))

    def sketch(self, name: str, z: Float[Tensor, "B n"]) -> Float[Tensor, "B width"]:
        """Return the count sketch of one of the inputs."""
        index, sign = self.get_buffer(f"{name}_index"), self.get_buffer(f"{name}_sign")
        z = z if z.dtype == torch.float64 else z.float()  # FFT knows no 16 bits
        return z.new_zeros(len(z), self.width).index_add(1, index, z * sign)


@final
class MLB(BilinearOperator):
    """``z = P (tanh(U x) ∘ tanh(V y))``.

    Source: Kim et al., "Hadamard Product for Low-rank Bilinear Pooling" (2016), arXiv 1610.04325.
    """

    def __init__(self, first: int, second: int, out: int, width: int) -> None:
        nn.Module.__init__(self)
        self.first, self.second = nn.Linear(first, width), nn.Linear(second, width)
        self.out = nn.Linear(width, out)

    def forward(self, x: Float[Tensor, "B first"], y: Float[Tensor, "B second"]) -> Float[Tensor, "B out"]:
        return self.out(self.first(x).tanh() * self.second(y).tanh())


@final
class MUTAN(BilinearOperator):
    """``z = P Σ_r (M_r x̃) ∘ (N_r ỹ)`` with x̃ = U x, ỹ = V y: a Tucker decomposition with core slices of rank R = 15.

    Source: Ben-younes et al., "MUTAN: Multimodal Tucker Fusion for Visual Question Answering" (2017), arXiv
    1705.06676.
    """

    def __init__(self, first: int, second: int, out: int, width: int, rank: int = 15) -> None:
        nn.Module.__init__(self)
        self.rank = rank
        self.first, self.second = nn.Linear(first, width), nn.Linear(second, width)
        self.first_slices, self.second_slices = (nn.Linear(width, rank * width) for _ in range(2))
        self.out = nn.Linear(width, out)

    def forward(self, x: Float[Tensor, "B first"], y: Float[Tensor, "B second"]) -> Float[Tensor, "B out"]:
        products = self.first_slices(self.first(x)) * self.second_slices(self.second(y))
        return self.out(products.unflatten(1, (self.rank, -1)).sum(1))


class MFB(BilinearOperator):
    """``z = P n``, ``n_i = Σ_k (U x ∘ V y)_{ik}`` over k = 5 neighbours, under a signed root and of unit norm.

    The published dropout of the products is left out.

    Source: Yu et al., "Multi-modal Factorized Bilinear Pooling with Co-Attention Learning for Visual Question
    Answering" (2017), arXiv 1708.01471.
    """

    blocks: ClassVar[int] = 1

    def __init__(self, first: int, second: int, out: int, width: int, factor: int = 5) -> None:
        nn.Module.__init__(self)
        self.factor = factor
        self.first = nn.ModuleList(nn.Linear(first, width * factor) for _ in range(self.blocks))
        self.second = nn.ModuleList(nn.Linear(second, width * factor) for _ in range(self.blocks))
        self.out = nn.Linear(self.blocks * width, out)

    def forward(self, x: Float[Tensor, "B first"], y: Float[Tensor, "B second"]) -> Float[Tensor, "B out"]:
        expanded, pooled = x.new_ones(()), []
        for first, second in zip(self.first, self.second, strict=True):
            expanded = expanded * first(x) * second(y)
            sums = expanded.unflatten(1, (-1, self.factor)).sum(2)
            pooled.append(F.normalize(signed_root(sums), dim=1))
        return self.out(torch.cat(pooled, 1))


@final
class MFH(MFB):
    """Two blocks of `MFB`, the products of the second multiplied by those of the first before they are pooled.

    Source: Yu et al., "Beyond Bilinear: Generalized Multimodal Factorized High-order Pooling for Visual Question
    Answering" (2017), arXiv 1708.03619.
    """

    blocks = 2


@final
class BLOCK(BilinearOperator):
    """`MUTAN`'s sum of R = 15 products in each of C = 20 chunks of x̃ and ỹ, each under a signed root and of unit norm.

    A width that C does not divide leaves the last chunks one entry smaller.

    Source: Ben-younes et al., "BLOCK: Bilinear Superdiagonal Fusion for Visual Question Answering and Visual
    Relationship Detection" (2019), arXiv 1902.00038.
    """

    def __init__(
        self, first: int, second: int, out: int, width: int, chunks: int = 20, rank: int = 15
    ) -> None:
        nn.Module.__init__(self)
        chunks = min(chunks, width)
        self.rank, self.sizes = rank, [len(part) for part in torch.arange(width).tensor_split(chunks)]
        self.first, self.second = nn.Linear(first, width), nn.Linear(second, width)
        self.first_slices = nn.ModuleList(nn.Linear(size, rank * size) for size in self.sizes)
        self.second_slices = nn.ModuleList(nn.Linear(size, rank * size) for size in self.sizes)
        self.out = nn.Linear(width, out)

    def forward(self, x: Float[Tensor, "B first"], y: Float[Tensor, "B second"]) -> Float[Tensor, "B out"]:
        chunks = zip(
            self.first(x).split(self.sizes, 1),
            self.second(y).split(self.sizes, 1),
            self.first_slices,
            self.second_slices,
            strict=True,
        )
        pooled = []
        for x_c, y_c, first, second in chunks:
            products = (first(x_c) * second(y_c)).unflatten(1, (self.rank, -1)).sum(1)
            pooled.append(F.normalize(signed_root(products), dim=1))
        return self.out(torch.cat(pooled, 1))


OPERATORS: Mapping[str, type[BilinearOperator]] = {
    "full": FullBilinear,
    "mcb": MCB,
    "mlb": MLB,
    "mutan": MUTAN,
    "mfb": MFB,
    "mfh": MFH,
    "block": BLOCK,
}
"""Bilinear operators by name.

Source of the comparison: Winterbottom et al., "Trying Bilinear Pooling in Video-QA" (2020), arXiv 2012.10285.
Defaults are those of the operators' own papers."""


def signed_root(z: Float[Tensor, "*n"], eps: float = 1e-6) -> Float[Tensor, "*n"]:
    """Return ``sign(z) √|z|``, written as ``z / √(|z| + ε)``, whose gradient at 0 is finite.

    >>> signed_root(torch.tensor([-4.0, 0.0, 9.0])).round(decimals=4).tolist()
    [-2.0, 0.0, 3.0]
    """
    return z / (z.abs() + eps).sqrt()


def size_of(module: nn.Module) -> int:
    """Return the number of parameters of a module."""
    return sum(weight.numel() for weight in module.parameters())


def matched(name: str, first: int, second: int, out: int, parameters: int) -> BilinearOperator:
    """Build the widest operator that has at most so many parameters; the smallest, where even that has more.

    >>> size_of(matched("mlb", 8, 8, 2, 1000)), size_of(matched("block", 8, 8, 2, 1000))
    (982, 962)
    """
    operator = OPERATORS[name]

    def size(width: int) -> int:
        with torch.device("meta"):
            return size_of(operator(first, second, out, width))

    least, most = 1, operator.widest
    while least < most:  # the number of parameters never falls with the width
        middle = (least + most + 1) // 2
        least, most = (middle, most) if size(middle) <= parameters else (least, middle - 1)
    return operator(first, second, out, least)
