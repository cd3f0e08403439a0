"""RITUAL: adding what the model says of a transformed picture, against sharpening alone."""

from __future__ import annotations

from collections.abc import Sequence

from ...catalog.evidence import Result
from ..benches.decoding import Replies
from ..lab.lab import Lab

CLAIM = (
    "On bad pictures of scenes that break the pairs a small vision-language model was trained on, adding its "
    "logits for a randomly transformed picture answers yes/no questions more accurately than adding those for "
    "the unchanged picture, which only sharpens sampling."
)
REFUTED = "sharpening alone does as well"


ALPHA = 3.0
ALL = 10000.0
"""A weight beside which the picture itself counts for nothing; the logits are divided by as much again."""


def run(lab: Lab) -> Sequence[Result]:
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
        given={"kinds": ["relation"]},
    )
    greedy = Replies(
        lab, {k: arms[k] for k in ("RITUAL", "plain")}, "pope", {"max_new_tokens": 4}, label=", greedy"
    )
    lab.note(
        f"The unchanged picture added {ALPHA:g} times samples at temperature {1 / (1 + ALPHA)} under the same rule.",
        "The transformed picture alone is RITUAL of a weight beside which the picture itself counts for nothing.",
        "Questions of sides ask what is beside, above or below what: half of the transforms spoil them.",
        "Greedy replies differ between seeds only by the transforms that these draw.",
        sampled.said("accuracy"),
        sampled.said("f1"),
        sides.said("accuracy"),
        greedy.said("accuracy"),
    )
    return [
        sampled.difference("RITUAL", "unchanged picture", "accuracy", expected="above"),
        sampled.difference("RITUAL", "unchanged picture", "f1", expected="above", decides=False),
        sampled.difference("RITUAL", "plain", "accuracy", expected="above", decides=False),
        sampled.difference("unchanged picture", "plain", "accuracy", expected="above", decides=False),
        sampled.difference("transformed picture alone", "plain", "accuracy", expected="below", decides=False),
        sides.difference("RITUAL", "unchanged picture", "accuracy", expected="below", decides=False),
        greedy.difference("RITUAL", "plain", "accuracy", expected="above", decides=False),
    ]
