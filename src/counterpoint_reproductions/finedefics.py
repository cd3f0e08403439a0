"""Finedefics: aligned with names and classes inside the language model, pictures are told apart more finely."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "Of emoji that another artist has drawn than those in training, a model names the right one of four subgroups "
    "more often by 0.01 if contrast between pictures, names and subgroups came before the training on questions than "
    "if the likelihood of names alone came before, in as many steps."
)
REFUTED = "training on names alone before the questions does as well"
SHARE = effects.convention("share", reason="the paper's figures could not be verified")

GENERATION, RELEASED, CONTRAST = "likelihood alone", "released term", "contrast"
STEPS, ASKED_STEPS = 250, 250
FILE = Path(__file__).parent / "lab" / "data_kinds.py"
DATA, FEW = f"{FILE}:NAMED", f"{FILE}:FEW_NAMED"
QUESTIONS, FEW_QUESTIONS = f"{FILE}:ASKED", f"{FILE}:FEW_ASKED"
ALIGNED = TrainingComparison(
    {
        GENERATION: "sft,columns=image+talk",
        RELEASED: "finedefics,category_target=first",
        CONTRAST: "finedefics",
    },
    {"likelihood": ("nats",)},
    data=DATA,
    labels="subgroup",
    recipe="speak",
    changes={"steps": STEPS, "validate_every": STEPS, "batch_size": 64, "towers.talk_context": 96},
)


def started(runs: dict[str, Path]) -> dict[str, str]:
    """Return the arms of the second stage, each from the run of its first stage with the same seed."""
    return {name: f'sft,columns=image+talk,from="{folder}"' for name, folder in runs.items()}


COMPARISON = replace(
    ALIGNED,
    arms=started({name: Path("runs") / name / "seed-{seed}" for name in ALIGNED.arms}),
    tasks={"answers": ("accuracy",)},
    data=QUESTIONS,
    labels="",
    changes={**ALIGNED.changes, "steps": ASKED_STEPS, "validate_every": ASKED_STEPS, "batch_size": 32},
)


def run(lab: Lab) -> Iterator[Result]:
    first = lab.study(replace(ALIGNED, data=lab.world(DATA, FEW)), "first stage")
    arms = started({name: first.each(name) for name in ALIGNED.arms})
    study = lab.study(replace(COMPARISON, arms=arms, data=lab.world(QUESTIONS, FEW_QUESTIONS)))
    right = study.pooled("answers accuracy")
    yield from decides(
        above(right[CONTRAST] - right[GENERATION], name="1: accuracy, contrast − likelihood alone", **SHARE),
    )
    yield from secondary(
        above(
            right[CONTRAST] - right[RELEASED], name="2: accuracy, names as their own targets − released term"
        ),
    )
    lab.note(
        f"The registered method on emoji under the recipe speak: {STEPS} steps on names in batches of 64 from random",
        f"weights, then {ASKED_STEPS} steps of sft in batches of 32 on questions with four subgroups to choose from.",
        f"Tested on all pictures of the other artist. Accuracy: {right.means()}; at random 0.25.",
    )
