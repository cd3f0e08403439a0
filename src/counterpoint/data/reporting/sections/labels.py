"""Labels: what is told of the examples beside their columns, of how many, and how evenly."""

from __future__ import annotations

from typing import ClassVar, final

import numpy as np
from jaxtyping import Int

from ....reasons import counted
from ...labels import Classes, Label, Numbers, Points, Tags, Timelines
from .._section import Finding, Findings, ReportSection, percent
from .._seen import DataOverview

_UNEVEN = 0.5
_SHOWN = 3  # classes or tags that are named
_CENTRE = 1 / 3  # of width and height


@final
class Labels(ReportSection):
    """The labels by their kind: classes and their balance, tags of an example, ranges of numbers, points, timelines."""

    order: ClassVar[int] = 50
    title: ClassVar[str] = "labels"

    def findings(self, seen: DataOverview) -> list[Finding]:
        findings = Findings(seen)
        for name, label in sorted(seen.labels.items()):
            match label:
                case Classes():
                    _classes(findings, name, label)
                case Tags():
                    _tags(findings, name, label)
                case Numbers():
                    _numbers(findings, name, label)
                case Points():
                    _points(findings, name, label)
                case Timelines():
                    _timelines(findings, name, label)
        for name, why in sorted(seen.refused.items()):
            findings.add(name, f"{why}: no label", {"refused": why})
        return findings.listed


def _without(label: Label) -> tuple[int, str]:
    """Return how many rows have no such label, and the same in words."""
    without = int((~label.known).sum())
    return without, f"; {percent(without / len(label.values))} % have none" if without else ""


def _left_out(label: Label) -> str:
    """Return in words which classes or tags are left out, with the option that changes it."""
    if label.rare is None:
        return ""
    return f"; {label.rare} ({counted(label.rare.examples, 'example')}; --least N changes it)"


def _largest(label: Label, counts: Int[np.ndarray, " C"]) -> list[str]:
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda k: (-counts[k], label.names[k]))
    return [f"{label.names[k]} {counts[k]:,}" for k in order[:_SHOWN]]


def _classes(findings: Findings, name: str, label: Classes) -> None:
    counts = np.bincount(label.values[label.known], minlength=len(label.names))
    sizes, (without, lacking) = np.sort(counts[counts > 0]), _without(label)
    if len(sizes) < 2:
        one = label.names[int(counts.argmax())] if len(sizes) else "none"
        findings.add(
            name, f"one class in all ({one}): no example is told from others", {"classes": len(sizes)}
        )
        return
    even, single = _evenness(sizes), int((sizes == 1).sum())
    line = f"{len(sizes):,} classes of {sizes[0]:,} to {sizes[-1]:,} examples, evenness {even:.2f}"
    line += f"; {single:,} of one example" if single else ""
    line += _left_out(label)
    held = {
        "classes": len(sizes),
        "evenness": even,
        "imbalance": float(sizes[-1] / sizes[0]),
        "single": single,
        "without": without,
        "largest": int(sizes[-1]),
        "rare": label.rare.names if label.rare else 0,
    }
    findings.add(name, line + lacking, held, _largest(label, counts), warning=even < _UNEVEN)


def _tags(findings: Findings, name: str, label: Tags) -> None:
    counts, (without, lacking) = (label.values == 1).sum(axis=0), _without(label)
    of_row = (label.values[label.known] == 1).sum(axis=1)
    unsure = float((label.values[label.known] < 0).mean())
    line = f"{counted(len(label.names), 'tag')} of {counts.min():,} to {counts.max():,} examples"
    line += f", {of_row.mean():.1f} an example"
    line += f" (at most {of_row.max()}; {percent(float((of_row == 0).mean()))} % have no tag)"
    line += f"; of {percent(unsure)} % of the others it is not known whether they apply" if unsure else ""
    line += _left_out(label)
    held = {
        "tags": len(label.names),
        "mean": float(of_row.mean()),
        "most": int(of_row.max()),
        "unsure": unsure,
        "without": without,
        "largest": int(counts.max()),
        "rare": label.rare.names if label.rare else 0,
    }
    findings.add(name, line + lacking, held, _largest(label, counts))


def _numbers(findings: Findings, name: str, label: Numbers) -> None:
    numbers, (without, lacking) = label.values[label.known], _without(label)
    least, median, most = (float(it) for it in np.quantile(numbers, [0, 0.5, 1]))
    line = f"numbers from {least:g} to {most:g}, median {median:g}"
    line += ": the same for all" if least == most else ""
    held = {"least": least, "median": median, "most": most, "without": without}
    findings.add(name, line + lacking, held, warning=least == most)


def _points(findings: Findings, name: str, label: Points) -> None:
    points, (without, lacking) = label.values[label.known], _without(label)
    middle = float((np.abs(points - 0.5) < _CENTRE / 2).all(axis=1).mean())
    line = f"points, {percent(middle)} % in the middle ninth of the picture"
    findings.add(name, line + lacking, {"middle": middle, "without": without})


def _timelines(findings: Findings, name: str, label: Timelines) -> None:
    numbers, (without, lacking) = label.values[~np.isnan(label.values)], _without(label)
    above = float((numbers > 0).mean())
    line = f"timelines, {percent(above)} % of the places above 0"
    findings.add(name, line + lacking, {"above": above, "without": without})


def _evenness(sizes: np.ndarray) -> float:
    """Return the entropy of classes as a share of what it would be if all were as large: 1 where they are.

    >>> _evenness(np.array([5, 5])), round(_evenness(np.array([99, 1])), 2)
    (1.0, 0.08)
    """
    shares = sizes / sizes.sum()
    return float(-(shares * np.log(shares)).sum() / np.log(len(sizes)))
