"""Concept association bias: two towers give a thing the colour of the one beside it; a transformer across them less."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from counterpoint.data.base import Rows
from counterpoint.data.items import Associations
from counterpoint.data.source import load_any
from counterpoint.data.synthetic.scenes.items.forms import items_of
from counterpoint.data.synthetic.scenes.presets import PRESETS
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.evaluation import STATISTICS
from counterpoint.evaluation.tasks.concept_association_bias import tally
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.networks.heads import Linear
from counterpoint.networks.init import initialise
from counterpoint.networks.towers.transformer import Embedding, TransformerBlock
from counterpoint.spec import of_seed
from counterpoint.training.run import Run
from counterpoint.training.start import load

from .lab import Arrays, Lab, Result, TrainedStudy, TrainingComparison, above, decides, effects, secondary
from .lab.descent import minimise

CLAIM = (
    "Beside another thing, a contrastive model of two towers gives a thing the other's colour more often than "
    "a third one, the more so the stronger things and colours go together in training; with a transformer across "
    "the towers, tuned on questions of colours, the bias is lower by a tenth at least, and lower than that of the "
    "towers alone, tuned on the same."
)
REFUTED = (
    "the bias does not grow with the association, or the transformer lowers it by less than a tenth or no more than "
    "tuning without it"
)
OWN = (
    "The transformer across two towers, and the tuning of both arms on questions of colours, are the claim's own, as "
    "no registered method does either. The towers are those of the registered clip."
)
SHARE = effects.convention("share")
TENTH = effects.level("lower by a tenth at least; chosen here", "convention")

STRENGTHS = (0.3, 0.6, 0.9)
"""Shares of the things of training that have their typical colour; each colour is typical of two things."""
STRONGEST = STRENGTHS[-1]
COLOURS = len(PRESETS["associated"].config.colours)
TOWERS, SIGMOID = "two towers", "two towers, sigmoid"
ALONE, ACROSS = "two towers, tuned", "a transformer across, tuned"
STEPS, BATCH = 500, 64
TUNED, LR, TEMPERATURE = 600, 1e-3, 0.05
CAB = "(other − own + 1) / 2"
TASK = "concept_association_bias"


def world(strength: float, count: int = 4000) -> str:
    return f"scenes:associated,strength={strength},train={count},validation=200,test=800"


COMPARISON = TrainingComparison(
    {TOWERS: "clip", SIGMOID: "siglip"},
    {TASK: ("cab", "own", "other", "third", "alone")},
    data=world(STRONGEST),
    recipe="cpu",
    changes={"batch_size": BATCH, "steps": STEPS, "threads": 1, "towers.text_layers": 2},
)


class Asked(NamedTuple):
    """Questions of colours, as the towers of a model take pictures and the phrases that may be answers.

    Attributes:
        items: the questions.
        pictures: of every item.
        tokens: of every phrase that there is.
        options: numbers of each item's phrases.
    """

    items: Associations
    pictures: Tensor
    tokens: Int[Tensor, "m L"]
    options: Int[Tensor, "n options"]


def asked(model: TowerMethod, data: Scenes, rows: Rows) -> Asked:
    """Ask about some rows."""
    items = items_of(data, Associations, rows)
    known = sorted({phrase for own in items.options for phrase in own})
    options = torch.from_numpy(np.stack([np.searchsorted(known, own) for own in items.options]))
    pictures = model.image_tower.input(items.pictures(np.arange(len(items))))
    return Asked(items, pictures, model.text_tower.input(known), options)


@final
class Near(nn.Module):
    """Two towers and their heads: a phrase is as good as its embedding is near the picture's.

    Args:
        model: whose they are.
    """

    def __init__(self, model: TowerMethod) -> None:
        super().__init__()
        self.model = model

    def forward(self, asked: Asked, rows: Int[np.ndarray, " n"]) -> Float[Tensor, "n options"]:
        """Score the options of some items."""
        x, y = (
            F.normalize(self.model.project(column, self.model.features(column, inputs), "global"), dim=-1)
            for column, inputs in (("image", asked.pictures[rows]), ("text", asked.tokens))
        )
        return torch.einsum("nd,nkd->nk", x, y[asked.options[rows]]) / TEMPERATURE


@final
class Across(nn.Module):
    """Two towers and two blocks over the places of a picture and the words of a phrase, which say how well they match.

    Args:
        model: whose towers they are.
        asked: pictures and phrases as it takes them.
        seed: of the initial weights.
    """

    def __init__(self, model: TowerMethod, asked: Asked, seed: int, width: int = 64) -> None:
        super().__init__()
        self.image, self.text = model.image_tower, model.text_tower
        with torch.no_grad():
            (_, seen, *side), (_, length, said) = (
                self.image.patches(asked.pictures[:1]).shape,
                self.text.states(asked.tokens[:1]).shape,
            )
        self.place, self.position = (
            Embedding(number, width, std=0.02) for number in (math.prod(side), length)
        )
        self.picture, self.word = Linear(seen, width), Linear(said, width)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads=4, depth=2, causal=False) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.match = Linear(width, 1, bias=True)
        for name in ("place", "position", "picture", "word", "blocks", "match"):
            initialise(getattr(self, name), seed, f"across.{name}")

    def forward(self, asked: Asked, rows: Int[np.ndarray, " n"]) -> Float[Tensor, "n options"]:
        """Score the options of some items."""
        seen = self.picture(self.image.patches(asked.pictures[rows]).flatten(2).mT) + self.place.weight
        said = self.word(self.text.states(asked.tokens)) + self.position.weight
        options = asked.options[rows]
        states = torch.cat([seen.repeat_interleave(options.shape[1], 0), said[options.flatten()]], 1)
        for block in self.blocks:
            states = block(states)
        return self.match(self.norm(states.mean(1))).view_as(options)


def tuned(way: str, folder: str, seed: int, steps: int) -> Arrays:
    """Go on with a trained model on questions, with or without a transformer across it; return the task's outcomes.

    Questions are about scenes in which every thing is as often of each colour, so that no colour can be told from the
    thing alone.

    Args:
        way: `ALONE` or `ACROSS`.
        folder: of the model's run, with ``{seed}`` for the seed.
        seed, steps: of the run.
    """
    start = Path(of_seed(folder, seed))
    model, data = load(start), load_any(Run.read(start).data)
    assert isinstance(data, Scenes)
    even = Scenes.parse(world(1 / COLOURS, len(data.splits.train)))
    learned, test = asked(model, even, even.splits.train), asked(model, data, data.splits.test["typical"])
    judge = Across(model, learned, seed) if way == ACROSS else Near(model)
    answers = torch.from_numpy(learned.items.answers)

    def step(rng: np.random.Generator) -> Tensor:
        rows = rng.choice(len(answers), min(BATCH, len(answers)), replace=False)
        return F.cross_entropy(judge(learned, rows), answers[rows])

    minimise(step, judge.parameters(), steps=steps, lr=LR, seed=seed)
    judge.eval()
    with torch.no_grad():
        parts = np.array_split(np.arange(len(test.items)), max(1, len(test.items) // 256))
        found = tally([scores for part in parts for scores in judge(test, part)], test.items)
    return {name: values[~np.isnan(values)] for name, values in found.items()}


def run(lab: Lab) -> Iterator[Result]:
    strongest = lab.study(COMPARISON)
    weaker = {
        strength: lab.study(
            replace(COMPARISON, arms={TOWERS: COMPARISON.arms[TOWERS]}, data=world(strength)), f"{strength:g}"
        )
        for strength in STRENGTHS[:-1]
    }
    studies: dict[float, TrainedStudy] = {**weaker, STRONGEST: strongest}
    folder = str(strongest.each(TOWERS))
    after = lab.grid(tuned, {"way": (ALONE, ACROSS)}, folder=folder, steps=TUNED).scores(
        "{}", "share of answers about two things", STATISTICS["mean"]
    )
    own, other, third, cab, alone = (
        strongest.scores(f"{TASK} {name}") for name in ("own", "other", "third", "cab", "alone")
    )
    thirds, chance = COLOURS - 2, 1 / COLOURS

    def grows(high: float, low: float) -> Result:
        found = [studies[strength].scores(f"{TASK} other")[TOWERS] for strength in (high, low)]
        return above(
            found[0].about(f"association {high:g}") - found[1].about(f"association {low:g}"),
            name=f"share of the other thing's colour, association {high:g} − {low:g}",
            **SHARE,
        )

    yield from decides(
        above(
            other[TOWERS] - third[TOWERS] / thirds,
            name="two towers: the other thing's colour − a third colour",
            metric=f"share of the other's − share of thirds / {thirds}",
            **SHARE,
        ),
        grows(STRENGTHS[-1], STRENGTHS[0]),
        above(cab[TOWERS] - after[ACROSS, "cab"], 0.1, name=f"cab: {TOWERS} − {ACROSS}", metric=CAB, **TENTH),
        above(
            after[ALONE, "cab"] - after[ACROSS, "cab"], name=f"cab: {ALONE} − {ACROSS}", metric=CAB, **SHARE
        ),
    )
    yield from secondary(
        *(grows(high, low) for low, high in pairwise(STRENGTHS)),
        above(
            other[SIGMOID] - third[SIGMOID] / thirds,
            name=f"{SIGMOID}: the other thing's colour − a third colour",
        ),
        above(cab[TOWERS] - after[ALONE, "cab"], name=f"cab: {TOWERS} − {ALONE}", metric=CAB),
        *(
            above(score - chance, name=f"{arm}: own colour alone − chance")
            for arm, score in (
                *((arm, alone[arm]) for arm in COMPARISON.arms),
                *((way, after[way, "alone"]) for way in (ALONE, ACROSS)),
            )
        ),
    )
    lab.note(
        "Scenes of one or two dyed things at 48 px, ten things with a typical colour of five; half of the captions of",
        f"two tell one. {STEPS} steps of {BATCH} under the recipe cpu; the association of training is {STRONGEST:g}",
        "unless another one is named. Test pictures show typical colours; the colour whose phrase (“a red cat”) is",
        f"nearest is the answer. cab: {cab.means()}; own colour: {own.means()}. Tuning goes on for {TUNED} steps of",
        f"{BATCH} questions about scenes without an association, all weights free. The first evidence had towers of",
        "its own, and a transformer trained to match captions (cab 0.036 lower [−0.023, 0.096]): where things mostly",
        "have their colours, no caption of a batch asks for more than the things. Questions, their even colours and",
        "the number of steps were chosen in a pilot on seed 100, in which 1,500 steps taught the transformer no more.",
    )
