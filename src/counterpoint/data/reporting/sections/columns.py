"""The columns of a user's own files: what each was taken for, how long and how fast it is, what is missing."""

from __future__ import annotations

from typing import ClassVar, final

import numpy as np

from ....modalities import MODALITIES
from ....reasons import counted, in_unit
from ...sources import COLUMNS
from .._section import Finding, Findings, ReportSection, percent
from .._seen import ColumnOverview, DataOverview


@final
class ColumnsSection(ReportSection):
    """The columns, each with its modality, what it is made of, lengths, rates and gaps."""

    order: ClassVar[int] = 5
    title: ClassVar[str] = "columns"

    def findings(self, seen: DataOverview) -> list[Finding]:
        findings = Findings(seen)
        for name, column in seen.label_columns.items():
            parts = [
                f"{MODALITIES.get(column.modality).noun}{_made(column)}",
                *_lengths(column),
                *_rates(column),
            ]
            if column.lacking:
                share = percent(column.lacking / column.rows)
                parts.append(f"lacking in {counted(column.lacking, 'row')} ({share} %)")
            findings.add(
                name,
                "; ".join(parts),
                {
                    "modality": column.modality,
                    "made of": list(column.headers),
                    "rows": column.rows,
                    "lacking": column.lacking,
                    "rates": {str(rate): count for rate, count in column.rates.items()},
                },
            )
        for guess in dict.fromkeys(seen.ledger.filter(kind="guessed", reason=COLUMNS)["detail"]):
            findings.add("guessed", guess, guess)
        return findings.listed


def _made(column: ColumnOverview) -> str:
    return f" of {' + '.join(column.headers)}" if column.headers else ""


def _lengths(column: ColumnOverview) -> list[str]:
    if not len(column.lengths):
        return []
    least, most = float(np.min(column.lengths)), float(np.max(column.lengths))
    unit = MODALITIES.get(column.modality).unit
    return [in_unit(least, unit) if least == most else f"{least:,.3g} to {most:,.3g} {unit}"]


def _rates(column: ColumnOverview) -> list[str]:
    if len(column.rates) < 2:
        return [f"{rate:,} a second" for rate in column.rates]
    return [", ".join(f"{rate:,} a second in {counted(n, 'file')}" for rate, n in column.rates.items())]
