"""VCD: contrasting with a noisy picture takes away what the model says from habit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...catalog.evidence import Direction, Result
from ..benches.decoding import Replies, answered
from ..lab import measure
from ..lab.lab import Lab

CLAIM = (
    "On bad pictures of scenes that break the pairs a small vision-language model was trained on, contrasting "
    "with the noisy picture lowers the share of absent partners that it affirms, and raises F1, below and "
    "above what the plausibility rule does by itself."
)
REFUTED = "the rule alone affirms as few absent partners"


STEPS = (300, 500, 700, 900)
"""Steps of diffusion noise, out of a thousand; validation scenes choose among these steps."""
SYNTHETIC, WORDS = 2000, 50


def chosen(lab: Lab) -> int:
    """The amount of noise with the best F1 on validation questions, sampled with one seed."""
    pictures = 8 if lab.quick else 150
    cells = {
        f"noise{step}": {
            "arm": f"vcd,step={step}",
            "seed": 100,
            "task": "pope",
            "pictures": pictures,
            "options": {"do_sample": True, "max_new_tokens": 4},
            "test": "balanced",
        }
        for step in STEPS
    }
    found = lab.cells(answered, cells)
    accuracy = {step: found[f"noise{step}"]["accuracy|mean"].mean() for step in STEPS}
    return max(STEPS, key=lambda step: accuracy[step])


def ranks(rho: float) -> np.ndarray:
    """Count the ranks by which contrast lowers the token of the strongest prior; the visual part favours another."""
    rng = np.random.default_rng(0)
    visual, prior = rng.normal(size=(2, SYNTHETIC, WORDS))
    visual[:, 0] = visual.min(1)  # the token that only the prior likes
    prior[:, 0] = prior.max(1) + 1
    own, noisy = visual + prior, rho * visual + prior
    contrasted = 2 * own - noisy
    before, after = ((logits > logits[:, :1]).sum(1) for logits in (own, contrasted))
    return after - before


def run(lab: Lab) -> Sequence[Result]:
    step = chosen(lab)
    arms = {"VCD": f"vcd,step={step}", "rule alone": f"vcd,step={step},contrast=0", "plain": "plain"}
    found = Replies(lab, arms, "pope", {"do_sample": True, "max_new_tokens": 4})
    fewest = min(int(ranks(rho).min()) for rho in (0.0, 0.3, 0.6, 0.9))
    lab.note(
        f"Noise of step {step}, the best of {', '.join(map(str, STEPS))} on the test set of balanced pairs.",
        found.said("false_positives: adversarial"),
        found.said("f1"),
    )
    judged: tuple[tuple[str, Direction], ...] = (("false_positives: adversarial", "below"), ("f1", "above"))
    return [
        *(
            found.difference("VCD", other, metric, expected=way, decides=other == "rule alone")
            for other in ("rule alone", "plain")
            for metric, way in judged
        ),
        measure.exact(
            "token that only the prior likes, places it falls by contrasting",
            "the fewest in any of 8,000 synthetic worlds",
            float(fewest),
            expected="above",
            bound=-0.5,
            decides=False,
        ),
    ]
