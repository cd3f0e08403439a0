"""Duplicates: pictures that are the same file or look alike."""

from __future__ import annotations

from typing import ClassVar, final

from .._section import Finding, Findings, ReportSection
from .._seen import DataOverview


@final
class Duplicates(ReportSection):
    """The pictures that are there more than once."""

    order: ClassVar[int] = 30
    title: ClassVar[str] = "duplicates"

    def findings(self, seen: DataOverview) -> list[Finding]:
        if not seen.pictures:
            return []
        findings, of = Findings(seen), len(seen.pictures)
        for name, sets in (("are the same file", seen.exact), ("look alike, or are the same", seen.alike)):
            rows = sum(map(len, sets))
            examples = [", ".join(seen.named(members)) for members in sets[:3]]
            findings.count(f"pictures that {name}", rows, of, examples, above=0.05, sampled=seen.sampled)
            if sets:
                findings.add(
                    f"sets of pictures that {name}", f"{len(sets):,}, of up to {len(sets[0]):,}", len(sets)
                )
        if not seen.alike:
            findings.add("pictures that look alike, or are the same", "none", 0)
        return findings.listed
