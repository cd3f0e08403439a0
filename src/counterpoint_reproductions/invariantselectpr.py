"""InvariantSelectPR: examples of the query's class are nearer in a new style if positives of contrast cross styles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "Of the seven training emoji that are nearest to an emoji of an artist whom training lacks, more are of its "
    "subgroup, by a share of 0.01, if positives of the supervised contrast are of other styles than if they may be of "
    "the same style."
)
REFUTED = "supervised contrast without the rule finds as many"
SHARE = effects.convention(
    "share",
    reason="the paper reports accuracy of a large model against no examples, not against other contrast",
)

PLAIN, SUPERVISED, ACROSS = "contrast without classes", "any style", "other styles"
STEPS, BATCH = 500, 128
FILE = Path(__file__).parent / "lab" / "data_styles.py"
DATA, FEW = f"{FILE}:STYLES", f"{FILE}:FEW_STYLES"
K, TASK = 7, "neighbours,labels=subgroup"
COMPARISON = TrainingComparison(
    {
        PLAIN: "ntxent,on=images",
        SUPERVISED: "cci,sampler=classes:8",
        ACROSS: "cci,across=style,sampler=classes:8",
    },
    {TASK: (f"subgroup_purity@{K}", f"subgroup_vote@{K}")},
    data=DATA,
    labels="subgroup",
    changes={"steps": STEPS, "batch_size": BATCH, "towers.image_size": 32, "validate_every": STEPS},
)


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(replace(COMPARISON, data=lab.world(DATA, FEW)))
    purity, vote = (study.pooled(f"{TASK} subgroup_{name}@{K}") for name in ("purity", "vote"))
    yield from decides(
        above(purity[ACROSS] - purity[SUPERVISED], name="1: purity of 7, other styles − any style", **SHARE),
    )
    yield from secondary(
        above(vote[ACROSS] - vote[SUPERVISED], name="2: vote of 7, other styles − any style"),
        above(purity[SUPERVISED] - purity[PLAIN], name="3: purity of 7, any style − without classes"),
    )
    lab.note(
        f"The registered method on emoji, {STEPS} steps in batches of {BATCH} of eight a subgroup. Training has the",
        "first artist's pictures as they are, tinted, as outlines and inverted; all test pictures are the other",
        f"artist's. Purity of {K}: {purity.means()}; vote of {K}: {vote.means()}.",
    )
