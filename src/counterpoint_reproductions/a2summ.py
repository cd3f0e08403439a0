"""A2Summ: attention between frames and sentences of one time finds the key ones."""

from __future__ import annotations

from collections.abc import Iterator

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "Where it takes a frame and the sentence said at its time to tell whether they are key, a transformer in which "
    "those of one time attend to each other ranks key frames and key sentences better than one in which all attend to "
    "each other."
)
REFUTED = "full attention does as well"

TIMES, FULL, NO_INNER = "attention by time", "full attention", "no inner contrast"
STEPS = 300
NEAR = 0.5
SIZES = "train=600,validation=32,test=500"
DATA = f"clips:long,{SIZES}"
OPTIONS = "video=stills,width=64,exclusion=1,ratio=4,dropout=0"
COMPARISON = TrainingComparison(
    {
        FULL: f"a2summ,mask=full,{OPTIONS}",
        NO_INNER: f"a2summ,inner=0,{OPTIONS}",
        TIMES: f"a2summ,{OPTIONS}",
    },
    {"keyframes": ("frames_AP", "sentences_AP")},
    data=f"{DATA},near_duplicates={NEAR}",
    recipe="cpu",
    changes={
        "steps": STEPS,
        "validate_every": STEPS,
        "batch_size": 16,
        "optimizer.lr": 2e-3,
        "towers.image": "mlp",
        "towers.image_size": 12,
        "towers.video_frames": 32,
        "towers.text": "bag",
    },
)


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    frames, sentences = (study.scores(f"keyframes {noun}_AP") for noun in ("frames", "sentences"))
    yield from decides(
        above(
            frames[TIMES] - frames[FULL],
            name="1: AP of key frames, attention by time − full attention",
            **effects.convention("share"),
        ),
        above(
            sentences[TIMES] - sentences[FULL],
            name="1: AP of key sentences, attention by time − full attention",
            **effects.convention("share"),
        ),
    )
    yield from secondary(
        above(frames[TIMES] - frames[NO_INNER], name="1: AP of key frames, inner contrast − without"),
        above(
            sentences[TIMES] - sentences[NO_INNER], name="1: AP of key sentences, inner contrast − without"
        ),
    )
    lab.note(
        f"The registered method on {COMPARISON.data} under the recipe cpu, {STEPS} steps of 16 clips with a learning",
        "rate of 0.002, from random weights. Frames of 12 pixels go through a perceptron, sentences through a bag of",
        "words. Both masks have segment vectors. Half of the segments with key frames are followed by one that shows",
        f"nearly the same and is not key. AP of key frames: {frames.means()}; of key sentences: {sentences.means()}.",
    )
