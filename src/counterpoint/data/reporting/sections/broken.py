"""Losses: everything that is broken, and everything that is passed over."""

from __future__ import annotations

from typing import ClassVar, final

import polars as pl

from ...sources import COLUMNS
from ...sources._ledger import named
from .._section import Finding, Findings, ReportSection
from .._seen import DataOverview

_WORDS = {"lost": "cannot be used", "passed over": "passed over", "guessed": "guessed"}


@final
class BrokenSection(ReportSection):
    """The examples that cannot be used, by reason, and the files that are no examples."""

    order: ClassVar[int] = 60
    title: ClassVar[str] = "left out"

    def findings(self, seen: DataOverview) -> list[Finding]:
        findings = Findings(seen)
        lost = seen.lost
        if lost:
            findings.count("examples that cannot be used", lost, len(seen) + lost, above=0.0)
        for kind, words in _WORDS.items():
            part = seen.ledger.filter(pl.col("kind") == kind, pl.col("reason") != COLUMNS)
            for (reason,), entries in part.group_by("reason", maintain_order=True):
                text = f"{len(entries):,}"
                findings.add(
                    f"{words}: {reason}", text, len(entries), [named(entries)], warning=kind == "lost"
                )
        if not len(seen.ledger.filter(pl.col("reason") != COLUMNS)):
            findings.add("files and examples left out", "none", 0)
        return findings.listed
