"""From methods and a model to verdicts: does decoding this way help, and what does it cost?"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TypeAlias, Unpack

from ...data.base import PairedData
from ...data.source import load as load_data
from ...data.source import short_name
from ...decoding import Decoding
from ...evaluation import DEFAULT_ANSWERING
from ...evaluation.task import NotApplicable
from ...execution import Listener, Local, NullListener, leased
from ...files import write_json
from ...training.run import environment
from ...types import Assistant
from ..agreement import check_made_of_the_same
from ..damage import is_damaged, set_aside_damaged
from ..design import filled_by_user
from ..gate import check_folder
from ..schema import DecodingSummary
from ..study import DryRun
from ..tables import write_tables
from . import model as models
from .arm import DecodingArm
from .cost import Estimate, estimate
from .design import DecodingDesign, DecodingOptions, check_names
from .summary import summarise
from .units import Asking, Tests, Unit, applies, tests, units

_SIDE = 96
"""Side of the pictures, in pixels, for a model that is given as a function."""


OnCost: TypeAlias = Callable[[DecodingDesign, Mapping[str, Estimate]], bool]
"""Called with the design and what every arm has left to do before a study starts; a False stops it there."""


@dataclass(frozen=True)
class DecodingStudy:
    """A finished study: its folder and what it found.

    Attributes:
        folder: where it is.
        summary: the content of ``summary.json``.
    """

    folder: Path
    summary: DecodingSummary

    @property
    def report(self) -> Path:
        """The report page."""
        return self.folder / "report.html"

    @property
    def sentences(self) -> list[str]:
        """Return in words what the main metrics say about each method."""
        return [f"{c.task} {c.metric} ({c.test}): {c.text}." for c in self.summary.conclusions]

    def write(self) -> None:
        """Write the summary, the tables and the report."""
        from ..report.decoding import write_report
        from .tables import write_costs

        self.summary.write(self.folder)
        write_tables(self.summary, self.folder)
        write_costs(self.summary, self.folder)
        write_report(self.folder, self.summary)


def compare_decoding(
    *methods: str,
    model: str | os.PathLike[str] | models.Assistants,
    batch_size: int = 16,
    folder: str | os.PathLike[str] | None = None,
    listener: Listener | None = None,
    on_cost: OnCost | None = None,
    **options: Unpack[DecodingOptions],
) -> DecodingStudy:
    """Ask one vision-language model the same questions, decoded by each method, and say what each is worth.

    Every method is compared with plain sampling and with its own plausibility rule at contrast 0, so that what the rule
    does is not credited to the contrast. Both baselines come by themselves.

    Args:
        methods: by name, with options after commas (``"vcd,alpha=0.5"``); two at once with ``+``.
        model: a path or hub name of a vision-language model, or a function from a decoding method to an assistant.
        batch_size: prompts that are decoded at once.
        folder: of the study; finished units in it are not repeated. ``runs/MODEL-DATA-METHODS`` unless given.
        listener: told how it goes.
        on_cost: told what is left to do and what it will take, before it starts; a False stops it there.
        options: ``data``, ``tasks``, ``seeds``, ``limit``, ``temperature``, ``max_new_tokens``, ``margin``: the fields
            of `counterpoint.study.decoding.design.DecodingDesign`, which has their meanings and defaults. ``seeds``
            says how many or which.

    Raises:
        ValueError: for an unknown method, task or data set, a model that takes no pictures, or an arm that a task does
            not give what it needs, before anything is written.
        OtherStudy: if the folder holds another study.
        DryRun: if ``on_cost`` said False.
    """
    named = (
        model
        if isinstance(model, str | os.PathLike)
        else getattr(model, "__qualname__", type(model).__qualname__)
    )
    design = filled_by_user(DecodingDesign, {"arms": methods, "model": named, **options})
    assistants = None if isinstance(model, str | os.PathLike) else model
    return conduct(design, folder, assistants, batch_size=batch_size, listener=listener, on_cost=on_cost)


def conduct(
    design: DecodingDesign,
    folder: str | os.PathLike[str] | None = None,
    model: models.Assistants | None = None,
    *,
    batch_size: int = 16,
    listener: Listener | None = None,
    on_cost: OnCost | None = None,
) -> DecodingStudy:
    """Carry out a study; see `compare_decoding`.

    Args:
        design: the study.
        folder: the study's.
        model: from a decoding method to an assistant, where it is not loaded from the design's model.
        batch_size: prompts that are decoded at once.
        listener: told how it goes.
        on_cost: told what is left to do and what it will take; a False stops it there.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    check_names(design)
    listener = listener or NullListener()
    size = _SIDE if model is not None else models.picture_size(design.model)
    # Files are stored a third larger than the views that training cuts from them; here they are shown whole.
    source = load_data(design.data, round(size * 3 / 4))
    rows = tests(source, design.limit)
    design = replace(
        design,
        arms=tuple(dict.fromkeys(DecodingArm.parse(method).spec for method in design.arms)),
        tasks=_applying(design.tasks, source, rows),
        image_size=size,
        weights="" if model is not None else models.weights_mark(design.model),
    )
    place = Path(folder) if folder is not None else default_folder(design)
    check_folder(place)
    design = design.joined(DecodingDesign.read(place, design.margin), place)
    weights = {} if model is not None else models.digests(design.model)

    @cache
    def loaded() -> models.Assistants:
        return model or models.load(design.model, design.sampling, batch_size)

    def assistants(method: Decoding) -> Assistant:
        return loaded()(method)  # loaded when it is first asked: a study that is finished needs no model

    whole = [
        Asking(unit, partial(_assistant, assistants, unit), source, rows, weights)
        for unit in units(design, place)
    ]
    check_made_of_the_same(whole, source, place)
    left = [asking for asking in whole if not asking.unit.finished or is_damaged(asking)]
    estimates: dict[str, Estimate] = {}
    if left:
        listener.begin(f"loading {design.model} and timing a few replies of each arm", ())
        estimates = estimate(design, [asking.unit for asking in left], assistants, source, rows)
    if on_cost is not None and not on_cost(design, estimates):
        raise DryRun
    with leased(place, wait=True):
        design.reserve(place)
        if left or not (place / "environment.json").exists():
            write_json(place / "environment.json", environment())
    set_aside_damaged(left)
    listener.begin("asking", left)
    Local().carry_out(left, listener)
    # Another command may add arms or seeds to the folder meanwhile; who ends last describes them all.
    joined = DecodingDesign.read(place, design.margin) or design
    finished = all(unit.finished for unit in units(joined, place))
    return _written(place, joined if finished else design, source)


