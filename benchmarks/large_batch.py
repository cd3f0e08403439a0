"""One training step on a batch that no GPU of this size could hold at once: gradient caching and a tiled loss.

    python benchmarks/large_batch.py 32768 --microbatch 512

Distinct pairs are generated: squares, discs and crosses of every colour, size and place, and a caption of each.
Printed are the seconds of the step and the peak of the process.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor

from counterpoint.methods.arm import Arm
from counterpoint.recipes import load, override
from counterpoint.training.record.peak_memory import PeakMemory
from counterpoint.training.step import caching
from counterpoint.training.step.optim import optimizer_of
from counterpoint.types import Batch, StepInfo

SHAPES = ("square", "disc", "cross")


def pairs(n: int, size: int) -> tuple[Tensor, list[str]]:
    """Pictures ``(n, 3, size, size)`` in [0, 1] and what each shows."""
    g = torch.Generator().manual_seed(0)
    colours = torch.rand(n, 3, 1, 1, generator=g)
    shapes = torch.randint(0, len(SHAPES), (n,), generator=g)
    x, y, r = (torch.rand(n, 1, 1, generator=g) for _ in range(3))
    x, y, r = 0.25 + 0.5 * x, 0.25 + 0.5 * y, 0.08 + 0.16 * r
    grid = torch.linspace(0, 1, size)
    pictures = torch.empty(n, 3, size, size)
    for part in torch.arange(n).split(1024):
        dx, dy = (grid[None, None] - x[part]).abs(), (grid[None, :, None] - y[part]).abs()
        masks = torch.stack(
            [
                torch.maximum(dx, dy) < r[part],
                dx.square() + dy.square() < r[part].square(),
                (torch.minimum(dx, dy) < r[part] / 3) & (torch.maximum(dx, dy) < r[part]),
            ]
        )
        mask = masks[shapes[part], torch.arange(len(part))][:, None]
        pictures[part] = torch.where(mask, colours[part], 1.0)
    places = (100 * torch.stack([x, y, r], 1).flatten(1)).round().int().tolist()
    tints = (100 * colours.flatten(1)).round().int().tolist()
    captions = [
        f"a {SHAPES[shape]} of colour {c[0]} {c[1]} {c[2]} and size {p[2]} at {p[0]} {p[1]}"
        for shape, c, p in zip(shapes.tolist(), tints, places, strict=True)
    ]
    return pictures, captions


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("batch", type=int, nargs="?", default=2048)
    parser.add_argument("--microbatch", type=int, default=512)
    parser.add_argument("--method", default="clip")
    options = parser.parse_args()
    recipe = override(load("cpu"), {"batch_size": options.batch, "microbatch": options.microbatch})
    memory = PeakMemory()
    pictures, captions = pairs(options.batch, recipe.towers.image_size)
    method = Arm.parse(options.method).build(recipe, {"text": captions[:5000]}, seed=0).train()
    batch = Batch(
        torch.arange(options.batch), {"image": pictures, "text": method.text_tower.tokenizer(captions)}
    )
    optimizer = optimizer_of(method, recipe.optimizer)
    start = time.perf_counter()
    losses, _ = caching.backward(method, batch, StepInfo(0, 1), options.microbatch)
    optimizer.step()
    loss = sum(float(term.detach()) for term in losses.values())
    print(
        f"{options.method}, {len(set(captions)):,} distinct pairs of {options.batch:,}, microbatch "
        f"{options.microbatch}, {torch.get_num_threads()} threads: loss {loss:.3f}, "
        f"{time.perf_counter() - start:.0f} s, process at most {memory.read() / 1e9:.2f} GB"
    )


if __name__ == "__main__":
    main()
