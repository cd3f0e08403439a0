"""What a claim is, and where its experiment is carried out so that nothing finished is done twice."""

from __future__ import annotations

import datetime
import hashlib
import json
import multiprocessing as mp
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...catalog import paper
from ...catalog.evidence import Evidence, Machine, Result
from ...files import writing
from ...study.design import ArmPlan, Design
from ...study.execute import Job, execute, start_child
from ...study.study import Listener, Silent, run_folder
from ...study.summary import Results
from ...training.run import RunState
from .. import CLAIMS

Arrays = dict[str, np.ndarray]
"""What one cell of an experiment measured, by name."""
Tell = Callable[[str], None]


@dataclass
class Lab:
    """Where an experiment is carried out.

    Attributes:
        folder: keeps what is finished: cells and training runs. The same experiment in the same folder goes
            on where it stopped.
        quick: a smoke run: seconds, two seeds, tiny sizes; it proves nothing.
        jobs: cells or training runs at a time.
        listener: told of every event of training runs.
        tell: told in words what is being done.
        notes: what a reader of the evidence should know, collected on the way.
        reused: seconds that earlier calls spent on what this one found finished.
    """

    folder: Path
    quick: bool = False
    jobs: int = 1
    listener: Listener = field(default_factory=Silent)
    tell: Tell = lambda text: None
    notes: list[str] = field(default_factory=list)
    reused: float = 0.0

    def seeds(self, full: int) -> tuple[int, ...]:
        """The seeds of the experiment: ``full`` of them, or at most two in a smoke run."""
        return tuple(range(min(full, 2) if self.quick else full))

    def cells(
        self, compute: Callable[..., Arrays], cells: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Arrays]:
        """Compute named cells, each from its settings alone, or read what an earlier call has found.

        Args:
            compute: a function of a module, so that another process can call it; the same settings must give
                the same arrays.
            cells: a name (of letters, digits, commas, dots and dashes) to the settings, which JSON can carry.

        Returns:
            The arrays of every cell.
        """
        found: dict[str, Arrays] = {}
        missing: dict[str, Mapping[str, Any]] = {}
        for name, settings in cells.items():
            arrays = _read(self._place(compute, name, settings))
            if arrays is None:
                missing[name] = settings
            else:
                found[name] = arrays
                self.reused += float(arrays["seconds"])
        if self.jobs > 1 and len(missing) > 1:
            context = mp.get_context("spawn")
            with ProcessPoolExecutor(
                self.jobs, mp_context=context, initializer=start_child, initargs=(1,)
            ) as pool:
                futures = {
                    pool.submit(_compute, compute, self._place(compute, name, settings), settings): name
                    for name, settings in missing.items()
                }
                for number, future in enumerate(as_completed(futures)):
                    self.tell(f"{futures[future]} ({number + 1} of {len(missing)})")
                    found[futures[future]] = future.result()
        else:
            for number, (name, settings) in enumerate(missing.items()):
                self.tell(f"{name} ({number + 1} of {len(missing)})")
                found[name] = _compute(compute, self._place(compute, name, settings), settings)
        return {name: found[name] for name in cells}

    def study(self, name: str, design: Design, steps: Mapping[str, int] | None = None) -> Results:
        """Train and evaluate every arm and seed of a design that is not finished yet.

        Args:
            name: of the study's folder.
            design: what is compared.
            steps: of the arms that do not train for the recipe's.

        Raises:
            OtherStudy: if the folder holds a study of another design.
        """
        place = self.folder / name
        design.claim(place)
        work = []
        for seed in design.seeds:
            for arm in design.arms:
                plan = ArmPlan((steps or {}).get(arm, design.recipe.total_steps))
                folder = run_folder(place, arm, seed)
                state = RunState.read(folder)
                if state is not None and state.status != "running":
                    self.reused += state.seconds
                work.append(Job(design.run(arm, seed, plan), folder, design.tasks))
        self.listener.begin(name, work)
        execute(work, self.jobs, self.listener)
        return Results(design, place)

    def note(self, *sentences: str) -> None:
        """Add to what a reader of the evidence should know."""
        self.notes.extend(sentences)

    def _place(self, compute: Callable[..., Arrays], name: str, settings: Mapping[str, Any]) -> Path:
        text = json.dumps(settings, sort_keys=True)
        digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
        return self.folder / "cells" / f"{compute.__name__.strip('_')}-{name}-{digest}.npz"


def _read(path: Path) -> Arrays | None:
    if not path.exists():
        return None
    with np.load(path) as stored:
        return dict(stored)


def _compute(compute: Callable[..., Arrays], place: Path, settings: Mapping[str, Any]) -> Arrays:
    began = time.perf_counter()
    arrays = compute(**settings)
    arrays["seconds"] = np.array(time.perf_counter() - began)

    with writing(place) as part, part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type] # its stub takes allow_pickle for one of the arrays
    return arrays


_QUICK_NOTE = (
    "A smoke run of tiny sizes, which shows nothing; what follows describes the whole experiment.",
)


@dataclass(frozen=True)
class Claim:
    """The experiment that tests a paper.

    Attributes:
        slug: the paper.
        statement: what is tested, in a sentence.
        refuted: what would refute it.
        run: carries it out and says what was measured.
    """

    slug: str
    statement: str
    refuted: str
    run: Callable[[Lab], Sequence[Result]]


def reproduce(
    slug: str,
    quick: bool = False,
    folder: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    *,
    listener: Listener | None = None,
    tell: Tell | None = None,
) -> Evidence:
    """Run the experiment that tests a paper's claim.

    Args:
        slug: the paper.
        quick: a smoke run of seconds. Its evidence says so, and its verdict is inconclusive whatever it finds.
        folder: where what is finished is kept; the same call goes on from there. ``runs/claims/SLUG`` unless
            given; a smoke run keeps nothing unless given a folder.
        jobs: training runs at a time.
        listener: told of every event of training runs.
        tell: told in words what is being done.

    Raises:
        UnknownName: for a paper that is not in the catalog, or has no claim here; names those that have.
    """
    paper(slug)
    claim: Claim = CLAIMS.get(slug)
    began = time.perf_counter()
    with ExitStack() as stack:
        if folder is None:
            temporary = stack.enter_context(tempfile.TemporaryDirectory()) if quick else None
            folder = temporary or Path("runs") / "claims" / slug
        lab = Lab(Path(folder), quick, jobs, listener or Silent(), tell or (lambda text: None))
        results = claim.run(lab)
    return Evidence(
        slug=slug,
        claim=f"{claim.statement} Refuted if {claim.refuted}.",
        command=f"counterpoint reproduce {slug}{' --quick' if quick else ''}",
        date=datetime.date.today(),
        machine=Machine(
            cores=os.cpu_count() or 1,
            torch=torch.__version__,
            device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        ),
        seconds=round(time.perf_counter() - began + lab.reused, 1),
        results=tuple(results),
        notes=" ".join([*_QUICK_NOTE * quick, *lab.notes]),
        quick=quick,
    )
