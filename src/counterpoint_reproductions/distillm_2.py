"""DistiLLM-2: a small model's replies become likely under its teacher."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from counterpoint.data.base import Data
from counterpoint.data.derived.conversations import REQUEST
from counterpoint.data.source import load_any
from counterpoint.methods._speaking import SpeakingMethod
from counterpoint.training.run import Run
from counterpoint.training.start import load as load_run
from counterpoint.types import Prompt

from .lab import Lab, Result, Score, TrainingComparison, arm, below, decides, effects, secondary

CLAIM = (
    "Replies that a student of one layer samples after distillation with a skewed forward divergence on its teacher's "
    "replies and a skewed reverse one on its own are more likely under the teacher than after as many steps of the "
    "forward divergence on the teacher's replies alone."
)
REFUTED = "the forward divergence alone gives samples that the teacher finds as likely"
NATS = effects.convention("nats", reason="the paper's figures were not checked")

FORWARD, SWAPPED, BOTH = "forward KL", "roles swapped", "DistiLLM-2"
STEPS = 150
SAMPLED = 500
DATA = "scenes:tiny,train=1600,validation=64,test=500,talk=captions"
TEACHER = TrainingComparison(
    {"teacher": "sft"},
    {"likelihood": ("nats",)},
    data="scenes:tiny,train=8000,validation=64,test=100,talk=captions",
    recipe="speak",
    changes={"steps": 2000, "validate_every": 2000},
    seeds=(0,),
)
STUDENT = replace(
    TEACHER,
    arms={"student": "sft"},
    changes={
        "steps": 300,
        "validate_every": 300,
        "towers.talk_layers": 1,
        "towers.talk_width": 64,
        "towers.image_layers": 1,
    },
)


def begun(teacher: Path, student: Path) -> dict[str, str]:
    """Return the arms, which go on from one student and learn from one teacher."""
    of = f'from="{student}",teacher="{teacher}",every=2'
    return {
        FORWARD: f"distillm-2,{of},alpha=0,on_student=none",
        SWAPPED: f"distillm-2,{of},on_teacher=reverse,on_student=forward",
        BOTH: f"distillm-2,{of}",
    }


COMPARISON = replace(
    TEACHER,
    arms=begun(Path("runs/teacher"), Path("runs/student")),
    tasks={"chair": ("instances", "recall")},
    data=DATA,
    changes={"steps": STEPS, "validate_every": STEPS},
    seeds=5,
)


def sampled_nats(teacher: SpeakingMethod, student: SpeakingMethod, data: Data) -> np.ndarray:
    """Return the negative log-likelihood a word under the teacher of a reply that is sampled for each test picture."""
    rows = next(iter(data.splits.test.values()))[:SAMPLED]
    prompts = [Prompt(REQUEST, picture) for picture in data.read("image", rows)]
    replies = student.reply(prompts, sample=True, max_tokens=48)
    words = np.array([len(reply.split()) + 1 for reply in replies])  # the end of a reply is one more
    return -teacher.log_p(prompts, replies).double().numpy() / words


def run(lab: Lab) -> Iterator[Result]:
    teacher = lab.study(TEACHER, "teacher").folder("teacher", 0)
    student = lab.study(STUDENT, "student").folder("student", 0)
    study = lab.study(replace(COMPARISON, arms=begun(teacher, student)))
    model, data = load_run(teacher), load_any(Run.read(study.folder(BOTH, lab.seeds(5)[0])).data)
    assert isinstance(model, SpeakingMethod)

    def nats(folder: Path) -> np.ndarray:
        learner = load_run(folder)
        assert isinstance(learner, SpeakingMethod)
        return sampled_nats(model, learner, data)

    start = nats(student)
    scores: dict[str, Score] = {
        name: arm(
            name, {seed: nats(study.folder(name, seed)) for seed in lab.seeds(5)}, "nats a word of samples"
        )
        for name in study.arms
    }
    yield from decides(
        below(scores[BOTH] - scores[FORWARD], name="nats a word of samples, DistiLLM-2 − forward KL", **NATS),
    )
    absent, recall = (study.scores(f"chair {name}") for name in ("instances", "recall"))
    yield from secondary(
        below(scores[BOTH] - scores[SWAPPED], name="nats a word of samples, DistiLLM-2 − roles swapped"),
        below(absent[BOTH] - absent[FORWARD], name="CHAIR of instances, DistiLLM-2 − forward KL"),
    )
    means = ", ".join(f"{name} {score.measure().estimate:.3f}" for name, score in scores.items())
    lab.note(
        f"The registered method on {DATA} under the recipe speak, {STEPS} steps from one run of sft with one layer in",
        "either tower and a width of 64; the teacher is a run of sft with two layers. Nats a word, under the teacher,",
        f"of a reply sampled at temperature 1 for each of {SAMPLED} test pictures: {means}; before distillation",
        f"{float(start.mean()):.3f}. CHAIR of instances: {absent.means()}; recall: {recall.means()}.",
    )
