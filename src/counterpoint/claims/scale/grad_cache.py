"""Gradient caching: exact gradients from small parts of a batch, where plain accumulation is another loss."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...evaluation import create
from ...losses import InfoNCELoss
from ...methods.base import Method
from ...networks.init import initialise
from ...training.step import caching
from ...types import Batch, Clock, Embeddings
from ..benches.data.emoji import SmallTwoTower, emoji_inputs, pairs_of
from ..lab import Arrays, Lab, Result, above, below, decides, exact

CLAIM = (
    "Gradients from cached features equal those of the whole batch whatever the size of the parts, and plain "
    "accumulation over parts trains a worse model."
)
REFUTED = "a mismatch beyond rounding, or no difference between caching and accumulation"


STEPS, BATCH, CHUNK = 300, 128, 8
CHUNKS = (1, 3, 8, 32)


class Bags(Method):
    """Two small networks with dropout on the pixels and the words of emoji."""

    def __init__(self, seed: int, dropout: float) -> None:
        super().__init__()
        self.model = SmallTwoTower(seed)
        self.drop = nn.Dropout(dropout)
        self.objective = InfoNCELoss()
        self.views = {}
        initialise(self, seed)

    def encode(self, batch: Batch) -> Embeddings:
        return {
            "image": self.drop(self.model.image(batch["image"])),
            "text": self.drop(self.model.text(batch["text"])),
        }

    def losses(self, z: Embeddings, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        return {
            "clip": self.objective(F.normalize(z["image"], dim=-1), F.normalize(z["text"], dim=-1)),
        }

    def embed(self, modality: str, inputs: object, head: str = "default") -> Tensor:
        return self.model.embed(modality, inputs, head)


def batch_of(n: int, seed: int) -> Batch:
    data, pictures, captions = emoji_inputs()
    x, y = pairs_of(pictures, captions, data.splits.train, n)(np.random.default_rng(seed))
    return Batch(torch.arange(len(x)), {"image": x, "text": y})


def gradient(method: Method) -> Tensor:
    return torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])


def whole(method: Bags, batch: Batch, chunk: int) -> Tensor:
    """Compute the gradient with every graph kept, encoded in the same parts so that dropout is the same."""
    encoded = [method.encode(part) for part in batch.split(chunk)]
    z = {name: torch.cat([part[name] for part in encoded]) for name in encoded[0]}
    method.zero_grad(set_to_none=True)
    torch.autograd.backward(method.losses(z, batch, Clock(0, 1))["clip"])
    return gradient(method)


def cached(method: Bags, batch: Batch, chunk: int) -> Tensor:
    method.zero_grad(set_to_none=True)
    caching.backward(method, batch, Clock(0, 1), chunk)
    return gradient(method)


def accumulated(method: Bags, batch: Batch, chunk: int) -> Tensor:
    """Compute the mean gradient of the parts' own losses: each part sees only its own negatives."""
    method.zero_grad(set_to_none=True)
    parts = list(batch.split(chunk))
    for part in parts:
        loss = method.losses(method.encode(part), part, Clock(0, 1))["clip"]
        torch.autograd.backward(loss / len(parts))
    return gradient(method)


def error(chunk: int) -> float:
    """Return the largest relative error of the cached gradient, in float64 with dropout."""
    method = Bags(0, dropout=0.1).double().train()
    batch = batch_of(32, 0)
    batch = Batch(batch.ids, {name: view.double() for name, view in batch.views.items()})
    torch.manual_seed(1)
    expected = whole(method, batch, chunk)
    torch.manual_seed(1)
    return float((cached(method, batch, chunk) - expected).norm() / expected.norm())


def trained(way: str, seed: int, steps: int) -> Arrays:
    """Train by equal steps on equal batches; return R@1 outcomes on held-out compositions."""
    method = Bags(seed, dropout=0.0).train()
    optimizer = torch.optim.Adam(method.parameters(), 1e-3)
    step = {"cached": cached, "accumulated": accumulated}[way]
    cosines = []
    for k in range(steps):
        batch = batch_of(BATCH, seed * steps + k)
        if k % 50 == 0:
            other = {"cached": accumulated, "accumulated": cached}[way](method, batch, CHUNK)
            own = step(method, batch, CHUNK)
            cosines.append(float(F.cosine_similarity(own, other, dim=0)))
        else:
            step(method, batch, CHUNK)
        optimizer.step()
        method.objective.commit()
    data, _, _ = emoji_inputs()
    scores = create("retrieval")(method.model.eval(), data, data.splits.test["compositions"])
    return {"test": scores.examples["i2t_R@1"].to_numpy(), "cosines": np.array(cosines)}


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.grid(trained, {"way": ("cached", "accumulated")}, steps=STEPS)
    found = runs.scores("test", "retrieval i2t_R@1 on held-out compositions")
    cosine = runs.scores("cosines", "mean over the run", by_seed=np.mean)
    yield from decides(
        below(
            exact(max(error(chunk) for chunk in CHUNKS), "largest relative error"),
            1e-12,
            name="1: cached gradient against the whole batch's, dropout on, float64",
        ),
        below(
            cosine["cached"],
            1.0,
            name=f"2: cosine of the accumulated gradient (parts of {CHUNK}) with the whole batch's",
        ),
        above(
            found["cached"] - found["accumulated"],
            name="2: R@1 with caching − R@1 with accumulation, equal steps",
        ),
    )
    lab.note(
        "Two-layer networks on 16 × 16 pixels of the emoji and hashed words of their names; Adam at 0.001,",
        f"{STEPS} steps of {BATCH} pairs in parts of {CHUNK}. That memory is flat in the batch is predicted and",
        "tested (tests/training/test_caching.py) and measured by benchmarks/large_batch.py, not here.",
    )
