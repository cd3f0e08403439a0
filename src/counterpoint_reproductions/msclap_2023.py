"""MS-CLAP: does a tower of sounds that learned several labels find texts better than one that learned one?"""

from __future__ import annotations

from collections.abc import Iterator

from .lab import Lab, Result, TrainingComparison, above, below, decides, effects, secondary

CLAIM = (
    "A tower of speech that first learns words, count, colour and speaker finds captions better after the same "
    "contrastive stage than one that first learns words alone."
)
REFUTED = "one label is as good as four"
SHARE = effects.convention("share")

SEVERAL, ONE, NONE, FIRST = "four labels", "one label", "no labels", "read at the first token"
MSCLAP = "msclap,columns=audio+text"
STEPS, BATCH = 480, 64
"""Steps that five seeds of four arms have time for within a quarter of an hour on two cores."""
COMPARISON = TrainingComparison(
    {
        ONE: f"{MSCLAP},tasks=words",
        SEVERAL: f"{MSCLAP},tasks=words+count+colour+speaker",
        NONE: MSCLAP,
        FIRST: f"{MSCLAP},read=first",
    },
    {"retrieval": ("a2t_R@1", "t2a_R@1"), "zero_shot": ("colour_top1", "count_top1")},
    data="speech:short,train=2000,validation=200,test=400",
    recipe="cpu",
    changes={
        "batch_size": BATCH,
        "steps": STEPS,
        "threads": 1,
        "widths.embedding": 128,
        "towers.text": "transformer",
        "towers.text_layers": 2,
        "towers.audio_seconds": 3.0,
    },
)
"""Half of the steps are the first stage where there is one, so that all arms hear as much."""


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    to_text, to_audio = study.scores("retrieval a2t_R@1"), study.scores("retrieval t2a_R@1")
    noisy = study.scores("retrieval a2t_R@1", test="noisy")
    colour, count = study.scores("zero_shot colour_top1"), study.scores("zero_shot count_top1")
    yield from decides(above(to_text[SEVERAL] - to_text[ONE], **SHARE))
    yield from secondary(
        above(to_audio[SEVERAL] - to_audio[ONE]),
        above(noisy[SEVERAL] - noisy[ONE].about("noisy")),
        above(colour[SEVERAL] - colour[ONE]),
        above(count[SEVERAL] - count[ONE]),
        above(to_text[SEVERAL] - to_text[NONE]),
        below(to_text[FIRST] - to_text[NONE]),
    )
    lab.note(
        f"Scenes of one thing or two alike, spoken by six voices; {STEPS} steps of {BATCH} pairs, of which the first",
        "half learns labels where there are any. a2t R@1:",
        f"{to_text.means()}; in noise {noisy.means()}. A text tower that reads from left to right and is read at the",
        "first token gives every text one feature.",
    )
