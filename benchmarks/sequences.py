"""Distances of sequences: scav in tiles against its dense form, and soft-DTW of a batch against tslearn's.

    python benchmarks/sequences.py [B] [STEPS] [WIDTH] [REPEATS]

Printed are the median of paired ratios of time with the middle half of them, and for scav the ratio of peak memory.
tslearn's loss of a batch is `tslearn.metrics.SoftDTWLossPyTorch`: each sequence with its own, by squared distances.
"""

from __future__ import annotations

import sys

import torch
from _timing import alternate, compare, embeddings, spread
from torch import Tensor

from counterpoint.losses import SCAVLoss
from counterpoint.losses._distances import soft_dtw


def scav(size: int, steps: int, width: int, repeats: int) -> None:
    """Print the cost of tiles for every distance that compares sequences in step."""
    for distance in ("euclidean", "squared"):
        losses = {
            evaluator: SCAVLoss(distance, temperature=0.07).evaluated(evaluator)
            for evaluator in ("tiled", "dense")
        }

        def shaped(x: Tensor, y: Tensor, evaluator: str) -> Tensor:
            return losses[evaluator](x.view(size, steps, width), y.view(size, steps, width))  # noqa: B023 # at once

        found = compare(
            lambda x, y: shaped(x, y, "tiled"),
            lambda x, y: shaped(x, y, "dense"),
            embeddings(size * steps, width),
            repeats,
        )
        told = f"scav, {distance}, B = {size}, {steps} steps of {width}"
        print(f"{told}: tiles / dense {found.time}, memory {found.share:.3f}")


def warping(size: int, steps: int, width: int, repeats: int) -> None:
    """Print the cost of soft-DTW of a batch of pairs, forward and backward, over tslearn's."""
    from tslearn.metrics import SoftDTWLossPyTorch

    theirs = SoftDTWLossPyTorch(gamma=0.1)
    lengths = torch.full((size,), steps)

    def shaped(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x.view(size, steps, width), y.view(size, steps, width)

    def our_loss(x: Tensor, y: Tensor) -> Tensor:
        a, b = shaped(x, y)
        costs = a.square().sum(-1)[:, :, None] + b.square().sum(-1)[:, None] - 2 * a @ b.mT
        return soft_dtw(costs.permute(1, 2, 0), lengths, lengths, 0.1).sum()

    def their_loss(x: Tensor, y: Tensor) -> Tensor:
        return theirs(*shaped(x, y)).sum()

    given = embeddings(size * steps, width)
    ours, other = our_loss(*given).item(), their_loss(*given).item()
    times = alternate(our_loss, their_loss, given, repeats)
    ratio = spread([a / b for a, b, _ in times])
    print(
        f"soft-DTW of {size} pairs of {steps} steps: ours / tslearn's {ratio} (values {ours:.4f} and {other:.4f})"
    )


def main() -> None:
    size, steps, width, repeats = (
        int(x) for x in [*sys.argv[1:], *("1024", "12", "64", "7")[len(sys.argv) - 1 :]]
    )
    torch.set_num_threads(1)
    scav(size, steps, width, repeats)
    warping(size, steps, width, repeats)


if __name__ == "__main__":
    main()
