"""TLDR: a reward for each token finds the words of captions that are not true of the picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from counterpoint.methods._speaking import SpeakingMethod
from counterpoint.study.replies import SamplingAssistant, make_replies
from counterpoint.training.run import Run
from counterpoint.training.start import load as load_run

from .lab import Lab, Result, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "A reward for each token, trained on captions with and without one error, orders the wrong words of captions with "
    "a mean average precision that is higher by 0.1 or more than that of the same model without the picture."
)
REFUTED = "the model without the picture finds wrong words as well"
DELTA = effects.convention(
    "share", of=10, reason="less would leave most of what is found to style; chosen before the run"
)

TOKENS, BLIND, LAST = "TLDR", "TLDR without the picture", "reward of the last token"
STEPS = 300
DATA = "scenes:tiny,train=8000,validation=64,test=500,talk=captions"
START = TrainingComparison(
    {"start": "sft"},
    {"likelihood": ("nats",)},
    data=DATA,
    recipe="speak",
    changes={"steps": 1000, "validate_every": 1000},
    seeds=(0,),
)


def begun(start: Path) -> dict[str, str]:
    """Return the arms, which go on from one run."""
    of = f'from="{start}",worse=injected'
    return {BLIND: f"tldr,{of},blind=true", LAST: f"tldr,{of},last=true", TOKENS: f"tldr,{of}"}


COMPARISON = replace(
    START,
    arms=begun(Path("runs/start")),
    tasks={"flagged": ("map", "base", "sentences", "replies")},
    changes={"steps": STEPS, "validate_every": STEPS},
    seeds=5,
)


def run(lab: Lab) -> Iterator[Result]:
    folder = lab.study(START, "start").folder("start", 0)
    pairs, model = lab.folder / "pairs", load_run(folder)
    assert isinstance(model, SpeakingMethod)
    make_replies(SamplingAssistant(model), Run.read(folder).data, pairs, ["injected"])
    study = lab.study(replace(COMPARISON, arms=begun(folder), data=str(pairs)))
    scores = {name: study.scores(f"flagged {name}") for name in ("map", "sentences", "replies")}
    yield from decides(
        above(
            scores["map"][TOKENS] - scores["map"][BLIND],
            name="average precision of wrong words, TLDR − TLDR without the picture",
            **DELTA,
        ),
    )
    yield from secondary(
        above(
            scores["replies"][TOKENS] - scores["replies"][LAST],
            name="accuracy of replies, TLDR − reward of the last token",
        ),
    )
    lab.note(
        f"The registered method on {DATA} under the recipe speak, {STEPS} steps from one run of sft. The world puts",
        "one error into each caption: another thing, colour, number or relation, exchanged colours, or one more",
        f"thing. Average precision of the test set's words: {scores['map'].means()}; an order by chance:",
        f"{study.scores('flagged base').means()}; accuracy of sentences: {scores['sentences'].means()}; of replies:",
        f"{scores['replies'].means()}.",
    )
