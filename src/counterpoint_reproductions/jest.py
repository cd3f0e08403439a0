"""JEST: does a joint choice with a clean reference leave bad pairs out, and reach a recall in fewer steps?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import torch

from counterpoint.data.source import load
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.study.presets import StudyPreset
from counterpoint.training.record.metrics import read_metrics
from counterpoint.training.run import Run
from counterpoint.training.start import load as load_run
from counterpoint.training.start import prepare
from counterpoint.types import StepInfo

from .lab import (
    UNSEEN,
    Lab,
    Result,
    Score,
    TrainingComparison,
    above,
    below,
    decides,
    effects,
    per_seed,
    secondary,
)

CLAIM = (
    "Of pairs of which half are wrong, joint selection by learnability with a reference trained on a few clean ones "
    "takes fewer wrong ones than their share, and reaches the recall of a uniform choice in fewer steps than that and "
    "than a choice pair by pair."
)
REFUTED = "half of what is chosen is wrong, or a uniform choice or one pair by pair is as fast"
SHARE = effects.convention("share")
FASTER = effects.reported(
    1.0,
    1 / 3,
    "examples to the final performance of a uniform choice, of its 3 billion: 1 billion with 80 % filtered out",
)
JOINTLY = effects.convention("count")

UNIFORM, ALONE, JOINT, HARD = "uniform", "pair by pair", "joint", "joint, hardest"
STEPS, EVERY = 400, 25
STEPS_TO = "steps to 0.9 of the last validation recall of a uniform choice"
LEARNER = {"batch_size": 320, "steps": STEPS, "validate_every": EVERY, "towers.image_size": 32, "threads": 1}


def arms(reference: str) -> dict[str, str]:
    """Return the arms that choose 64 of every 320 pairs; all make the same passes."""
    jest = f"jest,reference={reference}"
    return {
        UNIFORM: f"{jest},chunks=1,first_chunk=uniform",
        ALONE: f"{jest},chunks=1",
        JOINT: f"{jest},chunks=8",
        HARD: f"{jest},chunks=8,score=hard-learner",
    }


COMPARISON = TrainingComparison(
    arms("runs/reference"),
    {"retrieval": ("i2t_R@1", "t2i_R@1")},
    data="scenes:noisy,label_noise=0.5,train=10000,validation=500,test=1000",
    recipe="cpu",
    changes=LEARNER,
    seeds=UNSEEN,
)
PRESET = StudyPreset(
    "jest",
    "which pairs to learn from: any, the best one by one, and the best together, by a reference that is to be trained "
    "first: a run of siglip, in the folder runs/reference",
    {"arms": tuple(COMPARISON.arms.values())},
    COMPARISON.arms[UNIFORM],
    COMPARISON.tasks,
)
REFERENCE = replace(
    COMPARISON,
    arms={"siglip": "siglip"},
    data="scenes:noisy,label_noise=0,train=5000,validation=500,test=1000",
    changes={**LEARNER, "batch_size": 64, "steps": 2 * STEPS},
    seeds=(0,),
)


def wrong(folder: Path, batches: int) -> float:
    """Return the share of wrong pairs among those that a trained learner chooses."""
    run = Run.read(folder)
    data = load(run.data)
    assert isinstance(data, Scenes)
    method, loader = prepare(run, data)
    method.load_state_dict(load_run(folder).state_dict())
    row = {int(id): index for index, id in enumerate(data.ids)}
    rows: list[int] = []
    for step in range(batches):
        torch.manual_seed(step)
        with torch.no_grad():
            chosen = method.prepare(loader.batch(step), StepInfo(step, STEPS))
        rows += [row[id] for id in chosen.ids.tolist()]
    return sum(data.captioned(index) != data.scene(index) for index in rows) / len(rows)


def steps_to(folder: Path, level: float) -> int:
    """Return the steps after which validation reached a level; one step more than there were where it did not."""
    curve = _recalls(folder)
    return next((step for step, recall in curve if recall >= level), curve[-1][0] + EVERY)


def _recalls(folder: Path) -> list[tuple[int, float]]:
    numbers = read_metrics(folder)
    recalls = numbers.filter(numbers["name"].str.ends_with("retrieval/i2t_R@1")).sort("step")
    return list(zip(recalls["step"].to_list(), recalls["value"].to_list(), strict=True))


def run(lab: Lab) -> Iterator[Result]:
    reference = lab.study(REFERENCE, "reference")
    study = lab.study(replace(COMPARISON, arms=arms(str(reference.folder("siglip", 0)))))
    seeds = lab.seeds(COMPARISON.seeds)
    final = {seed: _recalls(study.folder(UNIFORM, seed))[-1][1] for seed in seeds}

    def each(arm: str, metric: str, of: Callable[[Path, int], float]) -> Score:
        return per_seed(arm, metric, [of(study.folder(arm, seed), seed) for seed in seeds])

    share = {
        a: each(a, "share of wrong pairs chosen", lambda f, _: wrong(f, 20)) for a in (ALONE, JOINT, HARD)
    }
    steps = {
        arm: each(
            arm,
            STEPS_TO,
            lambda folder, seed: steps_to(folder, 0.9 * final[seed]),
        )
        for arm in (UNIFORM, ALONE, JOINT)
    }
    recall = study.scores("retrieval i2t_R@1")
    yield from decides(
        below(share[JOINT], 0.5, **SHARE),
        below(steps[JOINT] / steps[UNIFORM], 1.0, metric=f"ratio of {STEPS_TO}", **FASTER),
        below(steps[JOINT] / steps[ALONE], 1.0, metric=f"ratio of {STEPS_TO}", **JOINTLY),
    )
    yield from secondary(
        below(steps[JOINT] - steps[UNIFORM]),
        below(steps[JOINT] - steps[ALONE]),
        below(share[ALONE], 0.5),
        above(share[HARD], 0.5),
        *(above(recall[arm] - recall[UNIFORM]) for arm in (ALONE, JOINT)),
        below(recall[HARD] - recall[UNIFORM]),
    )
    runs = {arm: study.results.runs[spec].values() for arm, spec in study.arms.items()}
    spent = ", ".join(
        f"{arm} {fmean(run.state.seconds for run in of_arm):.0f}" for arm, of_arm in runs.items()
    )
    lab.note(
        "Scenes at 32 pixels under the recipe cpu, half of the captions another scene's.",
        f"{STEPS} steps choose 64 of 320 pairs; the reference is siglip after {2 * STEPS} steps of 64 on 5,000 pairs",
        "that are right. All arms score, so that they differ in nothing but the choice. Wrong pairs are counted in 20",
        f"batches with the trained learner. Validation every {EVERY} steps; an arm that does not reach the level",
        f"counts {EVERY} steps more than there were. Test R@1: {recall.means()}. Seconds of training: {spent}.",
    )
