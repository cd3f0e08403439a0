"""counterpoint train."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass as form

from ..data.derived.labelling import Labelled
from ..data.kinds.written import MIXED
from ..data.named import check_named
from ..forms import FORM, FlatField, Folder, Names, Positional, Seed
from ..recipes import Recipe
from ..spec import of_seed
from . import train_tiny_vlm as tiny_vlm
from .common.arguments import parse
from .common.before import show_forecast, show_memory
from .common.files import FileOptions
from .common.progress import LogFormat, progress_in
from .common.terminal import Terminal

if TYPE_CHECKING:
    pass


@form(frozen=True, config=FORM)
class TrainOptions:
    """Train and evaluate one method; the same command goes on where it stopped.

    On several processes: torchrun --nproc-per-node N -m counterpoint train METHOD …; the batch is that of all.
    """

    method: Annotated[str, Positional()] = ""
    """A method, with options after commas (see: counterpoint list methods); {seed} in it stands for the seed; tiny-vlm
    has options of its own."""
    data: Annotated[str, Field(description=MIXED)] = "emoji"
    files: Annotated[FileOptions, FlatField()] = field(default_factory=FileOptions)
    seed: Seed = 0
    """Seed of the initial weights, the order of the data and every view."""
    recipe: Recipe = field(default_factory=Recipe)
    """A recipe by name (counterpoint list recipes) or a YAML file; the options below change it."""
    labels: Labelled = ""
    """Label of the data that methods which learn from labels learn from (cross-entropy, supcon, late …), with what is
    to be wrong with it in training: share=0.1 shows it in a tenth of the rows, noise=0.2 gives a fifth of these another
    class (kind=similar: the most similar one, by small pictures or encoder=MODEL), imbalance=100 thins classes,
    missing=0.4 hides tags."""
    tasks: Names = ()
    """Evaluation tasks, with options behind commas: few_shot,ways=10. Unless given: retrieval, zero_shot, probe, shift,
    as far as data and model allow, classification of a method that learned classes, and multi_label or regression where
    --labels names tags or numbers."""
    out: Folder = None
    """The run's folder; runs/DATA-METHOD-SEED unless given."""
    resume: bool = True
    """Go on from the folder's last checkpoint. With --no-resume a folder that holds a run is an error."""
    sync: str = ""
    """URL that finished checkpoints and numbers are copied to (s3://…); an empty run folder begins from there."""
    track: Names = ()
    """Trackers that the run's numbers go to besides metrics.parquet: tensorboard, wandb, mlflow."""
    dry_run: bool = False
    """Print the memory of a step, what the loader delivers and the model takes, and the hours; write nothing."""
    log_format: LogFormat = "text"
    """Form of progress: text, or JSON lines on standard error, one a minute."""
    json: bool = False
    """Print the scores as JSON instead of a table."""


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == [tiny_vlm.NAME]:
        return tiny_vlm.main(arguments[1:])
    options = parse(TrainOptions, arguments, "train")
    if not options.method:
        raise ValueError(
            "which method? For example: counterpoint train clip (see: counterpoint list methods)"
        )
    from ..methods.arm import Arm

    arm = Arm.parse(of_seed(options.method, options.seed))
    source = options.files.of(options.data)
    check_named(source)
    console = Terminal(stderr=options.json)
    with console.status("loading torch"):
        arm.check_options()
        from ..data.source import short_name
        from ..evaluation import create
        from ..execution import Local
        from ..study.gate import check_asked
        from ..study.opened import open_data
        from ..study.training.run import TrainingRun
        from ..training.run import OtherRunError, Run
        from ..training.saving.remote import copied
        from ..training.sharing.distributed import first_alone, joined
        from ..training.start import with_steps
        from ..training.trackers import check as check_trackers
    from .compare import check_batch_size, show_data_report

    check_trackers(options.track)
    folder = options.out or Path("runs") / f"{short_name(source)}-{arm.slug}-{options.seed}"
    if not options.resume and (folder / "recipe.yaml").exists():
        raise OtherRunError(
            f"{folder} holds a run already: give another folder with --out, or leave out --no-resume"
        )
    planned = Run(of_seed(options.method, options.seed), source, options.recipe, options.seed, options.labels)
    with joined() as ranks:
        console.quiet = ranks.rank > 0
        show_data_report(console, planned)
        check_batch_size(arguments, planned)
        with first_alone():
            data = open_data(planned)
            check_asked([arm], [create(name) for name in options.tasks], data)
            planned = with_steps(planned, data)
        report, free = show_memory(console, planned, options.recipe)
        if options.dry_run:
            show_forecast(console, planned, report, free)
            return 0
        unit = TrainingRun(planned, folder, options.tasks or None, track=options.track)
        with (
            copied(folder, options.sync),
            progress_in(options.log_format, console) as progress,
        ):
            progress.begin("training", [unit])
            (state,) = Local(others="refuse").carry_out([unit], progress)
    if state.status == "failed":
        raise RuntimeError(state.reason)
    if console.quiet:
        return 0
    from ..study.scored import read_scores

    scores = read_scores(folder) if (folder / "scores.json").exists() else []
    if not scores:
        columns = ", ".join(Run.read(folder).columns)
        console.print(
            "no scores: tasks ask about pairs of columns, or by a label that test rows have, and the run has "
            f"{columns}",
            soft_wrap=True,
        )
    if options.json:
        json.dump({"folder": str(folder), "state": asdict(state), "scores": scores}, sys.stdout, indent=2)
        print()
        return 0
    from ..study.words.terminal import score_tables

    for table in score_tables(scores):
        console.print(table)
    console.print(f"run: {folder}", soft_wrap=True)
    code = f"import counterpoint as cp; model = cp.load({json.dumps(str(folder))})"
    console.print(f"use it: python -c {shlex.quote(code)}", soft_wrap=True)
    return 0
