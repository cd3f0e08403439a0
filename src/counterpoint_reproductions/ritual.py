"""RITUAL: adding what the model says of a transformed picture, against sharpening alone."""

from __future__ import annotations

from collections.abc import Iterator

from .lab import Lab, Result, above, below, decides, effects, secondary
from .lab.decoding import Replies

CLAIM = (
    "On bad pictures of scenes that break the pairs a small vision-language model was trained on, adding its "
    "logits for a randomly transformed picture answers yes/no questions more accurately than adding those for "
    "the unchanged picture, which only sharpens sampling."
)
REFUTED = "sharpening alone does as well"
SHARE = effects.convention("share")


ALPHA = 3.0
ALL = 10000.0
"""A weight beside which the picture itself counts for nothing; the logits are divided by as much again."""


def run(lab: Lab) -> Iterator[Result]:
    arms = {
        "RITUAL": f"ritual,alpha={ALPHA}",
        "unchanged picture": "ritual,contrast=0",
        "plain": "plain",
        "transformed picture alone": f"ritual,alpha={ALL},beta=0",
    }
    sharper = {
        "unchanged picture": {"temperature": 1 / (1 + ALPHA)},
        "transformed picture alone": {"temperature": 1 + ALL},
    }
    options = {"do_sample": True, "max_new_tokens": 4}
    sampled = Replies(lab, arms, "pope", options, sharper)
    sides = Replies(
        lab,
        {k: arms[k] for k in ("RITUAL", "unchanged picture")},
        "mme",
        options,
        {k: sharper[k] for k in ("unchanged picture",)},
        label=", questions of sides",
        task_options={"kinds": ["relation"]},
    )
    greedy = Replies(
        lab, {k: arms[k] for k in ("RITUAL", "plain")}, "pope", {"max_new_tokens": 4}, label=", greedy"
    )
    lab.note(
        f"The unchanged picture added {ALPHA:g} times samples at temperature {1 / (1 + ALPHA)} under the same rule.",
        "The transformed picture alone is RITUAL of a weight beside which the picture itself counts for nothing.",
        "Questions of sides ask what is beside, above or below what: half of the transforms spoil them.",
        "Greedy replies differ between seeds only by the transforms that these draw.",
        sampled.sentence("accuracy"),
        sampled.sentence("f1"),
        sides.sentence("accuracy"),
        greedy.sentence("accuracy"),
    )
    yield from decides(
        above(sampled["RITUAL", "accuracy"] - sampled["unchanged picture", "accuracy"], **SHARE),
    )
    yield from secondary(
        above(sampled["RITUAL", "f1"] - sampled["unchanged picture", "f1"]),
        above(sampled["RITUAL", "accuracy"] - sampled["plain", "accuracy"]),
        above(sampled["unchanged picture", "accuracy"] - sampled["plain", "accuracy"]),
        below(sampled["transformed picture alone", "accuracy"] - sampled["plain", "accuracy"]),
        below(sides["RITUAL", "accuracy"] - sides["unchanged picture", "accuracy"]),
        above(greedy["RITUAL", "accuracy"] - greedy["plain", "accuracy"]),
    )
