"""Multimodal task vectors: heads that REINFORCE chose stand for examples, and as many random heads do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, above, arm, decides, effects, secondary
from .lab.reader import BRIDGE, EPISODES, FILE, HEADS, LAYERS, gain_of_examples, trained_reader

CLAIM = (
    "A language model that replies better behind eight examples than without, by 10 points or more, gives more right "
    "replies without examples if the attention heads that REINFORCE chose say their mean output behind examples, than "
    "as it is, and than if as many random heads do."
)
REFUTED = "random heads do as well, no head does better, or the examples gain less than 10 points"
SHARE = effects.convention("share", reason="the paper's figures were not checked")
TESTABLE = effects.level("10 points, below which the card calls the claim not testable", "convention")

NONE, RANDOM, ALL, LEARNED = "no heads", "random heads", "all heads", "learned heads"
SHOWN, POOL = 8, 256
MOST = LAYERS * HEADS // 4
"""Heads at most: without a limit nearly all are chosen, and as many random ones are nearly the same set."""
DATA, FEW = f"{FILE}:ASKED_CODES", f"{FILE}:FEW_CODES"
TASK = "answers,kinds=code"


def begun(readers: Path, held: int = 64) -> dict[str, str]:
    """Return the arms, which are the reader of their seed."""
    vectors = (
        f'task-vectors,columns=image+talk,from="{readers}",{BRIDGE.removesuffix(",tune_image=frozen")},'
        f"examples={SHOWN},pictures=false,held={held},most={MOST}"
    )
    return {
        NONE: f"{vectors},heads=none",
        RANDOM: f"{vectors},heads=random",
        ALL: f"{vectors},heads=all",
        LEARNED: vectors,
    }


COMPARISON = replace(
    EPISODES,
    arms=begun(Path("runs/reader/seed-{seed}")),
    tasks={TASK: ("accuracy",)},
    data=DATA,
    changes={**EPISODES.changes, "batch_size": 32},
)


def run(lab: Lab) -> Iterator[Result]:
    data = lab.world(DATA, FEW)
    readers = trained_reader(lab)
    gains = {
        seed: gain_of_examples(readers.folder("reader", seed), data, SHOWN, POOL)
        for seed in lab.seeds(COMPARISON.seeds)
    }
    gained = arm(f"{SHOWN} examples − none", gains, "accuracy")
    lab.note(f"Before the search, {SHOWN} examples gain {gained.measure().estimate:.3f} of accuracy.")
    arms = begun(readers.each("reader"), 16 if lab.quick else 64)
    right = lab.study(replace(COMPARISON, arms=arms, data=data)).scores(f"{TASK} accuracy")
    yield from decides(
        above(gained, 0.1, name="1: accuracy before the search, 8 examples − none", **TESTABLE),
        above(
            right[LEARNED] - right[NONE], name="2: accuracy without examples, learned heads − none", **SHARE
        ),
        above(
            right[LEARNED] - right[RANDOM], name="3: accuracy, learned heads − as many random heads", **SHARE
        ),
    )
    yield from secondary(
        above(right[LEARNED] - right[ALL], name="accuracy, learned heads − all heads"),
    )
    lab.note(
        "The registered method, which takes no step, on a reader a seed: sft on strings that come again and then on",
        f"conversations of ten exchanges. Means are over 100 prompts of {SHOWN} examples; the search has 600 steps of",
        f"32 masks of {MOST} of {LAYERS * HEADS} heads at most, on training rows.",
        f"Accuracy without examples: {right.means()}.",
    )
