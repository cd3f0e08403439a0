"""COCONUT: does contrast of rehearsed rows with the model of the last task keep more with its own negatives?"""

from __future__ import annotations

from collections.abc import Iterator
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
TASKS, STEPS = 4, 600
COMPARISON = TrainingComparison(
    {
        REPLAY: "coconut-slu,nspt=0,multimodal=0",
        TEACHER: "coconut-slu,negatives=teacher",
        TWICE: "coconut-slu,nspt=0,multimodal=0,memory=0.02",
        DISTILLED: "coconut-slu,multimodal=0",
        CROSS: "coconut-slu,nspt=0",
        COCONUT: "coconut-slu",
    },
    {"classification": ("accuracy",), "transcription": ("wer",)},
    data="speech:short,train=3000,validation=300,test=1000",
    labels="group",
    recipe="cpu",
    changes={
        "batch_size": 32,
        "steps": STEPS,
        "threads": 1,
        "validate_every": STEPS // TASKS,
        "widths.embedding": 64,
        "towers.vocabulary": 512,
        "towers.context": 16,
        "towers.audio_seconds": 2.0,
    },
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
    study = lab.study(COMPARISON)
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
        f"The registered method on {COMPARISON.data}: the kind of what is named is the intent, ten classes in {TASKS}",
        f"tasks of {STEPS // TASKS} steps of {COMPARISON.changes['batch_size']}, half of them rehearsed rows.",
        f"Accuracy after the last task: {accuracy.means()}; share of wrong words: {wer.means()}. On validation rows,",
        f"the mean of the accuracy so far after each task, and what is forgotten of the highest: {'; '.join(course)}.",
    )
