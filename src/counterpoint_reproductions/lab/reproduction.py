"""From a paper to its evidence: the claim's experiment is carried out in a laboratory, and its results are judged."""

from __future__ import annotations

import datetime
import os
import re
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import torch

from counterpoint.catalog import paper
from counterpoint.catalog.digest import digest
from counterpoint.catalog.evidence import Evidence, Machine
from counterpoint.data.synthetic import WORLDS
from counterpoint.execution import Listener, NullListener
from counterpoint.registry import source_of
from counterpoint.spec import Spec

from .._registry import module
from .cell import Notify
from .lab import Lab, is_made
from .results import corrected
from .study import TrainingComparison

_QUICK_NOTE = (
    "A smoke run of tiny sizes, which shows nothing; what follows describes the whole experiment.",
)


def reproduce(
    slug: str,
    quick: bool = False,
    folder: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    *,
    decide: Evidence | None = None,
    listener: Listener | None = None,
    notify: Notify | None = None,
) -> Evidence:
    """Run the experiment that tests a paper's claim.

    Args:
        slug: the paper.
        quick: a smoke run of seconds. Its evidence says so, and its verdict is inconclusive whatever it finds.
        folder: where what is finished is kept; the same call goes on from there. ``runs/claims/SLUG`` unless
            given; a smoke run keeps nothing unless given a folder.
        jobs: training runs at a time.
        decide: evidence that left the verdict open. What is returned rests on seeds of its own, as many as
            `counterpoint.catalog.evidence.FirstRun.second_seeds` says, so that the number is fixed before the run.
        listener: receives every event of training runs.
        notify: called with a line on what is being done.

    Raises:
        UnknownNameError: for a paper that is not in the catalog, or has no claim here; names those that have.
        ValueError: for ``decide`` with evidence that leaves nothing open, or nothing that seeds or a new test set
            decide.
    """
    paper(slug)
    claim = module(slug)
    text = source_of(claim.__name__)
    first = None if decide is None else decide.left_open()
    began = time.perf_counter()
    with ExitStack() as stack:
        if folder is None:
            temporary = stack.enter_context(tempfile.TemporaryDirectory()) if quick else None
            folder = temporary or Path("runs") / "claims" / slug
        lab = Lab(
            Path(folder),
            quick,
            jobs=jobs,
            listener=listener or NullListener(),
            notify=notify or (lambda text: None),
        )
        if first is not None:
            lab.folder /= "second"
            lab.second, lab.examples = first.second_seeds or 0, first.second_examples or 1.0
            if lab.examples > 1:
                _check_grows(slug, claim, text)
        results = corrected(claim.run(lab))
    return Evidence(
        slug=slug,
        claim=f"{claim.CLAIM} Refuted if {claim.REFUTED}.",
        command=f"counterpoint reproduce {slug}{' --quick' * quick}{' --decide' * (first is not None)}",
        date=datetime.date.today(),
        machine=Machine(
            cores=os.cpu_count() or 1,
            torch=torch.__version__,
            device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        ),
        seconds=round(time.perf_counter() - began + lab.reused, 1),
        results=results,
        notes=" ".join([*_QUICK_NOTE * quick, *lab.notes]),
        quick=quick,
        earlier=first,
        declared=digest(text),
    )


def _check_grows(slug: str, claim: ModuleType, text: str) -> None:
    """Check that a second run of a claim can have a new and larger test set: its data are made, for studies alone.

    Args:
        slug: the paper.
        claim: its module.
        text: the source of that module.

    Raises:
        ValueError: if it cannot.
    """
    comparison = getattr(claim, "COMPARISON", None)
    data = comparison.data if isinstance(comparison, TrainingComparison) else None
    if data is None or not (is_made(data) and "test" in Spec.parse(data).options):
        of = f" of {data}" if data is not None else ""
        worlds = ", ".join(filter(is_made, WORLDS.names()))
        raise ValueError(
            f"{slug}: only a larger test set would decide it, and the test set{of} cannot grow; the claim needs other "
            f"data, such as a world ({worlds}) with test=N"
        )
    if re.search(r"\blab\.(grid|tuned)\(", text):
        raise ValueError(
            f"{slug}: only a larger test set would decide it, and the cells of its grid open their data themselves; "
            "change the sizes in the claim and run it anew without --decide"
        )
