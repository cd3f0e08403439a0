"""Frozen: pictures that a frozen language model reads are bound to new words in the prompt, as its words are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, TrainingComparison, above, below, decides, effects, secondary
from .lab.binding_reader import trained_reader, write

CLAIM = (
    "A picture tower that is trained to make a frozen language model name pictures lets it bind new words to pictures "
    "in the prompt more often than when the language model is trained along for as many steps, with one and with three "
    "examples of each of two words. In text the language model binds four words of five."
)
REFUTED = "words are bound as often by a language model that is trained along, or in text less than four of five are"
SHARE = effects.convention("share", reason="the card has no figures for binding, which are from memory")
TESTABLE = effects.level("0.8, below which the card calls the test void; chosen here", "convention")

TUNED, BRIDGE, FROZEN = "language model trained along", "bridge alone", "language model frozen"
READ, STEPS, TESTED = 1400, 400, 2000
FILE = Path(__file__).parent / "lab" / "data_talks.py"
DATA, FEW = f"{FILE}:SINGLE_THINGS", f"{FILE}:FEW_SINGLE_THINGS"
BINDING = f"binding,label=concept,induction=false,episodes={TESTED}"
ONE, THREE, REPEATED = f"{BINDING},shots=1", f"{BINDING},shots=3", f"{BINDING},shots=1,repeats=2"


def on(readers: Path) -> dict[str, str]:
    """Return the arms, each with the language model of its seed."""
    of = f'sft,columns=image+talk,lm="transformers:reader@{readers}",bridge=pooled,tokens=2'
    return {
        TUNED: f"{of},tune=full",
        BRIDGE: f"{of},tune=frozen,tune_image=frozen",
        FROZEN: f"{of},tune=frozen,tune_image=full",
    }


COMPARISON = TrainingComparison(
    on(Path("runs/readers/seed-{seed}")),
    {ONE: ("accuracy", "named"), THREE: ("accuracy",), REPEATED: ("accuracy",), "likelihood": ("nats",)},
    data=DATA,
    recipe="speak",
    changes={
        "steps": STEPS,
        "validate_every": STEPS,
        "towers.image": "cnn",
        "towers.image_size": 32,
        "towers.talk_context": 128,
    },
)


def run(lab: Lab) -> Iterator[Result]:
    readers = lab.grid(trained_reader, {"steps": (READ,)}, seeds=COMPARISON.seeds, tested=TESTED)
    folder = lab.folder / "readers"
    for seed, arrays in readers[READ].items():
        write(arrays["weights"], folder / f"seed-{seed}")
    arms, data = on(folder / "seed-{seed}"), lab.world(DATA, FEW)
    study = lab.study(replace(COMPARISON, arms=arms, data=data))
    one, three, again = (study.scores(f"{task} accuracy") for task in (ONE, THREE, REPEATED))
    named, nats = study.scores(f"{ONE} named"), study.scores("likelihood nats")
    text = readers.scores("{} shots", "accuracy")
    yield from decides(
        above(text[READ, 3], 0.8, name="1: accuracy in text, 3 examples of two words", **TESTABLE),
        above(one[FROZEN] - one[TUNED], name="2: accuracy with 1 example, frozen − trained along", **SHARE),
        above(
            three[FROZEN] - three[TUNED], name="3: accuracy with 3 examples, frozen − trained along", **SHARE
        ),
    )
    yield from secondary(
        above(text[READ, 1], 0.8, name="accuracy in text, 1 example of two words"),
        above(
            one[FROZEN] - one[BRIDGE], name="accuracy with 1 example, frozen − bridge alone on a random tower"
        ),
        above(three[FROZEN] - one[FROZEN], name="accuracy, frozen, 3 examples − 1"),
        above(again[FROZEN] - one[FROZEN], name="accuracy, frozen, 1 example three times − once"),
        below(nats[TUNED] - nats[FROZEN], name="nats a word, trained along − frozen"),
    )
    lab.note(
        f"The registered method on pictures of one of twelve things, under the recipe speak with a cnn, {STEPS} steps",
        f"of 32. A language model of three layers for each seed learned to bind in {READ} steps on texts, of which a",
        "third are strings and turns that come again.",
        f"Accuracy with 1 example: {one.means()}; with 3: {three.means()}; with 1, three times: {again.means()}.",
        f"Replies that are one of the two words: {named.means()}. Nats a word: {nats.means()}.",
    )
