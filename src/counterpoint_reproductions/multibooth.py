"""MultiBooth: do concepts that were learned apart come out in their boxes, where summed additions mix them?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.evaluation.tasks.drawn import JUDGE, SIDE
from counterpoint.generation import draw_words
from counterpoint.generation.attention import Box
from counterpoint.methods.multibooth import MultiBooth
from counterpoint.networks.base import ImageTower
from counterpoint.networks.towers.build import build_image_tower
from counterpoint.training.start import load

from .lab import Lab, Result, Score, TrainingComparison, above, decides, effects, per_seed, secondary
from .textual_localization import PAINTER, PAIRS

CLAIM = (
    "Of two concepts that were learned apart, the right one is in its box more often, by 0.1, where each is drawn in a "
    "box with keys and values of its own, than where those of both are summed; with boxes swapped, the concepts swap."
)
REFUTED = "summed additions do as well"
DELTA = effects.convention(
    "share", of=10, reason="the paper reports similarities of whole and of segmented pictures"
)

KINDS = {
    "rabbit": "cat",
    "bus": "car",
    "pig": "elephant",
    "drum": "bell",
    "snail": "duck",
    "crown": "bell",
    "turtle": "fish",
    "hat": "umbrella",
}
"""The first four pairs of subjects, each with the kind that the painter knows."""
LEFT, RIGHT = (0.0, 0.25, 0.5, 0.75), (0.5, 0.25, 1.0, 0.75)
CONCEPT, STEPS, RATE, DRAWN = "concept", 300, 0.002, 16


def said(subject: str) -> str:
    """Return the prompt of a subject: with its colour, without which the painter draws little, and without its kind.

    A kind is a word for one other thing here, and no class that the subject belongs to.
    """
    return f"a red <{subject}>"


def comparison(subject: str) -> TrainingComparison:
    """Return the comparison for a subject, which is alone in its pictures."""
    return TrainingComparison(
        {CONCEPT: f"multibooth,like={KINDS[subject]},prompt={said(subject)},from={PAINTER}"},
        {"drawn,pictures=0": ("overlap",)},
        data=f"scenes:subjects,concepts={subject},objects=1,spurious=colour,strength=1,validation=8,test=64",
        recipe="words",
        changes={"steps": STEPS, "validate_every": STEPS, "optimizer.lr": RATE},
    )


COMPARISON = comparison("rabbit")


@cache
def judge() -> ImageTower:
    """Return a tower that took no part."""
    return build_image_tower(JUDGE, SIDE).eval()


@torch.no_grad()
def features(crops: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
    """Return unit-norm features of crops with values in [0, 1]."""
    return F.normalize(judge()(judge().input((255 * crops).round().byte())), dim=1)


@cache
def example(subject: str) -> Float[Tensor, " d"]:
    """Return the direction of the mean features of 64 test pictures of a subject, cut out around it."""
    data = Scenes.parse(comparison(subject).data)
    rows = next(iter(data.splits.test.values()))
    pictures, crops = torch.as_tensor(data.read("image", rows)).float() / 255, []
    half = pictures.shape[2] // 4
    for row, picture in zip(rows, pictures, strict=True):
        thing = data.scene(int(row)).things[0]
        x, y = (min(max(round(it * 4 * half / 1000), half), 3 * half) for it in (thing.x, thing.y))
        crops.append(picture[:, y - half : y + half, x - half : x + half])
    return F.normalize(features(torch.stack(crops)).mean(0), dim=0)


def share(folders: tuple[Path, Path], subjects: tuple[str, str], boxed: str) -> float:
    """Return the share of pictures whose first box is more like the first subject than the second box is.

    Boxes of one picture are compared: what a painter draws differs from pictures of both subjects in the same way.

    Args:
        folders: of the runs of both concepts.
        subjects: their names: the first is asked for on the left.
        boxed: ``boxes``, ``swapped`` or ``summed``.
    """
    models = [load(folder) for folder in folders]
    learned = [it.learned for it in models if isinstance(it, MultiBooth)]
    names, text = [f"<{it}>" for it in subjects], " and ".join(map(said, subjects))
    boxes: tuple[Box, Box] = (RIGHT, LEFT) if boxed == "swapped" else (LEFT, RIGHT)
    drawn = draw_words(
        learned,
        [text] * DRAWN,
        boxes={} if boxed == "summed" else dict(zip(names, boxes, strict=True)),
        summed=True,
        seeds=range(DRAWN),
    )
    half, scores = drawn.shape[2] // 2, []
    for left, top, _, _ in boxes:
        x, y = round(left * 2 * half), round(top * 2 * half)
        z = features(drawn[:, :, y : y + half, x : x + half])
        scores.append(z @ (example(subjects[0]) - example(subjects[1])))
    return float((scores[0] > scores[1]).float().mean())


def run(lab: Lab) -> Iterator[Result]:
    pairs, seeds = lab.some([(one, PAIRS[one]) for one in KINDS if one in PAIRS]), lab.seeds(COMPARISON.seeds)
    studies = {it: lab.study(comparison(it), it) for pair in pairs for it in pair}

    def measured(boxed: str) -> Score:
        """Return the mean over pairs."""
        values = []
        for seed in seeds:
            folders = {it: study.folder(CONCEPT, seed) for it, study in studies.items()}
            values.append(np.mean([share((folders[a], folders[b]), (a, b), boxed) for a, b in pairs]))
        return per_seed(boxed, "share of pictures with the right thing in each box", np.array(values))

    boxes, swapped, summed = (measured(it) for it in ("boxes", "swapped", "summed"))
    yield from decides(
        above(boxes - summed, name="1: right thing in each box, boxes − summed additions", **DELTA),
        above(swapped - summed, name="2: right thing in each box, swapped boxes − summed additions", **DELTA),
    )
    yield from secondary(above(boxes, 0.5, name="3: right thing in each box, above chance"))
    means = ", ".join(f"{it.label} {it.measure().estimate:.3f}" for it in (boxes, swapped, summed))
    lab.note(
        f"The registered method from {PAINTER}, {STEPS} steps on eight pictures of each of {len(KINDS)} subjects, each",
        f"alone; {DRAWN} pictures of each pair and seed. A tower that took no part tells boxes apart. Shares",
        f"with the right thing: {means}.",
    )
