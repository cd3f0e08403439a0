"""Handwritten digits under shifts, noise and blanks: where claims about views of pictures take seconds a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ....diagnostics import alignment, uniformity
from ....networks import initialise
from ....networks.heads import mlp
from ....pairwise.loss import Loss
from ...lab import Arrays
from ..descent import minimise
from .emoji import jitter

TRAINED, LABELLED = 1200, 100
ACCURACY = f"accuracy of a probe on {LABELLED} labels, digits"
"""Metric of `probe`'s ``correct``."""
UNIFORMITY = "uniformity, t = 2, held-out digits (lower is better)"
"""Metric of `probe`'s ``uniformity``."""

Step = Callable[[Sequence[Tensor], Int[np.ndarray, " B"]], Tensor]
"""The loss of the unit-norm views of a batch, and of the rows it is made of."""
Look = Callable[[Float[Tensor, "n 64"], np.random.Generator], Float[Tensor, "n 64"]]
"""From digits to views of them."""


@lru_cache(maxsize=1)
def digits() -> tuple[Float[Tensor, "N 64"], Int[np.ndarray, " N"]]:
    """Load the 1,797 handwritten digits of scikit-learn, 8 × 8 pixels in [0, 1], and what they are."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.from_numpy(found.data).float() / 16, found.target


def split() -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]:
    """Return the rows that train and those that test, the same in every claim."""
    order = np.random.default_rng(0).permutation(len(digits()[0]))
    return order[:TRAINED], order[TRAINED:]


def view(x: Float[Tensor, "n 64"], rng: np.random.Generator) -> Float[Tensor, "n 64"]:
    """Shift pictures by up to a pixel a side, with noise and a fifth of the pixels blank."""
    return jitter(x.reshape(-1, 1, 8, 8), rng, reach=1).flatten(1)


def encoder(seed: int, width: int = 32) -> nn.Module:
    """Build a network with one hidden layer of 128, at the start of a seed."""
    network = mlp(64, 128, width, layers=2, norm=False)
    initialise(network, seed)
    return network


def train(
    network: nn.Module,
    loss: Loss,
    *,
    steps: int,
    batch: int,
    lr: float,
    seed: int,
    views: int = 2,
    sgd: bool = False,
    step: Step | None = None,
    look: Look = view,
) -> list[float]:
    """Train a network with a loss on views of the training digits.

    Args:
        network: the encoder; its outputs are brought to unit norm.
        loss: trained along, and committed after every step.
        steps, batch, lr, seed: of the run; Adam unless ``sgd`` (with momentum 0.9).
        views: how many views of each digit.
        step: how the loss is called; with the views, unless given.
        look: what makes a view.

    Returns:
        The loss of every step.
    """
    x, _ = digits()
    rows = split()[0]

    def descend(rng: np.random.Generator) -> Tensor:
        chosen = rng.choice(rows, min(batch, len(rows)), replace=False)
        pictures = x[torch.from_numpy(chosen)]
        z = [F.normalize(network(look(pictures, rng)), dim=-1) for _ in range(views)]
        return loss(*z) if step is None else step(z, chosen)

    parameters = [*network.parameters(), *loss.parameters()]
    return minimise(descend, parameters, steps=steps, lr=lr, seed=seed, sgd=sgd, after=loss.commit)


@torch.no_grad()
def probe(network: nn.Module, seed: int, labelled: int = LABELLED, draws: int = 1) -> Arrays:
    """Measure what linear probes on a few labels get right of the test digits, and the geometry of the digits' views.

    Args:
        network: the encoder.
        seed: of the labels and the views.
        labelled: digits whose label a probe learns.
        draws: probes, each on labels of its own: their mean depends less on which digits have one.

    Returns:
        ``correct`` (the share of probes that are right, per test digit), ``alignment`` and ``uniformity`` of two views
        of them, and ``validation``: the share that is right of the training digits whose labels a probe has not seen.
    """
    from sklearn.linear_model import LogisticRegression

    x, classes = digits()
    train_rows, test_rows = split()
    z = F.normalize(network(x), dim=-1)
    # On the unit sphere as it is: scaling each feature to [0, 1] would blow a collapsed representation up again.
    right, spared = [], []
    labels = np.random.default_rng([seed, 1])
    for _ in range(draws):
        few = labels.choice(train_rows, labelled, replace=False)
        classifier = LogisticRegression(C=10.0, max_iter=1000).fit(z[few].numpy(), classes[few])
        right.append(classifier.predict(z[test_rows].numpy()) == classes[test_rows])
        spare = np.setdiff1d(train_rows, few)
        spared.append(classifier.score(z[spare].numpy(), classes[spare]))
    rng = np.random.default_rng([seed, 2])
    two = [F.normalize(network(view(x[test_rows], rng)), dim=-1) for _ in range(2)]
    return {
        "correct": np.mean(right, 0, dtype=float),
        "alignment": np.array(alignment(two[0], two[1])),
        "uniformity": np.array(uniformity(two[0])),
        "validation": np.array(np.mean(spared)),
    }
