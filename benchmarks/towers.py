"""The pairs a second that the built-in towers train: forward, symmetric softmax loss and backward.

Run it on a machine that does nothing else: ``python benchmarks/towers.py [THREADS ...]``.
"""

from __future__ import annotations

import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Sequence

import emoji
import torch
import torch.nn.functional as F

from counterpoint.networks import ImageTower, TextTower, build_towers, heads
from counterpoint.recipes.schema import Towers

BATCH, ROUNDS = 256, 9


def captions() -> list[str]:
    """English names of emoji: the captions of the demo."""
    return [data["en"].strip(":").replace("_", " ") for data in emoji.EMOJI_DATA.values()]


def seconds(image: ImageTower, text: TextTower, names: Sequence[str]) -> float:
    """The time of one training step without the optimiser."""
    pictures = torch.rand(BATCH, 3, image.size, image.size)
    tokens = text.tokenizer(names)
    start = time.perf_counter()
    x = F.normalize(heads_of[image](image(pictures)), dim=-1)
    y = F.normalize(heads_of[text](text(tokens)), dim=-1)
    logits, target = 14.0 * x @ y.T, torch.arange(BATCH)
    loss = F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)
    torch.autograd.backward(loss)
    return time.perf_counter() - start


heads_of: dict[ImageTower | TextTower, heads.Linear] = {}


def main(threads: Sequence[int]) -> None:
    print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print(f"batch {BATCH}, median of {ROUNDS} rounds, towers in turn; load before: {os.getloadavg()[0]:.2f}")
    names = captions()
    random.Random(0).shuffle(names)
    pairs = {}
    for kind in ("cnn", "vit"):
        image, text = pairs[kind] = build_towers(Towers(image=kind), {"text": names}, seed=0).values()
        heads_of[image], heads_of[text] = heads.Linear(image.width, 256), heads.Linear(text.width, 256)
    for count in threads:
        torch.set_num_threads(count)
        times: dict[str, list[float]] = {kind: [] for kind in pairs}
        for step in range(ROUNDS + 2):
            some = names[step * BATCH : (step + 1) * BATCH]
            for kind, towers in pairs.items():
                times[kind].append(seconds(*towers, some))
        for kind, (image, text) in pairs.items():
            rate = BATCH / statistics.median(times[kind][2:])
            size = sum(p.numel() for tower in (image, text) for p in tower.parameters()) / 1e6
            what = f"{kind} {image.size} px + transformer, {size:.1f} M weights, {count} threads"
            print(f"{what}: {rate:,.0f} pairs/s")


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or sorted({1, os.cpu_count() or 1}))
