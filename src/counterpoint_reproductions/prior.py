"""PRIOR: generated sentences that meet those of a report as a set are right whatever the order of the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, above, below, decides, effects, secondary
from .lab.clip_pairs import ARM, pretraining

CLAIM = (
    "Where each report has its sentences in another order, a decoder whose outputs meet the prototypes of a report's "
    "sentences by the best assignment names more of the sentences than one whose outputs meet them in their order, by "
    "0.1 in the F1 of a picture; where all reports have one order it is not better by 0.05."
)
REFUTED = "the order of the sentences does not matter"
DELTA = effects.convention("share", of=10, reason="less would not need an assignment; chosen before the run")
MARGIN = effects.tolerance("share", of=5)

SET, FIXED = "set", "fixed order"
STEPS, PRETRAINED = 500, 300
FOLDER = Path(__file__).parent / "lab" / "data_reports.py"
ORDERED, SHUFFLED = (f"{FOLDER}:{name}" for name in ("ORDERED", "SHUFFLED"))
PRETRAINING = pretraining(ORDERED, PRETRAINED, 64)


def started(towers: Path) -> dict[str, str]:
    """Return the arms, each from the image tower that CLIP has trained under the same seed."""
    prior = f'prior,prototypes=64,queries=6,picture=0,image="cnn@{towers}"'
    return {FIXED: f"{prior},order=fixed", SET: prior}


COMPARISON = replace(
    PRETRAINING,
    arms=started(Path("runs/pretraining/seed-{seed}")),
    tasks={"sentences": ("f1", "recall", "precision")},
    data=SHUFFLED,
    changes={**PRETRAINING.changes, "steps": STEPS, "validate_every": STEPS, "towers.text": "reader"},
)


def run(lab: Lab) -> Iterator[Result]:
    ordered, shuffled = (lab.world(data, small=data.replace(":", ":FEW_")) for data in (ORDERED, SHUFFLED))
    towers = lab.study(replace(PRETRAINING, data=ordered), "pretraining")
    arms = started(towers.each(ARM))
    in_order, in_any = (
        lab.study(replace(COMPARISON, data=data, arms=arms), name).scores("sentences f1")
        for data, name in ((ordered, "ordered"), (shuffled, "shuffled"))
    )
    yield from decides(
        above(in_any[SET] - in_any[FIXED], name="1: F1, shuffled sentences, set − fixed order", **DELTA),
        below(in_order[SET] - in_order[FIXED], name="2: F1, ordered sentences, set − fixed order", **MARGIN),
    )
    yield from secondary(
        above(in_order[FIXED] - in_any[FIXED], name="1: F1, fixed order, ordered − shuffled sentences"),
        above(in_any[SET] - in_order[SET], name="2: F1, set, shuffled − ordered sentences"),
    )
    lab.note(
        "The registered method on reports of two to four sentences on as many things, under the recipe cpu at 64 px,",
        f"batches of 64: image towers by {PRETRAINED} steps of CLIP, one a seed, then {STEPS} steps with 64 prototypes",
        f"and 6 queries, without the picture's decoder. F1 where sentences are ordered: {in_order.means()}; where",
        f"they are shuffled: {in_any.means()}.",
    )
