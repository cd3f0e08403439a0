"""Teaching matters: how supervision shapes the attention and the layers of one and the same transformer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...diagnostics.capture import captured
from ...diagnostics.internals.attention import aligned, distance, offsets, spatial
from ...diagnostics.internals.cka import CKA
from ...evaluation.classification.classifiers import knn
from ...losses import InfoNCELoss, NTXentLoss
from ...networks.heads import Linear, mlp
from ...networks.init import initialise
from ...networks.towers.transformer import VisionTransformer
from ..benches.data.emoji import BUCKETS, emoji_inputs, view
from ..benches.data.emoji_views import changed, emoji
from ..benches.descent import minimise
from ..benches.patches import (
    DEPTH,
    LABEL,
    LEAST,
    LR,
    held_out,
    squared,
    train_on_labels,
    transformer,
)
from ..lab import Arrays, Lab, Result, Score, above, below, beside, decides, exact, per_seed

CLAIM = (
    "Transformers taught by contrast, with names or with views, are more alike in their last block than "
    "either is to one taught by labels; one taught by masked pictures has its best features for nearest "
    "neighbours in an earlier block than one taught by labels."
)
REFUTED = (
    "contrastive models are no more alike than either is to the model of labels, the best block of the masked "
    "model is as late as that of the labels' model, or the measures miss a known distance or direction"
)


STEPS, BATCH = 200, 32
MASKED = 0.6
SUPERVISIONS = ("views", "labels", "none", "names", "masked")
"""Two views, by NT-Xent; classes; no training; names, by InfoNCE; masked patches, whose pixels are to be predicted."""
LOOKED_AT, COMPARED = 256, 1024
"""Test pictures, and training pictures among which their nearest are looked for."""


def taught(supervision: str, seed: int, steps: int, looked_at: int, compared: int) -> Arrays:
    """Train one transformer, and look inside.

    Returns:
        ``layers``: states of every block, averaged over patches, of test pictures; ``correct``: by block,
        whether the nearest training pictures name the group; ``steps aside`` and ``peak``: of each head;
        ``distance``: by block.
    """
    tower = transformer(seed)
    if supervision == "labels":
        train_on_labels(tower, steps=steps, batch=BATCH, seed=seed)
    elif supervision != "none":
        _TEACH[supervision](tower, steps, seed)
    data = emoji(LABEL, LEAST)
    x, classes = data.of(data.train)
    pictures, test_classes = held_out(looked_at)
    chosen = np.arange(0, len(x), max(len(x) // compared, 1))
    train_layers, test_layers = _layers(tower, squared(x[chosen])), _layers(tower, pictures)
    looks = [captured(tower, part) for part in torch.split(pictures, 64)]
    grid = looks[0].grid or (0, 0)
    patches = [torch.cat([spatial(look.attention[block], 0) for look in looks]) for block in range(DEPTH)]
    aside = [offsets(aligned(p, grid)) for p in patches]
    return {
        "layers": test_layers.numpy(),
        "correct": np.stack(
            [
                knn(a.numpy(), classes[chosen], b.numpy(), int(classes.max()) + 1) == test_classes
                for a, b in zip(train_layers, test_layers, strict=True)
            ]
        ).astype(float),
        "steps aside": torch.cat([o.steps for o in aside]).numpy(),
        "peak": torch.cat([o.peak for o in aside]).numpy(),
        "distance": torch.stack([distance(p, grid).mean() for p in patches]).numpy(),
    }


def _layers(tower: VisionTransformer, pictures: Tensor) -> Tensor:
    """Return ``(blocks, n, width)``: the state after each block, averaged over patches."""
    parts = []
    for part in torch.split(pictures, 128):
        look = captured(tower, part)
        parts.append(
            torch.stack(
                [s.mean(1) for step, s in zip(look.steps, look.states, strict=True) if step.kind == "mlp"]
            )
        )
    return torch.cat(parts, 1)


def _names(tower: VisionTransformer, steps: int, seed: int) -> None:
    data, pictures, words = emoji_inputs()
    text, head = mlp(BUCKETS, 128, 32, layers=2, norm=False), Linear(tower.width, 32)
    initialise(text, seed, "text")
    initialise(head, seed, "head")
    objective = InfoNCELoss(0.07)

    def loss(rng: np.random.Generator) -> Tensor:
        rows = torch.from_numpy(rng.choice(data.splits.train, BATCH, replace=False))
        images = F.normalize(head(tower(squared(view(pictures[rows], rng)))), dim=-1)
        return objective(images, F.normalize(text(words[rows]), dim=-1))

    _train(loss, steps, seed, tower, text, head)


def _views(tower: VisionTransformer, steps: int, seed: int) -> None:
    data, head, objective = (
        emoji(LABEL, LEAST),
        mlp(tower.width, 64, 32, layers=2, norm=False),
        NTXentLoss(0.1),
    )
    initialise(head, seed, "head")
    x, _ = data.of(data.train)

    def loss(rng: np.random.Generator) -> Tensor:
        rows = torch.from_numpy(rng.choice(len(x), BATCH, replace=False))
        a, b = (F.normalize(head(tower(squared(changed(x[rows], rng)))), dim=-1) for _ in range(2))
        return objective(a, b)

    _train(loss, steps, seed, tower, head)


def _masked(tower: VisionTransformer, steps: int, seed: int) -> None:
    """Train a tower by pictures with patches replaced by a learned one, to predict their pixels."""
    data, head = emoji(LABEL, LEAST), Linear(tower.width, 3 * tower.patch**2, bias=True)
    initialise(head, seed, "head")
    blank = nn.Parameter(torch.zeros(tower.width))
    x, _ = data.of(data.train)

    def loss(rng: np.random.Generator) -> Tensor:
        rows = torch.from_numpy(rng.choice(len(x), BATCH, replace=False))
        pictures = squared(changed(x[rows], rng, ("crop", "flip")))
        pixels = F.pixel_unshuffle(tower.normalise(pictures), tower.patch).flatten(2).mT
        hidden = torch.from_numpy(rng.random(pixels.shape[:2]) < MASKED)
        states = torch.where(hidden[..., None], blank, tower.patch_embedding(pixels))
        states = states + tower.position_embedding.weight
        for block in tower.blocks:
            states = block(states)
        return F.mse_loss(head(tower.norm(states))[hidden], pixels[hidden])

    _train(loss, steps, seed, tower, head, blank)


_TEACH: Mapping[str, Callable[[VisionTransformer, int, int], None]] = {
    "names": _names,
    "views": _views,
    "masked": _masked,
}


def _train(
    loss: Callable[[np.random.Generator], Tensor], steps: int, seed: int, *parts: nn.Module | nn.Parameter
) -> None:
    parameters = [
        p for part in parts for p in ([part] if isinstance(part, nn.Parameter) else part.parameters())
    ]
    minimise(loss, parameters, steps=steps, lr=LR, seed=seed)


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.grid(
        taught, {"supervision": SUPERVISIONS}, steps=STEPS, looked_at=LOOKED_AT, compared=COMPARED
    )
    block = runs.scores("correct", "blocks", by_seed=best_block)

    def alike(a: str, b: str) -> Score:
        """Return CKA of the last blocks of two models of one seed."""
        layers = ((runs[a][seed]["layers"][-1], runs[b][seed]["layers"][-1]) for seed in runs[a])
        values = [CKA().update(*([torch.from_numpy(z)] for z in both)).value() for both in layers]
        return per_seed(f"{a} with {b}", "CKA", [float(value) for value in values])

    aside = {name: [heads_aside(run) for run in runs[name].values()] for name in SUPERVISIONS}

    def heads(name: str) -> Score:
        return per_seed(name, "heads", aside[name])

    yield from decides(
        below(
            exact(distance_error(), "largest error"),
            1e-3,
            name="A: mean distance of uniform attention on 7 × 7 and 14 × 14 against 0.602 and 0.560",
        ),
        below(
            exact(direction_error(), "largest error, patches"),
            1e-4,
            name="A: directions of attention that is shifted by a known step",
        ),
        above(
            alike("names", "views") - (alike("names", "labels") + alike("views", "labels")) / 2,
            name="1: CKA of names with views − mean CKA of either with labels, last block",
            metric="CKA",
        ),
        below(
            block["masked"] - block["labels"], name="2: best block for nearest neighbours, masked − labels"
        ),
    )
    yield from beside(
        *(
            above(heads(name) - heads("none"), name=f"3, exploratory: offset local heads, {name} − untrained")
            for name in SUPERVISIONS
            if name != "none"
        )
    )
    lab.note(
        f"One transformer (four blocks, 8 × 8 patches) under four supervisions, {STEPS} steps at batch {BATCH} each:",
        "groups of emoji; names (InfoNCE with a bag of words); two views (NT-Xent); pixels of masked patches. Test",
        "pictures are of concepts that training has nothing of. DINO, which the paper has too, is left out.",
        "Accuracy of nearest neighbours by block: "
        + "; ".join(
            f"{name} {' '.join(f'{v:.2f}' for v in block.values(name).mean((0, 2)))}" for name in SUPERVISIONS
        )
        + ".",
        "Offset local heads of 16: "
        + "; ".join(f"{name} {np.mean(counts):.1f}" for name, counts in aside.items())
        + ".",
    )


def best_block(correct: Float[np.ndarray, "blocks n"]) -> float:
    """Return the block, from 1, of best accuracy; the first of equals."""
    return float(correct.mean(1).argmax() + 1)


def heads_aside(run: Arrays) -> float:
    """Count heads that look more than half a patch aside with a compact peak."""
    return float(((run["steps aside"] > 0.5) & (run["peak"] > 0.5)).sum())


def distance_error() -> float:
    """Compare the mean distance of attention that is the same everywhere with its value on two grids (A)."""
    errors = []
    for k, expected in ((7, 0.602), (14, 0.560)):
        uniform = torch.full((1, 1, k * k, k * k), 1 / k**2)
        errors.append(abs(float(distance(uniform, (k, k))) - expected))
    return max(errors)


def direction_error() -> float:
    """Compare the directions of attention that is shifted by some steps with these steps (A)."""
    errors = []
    for down, right in ((0, 1), (-2, 0), (3, -1)):
        patches = torch.zeros(1, 1, 49, 49)
        for query in range(49):
            i, j = query // 7 + down, query % 7 + right
            if 0 <= i < 7 and 0 <= j < 7:
                patches[0, 0, query, 7 * i + j] = 1
        centre = 6 * offsets(aligned(patches, (7, 7))).centre[0]
        errors.append(float((centre - torch.tensor([right, down])).abs().max()))
    return max(errors)
