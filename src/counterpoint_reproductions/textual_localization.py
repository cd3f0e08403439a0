"""Textual localization: does a loss on attention keep a new word off what is shown beside its subject?"""

from __future__ import annotations

from collections.abc import Iterator

from .lab import Lab, Result, TrainingComparison, above, decides, effects, mean, secondary

CLAIM = (
    "A word that is learned from eight pictures of its subject and a companion, which the prompt does not name, "
    "attends less to the companion by 0.1, on maps from 0 to 1, if a loss asks for attention where the subject is; "
    "with the mask of the companion in that loss the word attends more to the companion by 0.1."
)
REFUTED = "attention to the companion stays"
DELTA = effects.convention("share", of=10, reason="the paper reports similarities of drawn pictures")

NONE, COMPANION, HARD = "no loss", "mask of the companion", "mask of the subject"
PAIRS = {
    "rabbit": "bus",
    "pig": "drum",
    "snail": "crown",
    "turtle": "hat",
    "horse": "rose",
    "apple": "hammer",
    "strawberry": "train",
    "teapot": "butterfly",
}
"""Subjects, each with its companion."""
PAINTER, STEPS, RATE, ROWS = "tiny-painter", 100, 0.01, 128
TASK = "drawn,pictures=0"


def comparison(subject: str) -> TrainingComparison:
    """Return the comparison for a subject. The name of a word decides its mask, and nothing else of it."""
    origin, companion = f"from={PAINTER}", PAIRS[subject]
    return TrainingComparison(
        {
            NONE: f"custom-diffusion,prompt=a <{subject}>,{origin}",
            COMPANION: f"textual-localization,prompt=a <{companion}>,{origin}",
            HARD: f"textual-localization,prompt=a <{subject}>,{origin}",
        },
        {TASK: ("leak", "inside")},
        data=f"scenes:subjects,concepts={subject}+{companion},validation=8,test={ROWS}",
        recipe="words",
        changes={"steps": STEPS, "optimizer.lr": RATE, "validate_every": STEPS},
    )


COMPARISON = comparison("rabbit")


def run(lab: Lab) -> Iterator[Result]:
    studies = [lab.study(comparison(subject), subject) for subject in PAIRS]
    leaks, insides = (
        [study.scores(f"{TASK} {metric}") for study in studies] for metric in ("leak", "inside")
    )
    without = mean([leak[NONE] for leak in leaks])
    yield from decides(
        above(
            without - mean([leak[HARD] for leak in leaks]),
            name="1: attention to the companion, no loss − mask of the subject",
            **DELTA,
        ),
        above(
            mean([inside[COMPANION] for inside in insides]) - without,
            name="2: attention to the companion, mask of the companion − no loss",
            **DELTA,
        ),
    )
    yield from secondary(
        above(
            mean([inside[HARD] - inside[NONE] for inside in insides]),
            name="3: attention to the subject, mask of the subject − no loss",
        ),
    )
    lab.note(
        f"The registered methods from {PAINTER}, {STEPS} steps on eight pictures of each of {len(PAIRS)} pairs. A word",
        "begins as a drawn vector. Of the first pair, attention to other classes than the word's own:",
        f"{leaks[0].means()}; to its own class: {insides[0].means()}.",
    )
