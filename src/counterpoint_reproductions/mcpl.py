"""MCPL: do masks, contrast and adjectives keep words that are learned together off each other's things?"""

from __future__ import annotations

from collections.abc import Iterator

from .lab import Lab, Result, TrainingComparison, above, decides, effects, mean, secondary
from .textual_localization import PAINTER, PAIRS

CLAIM = (
    "Of two words that are learned together from eight pictures of two things, the attention of each overlaps with the "
    "other's thing less, by an IoU of 0.05, with the masked loss, the contrast between words and the adjectives."
)
REFUTED = "the overlap with the other thing does not fall"
DELTA = effects.convention(
    "share", of=5, reason="the paper reports similarities of drawn and masked pictures"
)

NONE, MASKED, CONTRAST, ALL = "none of them", "masked loss", "contrast with adjectives", "all three"
STEPS, ROWS = 60, 128
TASK = "drawn,pictures=0"


def comparison(first: str, second: str) -> TrainingComparison:
    """Return the comparison for a pair. One thing is always red and the other one yellow, as the prompt says."""
    said = f"prompt=a red <{first}> and a yellow <{second}>,from={PAINTER}"
    return TrainingComparison(
        {
            NONE: f"mcpl,masked=false,contrast=0,{said}",
            MASKED: f"mcpl,contrast=0,{said}",
            CONTRAST: f"mcpl,masked=false,adjectives=red+yellow,{said}",
            ALL: f"mcpl,adjectives=red+yellow,{said}",
        },
        {TASK: ("confusion", "overlap")},
        data=f"scenes:subjects,concepts={first}+{second},spurious=colour,strength=1,validation=8,test={ROWS}",
        recipe="words",
        changes={"steps": STEPS, "validate_every": STEPS},
    )


COMPARISON = comparison("rabbit", "bus")


def run(lab: Lab) -> Iterator[Result]:
    studies = [lab.study(comparison(*pair), pair[0]) for pair in PAIRS.items()]
    confusions, overlaps = (
        [study.scores(f"{TASK} {metric}") for study in studies] for metric in ("confusion", "overlap")
    )

    def less(name: str) -> Result:
        gain = mean([of[NONE] - of[name] for of in confusions])
        return above(gain, name=f"1: IoU with the other thing, {NONE} − {name}", **DELTA)

    yield from decides(less(ALL))
    yield from secondary(
        above(mean([of[NONE] - of[MASKED] for of in confusions]), name=f"2: the same, {NONE} − {MASKED}"),
        above(mean([of[NONE] - of[CONTRAST] for of in confusions]), name=f"3: the same, {NONE} − {CONTRAST}"),
        above(
            mean([of[ALL] - of[NONE] for of in overlaps]), name=f"4: IoU with the own thing, {ALL} − {NONE}"
        ),
    )
    lab.note(
        f"The registered method from {PAINTER}, {STEPS} steps on eight pictures of each of {len(PAIRS)} pairs. Of the",
        f"first pair, IoU with the other thing: {confusions[0].means()}; with the own thing: {overlaps[0].means()}.",
    )
