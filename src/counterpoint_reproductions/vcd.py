"""VCD: contrasting with a noisy picture takes away what the model says from habit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .lab import Lab, Result, above, below, decides, effects, exact, secondary
from .lab.decoding import Replies, answered

CLAIM = (
    "On bad pictures of scenes that break the pairs a small vision-language model was trained on, contrasting "
    "with the noisy picture lowers the share of absent partners that it affirms, and raises F1, below and "
    "above what the plausibility rule does by itself."
)
REFUTED = "the rule alone affirms as few absent partners, or its F1 is as high"
AFFIRMED = effects.convention("share")
F1 = effects.reported(77.57, 81.33, "F1, POPE adversarial, direct sampling against VCD", unit=0.01)


STEPS = (300, 500, 700, 900)
"""Steps of diffusion noise, out of a thousand; questions about balanced pairs, which test nothing here, choose."""
SYNTHETIC, WORDS = 2000, 50


def chosen(lab: Lab) -> int:
    """Return the amount of noise with the best accuracy on another test set, sampled with one seed."""
    arms = {step: {"arm": f"vcd,step={step}"} for step in STEPS}
    options = {"do_sample": True, "max_new_tokens": 4}
    validation = lab.grid(
        answered,
        {"noise": arms},
        seeds=(100,),
        task="pope",
        pictures=150,
        options=options,
        test="balanced",
    )
    accuracy = validation.scores("accuracy|mean", "accuracy")
    return max(STEPS, key=lambda step: accuracy.values(step).mean())


def ranks(rho: float) -> np.ndarray:
    """Count the ranks by which contrast lowers the token of the strongest prior; the visual part favours another."""
    rng = np.random.default_rng(0)
    visual, prior = rng.normal(size=(2, SYNTHETIC, WORDS))
    visual[:, 0] = visual.min(1)  # the token that only the prior likes
    prior[:, 0] = prior.max(1) + 1
    original, noisy = visual + prior, rho * visual + prior
    contrasted = 2 * original - noisy
    before, after = ((logits > logits[:, :1]).sum(1) for logits in (original, contrasted))
    return after - before


def run(lab: Lab) -> Iterator[Result]:
    step = chosen(lab)
    arms = {"VCD": f"vcd,step={step}", "rule alone": f"vcd,step={step},contrast=0", "plain": "plain"}
    pope = Replies(lab, arms, "pope", {"do_sample": True, "max_new_tokens": 4})
    fewest = min(int(ranks(rho).min()) for rho in (0.0, 0.3, 0.6, 0.9))
    affirmed = "false_positives: adversarial"
    yield from decides(
        below(pope["VCD", affirmed] - pope["rule alone", affirmed], **AFFIRMED),
        above(pope["VCD", "f1"] - pope["rule alone", "f1"], **F1),
    )
    yield from secondary(
        below(pope["VCD", affirmed] - pope["plain", affirmed]),
        above(pope["VCD", "f1"] - pope["plain", "f1"]),
        above(
            exact(fewest, "the fewest in any of 8,000 synthetic worlds"),
            -0.5,
            name="token that only the prior likes, places it falls by contrasting",
        ),
    )
    lab.note(
        f"Noise of step {step}, the best of {', '.join(map(str, STEPS))} on the test set of balanced pairs.",
        pope.sentence(affirmed),
        pope.sentence("f1"),
    )
