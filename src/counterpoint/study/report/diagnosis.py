"""The page of one model's diagnostics: what its representation looks like inside."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ... import models
from ...data.source import load_any
from ...diagnostics.report import DiagnosticSection, Subject, diagnose
from ...diagnostics.report.sections import SECTIONS, SLOW, cost
from ...files import write_json
from ...training.run import Run, data_of
from ...training.start import build, prepare
from ..opened import open_data
from .frame import drawn, finite, write_page

FILE = "diagnosis.json"
PAGE = "diagnosis.html"
_MIXED = 0.6
"""Share of pictures and texts that a line tells apart, of which one half is chance, below which they are mixed."""


def diagnose_model(
    reference: str | Path,
    data: str | None = None,
    out: Path | None = None,
    notify: Callable[[str, float], None] = lambda title, share: None,
    *,
    slow: bool = False,
    names: Collection[str] = SECTIONS,
) -> dict[str, Any]:
    """Examine a model and write ``diagnosis.html``, which opens offline, and ``diagnosis.json``.

    Sections about training are not measured of another library's model: its start and its loss are not known. Nor is
    the loss of a run whose data are not there any more, which other data may be looked at with.

    Args:
        reference: a run folder with a checkpoint, or what else `counterpoint.load` takes.
        data: another data set to examine it on; the run's own unless given.
        out: the folder to write into; the run's own unless given.
        notify: called with the title of each section when it is done, and the estimated share of the work that is done.
        slow: measure the sections that take gradients many times too.
        names: of the sections; all unless given.

    Returns:
        What the JSON file holds: the model, the test set and every section's sentence and numbers.

    Raises:
        ValueError: if there is no such model, if a run holds no checkpoint yet, and for a model that is no run folder
            without ``data`` or ``out``.
    """
    models.kind_of(str(reference))
    folder = models.run_of(str(reference))
    target = out or (Path(reference) if Path(reference) == folder else None)
    if target is None:
        raise ValueError(f"{reference} is no run's folder, where the page would go: give one with --out")
    if folder is None and data is None:
        raise ValueError(f"{reference} has no data of its own: say which with --data")
    model = models.load(reference)
    # On a GPU where there is one; the control goes with it.
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    run = None if folder is None else Run.read(folder)
    control, loader, trained_on = None, None, None
    if folder is not None and run is not None:
        try:
            trained_on = open_data(replace(run, data=data_of(folder)))
        except FileNotFoundError:
            if data is None:
                raise
            control = build(run, {}, folder)
        else:
            control, loader = prepare(run, trained_on, folder)
        control.eval()
    examined = load_any(data) if data is not None else trained_on
    assert examined is not None, "what is no run was refused without data"
    examined = examined.suited(model.inputs)
    test = next(name for name, rows in examined.splits.test.items() if len(rows))
    decay = 0.0 if run is None else run.recipe.optimizer.weight_decay
    augmentation = None if run is None else run.recipe.augmentation
    subject = Subject(model, control, examined, examined.splits.test[test], loader, decay, augmentation)
    sections: list[DiagnosticSection] = []
    costs = {name: 0.0 if name in SLOW and not slow else cost(name) for name in names}
    for section in diagnose(subject, slow, names):
        sections.append(section)
        notify(section.title, sum(costs[done.name] for done in sections) / sum(costs.values()))
    if names is not SECTIONS and not any(section.numbers for section in sections):
        raise ValueError(not_measured({s.name: _entry(s) for s in sections}).removesuffix("."))
    diagnosis: dict[str, Any] = {
        "format": 1,
        "run": str(reference),
        "arm": str(reference) if run is None else run.arm,
        "seed": None if run is None else run.seed,
        "data": examined.name,
        "test": test,
        "rows": len(subject.rows),
        "sections": {s.name: _entry(s) for s in sections},
    }
    diagnosis["conclusion"] = conclusion(
        diagnosis["sections"], [(side.thing, side.things) for side in subject.sides]
    )
    cleaned: dict[str, Any] = finite(diagnosis)
    write_json(target / FILE, cleaned)
    command = ["counterpoint", "diagnose", str(reference), *(["--data", data] if data else [])]
    command += ["--what", "all"] if slow else [] if names is SECTIONS else ["--what", *list(names)[:1]]
    write_page(
        target / PAGE,
        "diagnosis.html.j2",
        about=cleaned,
        sections=drawn([section for section in sections if section.numbers], cleaned["sections"]),
        not_measured=not_measured(cleaned["sections"]),
        command=shlex.join(command),
        attribution=examined.attribution,
    )
    return cleaned


def _entry(section: DiagnosticSection) -> dict[str, Any]:
    """Return what the JSON file holds of a section."""
    return {"title": section.title, "sentence": section.sentence, "numbers": dict(section.numbers)}


def conclusion(
    sections: Mapping[str, Mapping[str, Any]],
    sides: Sequence[tuple[str, str]] = (("picture", "pictures"), ("text", "texts")),
) -> list[str]:
    """Return what a diagnosis amounts to, in at most three lines: directions in use, the gap, what pairs are worth.

    Args:
        sections: each with its ``sentence`` and ``numbers``; those that were not measured have no numbers.
        sides: the columns in words, one example and several.
    """
    lines = []
    numbers = {name: section["numbers"] for name, section in sections.items()}
    if numbers.get("rank"):
        lines.append(sections["rank"]["sentence"])
    gap = numbers.get("gap")
    if gap:
        separability, rest = gap["separability"], gap["separability, means removed"]
        mixed = "are mixed" if separability < _MIXED else "lie apart"
        named = " and ".join(things for _, things in sides).capitalize()
        line = f"{named} {mixed}: a line tells {separability:.0%} of them apart "
        line += f"({rest:.0%} once their means are removed)."
        lines.append(line.replace("%", " %"))
    one, *others = (thing for thing, _ in sides)
    for other in others:
        if (closer := numbers.get("spread", {}).get(f"own {other} closer than another's by")) is not None:
            lines.append(
                f"A {one} is closer to its own {other} than to another's by a cosine of {closer:.2f}."
            )
    return lines


def not_measured(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one line on the sections that were not measured, those of one reason together; empty if there is none."""
    by_reason: dict[str, list[str]] = {}
    for section in sections.values():
        if not section["numbers"]:
            reason = section["sentence"].removeprefix("Not measured: ").removesuffix(".")
            by_reason.setdefault(reason, []).append(section["title"])
    parts = [f"{', '.join(titles)} ({reason})" for reason, titles in by_reason.items()]
    return f"Not measured: {'; '.join(parts)}." if parts else ""
