"""counterpoint train tiny-vlm."""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, FlatField, Folder, Seed
from ..recipes.tiny_vlm import TinyVLM
from .common.arguments import parse
from .common.terminal import Terminal

NAME = "tiny-vlm"


@form(frozen=True, config=FORM)
class TrainTinyVLMOptions:
    """Train the tiny vision-language model on scenes; the same command goes on where it stopped."""

    data: str = "scenes:companions"
    """scenes:PRESET; its options say what the model learns."""
    seed: Seed = 0
    """Seed of the weights and of the order of the scenes."""
    out: Folder = None
    """The run's folder; runs/DATA-tiny-vlm-SEED unless given."""
    json: bool = False
    """Print where the model is and how it did as JSON."""
    options: Annotated[TinyVLM, FlatField()] = field(default_factory=TinyVLM)


def main(arguments: Sequence[str]) -> int:
    options = parse(TrainTinyVLMOptions, arguments, f"train {NAME}")
    from ..data.synthetic.preset import preset_of
    from ..data.synthetic.scenes.presets import PRESETS
    from ..spec import Spec

    if not options.data.startswith("scenes:"):
        raise ValueError(
            f"{NAME} learns from scenes, whose truth is known; {options.data!r} are none: give scenes:PRESET"
        )
    preset_of(Spec.parse(options.data), PRESETS)  # before torch is loaded
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Terminal(stderr=options.json)
    with console.status("loading torch"):
        from ..data.synthetic.scenes.world import Scenes
        from ..training.tiny_vlm.train import STAGES, Stage, train_tiny_vlm

    folder = (
        options.out
        or Path("runs") / f"{options.data.replace(':', '-').replace(',', '-')}-{NAME}-{options.seed}"
    )
    bars = Progress(
        TextColumn("{task.description:<36}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeRemainingColumn(compact=True),
        console=console,
        disable=not console.is_terminal,
    )
    tasks = {stage: bars.add_task(what, total=None, note="", start=False) for stage, what in STAGES.items()}

    def listen(stage: Stage, done: int, whole: int, loss: float) -> None:
        task = tasks[stage]
        if not bars.tasks[task].started:
            bars.start_task(task)
        note = "" if math.isnan(loss) else f"loss {loss:.2f}"
        bars.update(task, completed=done, total=whole, note=note)
        if done == whole and not console.is_terminal:
            console.print(f"{STAGES[stage]}: done ({whole:,}) {note}")

    with bars:
        model = train_tiny_vlm(
            Scenes.parse(options.data), folder, options.options, seed=options.seed, listen=listen
        )
    if options.json:
        made = json.loads((model / "made.json").read_text(encoding="utf-8"))
        json.dump({"model": str(model), **made}, sys.stdout, indent=2)
        print()
        return 0
    console.print(f"model: {model}", soft_wrap=True)
    words = ["vcd", "lcd", "ritual", "--model", str(model), "--data", options.data]
    console.print(f"judge it: counterpoint compare-decoding {shlex.join(words)}", soft_wrap=True)
    return 0
