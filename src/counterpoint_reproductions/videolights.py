"""VideoLights: refined frames and feedback from the likeliest span find more highlights."""

from __future__ import annotations

from collections.abc import Iterator

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "A detector of moments ranks the highlights of clips better where frames are refined by the words of the query and "
    "the likeliest span gives a second saliency."
)
REFUTED = "without both highlights are ranked as well"

NEITHER, NO_REFINEMENT, NO_FEEDBACK, BOTH = "neither", "no refinement", "no feedback", "both"
STEPS = 1000
COLOURS = "red+yellow+green+blue+purple+pink"
DATA = f"clips:long,segments=4-6,concepts=cat,colours={COLOURS},train=2000,validation=32,test=1000"
OPTIONS = "video=stills,width=64,depth=1,dropout=0"
COMPARISON = TrainingComparison(
    {
        NEITHER: f"videolights,refinement=0,feedback=0,{OPTIONS}",
        NO_REFINEMENT: f"videolights,refinement=0,{OPTIONS}",
        NO_FEEDBACK: f"videolights,feedback=0,{OPTIONS}",
        BOTH: f"videolights,{OPTIONS}",
    },
    {"moments": ("highlight_mAP", "R1@0.7")},
    data=DATA,
    recipe="cpu",
    changes={
        "steps": STEPS,
        "validate_every": STEPS,
        "batch_size": 16,
        "optimizer.lr": 2e-3,
        "towers.image": "patches",
        "towers.image_size": 16,
        "towers.video_frames": 32,
        "towers.text": "transformer",
        "towers.text_layers": 1,
    },
)


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    highlights, spans = (study.scores(f"moments {name}") for name in ("highlight_mAP", "R1@0.7"))
    yield from decides(
        above(
            highlights[BOTH] - highlights[NEITHER],
            name="1: mAP of highlights, refinement and feedback − neither",
            **effects.convention("share"),
        ),
    )
    yield from secondary(
        above(
            highlights[NO_FEEDBACK] - highlights[NEITHER], name="1: mAP of highlights, refinement − neither"
        ),
        above(
            highlights[NO_REFINEMENT] - highlights[NEITHER], name="1: mAP of highlights, feedback − neither"
        ),
        above(spans[BOTH] - spans[NEITHER], name="1: R1@0.7, refinement and feedback − neither"),
    )
    lab.note(
        f"The registered method on {DATA} under the recipe cpu, {STEPS} steps of 16 clips with a learning rate of",
        "0.002, from random weights. Frames of 16 pixels go through a perceptron on patches. Highlights are the frames",
        f"in which what the query asks for is large: {highlights.means()}. R1@0.7 of spans: {spans.means()}.",
    )
