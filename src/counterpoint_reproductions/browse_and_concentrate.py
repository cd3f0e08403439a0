"""Browse and Concentrate: a first look at the request and all pictures tells the second look what to keep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "Two tokens of each of two pictures, read by a Q-Former under the state of a first pass over both pictures and the "
    "request, answer more questions about one of six things than those read without a condition, in as many passes and "
    "steps."
)
REFUTED = "without the condition questions are answered as often"

ZERO, SHUFFLED, BROWSE = "zero condition", "condition of another row", "browse"
WIDE_ZERO, WIDE = "zero condition, 16 tokens", "browse, 16 tokens"
STEPS = 800
DATA = "scenes:album,train=5000,validation=64,test=1500,pixels=48,talk="
TOWER = TrainingComparison(
    {"tower": "clip,image=vit,columns=image+text"},
    {"retrieval": ("i2t_R@1",)},
    data="scenes:tiny,objects=1-2,tinted=1,relations=0,train=6000,validation=64,test=1000,pixels=48",
    recipe="speak",
    changes={"steps": 600, "validate_every": 600, "batch_size": 64, "optimizer.lr": 0.002},
    seeds=(0,),
)
"""Scenes of one or two things, as captions of three give a small tower little to learn from."""
START = replace(
    TOWER,
    arms={"start": 'sft,image="vit@runs/tower"'},
    tasks={"likelihood": ("nats", "colour_nats")},
    data=f"{DATA}captions",
    changes={"steps": 1000, "validate_every": 1000},
)


def begun(start: Path, tokens: int = 2) -> dict[str, str]:
    """Return the arms, with the picture tower and the language model of one run."""
    of = f'brote,from="{start}",tokens={tokens}'
    if tokens > 2:
        return {WIDE_ZERO: f"{of},condition=zero", WIDE: of}
    return {ZERO: f"{of},condition=zero", SHUFFLED: f"{of},condition=shuffled", BROWSE: of}


COMPARISON = replace(
    START,
    arms=begun(Path("runs/start")),
    tasks={"answers": ("accuracy",), "likelihood": ("nats",)},
    data=f"{DATA}questions",
    changes={"steps": STEPS, "validate_every": STEPS},
    seeds=5,
)
WIDER = replace(COMPARISON, arms=begun(Path("runs/start"), 16), seeds=3)


def run(lab: Lab) -> Iterator[Result]:
    tower = lab.study(TOWER, "tower").folder("tower", 0)
    start = lab.study(replace(START, arms={"start": f'sft,image="vit@{tower}"'}), "start").folder("start", 0)
    study = lab.study(replace(COMPARISON, arms=begun(start)))
    wider = lab.study(replace(WIDER, arms=begun(start, 16)), "wider")
    right, nats = study.scores("answers accuracy"), study.scores("likelihood nats")
    of_wider = wider.scores("answers accuracy")
    yield from decides(
        above(
            right[BROWSE] - right[ZERO],
            name="1: accuracy, browse − zero condition",
            **effects.reported(0, 2.13, "points gained on average over seven scenarios, 3B model", unit=0.01),
        )
    )
    yield from secondary(
        above(right[BROWSE] - right[SHUFFLED], name="2: accuracy, browse − condition of another row"),
        above(of_wider[WIDE] - of_wider[WIDE_ZERO], name="2: accuracy at 16 tokens, browse − zero condition"),
    )
    lab.note(
        f"The registered method on {DATA}questions under the recipe speak, {STEPS} steps of 32. The picture tower is",
        "that of 600 steps of clip on scenes of one or two things, and frozen. The language model begins with 1,000",
        "steps of sft on captions of first pictures. Every arm reads each request twice.",
        f"Accuracy: {right.means()}; with 16 tokens: {of_wider.means()}. Nats a word: {nats.means()}.",
    )
