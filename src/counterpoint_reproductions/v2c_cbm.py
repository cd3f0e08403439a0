"""V2C-CBM: are the words that pictures vote for better concepts than random words?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, above, decides, effects, secondary
from .lab.clip_pairs import ARM, pretraining

CLAIM = (
    "With 4 labelled pictures of each kind of thing, a classifier of words that unlabelled pictures vote for is more "
    "accurate by 0.02 than one of as many random words, and than one of the words nearest to the names of the classes."
)
REFUTED = "random words are as good, or words that are chosen by names"
ACCURACY = effects.convention("share", of=2, reason="the paper's figures could not be verified")

RANDOM, NAMES, BINARY = "random words", "words by names", "votes, start at 0 or 1"
ZERO, TEXT, LINEAR, FULL = "zero-shot", "linear-text", "linear", "V2C-CBM"
PRETRAINED, SHOTS, WIDTH, NEAR = 1000, 4, 10, 100
CONCEPTS = (
    "cat+dog+horse+pig+rabbit+elephant+duck+fish+turtle+snail+whale+snake+butterfly+apple+banana+pear+strawberry+carrot+"
    "pineapple+hamburger+doughnut+mushroom+car+bus+tractor+bicycle+sailboat+helicopter+rocket+key+hammer+pencil+camera+"
    "umbrella+anchor+guitar+trumpet+drum+violin+bell+shirt+dress+hat+scarf+backpack+tree+palm"
)
ADJECTIVES = ("small", "large", "red", "green", "blue", "yellow")
WORLD = f"scenes:basic,concepts={CONCEPTS},sizes=small+large,pixels=64"
WORDS = "+".join(
    [*CONCEPTS.split("+"), *ADJECTIVES, *(f"{a} {noun}" for noun in CONCEPTS.split("+") for a in ADJECTIVES)]
)
PRETRAINING = pretraining(f"{WORLD},objects=1-2,train=6000,validation=64,test=500", PRETRAINED, 48)


def adapted(pair: Path) -> dict[str, str]:
    """Return the arms, each from the pair of the same seed."""
    origin = f'shots={SHOTS},from="{pair}"'
    bottleneck = f"v2c-cbm,words={WORDS},concepts={WIDTH},pictures={NEAR},template=a {{}},{origin}"
    return {
        RANDOM: f"{bottleneck},select=random",
        NAMES: f"{bottleneck},select=names",
        BINARY: f"{bottleneck},start=binary",
        ZERO: f"zero-shot,{origin}",
        TEXT: f"linear-text,{origin}",
        LINEAR: f"linear,{origin}",
        FULL: bottleneck,
    }


COMPARISON = replace(
    PRETRAINING,
    arms=adapted(Path("runs/pretraining/seed-{seed}")),
    tasks={"classification": ("accuracy",)},
    data=f"{WORLD},objects=1,seed=1,train=2000,validation=64,test=2000",
    labels="group",
)


def run(lab: Lab) -> Iterator[Result]:
    pairs = lab.study(PRETRAINING, "pretraining")
    study = lab.study(replace(COMPARISON, arms=adapted(pairs.each(ARM))))
    accuracy = study.scores("classification accuracy")
    yield from decides(
        above(accuracy[FULL] - accuracy[RANDOM], name="1: accuracy, V2C-CBM − random words", **ACCURACY),
        above(accuracy[FULL] - accuracy[NAMES], name="2: accuracy, V2C-CBM − words by names", **ACCURACY),
    )
    yield from secondary(
        above(accuracy[FULL] - accuracy[BINARY], name="3: accuracy, start at shares of votes − at 0 or 1"),
        above(accuracy[FULL] - accuracy[LINEAR], name="4: accuracy, V2C-CBM − linear"),
        above(accuracy[FULL] - accuracy[TEXT], name="4: accuracy, V2C-CBM − linear-text"),
        above(accuracy[FULL] - accuracy[ZERO], name="5: accuracy, V2C-CBM − zero-shot"),
    )
    lab.note(
        f"The registered method, from CLIP of {PRETRAINED} steps, one a seed, with {SHOTS} labelled pictures of each",
        f"kind and the others of 2,000 without a label. Captions name things and never kinds. {WIDTH} of",
        f"{WORDS.count('+') + 1} words are the concepts of a class. Accuracy: {accuracy.means()}.",
    )
