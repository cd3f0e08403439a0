"""Cross-entropy over a bank of many classes: in tiles beside PyTorch's, of scores that exist at once.

    python benchmarks/class_bank.py --batch 1024 --classes 100000 --d 256

Both take gradients of the examples and of the bank. Scores have a standard deviation of 1, as at the start of training,
unless stated: with 16 many exponentials are below what float32 holds with all digits, for which processors are slow.
Printed are the median of the paired ratios of time with the middle half of them, and the peaks of extra memory.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from _timing import alternate, peak, spread
from torch import Tensor

from counterpoint.losses import CrossEntropyLoss


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--classes", type=int, default=100_000)
    parser.add_argument("--d", type=int, default=256)
    parser.add_argument("--scale", type=float, default=1.0, help="the standard deviation of scores")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    g = torch.Generator().manual_seed(0)
    size = (options.scale / options.d**0.5) ** 0.5
    inputs = [
        (torch.randn(n, options.d, generator=g) * size).requires_grad_()
        for n in (options.batch, options.classes)
    ]
    labels = torch.randint(0, options.classes, (options.batch,), generator=g)
    loss = CrossEntropyLoss().evaluated("tiled")

    def tiled(z: Tensor, bank: Tensor) -> Tensor:
        return loss(z, bank, labels=labels)

    def dense(z: Tensor, bank: Tensor) -> Tensor:
        return F.cross_entropy(z @ bank.T, labels)

    seconds = alternate(tiled, dense, inputs, options.repeats)
    ours, theirs = (peak(function, inputs) for function in (tiled, dense))
    # The gradient of the bank is as large as the bank, whoever takes it.
    gradients = sum(t.numel() * 4 for t in inputs) / 2**20
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, {vars(options)}")
    print(f"time {spread([a / b for a, b, _ in seconds])}")
    print(
        f"memory {ours:.0f} / {theirs:.0f} MiB = {ours / theirs:.1%}, of which {gradients:.0f} are gradients"
    )


if __name__ == "__main__":
    main()
