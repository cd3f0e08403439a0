"""The contents: rows, columns, splits."""

from __future__ import annotations

from typing import ClassVar, final

from ...sides import SIDES
from .._section import Finding, Findings, Section
from .._seen import Seen


@final
class Contents(Section):
    """The rows, the columns and the splits."""

    order: ClassVar[int] = 0
    title: ClassVar[str] = "contents"

    def findings(self, seen: Seen) -> list[Finding]:
        found = Findings(seen)
        about = "about " if seen.about else ""
        found.add("examples", f"{about}{seen.examples:,}", seen.examples)
        if seen.part:
            found.add("examples looked at", f"{len(seen):,}, a sample", len(seen))
        found.add("modalities", ", ".join(seen.columns.values()), dict(seen.columns))
        looked = len(seen.looks)
        if seen.sampled and looked < len(seen):
            found.add("pictures looked at", f"{looked:,}, a sample", looked)
        sides = {side: seen.sides[side] for side in SIDES if seen.sides.get(side)}
        how = "the data's own" if seen.given else seen.division.notes.get("splits", "made here")
        found.add(
            "splits", about + ", ".join(f"{side} {n:,}" for side, n in sides.items()) + f" ({how})", sides
        )
        for name, line in seen.division.notes.items():
            if name != "splits":
                found.add(name, line, line)
        if seen.attribution:
            found.add("attribution", seen.attribution, seen.attribution)
        return found.listed
