"""The lengths of sounds and series."""

from __future__ import annotations

from typing import ClassVar, final

import numpy as np

from ....modalities import MODALITIES
from ....reasons import in_unit
from .._section import Finding, Findings, ReportSection, percent
from .._seen import DataOverview

_FEW = 0.01  # of the examples may be such ones without a warning


@final
class Lengths(ReportSection):
    """The lengths of what is a sequence, and of how many a tower does not hear the end."""

    order: ClassVar[int] = 15
    title: ClassVar[str] = "lengths"

    def findings(self, seen: DataOverview) -> list[Finding]:
        column = next((it for it, modality in seen.columns.items() if MODALITIES.get(modality).unit), None)
        lengths = np.array([look.length for look in seen.scans if look.broken is None])
        if column is None or not lengths.any():
            return []
        findings, modality = Findings(seen), MODALITIES.get(seen.columns[column])
        least, middle, most = np.quantile(lengths, [0, 0.5, 1]).tolist()
        findings.add(
            modality.noun,
            f"median {in_unit(middle, modality.unit)}, {least:,.3g} to {most:,.3g}",
            {"unit": modality.unit, "least": least, "median": middle, "most": most},
        )
        heard = seen.towers.audio_seconds
        if modality.unit == "seconds" and (longer := float((lengths > heard).mean())):
            findings.add(
                f"longer than the {heard:g} seconds that a tower hears",
                f"{percent(longer)} %; --towers.audio-seconds says how many it hears",
                longer,
            )
        flat = [look.row for look in seen.scans if look.flat]
        findings.count("silent, or the same all along", len(flat), len(lengths), seen.named(flat), above=_FEW)
        return findings.listed
