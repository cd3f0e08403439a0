"""What recorded attention and boxes cost a painter, beside diffusers' own attention.

    python benchmarks/painting.py [REPEATS]

Prints ratios of what takes turns in one run, the median and the middle half, with the bound that each is meant to keep.
"""

from __future__ import annotations

import sys

import torch
from patches import Step, ratio, show

from counterpoint.generation import recorded_attention, regional_attention
from counterpoint.generation.attention import Box, BoxedConcept, cross_attention
from counterpoint.networks.painter import PaintingNetwork, default_path

BATCH, BOXES = 16, (1, 2, 4)
"""Pictures of a step, and numbers of boxes."""


def painter_of() -> PaintingNetwork:
    return PaintingNetwork.load(default_path()).requires_grad_(False)


def recorded(repeats: int) -> None:
    """A step of learning the states of a text, with maps of attention and without."""
    painter = painter_of()
    pictures, noise = (
        torch.rand(BATCH, 3, painter.size, painter.size),
        torch.randn(BATCH, 3, painter.size, painter.size),
    )
    times = torch.randint(1000, (BATCH,))
    noisy, velocity = painter.noised(pictures, noise, times)
    states = painter.states(painter.tokenizer(["a red cat"])).detach().requires_grad_()

    def plain() -> None:
        predicted = painter(noisy, times, states.expand(BATCH, -1, -1))
        (predicted - velocity).square().mean().backward()

    def with_maps() -> None:
        with recorded_attention(painter.unet) as maps:
            predicted = painter(noisy, times, states.expand(BATCH, -1, -1))
            attended = maps.at(maps.sides[0])
        ((predicted - velocity).square().mean() + attended.square().mean()).backward()

    show("step with recorded attention / fused attention", ratio(with_maps, plain, repeats), "at most 1.25")


def boxes(repeats: int) -> None:
    """A drawing with concepts in boxes, and the drawing of the text alone."""
    painter = painter_of()
    states, empty = (painter.states(painter.tokenizer([text])).detach() for text in ("a red cat", ""))
    layers = cross_attention(painter.unet)

    def drawing(count: int) -> Step:
        def draw() -> None:
            with torch.no_grad(), regional_attention(painter.unet, concepts, guided=True):
                painter.sample(states, empty, seeds=[0], steps=12, guidance=3.0)

        concepts = [BoxedConcept(states, box, zeros(), zeros()) for box in halves(count)]
        return draw

    def zeros() -> dict[str, torch.Tensor]:
        return {name: torch.zeros(size) for name, size in layers.items()}

    for count in BOXES:
        show(
            f"drawing with {count} boxes / without",
            ratio(drawing(count), drawing(0), repeats),
            f"at most {1 + 0.3 * count:.1f}",
        )


def halves(count: int) -> list[Box]:
    """Return boxes side by side."""
    return [(k / count, 0.0, (k + 1) / count, 1.0) for k in range(count)]


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    recorded(repeats)
    boxes(repeats)
