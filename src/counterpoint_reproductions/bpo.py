"""BPO: replies about noisy pictures and replies with errors teach a model to mention less that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from counterpoint.methods._speaking import SpeakingMethod
from counterpoint.study.replies import SamplingAssistant, make_replies
from counterpoint.training.run import Run
from counterpoint.training.start import load as load_run

from .lab import Lab, Result, ThresholdOrigin, TrainingComparison, above, below, decides, effects, secondary

CLAIM = (
    "After preference optimisation with replies about noisy pictures and replies with errors, a smaller share of the "
    "mentions in descriptions is of what is not there than after as many steps of fine-tuning on the good replies, and "
    "recall is at most 0.02 lower."
)
REFUTED = "fine-tuning mentions as little that is not there, or recall is lower by more than 0.02"
RECALL = ThresholdOrigin(
    kind="convention", text="0.02 of recall, twice the convention for shares; chosen before the run"
)

SFT, NOISE, INJECTED, RANDOM, BOTH = "sft", "noise", "injected", "random", "noise and injected"
STEPS = 100
DATA = "scenes:companions,corrupted=1,train=3000,validation=64,test=1000,talk=captions"
START = TrainingComparison(
    {"start": "sft"},
    {"chair": ("instances",)},
    data=DATA,
    recipe="speak",
    changes={"steps": 1200, "validate_every": 1200},
    seeds=(0,),
)


def begun(start: Path) -> dict[str, str]:
    """Return the arms, which go on from one run."""
    of = f'from="{start}"'
    return {
        SFT: f"sft,{of}",
        RANDOM: f"dpo,{of},worse=random",
        NOISE: f"dpo,{of},worse=noise",
        INJECTED: f"dpo,{of},worse=injected",
        BOTH: f"dpo,{of},worse=noise+injected",
    }


COMPARISON = replace(
    START,
    arms=begun(Path("runs/start")),
    tasks={"chair": ("instances", "recall", "words", "partners")},
    changes={"steps": STEPS, "validate_every": STEPS, "optimizer.lr": 5e-4},
    seeds=5,
)


def run(lab: Lab) -> Iterator[Result]:
    folder = lab.study(START, "start").folder("start", 0)
    pairs, model = lab.folder / "pairs", load_run(folder)
    assert isinstance(model, SpeakingMethod)
    source = Run.read(folder).data
    made = make_replies(SamplingAssistant(model), source, pairs, ["noise", "injected", "random"])
    study = lab.study(replace(COMPARISON, arms=begun(folder), data=str(pairs)))
    absent, recall, words = (
        study.scores(f"chair {name}", test="broken") for name in ("instances", "recall", "words")
    )
    yield from decides(
        below(
            absent[BOTH] - absent[SFT],
            name="1: CHAIR of instances, both kinds − sft",
            **effects.convention("share", reason="the paper's scores were not checked"),
        ),
        above(recall[BOTH] - recall[SFT], name="2: recall, both kinds − sft", margin=0.02, source=RECALL),
    )
    yield from secondary(
        below(absent[BOTH] - absent[RANDOM], name="CHAIR of instances, both kinds − random replies"),
        below(absent[NOISE] - absent[SFT], name="CHAIR of instances, noise − sft"),
        below(absent[INJECTED] - absent[SFT], name="CHAIR of instances, injected − sft"),
    )
    refused = "; ".join(f"{name} {sum(reasons.values())}" for name, reasons in made.refused.items())
    lab.note(
        f"The registered method on {DATA} under the recipe speak, {STEPS} steps from one run of sft, which also writes",
        "the replies about noisy pictures at temperature 0.2; errors are put in by the world. Descriptions are of the",
        f"test set broken. Rows without a worse reply: {refused}. CHAIR of instances: {absent.means()}; recall:",
        f"{recall.means()}; words: {words.means()}.",
    )
