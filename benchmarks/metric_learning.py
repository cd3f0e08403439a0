"""Pair losses of metric learning beside those of pytorch-metric-learning: time, and peak memory.

    python benchmarks/metric_learning.py 1024 4096 --d 128

The two run alternately in one process, forward and backward, with B examples in B / 4 classes, and as many proxies
where there are some. Printed are the median of the paired ratios of time with the middle half of them, and the peaks.
"""

from __future__ import annotations

import argparse

import torch
from _timing import Comparison, compare, embeddings
from pytorch_metric_learning import distances
from pytorch_metric_learning import losses as theirs
from torch import Tensor, nn

from counterpoint import losses as ours

OTHERS = {
    "contrastive": lambda: theirs.ContrastiveLoss(1, 0.5, distance=distances.CosineSimilarity()),
    "multi-similarity": theirs.MultiSimilarityLoss,
    "circle": theirs.CircleLoss,
}


def of_pairs(name: str, n: int, d: int, repeats: int) -> Comparison:
    labels = torch.arange(n) % (n // 4)
    loss, other = ours.create(name), OTHERS[name]()
    return compare(lambda z: loss(z, labels=labels), lambda z: other(z, labels), embeddings(n, d, 1), repeats)


def of_proxies(n: int, d: int, repeats: int) -> Comparison:
    labels = torch.arange(n) % (n // 4)
    loss, other = ours.create("proxy-anchor"), theirs.ProxyAnchorLoss(n // 4, d)
    (z,), bank = embeddings(n, d, 1), other.proxies
    nn.init.normal_(bank)

    def proxies(z: Tensor, bank: Tensor) -> Tensor:
        value: Tensor = loss(z, bank, labels=labels)
        return value

    return compare(proxies, lambda z, bank: other(z, labels), (z, bank), repeats)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sizes", type=int, nargs="*", default=[1024, 4096], help="of the batch")
    parser.add_argument("--d", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, d = {options.d}")
    for n in options.sizes:
        for name in (*OTHERS, "proxy-anchor"):
            given = (n, options.d, options.repeats)
            found = of_proxies(*given) if name == "proxy-anchor" else of_pairs(name, *given)
            mine, other = found.memory
            print(f"{name:16s} B {n:5d}: time {found.time}, memory {mine:.0f} / {other:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
