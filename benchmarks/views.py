"""Images per second of the batched views, beside torchvision's transforms on one picture at a time.

python benchmarks/views.py [threads]

Only the ratio of one run means something: both are timed on the same machine, one after the other.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torchvision.transforms import InterpolationMode, v2

from counterpoint.data import views

BATCH, SOURCE, SIZE = 256, 72, 48


def torchvision_chain(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The same view as torchvision's users write it, for one uint8 picture."""
    bicubic = InterpolationMode.BICUBIC
    if name == "plain":
        return v2.Compose(
            [v2.Resize(SIZE, bicubic), v2.CenterCrop(SIZE), v2.ToDtype(torch.float32, scale=True)]
        )
    if name == "weak":
        crop = v2.RandomResizedCrop(SIZE, scale=(0.5, 1.0), interpolation=bicubic)
        return v2.Compose([crop, v2.ToDtype(torch.float32, scale=True)])
    return v2.Compose(
        [
            v2.RandomResizedCrop(SIZE, scale=(0.08, 1.0), interpolation=bicubic),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(5, (0.1, 2.0))], p=0.5),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )


def seconds(call: Callable[[], object], repeats: int = 10) -> float:
    """The median of some timed calls after a warm-up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main(threads: int) -> None:
    torch.set_num_threads(threads)
    pictures = torch.randint(0, 256, (BATCH, 3, SOURCE, SOURCE), dtype=torch.uint8)
    keys = views.key(0, 0, np.arange(BATCH), "image")
    print(f"{BATCH} pictures, {SOURCE} -> {SIZE} px, {threads} thread(s)")
    for name in ("plain", "weak", "strong"):
        view, chain = views.image(name), torchvision_chain(name)
        ours = BATCH / seconds(lambda view=view: view.apply(pictures, keys, SIZE))
        theirs = BATCH / seconds(lambda chain=chain: torch.stack([chain(p) for p in pictures]), repeats=3)
        print(f"{name:7s} {ours:8,.0f} images/s; torchvision {theirs:7,.0f}; {ours / theirs:4.1f} times")
    for name in ("convirt", "byol_2"):
        ours = BATCH / seconds(lambda name=name: views.image(name).apply(pictures, keys, SIZE))
        print(f"{name:7s} {ours:8,.0f} images/s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
