"""The contents: rows, columns, splits."""

from __future__ import annotations

from typing import ClassVar, final

from ...sides import SIDES
from .._section import Finding, Findings, ReportSection
from .._seen import DataOverview


@final
class Contents(ReportSection):
    """The rows, the columns and the splits."""

    order: ClassVar[int] = 0
    title: ClassVar[str] = "contents"

    def findings(self, seen: DataOverview) -> list[Finding]:
        findings = Findings(seen)
        about = "about " if seen.about else ""
        findings.add("examples", f"{about}{seen.examples:,}", seen.examples)
        if seen.part:
            findings.add("examples looked at", f"{len(seen):,}, a sample", len(seen))
        findings.add("modalities", ", ".join(seen.columns.values()), dict(seen.columns))
        looked = len(seen.scans)
        if seen.sampled and looked < len(seen):
            findings.add("pictures looked at", f"{looked:,}, a sample", looked)
        sides = {side: seen.sides[side] for side in SIDES if seen.sides.get(side)}
        how = "the data's own" if seen.given else seen.division.notes.get("splits", "made here")
        divided = about + ", ".join(f"{side} {n:,}" for side, n in sides.items()) + f" ({how})"
        if not sides:
            divided = "none: there is no example that can be used"
        elif not seen.enough:
            divided += (
                "; a split is empty: give six rows or more, or a column split of train, validation and test"
            )
        findings.add("splits", divided, sides, warning=not seen.enough)
        for name, line in seen.division.notes.items():
            if name != "splits":
                findings.add(name, line, line)
        if seen.attribution:
            findings.add("attribution", seen.attribution, seen.attribution)
        return findings.listed
