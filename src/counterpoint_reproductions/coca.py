"""CoCa: contrast and captioning in one pass lose nothing to either alone."""

from __future__ import annotations

from collections.abc import Iterator

from .lab import Lab, Result, ThresholdOrigin, TrainingComparison, above, below, decides, effects, secondary

CLAIM = (
    "One model that contrasts and captions retrieves at most 0.03 worse than one that contrasts alone, and its "
    "likelihood per token is at most 0.05 nats worse than that of one that captions alone, at equal steps."
)
REFUTED = "retrieval or likelihood is worse by more than that"
LIKELIHOOD = ThresholdOrigin(kind="convention", text="0.05 nats a token; chosen before the run")

BOTH, CONTRAST, CAPTIONING, CLIP = "CoCa", "contrast alone", "captioning alone", "CLIP"
STEPS = 700
DATA = "scenes:basic,train=6000,validation=64,test=1000,pixels=64"
COMPARISON = TrainingComparison(
    {CLIP: "clip", CONTRAST: "coca,captioning=0", CAPTIONING: "coca,contrast=0", BOTH: "coca"},
    {"retrieval,rerank=0": ("i2t_R@1", "t2i_R@1"), "captions": ("nll",)},
    data=DATA,
    recipe="cpu",
    changes={
        "steps": STEPS,
        "validate_every": STEPS,
        "batch_size": 64,
        "towers.image_size": 64,
        "augmentation.paired": "plain",
    },
)


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    retrieved = study.scores("retrieval,rerank=0 i2t_R@1")
    nll = study.scores("captions nll", arms=(CAPTIONING, BOTH))
    other = study.scores("retrieval,rerank=0 t2i_R@1")
    yield from decides(
        above(
            retrieved[BOTH] - retrieved[CONTRAST],
            name="1: R@1 of captions, both losses − contrast alone",
            **effects.tolerance("share", of=3),
        ),
        below(
            nll[BOTH] - nll[CAPTIONING],
            name="2: negative log-likelihood of a token, both losses − captioning alone",
            margin=0.05,
            source=LIKELIHOOD,
        ),
    )
    yield from secondary(
        above(other[BOTH] - other[CONTRAST], name="1: R@1 of pictures, both losses − contrast alone"),
        above(retrieved[BOTH] - retrieved[CLIP], name="1: R@1 of captions, both losses − CLIP"),
    )
    lab.note(
        f"The registered method on {DATA} under the recipe cpu at 64 px, {STEPS} steps of 64, from random weights.",
        f"R@1 of captions: {retrieved.means()}; negative log-likelihood of a token: {nll.means()}.",
    )
