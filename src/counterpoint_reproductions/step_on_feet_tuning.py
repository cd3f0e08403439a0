"""Step-on-feet tuning: three rounds of self-alignment teach more than one round of as many replies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from counterpoint.data.source import load_any
from counterpoint.evaluation.in_context_shots import InContext, InContextExample, PlainFormat, Shots
from counterpoint.evaluation.replies import normalised
from counterpoint.methods._speaking import SpeakingMethod
from counterpoint.training.start import load as load_run
from counterpoint.types import Prompt

from .lab import Lab, Result, TrainingComparison, above, arm, below, decides, effects, secondary

CLAIM = (
    "A language model that replies better behind eight examples than without, by 10 points or more, gives more right "
    "replies without examples after three rounds of training on its own replies to new requests than after one round "
    "of as many replies and steps."
)
REFUTED = "one round does as well, or the examples gain less than 10 points"
SHARE = effects.convention("share", reason="the paper's figures were not checked")
TESTABLE = effects.level("10 points, below which the card calls the claim not testable", "convention")

ONE, FIXED, ORDERED, THREE = "one round", "one context", "easy first", "three rounds"
SHOWN, POOL = 8, 64
FILE = Path(__file__).parent / "lab" / "data_episodes.py"
DATA, FEW = f"{FILE}:CODES", f"{FILE}:FEW_CODES"
EPISODES, FEW_EPISODES = f"{FILE}:EPISODES", f"{FILE}:FEW_EPISODES"
READER = TrainingComparison(
    {"reader": "sft,columns=image+talk"},
    {"likelihood": ("nats",)},
    data=EPISODES,
    recipe="speak",
    changes={
        "steps": 3000,
        "validate_every": 3000,
        "towers.image": "cnn",
        "towers.image_size": 32,
        "towers.talk_context": 80,
    },
    seeds=(0,),
)


def begun(reader: Path) -> dict[str, str]:
    """Return the arms, which go on from one model."""
    soft = f'step-on-feet,columns=image+talk,from="{reader}",shown={SHOWN},pool={POOL},length=4'
    return {
        ONE: f"{soft},rounds=1",
        FIXED: f"{soft},fixed=true",
        ORDERED: f"{soft},easy=true",
        THREE: soft,
    }


COMPARISON = replace(
    READER,
    arms=begun(Path("runs/reader")),
    tasks={"answers,kinds=code": ("accuracy",)},
    data=DATA,
    changes={**READER.changes, "steps": 90, "validate_every": 90, "optimizer.lr": 1e-3},
    seeds=5,
)


def gain(folder: Path, source: str) -> np.ndarray:
    """Return for each test row whether the reply is right behind examples, less whether it is right without."""
    model, data = load_run(folder), load_any(source)
    assert isinstance(model, SpeakingMethod)
    pool, test = data.splits.train[:POOL], next(iter(data.splits.test.values()))
    (talk, shown), (asked, pictures) = (
        (data.read("talk", rows), data.read("image", rows)) for rows in (pool, test)
    )
    examples = [
        InContextExample(picture, one.request, one.reply) for (one,), picture in zip(talk, shown, strict=True)
    ]
    prompts = [Prompt(one.request, picture) for (one,), picture in zip(asked, pictures, strict=True)]
    behind = InContext(model, examples, Shots(SHOWN, pictures=False), Bare())
    few, none = behind.reply(prompts), model.reply(prompts, max_tokens=4)
    right = [
        [normalised(reply) == one.reply for reply, (one,) in zip(replies, asked, strict=True)]
        for replies in (few, none)
    ]
    return np.subtract(*np.array(right, float))


class Bare(PlainFormat):
    """Examples with their replies as they are."""

    def reply(self, example: InContextExample) -> str:
        return example.reply


def run(lab: Lab) -> Iterator[Result]:
    data = lab.world(DATA, FEW)
    reader = lab.study(replace(READER, data=lab.world(EPISODES, FEW_EPISODES)), "reader").folder("reader", 0)
    gained = arm("8 examples − none", dict.fromkeys(lab.seeds(5), gain(reader, data)), "accuracy")
    lab.note(f"Before the first step, 8 examples gain {gained.measure().estimate:.3f} of accuracy.")
    study = lab.study(replace(COMPARISON, arms=begun(reader), data=data))
    right = study.scores("answers,kinds=code accuracy")
    yield from decides(
        above(gained, 0.1, name="1: accuracy before the first step, 8 examples − none", **TESTABLE),
        above(right[THREE] - right[ONE], name="2: accuracy without examples, three rounds − one", **SHARE),
    )
    yield from secondary(
        below(right[FIXED] - right[THREE], name="accuracy, one context for all − three rounds"),
        above(right[ORDERED] - right[THREE], name="accuracy, easy rows first − three rounds"),
    )
    lab.note(
        "The registered method under the recipe speak, from one run of sft on conversations of ten exchanges in which",
        "things or their kinds have codes. The things that test rows ask for are in no training row of the arms.",
        f"Accuracy without examples: {right.means()}.",
    )
