"""Bilinear pooling: does it help where its inputs were mixed before, and where they were not?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from counterpoint.networks.fusion.operators import OPERATORS

from .lab import UNSEEN, Lab, Result, TrainingComparison, above, decides, effects, secondary
from .lab import data_exclusive as exclusive

CLAIM = (
    "Where one of two inputs was mixed with the other before, no bilinear operator is more accurate by 0.01 than "
    "a perceptron on both side by side with as many parameters. Where neither was and their exclusive or is asked, "
    "each is more accurate than a linear layer on both side by side."
)
REFUTED = (
    "an operator is more accurate than the perceptron on inputs that were mixed before, or is no more accurate than "
    "the linear layer on inputs that were not"
)
SHARE = effects.convention("share")
MARGIN = effects.tolerance("share")

LINEAR, PERCEPTRON = "linear", "perceptron"
ARMS: Mapping[str, str] = {
    LINEAR: "late,hidden=0,columns=first+second",
    PERCEPTRON: "late,columns=first+second",
    **{name: f"late,operator={name},columns=first+second" for name in OPERATORS},
}
STEPS, RATES = 300, (1e-3, 3e-3)
COMPARISON = TrainingComparison(
    ARMS,
    {"classification": ("accuracy",)},
    data=f"{exclusive.__file__}:EXCLUSIVE",
    labels=exclusive.LABEL,
    changes={"steps": STEPS, "validate_every": STEPS},
    rates=RATES,
    seeds=UNSEEN,
)
MIXED = f"{exclusive.__file__}:MIXED"


def run(lab: Lab) -> Iterator[Result]:
    unmixed = lab.study(COMPARISON, "unmixed").scores("classification accuracy")
    mixed = lab.study(replace(COMPARISON, data=MIXED), "mixed").scores("classification accuracy")
    yield from decides(
        *(above(unmixed[name] - unmixed[LINEAR], name=f"1: {name} − linear", **SHARE) for name in OPERATORS),
        *(
            above(mixed[PERCEPTRON] - mixed[name], name=f"2: perceptron − {name}, mixed before", **MARGIN)
            for name in OPERATORS
        ),
    )
    yield from secondary(
        *(above(unmixed[name] - unmixed[PERCEPTRON], name=f"1: {name} − perceptron") for name in OPERATORS)
    )
    lab.note(
        "The registered late on two rows of 16 numbers, each of which hides a bit along one direction, under the",
        f"recipe seconds with {STEPS} steps; each arm at the best of the rates {', '.join(map(str, RATES))} on",
        "validation.",
        f"Accuracy, unmixed: {unmixed.means()}; mixed before: {mixed.means()}.",
        "The wiring of the paper's video models, which attend before they pool, is not part of it.",
    )
