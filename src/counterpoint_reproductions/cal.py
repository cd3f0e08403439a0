"""CAL: weights from the contrast with a hidden picture teach the words that the picture decides faster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import (
    Lab,
    Result,
    Score,
    TrainedScores,
    TrainingComparison,
    below,
    decides,
    effects,
    mean,
    secondary,
)

CLAIM = (
    "Where captions are mostly filler, tokens weighted by how much the picture raises their logits lower the negative "
    "log-likelihood of things and colours more than equal weights do in as many steps, and more than the same "
    "weights in another order."
)
REFUTED = "shuffled weights do as well, or equal weights do"
SMALLEST = effects.of_the_rest(
    542, 561, "LLaVA-NeXT with Vicuna-7B, OCRBench of 1,000 without and with CAL", perfect=1000
)

EQUAL, SHUFFLED, WEIGHTED = "sft", "shuffled weights", "CAL"
DECIDED = ("thing", "colour")
STEPS = 200
DATA = "scenes:filler,train=4000,validation=64,test=1000,talk=captions"
START = TrainingComparison(
    {"start": "sft"},
    {"likelihood": ("nats", "blind_nats")},
    data="scenes:tiny,train=8000,validation=64,test=200,talk=captions",
    recipe="speak",
    changes={"steps": 5000, "validate_every": 5000},
    seeds=(0,),
)


def begun(start: Path) -> dict[str, str]:
    """Return the arms, which go on from one run."""
    of = f'from="{start}"'
    return {EQUAL: f"sft,{of}", SHUFFLED: f"cal,{of},shuffled=true", WEIGHTED: f"cal,{of}"}


COMPARISON = replace(
    START,
    arms=begun(Path("runs/start")),
    tasks={"likelihood": ("nats", "filler_nats", *(f"{kind}_nats" for kind in DECIDED))},
    data=DATA,
    changes={"steps": STEPS, "validate_every": STEPS},
    seeds=5,
)


def run(lab: Lab) -> Iterator[Result]:
    start = lab.study(START, "start").folder("start", 0)
    study = lab.study(replace(COMPARISON, arms=begun(start)))
    of_kind = {kind: study.scores(f"likelihood {kind}_nats") for kind in (*DECIDED, "filler")}

    def nats(arm: str) -> Score:
        return mean(of_kind[kind][arm] for kind in DECIDED).about(arm)

    yield from decides(
        *(
            below(
                nats(WEIGHTED) / nats(other) - 1,
                name=f"{number}: nats of decided words, CAL / {other} − 1",
                **SMALLEST,
            )
            for number, other in enumerate((SHUFFLED, EQUAL), 1)
        )
    )
    yield from secondary(
        below(of_kind["filler"][WEIGHTED] - of_kind["filler"][EQUAL], name="nats of filler, CAL − sft"),
    )
    lab.note(
        f"The registered method on {DATA} under the recipe speak, {STEPS} steps from one run of sft on plain captions",
        "of the same world. Nats a word of decided words are the mean over things and colours:",
        f"{shown(of_kind)}. Nats of all words: {study.scores('likelihood nats').means()}.",
    )


def shown(of_kind: dict[str, TrainedScores]) -> str:
    """Return the means of all kinds of words as text."""
    return "; ".join(f"{kind} {scores.means()}" for kind, scores in of_kind.items())
