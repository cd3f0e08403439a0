"""Our losses beside the same losses of other libraries: equal values, then time and memory.

    pip install lightly pytorch-metric-learning
    python benchmarks/peers.py 2048 8192

Peers that are not installed are left out, and so are batches that they cannot hold; both are said.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from _timing import compare, embeddings
from torch import Tensor

from counterpoint.losses import DCLLoss, NTXentLoss, SimCSELoss, SupConLoss
from counterpoint.pairwise import Loss

Peer = Callable[..., Tensor]


def lightly_ntxent() -> tuple[Loss, Peer, float]:
    return NTXentLoss(0.1), import_module("lightly.loss").NTXentLoss(temperature=0.1), 1.0


def lightly_dcl() -> tuple[Loss, Peer, float]:
    # Theirs is the mean of the two one-way losses, ours (as the paper) the sum.
    return DCLLoss(0.1), import_module("lightly.loss").DCLLoss(temperature=0.1), 2.0


def metric_learning_ntxent() -> tuple[Loss, Peer, float]:
    loss: Any = import_module("pytorch_metric_learning.losses").NTXentLoss(temperature=0.1)

    def peer(x: Tensor, y: Tensor) -> Tensor:
        value: Tensor = loss(torch.cat([x, y]), torch.arange(len(x)).repeat(2))
        return value

    return NTXentLoss(0.1), peer, 1.0


def metric_learning_supcon() -> tuple[Loss, Peer, float]:
    loss: Any = import_module("pytorch_metric_learning.losses").SupConLoss(temperature=0.1)

    def peer(x: Tensor, y: Tensor) -> Tensor:
        value: Tensor = loss(torch.cat([x, y]), torch.arange(len(x)).repeat(2))
        return value

    return SupConLoss(0.1), peer, 1.0


def sentence_transformers_cached() -> tuple[Loss, Peer, float]:
    """Return our loss, `CachedMultipleNegativesRankingLoss`, which goes backward by slices, and their ratio."""
    losses = import_module("sentence_transformers.sentence_transformer.losses")
    loss: Any = losses.CachedMultipleNegativesRankingLoss(
        torch.nn.Sequential(torch.nn.Identity()), scale=20, mini_batch_size=512
    )

    def peer(x: Tensor, y: Tensor) -> Tensor:
        slices = [list(view.split(loss.mini_batch_size)) for view in (x, y)]
        value: Tensor = loss.calculate_loss(slices, with_backward=torch.is_grad_enabled())
        return value.detach().requires_grad_()

    return SimCSELoss(0.05), peer, 1.0


def dense_one_way() -> tuple[Loss, Peer, float]:
    """The in-batch negatives loss as most training scripts write it."""

    def peer(x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(20 * x @ y.T, torch.arange(len(x)))

    return SimCSELoss(0.05), peer, 1.0


PEERS = {
    "NT-Xent / lightly": lightly_ntxent,
    "DCL / lightly": lightly_dcl,
    "NT-Xent / pytorch-metric-learning": metric_learning_ntxent,
    "SupCon / pytorch-metric-learning": metric_learning_supcon,
    "SimCSE / sentence-transformers cached": sentence_transformers_cached,
    "SimCSE / dense": dense_one_way,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sizes", type=int, nargs="*", default=[1024], help="batch sizes B")
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, d = {options.d}")
    for name, make in PEERS.items():
        try:
            ours, theirs, factor = make()
        except ModuleNotFoundError as error:
            print(f"{name}: {error.name} is not installed")
            continue
        views = embeddings(64, options.d)
        torch.testing.assert_close(ours(*views), factor * theirs(*views), rtol=1e-4, atol=1e-4)
        for n in options.sizes:
            try:
                result = compare(ours.evaluated("tiled"), theirs, embeddings(n, options.d), options.repeats)
            except RuntimeError as error:
                print(f"B {n:6d} {name:48s} {str(error).splitlines()[0].rpartition('. ')[0]}")
                continue
            print(f"B {n:6d} {name:48s} time {result.time}  memory {result.share:.1%}", flush=True)


if __name__ == "__main__":
    main()
