"""Simple to hard: pictures that are also written as texts and read as texts teach to read longer runs of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from .lab import Lab, Result, Score, TrainingComparison, above, decides, effects, secondary

CLAIM = (
    "Trained on short runs alone, a model reads more symbols of long runs in pictures, by a share of 0.01, if a third "
    "of its examples each are texts, pictures, and pictures that are written as texts before they are read, than if "
    "all are pictures, from one aligned start and in as many steps."
)
REFUTED = "pictures alone teach to read as many symbols of long runs"
SHARE = effects.convention("share", reason="the paper gives its figures in plots")
READ = effects.level(
    "half of the symbols of long runs in texts, which pictures could learn; chosen here", "convention"
)

PICTURES, BOTH, MIX = "pictures", "pictures and texts", "mix"
FILE = Path(__file__).parent / "lab" / "data_readout.py"
DATA = {PICTURES: "PICTURES", BOTH: "BOTH", MIX: "MIX"}
ALIGNED, STEPS = 3000, 600
START = TrainingComparison(
    {"start": "sft,columns=image+talk"},
    {"readout": ("text_by_symbol",)},
    data=f"{FILE}:ALIGNMENT",
    recipe="speak",
    changes={
        "steps": ALIGNED,
        "validate_every": ALIGNED,
        "towers.image_patch": 8,
        "towers.talk_context": 72,
        "towers.vocabulary": 320,
    },
    seeds=(0,),
)
COMPARISON = replace(
    START,
    arms={MIX: 'sft,columns=image+talk,from="runs/start"'},
    tasks={"readout": ("picture_by_symbol", "text_by_symbol", "picture_exact")},
    data=f"{FILE}:MIX",
    changes={**START.changes, "steps": STEPS, "validate_every": STEPS},
    seeds=5,
)


def run(lab: Lab) -> Iterator[Result]:
    def data(name: str) -> str:
        return lab.world(f"{FILE}:{name}", f"{FILE}:FEW_{name}")

    aligned = lab.study(replace(START, data=data("ALIGNMENT")), "start")
    start = aligned.folder("start", 0)
    read = aligned.scores("readout text_by_symbol", "hard")
    lab.notify(f"void below 0.5: symbols of long runs in texts, {read.means()}")
    studies = {
        arm: lab.study(
            replace(COMPARISON, arms={arm: f'sft,columns=image+talk,from="{start}"'}, data=data(name)), arm
        )
        for arm, name in DATA.items()
    }
    hard, texts, simple = (
        {arm: study.scores(f"readout {metric}_by_symbol", test)[arm] for arm, study in studies.items()}
        for metric, test in (("picture", "hard"), ("text", "hard"), ("picture", "simple"))
    )
    yield from decides(
        above(texts[MIX], 0.5, name="1: symbols of long runs in texts, mix", **READ),
        above(
            hard[MIX] - hard[PICTURES], name="2: symbols of long runs in pictures, mix − pictures", **SHARE
        ),
    )
    yield from secondary(
        above(hard[MIX] - hard[BOTH], name="3: symbols of long runs in pictures, mix − pictures and texts"),
        above(hard[BOTH] - hard[PICTURES], name="4: the same, pictures and texts − pictures"),
    )
    lab.note(
        f"The registered method on grids of 2 × 6 emoji under the recipe speak: one start of {ALIGNED} steps on short",
        "runs in texts, and in pictures that are written as texts first, then",
        f"{STEPS} steps of each mixture, runs of 2 and 3 symbols alone. Long runs have 5 or 6. Symbols in place,",
        f"long runs in pictures: {shown(hard)}; long runs in texts: {shown(texts)}; short runs in pictures:",
        f"{shown(simple)}. Long runs in texts before the mixtures: {read.means()}.",
        "A symbol at random is right in a sixth of the places.",
    )


def shown(scores: Mapping[str, Score]) -> str:
    """Return the means of arms as text."""
    return ", ".join(f"{arm} {score.measure().estimate:.3f}" for arm, score in scores.items())
