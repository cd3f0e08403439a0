"""Teaching matters: how supervision shapes the attention and the layers of one and the same transformer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...catalog.evidence import Result
from ...diagnostics.capture import captured
from ...diagnostics.internals.attention import aligned, distance, offsets, spatial
from ...diagnostics.internals.cka import CKA
from ...evaluation.classification.classifiers import knn
from ...losses import InfoNCELoss, NTXentLoss
from ...networks.heads import Linear, mlp
from ...networks.init import initialise
from ...networks.towers.transformer import VisionTransformer
from ..benches.descent import minimise
from ..benches.emoji import BUCKETS, emoji_inputs, view
from ..benches.emoji_views import changed, emoji
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
from ..lab import Arrays, Lab, measure

CLAIM = (
    "Transformers taught by contrast, with names or with views, are more alike in their last block than "
    "either is to one taught by labels; one taught by masked pictures has its best features for nearest "
    "neighbours in an earlier block than one taught by labels."
)
REFUTED = (
    "contrastive models are no more alike than either is to the model of labels, the best block of the masked "
    "model is as late as that of the labels' model, or the measures miss a known distance or direction"
)


SEEDS, STEPS, BATCH = 5, 200, 32
MASKED = 0.6
SUPERVISIONS = ("labels", "names", "views", "masked")
"""Classes; names, by InfoNCE; two views, by NT-Xent; masked patches, whose pixels are to be predicted."""
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


def run(lab: Lab) -> Sequence[Result]:
    seeds = lab.seeds(SEEDS)
    found = lab.cells(
        taught,
        {
            f"{supervision}-seed{seed}": {
                "supervision": supervision,
                "seed": seed,
                "steps": 2 if lab.quick else STEPS,
                "looked_at": 32 if lab.quick else LOOKED_AT,
                "compared": 64 if lab.quick else COMPARED,
            }
            for supervision in (*SUPERVISIONS, "none")
            for seed in seeds
        },
    )
    runs = {s: [found[f"{s}-seed{seed}"] for seed in seeds] for s in (*SUPERVISIONS, "none")}

    def last(a: str, b: str, k: int) -> float:
        """Return CKA of the last blocks of two models of one seed."""
        layers = (torch.from_numpy(runs[s][k]["layers"][-1]) for s in (a, b))
        return float(CKA().update(*([z] for z in layers)).value())

    def best(supervision: str) -> np.ndarray:
        """Return the block, from 1, of best accuracy; the first of equals."""
        return np.array([run["correct"].mean(1).argmax() + 1 for run in runs[supervision]], dtype=float)

    def aside(supervision: str) -> np.ndarray:
        """Count heads that look more than half a patch aside with a compact peak."""
        return np.array(
            [float(((run["steps aside"] > 0.5) & (run["peak"] > 0.5)).sum()) for run in runs[supervision]]
        )

    lab.note(
        f"One transformer (four blocks, 8 × 8 patches) under four supervisions, {STEPS} steps at batch {BATCH} each:",
        "groups of emoji; names (InfoNCE with a bag of words); two views (NT-Xent); pixels of masked patches. Test",
        "pictures are of concepts that training has nothing of. DINO, which the paper has too, is left out.",
        "Accuracy of nearest neighbours by block: "
        + "; ".join(f"{s} {_profile(runs[s])}" for s in (*SUPERVISIONS, "none"))
        + ".",
        "Offset local heads of 16: " + "; ".join(f"{s} {aside(s).mean():.1f}" for s in runs) + ".",
    )
    k = range(len(seeds))
    return [
        *_exact(),
        measure.over_seeds(
            "1: CKA of names with views − mean CKA of either with labels, last block",
            "CKA",
            [
                last("names", "views", i) - (last("names", "labels", i) + last("views", "labels", i)) / 2
                for i in k
            ],
            expected="above",
        ),
        measure.over_seeds(
            "2: best block for nearest neighbours, masked − labels",
            "blocks",
            best("masked") - best("labels"),
            expected="below",
        ),
        *(
            measure.over_seeds(
                f"3, exploratory: offset local heads, {supervision} − untrained",
                "heads",
                aside(supervision) - aside("none"),
                expected="above",
                decides=False,
            )
            for supervision in SUPERVISIONS
        ),
    ]


def _profile(runs: Sequence[Arrays]) -> str:
    return " ".join(f"{v:.2f}" for v in np.mean([run["correct"].mean(1) for run in runs], axis=0))


def _exact() -> list[Result]:
    """Check A exactly: shifts that are known, and attention that is the same everywhere."""
    worst = 0.0
    for k, expected in ((7, 0.602), (14, 0.560)):
        worst = max(
            worst, abs(float(distance(torch.full((1, 1, k * k, k * k), 1 / k**2), (k, k))) - expected)
        )
    wrong = 0.0
    for down, right in ((0, 1), (-2, 0), (3, -1)):
        patches = torch.zeros(1, 1, 49, 49)
        for query in range(49):
            i, j = query // 7 + down, query % 7 + right
            if 0 <= i < 7 and 0 <= j < 7:
                patches[0, 0, query, 7 * i + j] = 1
        centre = 6 * offsets(aligned(patches, (7, 7))).centre[0]
        wrong = max(wrong, float((centre - torch.tensor([right, down])).abs().max()))
    return [
        measure.exact(
            "A: mean distance of uniform attention on 7 × 7 and 14 × 14 against 0.602 and 0.560",
            "largest error",
            worst,
            expected="below",
            bound=1e-3,
        ),
        measure.exact(
            "A: directions of attention that is shifted by a known step",
            "largest error, patches",
            wrong,
            expected="below",
            bound=1e-4,
        ),
    ]
