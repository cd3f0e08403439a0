"""Leakage: held-out examples that training has seen."""

from __future__ import annotations

from typing import ClassVar, final

import numpy as np

from .._section import Finding, Findings, ReportSection
from .._seen import DataOverview


@final
class Leakage(ReportSection):
    """The held-out examples that share something with an example to train on."""

    order: ClassVar[int] = 40
    title: ClassVar[str] = "leakage between splits"

    def findings(self, seen: DataOverview) -> list[Finding]:
        findings, sides = Findings(seen), seen.division.sides
        for side in ("validation", "test"):
            here = sides == side
            for kind, leaked in seen.division.leaked.items():
                rows = np.flatnonzero(leaked & here).tolist()
                name = f"{side}: share their {kind} with an example to train on"
                findings.count(name, len(rows), int(here.sum()), seen.named(rows), above=0.0)
        if not findings.listed and (sides == "train").any() and (sides != "train").any():
            findings.add("examples that leak", "none", 0)
        return findings.listed
