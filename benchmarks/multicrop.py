"""Multi-crop views and steps of SwAV, BYOL and cross-entropy, beside lightly's transform and plain loops.

    pip install lightly
    python benchmarks/multicrop.py [BATCH] [REPEATS] [THREADS]

Both sides have the same tower, heads, views and optimiser, and take turns on the same machine; the plain loops have
lightly's losses, and that of classes torch's, which is what timm trains with. Prints pictures a second
in times of lightly's, and the time of a step in times of the plain loop's: lowest, median, highest.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.transforms.v2.functional import to_pil_image

from counterpoint.data import views
from counterpoint.methods.arm import Arm
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.networks.towers.parts.pixels import Square
from counterpoint.recipes import load, override
from counterpoint.training.loop import forward
from counterpoint.types import Batch, StepInfo, Target

SOURCE, SIZE, LARGE, SMALL = 72, 48, 2, 4
LATE = StepInfo(1000, 2000)
CLASSES = Target("group", tuple(f"class {n}" for n in range(100)))


def ratios(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> str:
    """Return how many times as long ours takes, in turns."""
    found = []
    for _ in range(repeats + 1):
        seconds = []
        for call in (ours, theirs):
            began = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - began)
        found.append(seconds[0] / seconds[1])
    warm = sorted(found[1:])
    return f"{warm[0]:.2f}, {statistics.median(warm):.2f}, {warm[-1]:.2f}"


def crops(batch: int, repeats: int) -> str:
    pictures = torch.randint(0, 256, (batch, 3, SOURCE, SOURCE), dtype=torch.uint8)
    keys = [views.key(0, 0, np.arange(batch), f"image.{n}") for n in range(LARGE + SMALL)]
    transform: Any = import_module("lightly.transforms").SwaVTransform((SIZE, SIZE // 2), (LARGE, SMALL))
    # Theirs takes pictures as they come from files.
    files = [to_pil_image(picture) for picture in pictures]

    def ours() -> None:
        for n, key in enumerate(keys):
            large = n < LARGE
            views.image("swav" if large else "swav_small")(
                pictures, key, Square(SIZE if large else SIZE // 2)
            )

    # The inverse: pictures a second.
    return ratios(lambda: [transform(file) for file in files], ours, repeats)


def built(arm: str) -> tuple[TowerMethod, torch.optim.Optimizer]:
    recipe = override(load("cpu"), {"towers.image_size": SIZE})
    target = None if Arm.parse(arm).slug != "cross-entropy" else CLASSES
    method = Arm.parse(arm).build(recipe, {}, 0, columns={"image": "image"}, target=target).train()
    return method, torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=1e-3)


def stepped(loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def steps(arm: str, plain: Callable[[Any, Batch], torch.Tensor], batch: int, repeats: int) -> str:
    """Return how long a step of a method takes, in times of a plain loop's with the same modules."""
    (method, optimizer), (other, theirs) = built(arm), built(arm)
    sides = {name: round(SIZE * view.size) for name, view in method.views.items()}
    given = Batch(
        torch.arange(batch),
        {name: torch.rand(batch, 3, side, side) for name, side in sides.items()},
        labels={CLASSES.label: torch.arange(batch) % len(CLASSES.classes)},
    )

    def ours() -> None:
        losses, z = forward(method, given, LATE)
        stepped(torch.stack(list(losses.values())).sum(), optimizer)
        with torch.no_grad():
            method.after_step({name: it.detach() for name, it in z.items()}, given, LATE)

    return ratios(ours, lambda: stepped(plain(other, given), theirs), repeats)


def swav(method: Any, batch: Batch) -> torch.Tensor:
    names = list(method.views)
    groups = (names[:LARGE], names[LARGE:])
    features = [method.image_tower(torch.cat([batch[name] for name in group])) for group in groups]
    z = F.normalize(method.projection(torch.cat(features)), dim=-1)
    with torch.no_grad():
        method.prototypes.weight.copy_(F.normalize(method.prototypes.weight, dim=-1))
    scores = torch.split(z @ method.prototypes.weight.T, len(batch))
    loss: torch.Tensor = import_module("lightly.loss").SwaVLoss()(list(scores[:LARGE]), list(scores[LARGE:]))
    return loss.squeeze()


def byol(method: Any, batch: Batch) -> torch.Tensor:
    online = torch.nn.Sequential(method.image_tower, method.projection)
    import_module("lightly.models.utils").update_momentum(online, method.momentum.module, m=0.99)
    distance = import_module("lightly.loss").NegativeCosineSimilarity()
    p = [method.predictor(online(batch[name])) for name in method.views]
    with torch.no_grad():
        targets = [method.momentum.module(batch[name]) for name in method.views]
    loss: torch.Tensor = (distance(p[0], targets[1]) + distance(p[1], targets[0])) / 2
    return loss


def cross_entropy(method: Any, batch: Batch) -> torch.Tensor:
    (column,), (name,) = method.columns, method.views
    logits = F.linear(method.tower(column)(batch[name]), method.head.weight, method.head.bias)
    return F.cross_entropy(logits, batch.labels[CLASSES.label])


def main(batch: int = 256, repeats: int = 7, threads: int = 2) -> None:
    torch.set_num_threads(threads)
    print(f"batches of {batch}, {LARGE} × {SIZE} px and {SMALL} × {SIZE // 2} px, {threads} thread(s)")
    print(f"multi-crop, pictures a second in times of lightly's: {crops(batch, repeats)}")
    print(f"a step of swav, in times of a plain loop's: {steps(f'swav,crops={SMALL}', swav, batch, repeats)}")
    print(f"a step of byol, in times of a plain loop's: {steps('byol', byol, batch, repeats)}")
    plain = steps("cross-entropy", cross_entropy, batch, repeats)
    print(f"a step of cross-entropy, in times of a plain loop's: {plain}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
