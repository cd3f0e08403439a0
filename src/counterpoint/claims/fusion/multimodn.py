"""MultiModN: does skipping what is missing keep a model from learning that it is missing?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...evaluation import STATISTICS
from ...methods.fusion.late import Late
from ...methods.fusion.multimodn import MultiModN
from ...networks.base import Towers
from ...recipes import Recipe
from ...study.presets import Preset
from ..benches.data.blocks import BLOCKS, TARGET, classifier, lacking, scored
from ..lab import UNSEEN, Arrays, Lab, Result, Score, above, beside, decides

CLAIM = (
    "Where a block of measurements is missing for the sick alone in training and for the healthy alone in the test, "
    "a state that each block updates in turn, and that skips what is missing, ranks the test better than late fusion "
    "with means or zeros in the gaps, and than late fusion with modality dropout, the simple competitor."
)
REFUTED = "late fusion of any of these kinds ranks as well, or MultiModN loses as much by the gaps as they do"
PRESET = Preset(
    "multimodn",
    "a classifier of columns with gaps: late fusion with zeros, means or dropped columns, and column by column",
    {"arms": ("late", "late,fill=mean", "late,drop=0.3", "multimodn")},
    "late",
    {"classification": ("accuracy",), "missing_modality": ("withheld_accuracy",)},
)

STEPS = 400
SHARES = (0.0, 0.4, 0.8)
LATE: Mapping[str, Mapping[str, Any]] = {
    "zero": {"fill": "zero"},
    "mean": {"fill": "mean"},
    "dropout": {"fill": "zero", "drop": 0.3},
}
ARMS = ("MultiModN", *LATE)
METRIC = "AUROC of malignant tumours"


def graded(arm: str, share: float, seed: int, steps: int) -> Arrays:
    """Train where a share of the malignant tumours lack the worst values; test without gaps and with reversed ones."""

    def build(towers: Towers, recipe: Recipe) -> MultiModN | Late:
        if arm == "MultiModN":
            return MultiModN(towers, recipe, target=TARGET)
        return Late(towers, recipe, target=TARGET, hidden=32, **LATE[arm])

    block = BLOCKS[-1]
    method = classifier(build, {block: lacking(share, 1, "train")}, seed=seed, steps=steps)
    tests = {
        "none": {},
        "same": {block: lacking(share, 1, "test")},
        "flipped": {block: lacking(share, 0, "test")},
    }
    return {name: scored(method, gaps) for name, gaps in tests.items()}


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.grid(graded, {"arm": ARMS, "share": SHARES}, seeds=UNSEEN, steps=STEPS)
    ranked = {test: runs.scores(test, METRIC, STATISTICS["auroc"]) for test in ("none", "same", "flipped")}
    flipped, most = ranked["flipped"], SHARES[-1]

    def lost(arm: str) -> Score:
        return flipped[arm, 0.0] - flipped[arm, most]

    yield from decides(
        *(
            above(
                flipped["MultiModN", most] - flipped[arm, most],
                name=f"MultiModN − late, {arm}, gaps reversed",
            )
            for arm in LATE
        ),
        *(
            above(lost(arm) - lost("MultiModN"), name=f"lost by late, {arm}, less MultiModN's loss")
            for arm in LATE
        ),
    )
    yield from beside(
        *(
            above(
                ranked[test]["MultiModN", share] - ranked[test][arm, share],
                name=f"{test}, {share:.0%}: − late, {arm}",
            )
            for test in ranked
            for share in SHARES
            for arm in LATE
        )
    )
    lab.note(
        f"scikit-learn's tumours, ten measurements in three blocks, 300 to train on; {SHARES[-1]:.0%} of the malignant",
        f"ones lack the last block in training. {STEPS} steps of Adam at 0.001, batch 32. AUROC with gaps reversed:",
        f"{flipped.means()}; without gaps: {ranked['none'].means()}.",
    )
