"""COCONUT: does contrast of rehearsed rows with the model of the last task keep more with its own negatives?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float

from counterpoint.data import load
from counterpoint.evaluation.forgetting import stream_numbers
from counterpoint.training.record.metrics import read_metrics

from .lab import (
    Lab,
    Result,
    TrainingComparison,
    above,
    below,
    decides,
    effects,
    per_seed,
    secondary,
)

CLAIM = (
    "On speech whose intents come in four tasks, with a memory of 1 % of the rows, distillation of rehearsed rows with "
    "negatives of the model itself gives a higher accuracy after the last task than with negatives of the copy of the "
    "model."
)
REFUTED = "negatives of the copy do as well"
SHARE = effects.convention("share", reason="the card has no figures of the paper")

COCONUT, TEACHER, REPLAY, TWICE = "COCONUT", "negatives of the copy", "replay", "replay, twice the memory"
DISTILLED, CROSS = "distillation alone", "both modalities alone"
CLIP = "CLIP"
TASKS, PRETRAINED, STEPS = 4, 300, 320
CONCEPTS = (
    "cat+dog+apple+banana+bus+tractor+hammer+pencil+guitar+trumpet+shirt+hat+cactus+tulip+chair+candle+kite+balloon+"
    "box+mirror"
)
"""Two of each kind."""
PRETRAINING = TrainingComparison(
    {CLIP: "clip,columns=audio+text"},
    {"retrieval": ("a2t_R@1",)},
    data="speech:short,train=3000,validation=300,test=1000",
    recipe="cpu",
    changes={
        "batch_size": 64,
        "steps": PRETRAINED,
        "threads": 1,
        "validate_every": PRETRAINED,
        "widths.embedding": 64,
        "towers.vocabulary": 512,
        "towers.context": 16,
        "towers.audio_seconds": 2.0,
    },
)


def started(towers: Path) -> dict[str, str]:
    """Return the arms, each from the tower of sounds that CLIP has trained under the same seed."""
    coconut = f'coconut-slu,audio="mel@{towers}"'
    return {
        REPLAY: f"{coconut},nspt=0,multimodal=0",
        TEACHER: f"{coconut},negatives=teacher",
        TWICE: f"{coconut},nspt=0,multimodal=0,memory=0.02",
        DISTILLED: f"{coconut},multimodal=0",
        CROSS: f"{coconut},nspt=0",
        COCONUT: coconut,
    }


COMPARISON = replace(
    PRETRAINING,
    arms=started(Path("runs/pretraining/seed-{seed}")),
    tasks={"classification": ("accuracy",), "transcription": ("wer",)},
    data=f"speech:short,concepts={CONCEPTS},train=2000,validation=300,test=1000",
    labels="group",
    changes={**PRETRAINING.changes, "batch_size": 32, "steps": STEPS, "validate_every": STEPS // TASKS},
)


def accuracies(folder: Path) -> Float[np.ndarray, "T T"]:
    """Return the accuracies on the validation rows of each task after each task."""
    classes = load(COMPARISON.data).classes[COMPARISON.labels].names
    metrics = read_metrics(folder).filter(pl.col("name").str.contains("/classification/accuracy_on_"))
    ends = sorted(metrics["step"].unique())
    table = np.zeros((len(ends), len(classes)))
    for step, name, value in metrics.select("step", "name", "value").iter_rows():
        table[ends.index(step), classes.index(name.partition("accuracy_on_")[2])] = value
    task = np.arange(len(classes)) * len(ends) // len(classes)
    return np.stack([table[:, task == number].mean(1) for number in range(len(ends))], 1)


def run(lab: Lab) -> Iterator[Result]:
    towers = lab.study(PRETRAINING, "pretraining")
    study = lab.study(replace(COMPARISON, arms=started(towers.each(CLIP))))
    accuracy, wer = study.scores("classification accuracy"), study.scores("transcription wer")
    name = "accuracy after the last task"
    yield from decides(above(accuracy[COCONUT] - accuracy[TEACHER], name=name, **SHARE))
    numbers = {
        arm: [stream_numbers(accuracies(study.folder(arm, seed))) for seed in lab.seeds(COMPARISON.seeds)]
        for arm in COMPARISON.arms
    }
    average, forgotten = (
        {arm: np.array([of_seed[key] for of_seed in of_arm]) for arm, of_arm in numbers.items()}
        for key in ("average", "forgetting")
    )
    yield from secondary(
        *(
            above(accuracy[COCONUT] - accuracy[other], name=f"{name}, COCONUT − {other}")
            for other in (REPLAY, TWICE, DISTILLED, CROSS)
        ),
        below(
            per_seed("COCONUT − replay", "forgetting", forgotten[COCONUT] - forgotten[REPLAY]),
            name="forgetting, COCONUT − replay",
        ),
    )
    course = (f"{arm} {average[arm].mean():.3f} and {forgotten[arm].mean():.3f}" for arm in COMPARISON.arms)
    lab.note(
        "The registered method from the tower of sounds that CLIP has trained on other speech. The kind of what is",
        f"named is the intent: ten classes in {TASKS} tasks of {STEPS // TASKS} steps of 32 rows, half rehearsed.",
        f"Accuracy after the last task: {accuracy.means()}; share of wrong words: {wer.means()}. On validation rows,",
        f"the mean of the accuracy so far after each task, and what is forgotten of the highest: {'; '.join(course)}.",
    )
