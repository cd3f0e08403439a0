"""The page of one run's diagnostics: what its representation looks like inside."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ...data.source import load as load_data
from ...diagnostics.report import Subject, diagnose
from ...files import write_json
from ...training.run import Run, data_of, load, prepare
from ..numbers import finite
from .frame import drawn, write_page

FILE = "diagnosis.json"
PAGE = "diagnosis.html"
_MIXED = 0.6
"""Share of pictures and texts that a line tells apart, of which one half is chance, below which they are mixed."""


def diagnose_run(
    folder: Path,
    data: str | None = None,
    out: Path | None = None,
    tell: Callable[[str], None] = lambda title: None,
) -> dict[str, Any]:
    """Examine a trained run and write ``diagnosis.html``, which opens offline, and ``diagnosis.json``.

    Args:
        folder: a run folder with a checkpoint.
        data: another data set to examine it on; the run's own unless given.
        out: the folder to write into; the run's own unless given.
        tell: told the title of each section when it is done.

    Returns:
        What the JSON file holds: the run, the test set and every section's sentence and numbers.

    Raises:
        ValueError: if the folder is no run folder, or holds no checkpoint yet.
    """
    run = Run.read(folder)
    model = load(folder)
    # On a GPU where there is one; the control goes with it.
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    trained_on = load_data(data_of(folder), run.recipe.towers.image_size)
    control, loader = prepare(run, trained_on, folder)
    examined = (trained_on if data is None else load_data(data)).suited(model.inputs)
    test = next(name for name, rows in examined.splits.test.items() if len(rows))
    subject = Subject(
        model, control.eval(), examined, examined.splits.test[test], loader, run.recipe.optimizer.weight_decay
    )
    sections = []
    for section in diagnose(subject):
        tell(section.title)
        sections.append(section)
    diagnosis: dict[str, Any] = {
        "format": 1,
        "run": str(folder),
        "arm": run.arm,
        "seed": run.seed,
        "data": examined.name,
        "test": test,
        "rows": len(subject.rows),
        "sections": {
            s.name: {"title": s.title, "sentence": s.sentence, "numbers": dict(s.numbers)} for s in sections
        },
    }
    diagnosis["conclusion"] = conclusion(diagnosis["sections"])
    target = out or folder
    cleaned: dict[str, Any] = finite(diagnosis)
    write_json(target / FILE, cleaned)
    command = ["counterpoint", "diagnose", str(folder), *(["--data", data] if data else [])]
    write_page(
        target / PAGE,
        "diagnosis.html.j2",
        found=cleaned,
        sections=drawn([section for section in sections if section.numbers], cleaned["sections"]),
        not_measured=not_measured(cleaned["sections"]),
        command=shlex.join(command),
        attribution=examined.attribution,
    )
    return cleaned


def conclusion(sections: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what a diagnosis amounts to, in at most three lines: directions in use, the gap, what pairs are worth.

    Args:
        sections: each with its ``sentence`` and ``numbers``; those that were not measured have no numbers.
    """
    lines = []
    if sections["rank"]["numbers"]:
        lines.append(sections["rank"]["sentence"])
    gap = sections["gap"]["numbers"]
    if gap:
        told, rest = gap["separability"], gap["separability, means removed"]
        mixed = "are mixed" if told < _MIXED else "lie apart"
        lines.append(
            f"Pictures and texts {mixed}: a line tells {told:.0%} of them apart".replace("%", " %")
            + f" ({rest:.0%} once their means are removed).".replace("%", " %")
        )
    closer = sections["spread"]["numbers"].get("own text closer than another's by")
    if closer is not None:
        lines.append(f"A picture is closer to its own text than to another's by a cosine of {closer:.2f}.")
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
