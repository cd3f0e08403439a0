"""CoLVA: an expert's objects, aligned with a speaking model's tokens, are found again in another artist's drawing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "Of four emoji in a picture, the features of a frozen expert with a trained adapter find more again in a picture "
    "by another artist with other places, by a share of 0.05, than with an untrained adapter, and than the speaking "
    "model's own tokens do."
)
REFUTED = "an untrained adapter, or the speaking model's own tokens, find as many"
SHARE = effects.convention(
    "share", of=5, reason="half of the paper's gain of 23.58 points is of a large model's replies"
)

UNTRAINED, TRAINED = "untrained adapter", "CoLVA"
EXPERT_STEPS, MODEL_STEPS, STEPS = 500, 500, 300
LAB = Path(__file__).parent / "lab"
DATA, FEW = f"{LAB / 'data_pairs.py'}:PAIRS", f"{LAB / 'data_pairs.py'}:FEW_PAIRS"
NAMED, FEW_NAMED = f"{LAB / 'data_kinds.py'}:NAMED", f"{LAB / 'data_kinds.py'}:FEW_NAMED"
SIZES = {"towers.image_size": 48, "towers.image": "cnn"}
MODEL = TrainingComparison(
    {"model": "sft,columns=image+talk"},
    {"likelihood": ("nats",)},
    data=NAMED,
    recipe="speak",
    changes={**SIZES, "steps": MODEL_STEPS, "validate_every": MODEL_STEPS},
    seeds=(0,),
)
EXPERT = replace(
    MODEL,
    arms={"expert": "ntxent,on=images"},
    tasks={"probe": ("knn_subgroup_top1",)},
    recipe="cpu",
    changes={**SIZES, "steps": EXPERT_STEPS, "validate_every": EXPERT_STEPS, "batch_size": 128},
)


def started(expert: Path, model: Path, name: str = TRAINED) -> dict[str, str]:
    """Return the arm, on a frozen expert and a frozen speaking model."""
    return {name: f'colva,image="cnn@{expert}",model="{model}",tune=frozen'}


COMPARISON = replace(
    MODEL,
    arms=started(Path("runs/expert"), Path("runs/model")),
    tasks={"same_thing": ("accuracy", "own")},
    data=DATA,
    changes={**MODEL.changes, "steps": STEPS, "validate_every": STEPS},
    seeds=5,
)


def run(lab: Lab) -> Iterator[Result]:
    named = lab.world(NAMED, FEW_NAMED)
    model = lab.study(replace(MODEL, data=named), "model").folder("model", 0)
    expert = lab.study(replace(EXPERT, data=named), "expert").folder("expert", 0)
    study = lab.study(replace(COMPARISON, arms=started(expert, model), data=lab.world(DATA, FEW)))
    begun = replace(
        COMPARISON,
        arms=started(expert, model, UNTRAINED),
        data=lab.world(DATA, FEW),
        changes={**COMPARISON.changes, "steps": 1, "validate_every": 1},
    )
    untrained = lab.study(begun, "untrained")
    right, own = (study.scores(f"same_thing {name}") for name in ("accuracy", "own"))
    start = untrained.scores("same_thing accuracy")[UNTRAINED]
    yield from decides(
        above(right[TRAINED] - start, name="1: accuracy, CoLVA − untrained adapter", **SHARE),
        above(right[TRAINED] - own[TRAINED], name="2: accuracy, CoLVA − the model's own tokens", **SHARE),
    )
    by_cue, start_by_cue = (
        of.scores("same_thing accuracy", subset="one subgroup") for of in (study, untrained)
    )
    yield from secondary(
        above(by_cue[TRAINED] - start_by_cue[UNTRAINED], name="3: the same as 1, candidates of one subgroup"),
    )
    lab.note(
        f"The registered method on pairs of pictures under the recipe speak, {STEPS} steps. The expert is a cnn after",
        f"{EXPERT_STEPS} steps of ntxent on one artist's emoji; the model has {MODEL_STEPS} steps of sft on their",
        f"names. All test emoji are held-out concepts. Accuracy: {right.means()}; own tokens: {own.means()}; chance",
        "0.25.",
    )
