"""Words of the data about itself: the settings of a world, the subsets of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from .._section import Finding, Findings, ReportSection
from .._seen import DataOverview

_TOLD = {"data", "columns", "splits", "labels", "captions", "attribution"}  # other sections tell of these


@final
class SettingsSection(ReportSection):
    """The settings of a world, and what else data that is no user's files says of itself."""

    order: ClassVar[int] = 5
    title: ClassVar[str] = "as it says"

    def findings(self, seen: DataOverview) -> list[Finding]:
        findings = Findings(seen)
        for title, values in seen.stated.items():
            if title not in _TOLD and isinstance(values, Mapping):
                for name, value in values.items():
                    text = f"{value:,}" if isinstance(value, int) else str(value)
                    findings.add(f"{title}: {name}", text, value)
        return findings.listed
