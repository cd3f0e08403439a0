"""MoRE: two columns that meet in no term are aligned through a third one, if less well than by a term of their own."""

from __future__ import annotations

from collections.abc import Iterator

from .lab import UNSEEN, Lab, Result, TrainingComparison, above, below, decides, effects, secondary

CLAIM = (
    "Clips and series of sensors that are contrasted with captions alone find each other among 300 above chance, and "
    "less often than under a term of their own."
)
REFUTED = (
    "clips and series find each other no better than by chance, or as often as under a term of their own"
)
SHARE = effects.convention("share")

STEPS, TESTED, K = 700, 300, 10
CHANCE = K / TESTED
COMPARISON = TrainingComparison(
    {
        "hub": "more,hub=text",
        "all pairs": "more,hub=none",
        "direct": "clip,columns=video+series",
        "hub, transformer": "more,hub=text,series=transformer",
        "hub, DropKey": "more,hub=text,series=transformer,dropkey=0.3",
    },
    {"retrieval": (f"v2s_R@{K}", f"s2v_R@{K}")},
    data=(
        "clips:sensors,missing_pictures=0,missing_captions=0,missing_sensors=0,train=1000,validation=100,"
        f"test={TESTED},pixels=24,frames=6"
    ),
    changes={
        "batch_size": 64,
        "steps": STEPS,
        "optimizer.lr": 1e-3,
        "towers.image_size": 24,
        "towers.video_frames": 6,
    },
    seeds=UNSEEN,
)


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    there, back = (study.scores(f"retrieval {way}_R@{K}") for way in ("v2s", "s2v"))
    yield from decides(
        *(
            above(way["hub"], CHANCE, name=f"hub, {way.metric} against chance", **SHARE)
            for way in (there, back)
        ),
        *(below(way["hub"] - way["direct"], **SHARE) for way in (there, back)),
    )
    yield from secondary(
        *(below(way["hub"] - way["all pairs"]) for way in (there, back)),
        *(above(way["hub, DropKey"] - way["hub, transformer"]) for way in (there, back)),
    )
    lab.note(
        "Clips of one thing that moves, what an accelerometer on it measures, a caption: 1,000 to train on, batches of",
        f"64, {STEPS} steps. A caption says which thing and where to, a series the direction alone: who is right about",
        f"it has an R@{K} of about 0.13; chance is {CHANCE:.3f}. Clips to series: {there.means()}; series to clips:",
        f"{back.means()}. DropKey acts in the transformer over series alone.",
    )
