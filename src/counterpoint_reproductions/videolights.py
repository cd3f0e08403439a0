"""VideoLights: refined frames find spans more closely, and feedback from the likeliest span finds more highlights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "A detector of moments finds more spans closely (R1@0.7) where frames are refined by the words of the query, and "
    "ranks the highlights of clips better where the likeliest span gives a second saliency."
)
REFUTED = "as many spans are found without refinement, or highlights are ranked as well without feedback"
SHARE = effects.convention("share", reason="the paper's ablations were not checked")

NEITHER, NO_REFINEMENT, NO_FEEDBACK, BOTH = "neither", "no refinement", "no feedback", "both"
CLIP = "CLIP"
STEPS, PRETRAINED, CLIPS = 150, 300, 100
WORLD = "clips:long,concepts=cat+apple+bus+hat,colours=red+yellow+green+blue+purple+pink"
PRETRAINING = TrainingComparison(
    {CLIP: "clip,columns=video+text,video=stills"},
    {"retrieval": ("v2t_R@1",)},
    data=f"{WORLD},segments=2-2,train=2000,validation=32,test=200",
    recipe="cpu",
    changes={
        "steps": PRETRAINED,
        "validate_every": PRETRAINED,
        "batch_size": 32,
        "optimizer.lr": 2e-3,
        "augmentation.paired": "plain",
        "towers.image_size": 16,
        "towers.video_frames": 32,
        "towers.text_layers": 1,
        "towers.vocabulary": 512,
        "towers.context": 8,
    },
)
"""Clips of two segments with the query for one: what teaches a tower of stills and a tower of texts the colours."""


def started(towers: Path) -> dict[str, str]:
    """Return the arms, each from the frozen towers that CLIP has trained under the same seed."""
    options = f'video="stills@{towers}",text="transformer@{towers}",tune=frozen,width=64,depth=1,dropout=0'
    return {
        NEITHER: f"videolights,refinement=0,feedback=0,{options}",
        NO_REFINEMENT: f"videolights,refinement=0,{options}",
        NO_FEEDBACK: f"videolights,feedback=0,{options}",
        BOTH: f"videolights,{options}",
    }


COMPARISON = replace(
    PRETRAINING,
    arms=started(Path("runs/pretraining/seed-{seed}")),
    tasks={"moments": ("highlight_mAP", "R1@0.7")},
    data=f"{WORLD},segments=4-6,train={CLIPS},validation=32,test=1000",
    changes={**PRETRAINING.changes, "batch_size": 16, "steps": STEPS, "validate_every": STEPS},
)


def run(lab: Lab) -> Iterator[Result]:
    towers = lab.study(PRETRAINING, "pretraining")
    study = lab.study(replace(COMPARISON, arms=started(towers.each(CLIP))))
    highlights, spans = (study.scores(f"moments {name}") for name in ("highlight_mAP", "R1@0.7"))
    yield from decides(
        above(spans[NO_FEEDBACK] - spans[NEITHER], name="1: R1@0.7 of spans, refinement − neither", **SHARE),
        above(
            highlights[BOTH] - highlights[NO_FEEDBACK],
            name="2: mAP of highlights, refinement and feedback − refinement",
            **SHARE,
        ),
    )
    yield from secondary(
        above(spans[BOTH] - spans[NEITHER], name="R1@0.7 of spans, refinement and feedback − neither"),
        above(highlights[BOTH] - highlights[NEITHER], name="mAP of highlights, both − neither"),
        above(highlights[NO_REFINEMENT] - highlights[NEITHER], name="mAP of highlights, feedback − neither"),
    )
    lab.note(
        f"The registered method on {COMPARISON.data} under the recipe cpu, {STEPS} steps of 16 clips, on frozen",
        f"towers by {PRETRAINED} steps of CLIP on clips of two segments and the query for one, a pair a seed.",
        "Frames have 16 pixels. Highlights are the frames in which what the query asks for is large:",
        f"{highlights.means()}. R1@0.7 of spans: {spans.means()}.",
    )
