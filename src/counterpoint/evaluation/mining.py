"""Pictures that one encoder takes for the same and another one does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..reasons import counted
from .task import row_chunks

PAPERS = {"mmvp": ("blind_pairs",)}


@dataclass(frozen=True)
class BlindPairs:
    """Pairs of pictures, those first that the two encoders disagree about most.

    Attributes:
        first, second: positions of the two pictures, ``first < second``.
        seen: their cosine in the encoder that is looked into.
        other: their cosine in the encoder that tells them apart.
    """

    first: Int[np.ndarray, " pairs"]
    second: Int[np.ndarray, " pairs"]
    seen: Float[np.ndarray, " pairs"]
    other: Float[np.ndarray, " pairs"]

    def __len__(self) -> int:
        return len(self.first)


@torch.no_grad()
def blind_pairs(
    seen: Float[Tensor, "N d"],
    other: Float[Tensor, "M e"],
    *,
    above: float = 0.95,
    below: float = 0.6,
    most: int = 1000,
) -> BlindPairs:
    """Find pairs with cosine above ``above`` in one encoder and below ``below`` in the other.

    Every pair is looked at, in panels of rows: no N × N matrix exists, and at most ``most`` pairs are kept.

    Args:
        seen: embeddings of N pictures by the encoder whose blind spots are wanted; normalised here.
        other: by an encoder that sees differently.
        above, below: the bounds; the defaults are for CLIP and DINOv2. For other encoders take quantiles, see
            `similarity_quantile`.
        most: pairs to keep: those of largest difference.

    Raises:
        ValueError: for a different number of pictures, fewer than two, or embeddings that are not finite.

    >>> same = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> found = blind_pairs(same, torch.eye(3))
    >>> found.first.tolist(), found.second.tolist(), found.seen.tolist(), found.other.tolist()
    ([0], [1], [1.0], [0.0])

    Source: Tong et al., "Eyes Wide Shut? Exploring the Visual Shortcomings of Multimodal LLMs" (2024), arXiv
    2401.06209; its bounds are 0.95 and 0.6.
    """
    if len(seen) != len(other) or len(seen) < 2:
        raise ValueError(
            f"both encoders must embed the same pictures, two at least; got {len(seen)} and {len(other)}"
        )
    a, b = _unit(seen, "seen"), _unit(other, "other")
    kept = torch.empty(4, 0, dtype=torch.float64)
    for part in row_chunks(len(a), len(a)):
        x, y = a[part] @ a[part.start :].T, b[part] @ b[part.start :].T
        rows, columns = ((x > above) & (y < below)).triu(1).nonzero(as_tuple=True)
        pair = torch.stack(
            [rows + part.start, columns + part.start, x[rows, columns], y[rows, columns]], 0
        ).double()
        kept = torch.cat([kept, pair], 1)
        order = torch.argsort(kept[3] - kept[2], stable=True)[:most]
        kept = kept[:, order]
    first, second, in_seen, in_other = kept.numpy()
    return BlindPairs(first.astype(np.int64), second.astype(np.int64), in_seen, in_other)


def similarity_quantile(z: Float[Tensor, "N d"], q: float, *, pairs: int = 1 << 20, seed: int = 0) -> float:
    """Estimate the cosine that a share ``q`` of the pairs of different pictures stays below, from a sample.

    >>> similarity_quantile(torch.eye(3), 0.5)
    0.0

    Args:
        z: embeddings of N pictures.
        q: between 0 and 1; 0.98 gives the bound above which the most similar 2 % lie.
        pairs: size of the sample, drawn with replacement; its error is about √(q(1 − q)/pairs) in q.
        seed: of the sample.

    Raises:
        ValueError: for q outside [0, 1], fewer than two pictures, or embeddings that are not finite.
    """
    if not 0 <= q <= 1 or len(z) < 2:
        raise ValueError(
            f"needs q between 0 and 1 and two pictures, got q={q} and {counted(len(z), 'picture')}"
        )
    z, generator = _unit(z, "z"), np.random.default_rng(seed)
    first = generator.integers(len(z), size=pairs)
    second = (first + generator.integers(1, len(z), size=pairs)) % len(z)
    cosines = [(z[first[part]] * z[second[part]]).sum(1).numpy() for part in row_chunks(pairs, z.shape[1])]
    return float(np.quantile(np.concatenate(cosines), q))


def _unit(z: Tensor, name: str) -> Tensor:
    if not torch.isfinite(z).all():
        raise ValueError(f"{name} holds embeddings that are NaN or infinite")
    return torch.nn.functional.normalize(z.float(), dim=1)
