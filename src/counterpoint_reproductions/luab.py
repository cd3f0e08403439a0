"""LUAB: does a click beside the class turn a classifier from the background to the thing?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .lab import UNSEEN, Lab, Result, TrainingComparison, above, decides, effects, secondary, within

CLAIM = (
    "Where backgrounds give things away, a classifier that also learns noisy clicks of some of the pictures is right "
    "about more things on misleading backgrounds than one of classes alone, and about fewer than with exact clicks of "
    "all; clicks by chance do not help."
)
REFUTED = "clicks do not help on misleading backgrounds, or clicks by chance help as much"
SHARE = effects.convention("share")

STEPS, NOISE, MISSING = 1500, 0.1, 0.2
THINGS = "cat+dog+pig+fish+apple+banana+car+bus+guitar+hat+tree+ball+chair+key+horse+monkey"
WORLD = f"scenes:spurious,concepts={THINGS},train=6000,validation=64,test=600"
PLAIN, CHANCE, CLICKS = "classes alone", "clicks by chance", "clicks"
COMPARISON = TrainingComparison(
    {PLAIN: "cross-entropy", CHANCE: "luab,weight=10,chance=true", CLICKS: "luab,weight=10"},
    {"classification": ("accuracy",)},
    data=f"{WORLD},click_noise={NOISE},missing_clicks={MISSING}",
    labels="concept",
    recipe="cpu",
    changes={"batch_size": 64, "steps": STEPS, "validate_every": STEPS},
    seeds=UNSEEN,
)
EXACT = replace(COMPARISON, arms={CLICKS: COMPARISON.arms[CLICKS]}, data=WORLD)
"""The same scenes with clicks at the centres of things."""


def run(lab: Lab) -> Iterator[Result]:
    study, exact = lab.study(COMPARISON), lab.study(EXACT, "exact")
    misled, usual = (study.scores("classification accuracy", test) for test in ("opposed", "as trained"))
    best = exact.scores("classification accuracy", "opposed")[CLICKS]
    yield from decides(
        above(misled[CLICKS] - misled[PLAIN], name="misleading backgrounds, clicks − classes alone", **SHARE),
        above(
            misled[CLICKS] - misled[CHANCE], name="misleading backgrounds, clicks − clicks by chance", **SHARE
        ),
    )
    yield from secondary(
        above(best - misled[CLICKS], name="misleading backgrounds, exact clicks − clicks"),
        within(
            misled[CHANCE] - misled[PLAIN], 0.02, name="misleading backgrounds, by chance − classes alone"
        ),
        above(usual[CLICKS] - usual[PLAIN], -0.01, name="backgrounds as in training, clicks − classes alone"),
    )
    lab.note(
        f"Scenes of one thing of 16 on one of 8 backgrounds, its own in 9 of 10; {STEPS} steps of 64, crops of half",
        f"the area and more for all arms. Clicks are off by {NOISE:g} of the side in either direction, and",
        f"{MISSING:.0%} are missing. Accuracy on misleading backgrounds: {misled.means()}; with exact clicks",
        f"{exact.scores('classification accuracy', 'opposed').means()}; on usual ones: {usual.means()}.",
    )