def resummarise(folder: str | os.PathLike[str], margin: float | None = None) -> DecodingStudy:
    """Summarise a finished study anew and write its tables and report; the model is not needed.

    Args:
        folder: the study's.
        margin: another margin of equivalence than before; the study keeps it.
    """
    place = Path(folder)
    design = DecodingDesign.read(place, margin)
    if design is None:
        raise ValueError(f"{place} is not a study folder: it has no study.yaml")
    if margin is not None:
        design.reserve(place)
    return _written(place, design, load_data(design.data, round(design.image_size * 3 / 4)))


def _assistant(assistants: models.Assistants, unit: Unit) -> Assistant:
    return assistants(DecodingArm.parse(unit.arm).method(unit.seed))


def default_folder(design: DecodingDesign) -> Path:
    model = Path(design.model).name
    data = short_name(design.data)
    return Path("runs") / "-".join([model, data, *(DecodingArm.parse(arm).slug for arm in design.arms)])[:80]


def _written(place: Path, design: DecodingDesign, data: PairedData) -> DecodingStudy:
    with leased(place, wait=True):
        study = DecodingStudy(place, summarise(place, design, data.attribution))
        study.write()
    return study


def _applying(tasks: Sequence[str], data: PairedData, rows: Tests) -> tuple[str, ...]:
    """Return the tasks that are asked for, or of the usual ones those that the data has something for."""
    for task in tasks:
        if not applies(task, data, rows):
            raise NotApplicable(f"{data.name!r} has nothing that {task} asks about: leave the task out")
    if tasks:
        return tuple(tasks)
    usual: tuple[str, ...] = ()
    for task in DEFAULT_ANSWERING:
        with suppress(ValueError):  # some tasks want more of questions than that they are there
            usual += (task,) * applies(task, data, rows)
    if not usual:
        raise NotApplicable(
            f"{data.name!r} has nothing that any of {', '.join(DEFAULT_ANSWERING)} asks about: give data with "
            "questions, such as scenes:cooccurrence"
        )
    return usual
