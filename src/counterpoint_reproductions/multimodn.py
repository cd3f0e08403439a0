"""MultiModN: does skipping what is missing keep a model from learning that it is missing?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from counterpoint.data.derived.gaps import with_gaps
from counterpoint.data.source import load_any
from counterpoint.study.presets import StudyPreset

from .lab import (
    UNSEEN,
    Lab,
    Result,
    Score,
    TrainedScores,
    TrainedStudy,
    TrainingComparison,
    above,
    decides,
    effects,
    secondary,
)
from .lab import data_tumours as tumours

CLAIM = (
    "Where a block of measurements is missing for the sick alone in training and for the healthy alone in the test, "
    "a state that each block updates in turn, and that skips what is missing, ranks the test better than late fusion "
    "with means or zeros in the gaps, and than late fusion with modality dropout, the simple competitor."
)
REFUTED = "late fusion of any of these kinds ranks as well, or MultiModN loses as much by the gaps as they do"
RANKING = effects.convention("correlation")

LATE: Mapping[str, str] = {"zero": "late", "mean": "late,fill=mean", "dropout": "late,drop=0.3"}
ARMS: Mapping[str, str] = {**LATE, "MultiModN": "multimodn"}
PRESET = StudyPreset(
    "multimodn",
    "a classifier of columns with gaps: late fusion with zeros, means or dropped columns, and column by column",
    {"arms": tuple(ARMS.values())},
    "late",
    {"classification": ("accuracy",), "missing_modality": ("withheld_accuracy",)},
)

DATA = f"{tumours.__file__}:TUMOURS"
BLOCK = tumours.BLOCKS[-1]
SHARES = (0.0, 0.4, 0.8)
"""Shares of the malignant tumours that lack the last block in training."""
STEPS, BATCH, RATE = 400, 32, 1e-3
COMPARISON = TrainingComparison(
    ARMS,
    {"classification": ("auroc",), "missing_modality": ("withheld_accuracy",)},
    data=DATA,
    labels=tumours.LABEL,
    changes={"batch_size": BATCH, "steps": STEPS, "validate_every": STEPS, "optimizer.lr": RATE},
    seeds=UNSEEN,
)
AUROC = "classification auroc"


def lacking(share: float, where: str = "") -> str:
    """Return the data of which a share of the malignant tumours lack the last block, everywhere unless it is said."""
    return with_gaps(DATA, [f"{BLOCK}:{share:g},when={tumours.LABEL}{where}"] if share else [])


def ranked(study: TrainedStudy, share: float) -> Mapping[str, TrainedScores]:
    """Return the AUROC of a study's arms in test sets without gaps, with those of training and with reversed ones."""
    return {
        "none": study.on(load_any(DATA), AUROC),
        "same": study.on(load_any(lacking(share)), AUROC),
        "reversed": study.scores(AUROC),
    }


def run(lab: Lab) -> Iterator[Result]:
    studies = {
        share: lab.study(replace(COMPARISON, data=lacking(share, ",in=reversed")), f"{share:g}")
        for share in SHARES
    }
    whole, *_, most = SHARES
    gapless = studies[whole].scores(AUROC)
    by_share = {share: ranked(studies[share], share) for share in SHARES if share}
    flipped = by_share[most]["reversed"]

    def lost(arm: str) -> Score:
        return gapless[arm] - flipped[arm]

    yield from decides(
        *(
            above(
                flipped["MultiModN"] - flipped[arm],
                name=f"MultiModN − late, {arm}, gaps reversed",
                **RANKING,
            )
            for arm in LATE
        ),
        *(
            above(
                lost(arm) - lost("MultiModN"),
                name=f"lost by late, {arm}, less MultiModN's loss",
                **RANKING,
            )
            for arm in LATE
        ),
    )
    withheld = studies[whole].scores("missing_modality withheld_accuracy")
    yield from secondary(
        *(
            above(scores["MultiModN"] - scores[arm], name=f"{test}, {share:.0%}: − late, {arm}")
            for share, tests in ({whole: {"none": gapless}} | by_share).items()
            for test, scores in tests.items()
            for arm in LATE
        ),
        *(
            above(
                withheld["MultiModN"] - withheld[arm],
                name=f"one or two blocks withheld, {whole:.0%}: − late, {arm}",
            )
            for arm in LATE
        ),
    )

    def listed(test: str) -> str:
        of_shares = {whole: gapless} | {share: tests[test] for share, tests in by_share.items()}
        return "; ".join(f"{share:.0%}, {scores.means()}" for share, scores in of_shares.items())

    (test,) = tumours.TUMOURS.splits.test.values()
    lab.note(
        "Studies of the registered late and multimodn on scikit-learn's tumours: thirty measurements, under noise,",
        f"in three columns of modality table, {tumours.TRAINED} rows to train on and {len(test)} to test, under the",
        f"recipe seconds, {STEPS} steps of {BATCH} at a rate of {RATE:g}. Gaps are those of --missing, of the same",
        "rows under all seeds: a share of the malignant ones lacks the last block in training, and that share of the",
        "benign ones in the test where gaps are reversed. Steps, batch and rate are those of the first evidence; late",
        "with zeros and no gaps ranks at 0.91 by them under seed 1000. AUROC by the share, with gaps reversed:",
        f"{listed('reversed')}; without gaps in the test: {listed('none')}.",
        "The first evidence trained smaller networks, of each block its own, without weight decay, in a loop of its",
        "own, and tested on 269 rows; here blocks share the tower of tables, in whose input each has its own cells.",
    )
