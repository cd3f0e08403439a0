"""Judge a run of painter, and write its pipeline with what was measured, as the package ships it.

    counterpoint train painter --data scenes:painter --recipe paint --out runs/painter
    python scripts/ship_painter.py runs/painter src/counterpoint/networks/files/tiny-painter

A painter passes if a classifier, which is trained here on other scenes, names the thing of at least 0.80 of its
drawings and the colour of 0.70, and if the map of a noun covers its thing with an intersection over union of 0.3.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import pairwise, product
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

import counterpoint
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.generation.attention import positions_of, recorded_attention
from counterpoint.methods.painter import Painter
from counterpoint.networks.painter import PaintingNetwork
from counterpoint.training.run import Run

LEAST = {"thing": 0.80, "colour": 0.70, "overlap": 0.30}
DRAWINGS, SEEN, JUDGE_ROWS, JUDGE_STEPS = 240, 64, 6000, 500
LEVEL, SIDE = 400, 16
"""The level of noise, and the side of maps."""


def pictures_of(world: Scenes, rows: range, side: int) -> Float[Tensor, "n 3 S S"]:
    """Return pictures of rows, from -1 to 1."""
    return world.sized(side).images(torch.tensor(rows).numpy()).float() / 127.5 - 1


def judge_of(things: list[str], colours: list[str], side: int) -> nn.Module:
    """Train a classifier of things and colours on scenes of one thing that the painter did not learn from."""
    torch.manual_seed(5)
    world = Scenes.parse(f"scenes:painter,objects=1,seed=5,train={JUDGE_ROWS}")
    pictures = pictures_of(world, range(JUDGE_ROWS), side)
    shown = [world.scene(row).things[0] for row in range(JUDGE_ROWS)]
    thing = torch.tensor([things.index(it.concept) for it in shown])
    colour = torch.tensor([colours.index(str(it.colour)) for it in shown])
    widths, layers = (3, 24, 48, 96), list[nn.Module]()
    for before, width in pairwise(widths):
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
    layers[-1] = nn.AdaptiveMaxPool2d(1)
    judge = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1], len(things) + len(colours)))
    optimizer = torch.optim.AdamW(judge.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, JUDGE_STEPS)
    for _ in range(JUDGE_STEPS):
        rows = torch.randint(JUDGE_ROWS, (64,))
        # Noise, as drawings are less clean than scenes.
        noisy = pictures[rows] + 0.2 * torch.rand(64, 1, 1, 1) * torch.randn(64, 3, side, side)
        of_things, of_colours = judge(noisy).split([len(things), len(colours)], 1)
        loss = F.cross_entropy(of_things, thing[rows]) + F.cross_entropy(of_colours, colour[rows])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return judge.eval()


@torch.no_grad()
def drawn(
    painter: PaintingNetwork, judge: nn.Module, things: list[str], colours: list[str]
) -> dict[str, float]:
    """Return the shares of drawings whose thing and whose colour the judge names."""
    asked = [pair for _, pair in zip(range(DRAWINGS), product(colours * 3, things), strict=False)]
    texts = [f"a {colour} {thing}" for colour, thing in asked]
    drawings = torch.cat(
        [
            painter.draw(texts[k : k + 40], seeds=range(k, min(k + 40, len(texts))))
            for k in range(0, len(texts), 40)
        ]
    )
    of_things, of_colours = judge(2 * drawings - 1).split([len(things), len(colours)], 1)
    thing = torch.tensor([things.index(it) for _, it in asked])
    colour = torch.tensor([colours.index(it) for it, _ in asked])
    return {
        "thing": float((of_things.argmax(1) == thing).double().mean()),
        "colour": float((of_colours.argmax(1) == colour).double().mean()),
    }


@torch.no_grad()
def overlap(painter: PaintingNetwork) -> float:
    """Return how well the maps of nouns cover the things that they name, on scenes of two things."""
    world = Scenes.parse(f"scenes:painter,objects=2,seed=6,train={SEEN}")
    rows = range(SEEN)
    pictures = (pictures_of(world, rows, painter.size) + 1) / 2
    drawing = world.sized(painter.size).draw(torch.tensor(rows).numpy())
    tokens = painter.tokenizer([world.captions(row)[0] for row in rows])
    times = torch.full((SEEN,), LEVEL)
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0))
    ratios = []
    with recorded_attention(painter.unet) as maps:
        painter(painter.noised(pictures, noise, times)[0], times, painter.states(tokens))
        for number in range(2):
            nouns = [world.scene(row).things[number].concept for row in rows]
            own = [painter.tokenizer([noun])[0] for noun in nouns]
            ids = torch.stack([it[1] for it in own])
            at = torch.stack(
                [
                    positions_of(line[None], int(word))[0]
                    for line, word in zip(painter.padded(tokens), ids, strict=True)
                ]
            )
            attended = F.interpolate(maps.of(at, SIDE)[:, None], (painter.size,) * 2, mode="bilinear")[:, 0]
            low, high = attended.amin((1, 2), keepdim=True), attended.amax((1, 2), keepdim=True)
            covered = (attended - low) / (high - low) > 0.5
            true = torch.stack([torch.as_tensor(drawing.masks[row][number]) > 0.5 for row in rows])
            ratios.append((covered & true).sum((1, 2)) / (covered | true).sum((1, 2)))
    return float(torch.cat(ratios).mean())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    run, method = Run.read(given.run), counterpoint.load(str(given.run))
    assert isinstance(method, Painter)
    painter = method.painter.eval()
    config = Scenes.parse("scenes:painter").config(0)
    things, colours = list(config.concepts), [str(colour) for colour in config.colours]
    judge = judge_of(things, colours, painter.size)
    measured = {**drawn(painter, judge, things, colours), "overlap": overlap(painter)}
    print(json.dumps({name: round(value, 3) for name, value in measured.items()}))
    if any(measured[name] < least for name, least in LEAST.items()):
        print(f"below what is needed: {LEAST}", file=sys.stderr)
        return 1
    painter.save(given.folder)
    made = {
        "command": "counterpoint train painter --data scenes:painter --recipe paint",
        "data": run.data,
        "seed": run.seed,
        "steps": run.recipe.steps,
        "batch_size": run.recipe.batch_size,
        "parameters": sum(weight.numel() for weight in painter.parameters()),
        "measured": {name: round(value, 4) for name, value in measured.items()},
    }
    (given.folder / "made.json").write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
