"""LiT: with few captions, a text tower learns best to read an image tower that is pretrained and locked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from counterpoint.study.presets import StudyPreset

from .lab import FIRST, Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "With captions for a tenth of the pictures, a text tower tuned to a pretrained, locked image tower names "
    "held-out pictures better than two towers trained from scratch, on the artist of training and on another."
)
REFUTED = "training both towers from scratch wins at a tenth of the captions"
SHARE = effects.convention("share")
_PRETRAINED = "image=timm:tf_efficientnet_lite0@package"
PRESET = StudyPreset(
    "lit",
    "a text tower tuned to a pretrained image tower that is locked, or trained too, and two towers from scratch",
    {"arms": ("lit,mode=uu", f"lit,{_PRETRAINED}", f"lit,mode=Uu,{_PRETRAINED}")},
    "lit,mode=uu",
    {"retrieval": ("i2t_R@1", "t2i_R@1"), "zero_shot": ("*_top1",)},
)

STEPS, BATCH, SIZE = 100, 128, 32
FEW = 0.1
BROAD, NARROW = "98 subgroups", "9 groups"
SHIFT = "shift,limit=200"
PRETRAINING = TrainingComparison(
    {BROAD: "cross-entropy,labels=subgroup"},
    {"classification": ("accuracy",)},
    data="emoji",
    recipe="cpu",
    changes={
        "steps": STEPS,
        "validate_every": STEPS,
        "batch_size": BATCH,
        "towers.image_size": SIZE,
    },
)
COARSE = replace(PRETRAINING, arms={NARROW: "cross-entropy,labels=group"}, seeds=FIRST)
"""The same pictures with fewer classes."""


def tuning(pretrained: Path) -> Mapping[str, str]:
    """Return the arms that decide, of which one begins with the image towers of some runs."""
    return {"uu": "lit,mode=uu", "Lu": f'lit,image="cnn@{pretrained}"'}


COMPARISON = replace(
    PRETRAINING,
    arms=tuning(Path("runs/pretraining/seed-{seed}")),
    tasks={SHIFT: ("clean_100way", "artist_100way")},
)
TENTH = f"emoji,missing=text:{1 - FEW:g}/in:train"


def run(lab: Lab) -> Iterator[Result]:
    # A second run has seeds of its own where Lu and uu decide, and the first ones beside.
    origins = replace(PRETRAINING, seeds=tuple(dict.fromkeys((*lab.seeds(PRETRAINING.seeds), *FIRST))))
    pretrained, coarse = lab.study(origins, "pretraining"), lab.study(COARSE, "coarse pretraining")
    arms = tuning(pretrained.each(BROAD))
    further = {
        "Uu": f'lit,mode=Uu,image="cnn@{pretrained.each(BROAD)}"',
        NARROW: f'lit,image="cnn@{coarse.each(NARROW)}"',
    }

    tuned = replace(COMPARISON, arms=arms, data=TENTH)
    decisive = lab.study(tuned, "few captions")
    few = lab.study(replace(tuned, arms={**arms, **further}, seeds=FIRST), "few captions")
    every = lab.study(replace(COMPARISON, arms=arms, seeds=FIRST), "all captions")
    for condition, artist in (("clean", "same artist"), ("artist", "other artist")):
        metric = f"{SHIFT} {condition}_100way"
        decided, some, whole = (study.pooled(metric) for study in (decisive, few, every))
        tenth = f"{FEW:.0%} of the captions, {artist}"
        yield from decides(above(decided["Lu"] - decided["uu"], name=f"Lu − uu, {tenth}", **SHARE))
        yield from secondary(
            above(some["Lu"] - some["Uu"], name=f"Lu − Uu, {tenth}"),
            above(some["Uu"] - some["uu"], name=f"Uu − uu, {tenth}"),
            above(
                (some["Lu"] - some["uu"]) - (whole["Lu"] - whole["uu"]),
                name=f"advantage of Lu over uu, {FEW:.0%} − all captions, {artist}",
            ),
            above(some["Lu"] - some[NARROW], name=f"Lu pretrained on {BROAD} − on {NARROW}, {tenth}"),
        )
    lab.note(
        "Studies of registered methods: the image tower is the recipe's at",
        f"{SIZE} px, trained for {STEPS} steps by cross-entropy on labels of the Twemoji pictures, once for each seed;",
        f"contrastive tuning under the same seed takes {STEPS} steps more at batch {BATCH} (uu has only those). Which",
        "pictures keep their captions follows from their ids, under all seeds alike. The right one of 100 names of the",
        "test set is asked of 200 pictures of each. The first evidence pretrained by code of its own, drew captions",
        "anew for each seed, chose among the names of both test sets, and had people or not for narrow classes.",
        "Text towers start from random weights: no pretrained one ships with the package, so LL and UU",
        "are not tried. Half of the held-out names differ in skin tone or gender alone, which the labels",
        "of the pretraining do not tell.",
    )
