"""Frozen: a language model that does not move keeps binding new words when pictures stand for its words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary
from .lab.data_talks import THINGS
from .lab.reader import CONTEXT, LAYERS, TOKENS, WIDTH, text_accuracy, train_reader

CLAIM = (
    "A picture tower that learns names in front of a frozen language model lets it bind invented words to pictures "
    "after one and after three examples of each of two classes; a language model that learns the names too binds fewer."
)
REFUTED = "a tuned language model binds as many after one example, or after three"
IN_TEXT = 0.8
"""The language model binds more than this in text, or the test is void."""
SHOT = effects.reported(28.2, 35.7, "VQAv2 after one example, language model tuned against frozen", unit=0.01)

TUNED, FROZEN = "tuned", "frozen"
READING, STEPS = 6000, 600
FILE = Path(__file__).parent / "lab" / "data_talks.py"
DATA, FEW = f"{FILE}:NAMED", f"{FILE}:FEW_NAMED"
TASKS = {shots: f"binding,ways=2,shots={shots},induction=false" for shots in (1, 3)}


def started(reader: Path) -> dict[str, str]:
    """Return the arms, with one language model that has learned in text."""
    arm = f'sft,columns=image+talk,lm="transformers:reader@{reader}",bridge=pooled,tokens={TOKENS},tune_image=full'
    return {TUNED: f"{arm},tune=full", FROZEN: f"{arm},tune=frozen"}


COMPARISON = TrainingComparison(
    started(Path("runs/reader")),
    dict.fromkeys(TASKS.values(), ("accuracy", "named")),
    data=DATA,
    recipe="speak",
    changes={
        "steps": STEPS,
        "validate_every": STEPS,
        "towers.image": "cnn",
        "towers.image_size": 32,
        "towers.talk_context": CONTEXT,
    },
)


def run(lab: Lab) -> Iterator[Result]:
    reader = lab.folder / "reader"
    if not (reader / "config.json").exists():
        train_reader(reader, THINGS, 20 if lab.quick else READING, seed=0)
    in_text = {shots: text_accuracy(reader, THINGS, ways=2, shots=shots) for shots in TASKS}
    if in_text[3] <= IN_TEXT:
        lab.note(f"Void: in text the language model binds {in_text[3]:.2f} of two after three examples.")
    study = lab.study(replace(COMPARISON, arms=started(reader), data=lab.world(DATA, FEW)))
    bound = {shots: study.scores(f"{task} accuracy") for shots, task in TASKS.items()}
    named = study.scores(f"{TASKS[3]} named")
    yield from decides(
        *(
            above(
                scores[FROZEN] - scores[TUNED],
                name=f"{number}: pictures bound among two after {shots} of each, frozen − tuned",
                **SHOT,
            )
            for number, (shots, scores) in enumerate(bound.items(), 1)
        )
    )
    yield from secondary(
        above(named[FROZEN] - named[TUNED], name="3: replies that are one of the two words, frozen − tuned"),
    )
    lab.note(
        f"sft with {TOKENS} tokens of a picture, {STEPS} steps under the recipe speak on pictures of one thing and its",
        f"name. The language model, {LAYERS} layers of {WIDTH}, learned to bind in text, where it finds",
        f"{in_text[1]:.2f} after one example and {in_text[3]:.2f} after three. Pictures bound after one:",
        f"{bound[1].means()}; after three: {bound[3].means()}.",
    )
