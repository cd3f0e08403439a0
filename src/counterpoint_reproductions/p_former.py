"""P-Former: prompts learned from sentences tell queries what to say where pairs are few."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from counterpoint.data.source import load_any
from counterpoint.methods.p_former import PFormer
from counterpoint.training.start import load as load_run

from .lab import Lab, Result, TrainingComparison, above, below, decides, effects, rate, secondary

CLAIM = (
    "With 250 pairs, queries that are also drawn to the prompts with which a frozen language model writes the caption "
    "give held-out captions fewer nats a word than queries without such a target, by 0.02, and fewer than queries that "
    "are drawn to the prompts of random weights. The prompts make the model write nine tokens of ten."
)
REFUTED = "captions are as likely without the target or with one of random weights, or prompts reproduce fewer tokens"
NATS = effects.convention("nats", reason="the paper reports accuracies and CIDEr")
REPRODUCED = effects.level(
    "0.9 of the tokens, below which the first stage has failed; chosen here", "convention"
)

PLAIN, RANDOM, TAUGHT = "no target", "target of random weights", "target from sentences"
STEPS = 250
WORLD = "scenes:tiny,validation=64,test=1000,talk=captions"
SENTENCES = f"{WORLD},train=4000"
START = TrainingComparison(
    {"start": "sft"},
    {"likelihood": ("nats",)},
    data=SENTENCES,
    recipe="speak",
    changes={"steps": 3000, "validate_every": 3000},
    seeds=(0,),
)


def taught(start: Path) -> dict[str, str]:
    """Return the arm that learns from sentences alone, behind the language model of a run."""
    return {"prompts": f'p-former,from="{start}",tune=frozen,align=0,speak=0'}


def begun(start: Path, prompts: Path) -> dict[str, str]:
    """Return the arms, with the towers of one run, one of them with the prompts of another."""
    of = "tune=frozen,align=0"
    return {
        PLAIN: f'blip-2,from="{start}",{of}',
        RANDOM: f'p-former,from="{start}",{of},prompt=0',
        TAUGHT: f'p-former,from="{prompts}",{of},prompt=0',
    }


PROMPTS = replace(START, arms=taught(Path("runs/start")), changes={"steps": 2500, "validate_every": 2500})
COMPARISON = replace(
    START,
    arms=begun(Path("runs/start"), Path("runs/prompts")),
    tasks={"likelihood": ("nats", "thing_nats", "colour_nats")},
    data=f"{WORLD},train=250",
    changes={"steps": STEPS, "validate_every": STEPS},
    seeds=5,
)
MORE = replace(COMPARISON, data=f"{WORLD},train=2000", seeds=3)


def run(lab: Lab) -> Iterator[Result]:
    start = lab.study(START, "start").folder("start", 0)
    prompts = lab.study(replace(PROMPTS, arms=taught(start)), "prompts").folder("prompts", 0)
    arms = begun(start, prompts)
    nats = lab.study(replace(COMPARISON, arms=arms)).scores("likelihood nats")
    more = lab.study(replace(MORE, arms={name: arms[name] for name in (PLAIN, TAUGHT)}), "more pairs").scores(
        "likelihood nats"
    )
    share = reproduced(prompts)
    yield from decides(
        below(nats[TAUGHT] - nats[PLAIN], name="1: nats a word, target − none", **NATS),
        below(nats[TAUGHT] - nats[RANDOM], name="2: nats a word, target − one of random weights", **NATS),
        above(
            rate(share),
            0.9,
            name="3: share of the tokens of held-out captions that prompts reproduce",
            metric="share",
            **REPRODUCED,
        ),
    )
    yield from secondary(
        below(nats[RANDOM] - nats[PLAIN], name="nats a word, target of random weights − none"),
        below(more[TAUGHT] - more[PLAIN], name="nats a word at 2,000 pairs, target − none"),
    )
    lab.note(
        f"The second stage of the registered method on {COMPARISON.data} under the recipe speak, {STEPS} steps of 32.",
        "The picture tower and the language model are frozen: 3,000 steps of sft with a linear bridge have trained",
        "them on 4,000 rows. The prompts come from 2,500 steps on the captions of these rows, without pictures.",
        f"Nats a word: {nats.means()}; at 2,000 pairs: {more.means()}.",
    )


def reproduced(folder: Path) -> np.ndarray:
    """Return of each token of held-out captions whether it is the likeliest behind the prompts of its caption."""
    model, data = load_run(folder), load_any(SENTENCES)
    assert isinstance(model, PFormer)
    rows = next(iter(data.splits.test.values()))
    exchanges = [exchange for row in data.read("talk", rows[:500]) for exchange in row]
    return model.reproduced(exchanges).cpu().numpy() > 0
