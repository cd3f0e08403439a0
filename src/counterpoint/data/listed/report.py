"""The facts about a user's own files that are worth knowing before training on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from ...reasons import counted
from ..sides import SIDES


@final
@dataclass(frozen=True)
class LoadingReport:
    """The examples, what was left out of them, and what is odd.

    Attributes:
        examples: how many there are on each side.
        left_out: the ledger's counts, by kind and reason, with the first entries of each.
        ledger: the file with all of them, None where nothing was left out.
        duplicates: by what is the same (``"picture"``, ``"caption"``), the rows beyond the first that have it.
        leaked: held-out rows that share a caption, a picture, a look, a group with a training row.
        notes: on how the splits were made, and on columns that were not taken as labels.
        caption_words: on average, least, most; None where there are no captions.
        columns: what each is and how many rows have it, in words; none of pictures with captions.
    """

    examples: Mapping[str, int]
    left_out: Mapping[str, str]
    ledger: Path | None
    duplicates: Mapping[str, int]
    leaked: Mapping[str, int]
    notes: Mapping[str, str]
    caption_words: tuple[float, int, int] | None
    columns: Mapping[str, str]

    def lines(self) -> dict[str, str]:
        """Return a title and a line for each."""
        leaks = ", ".join(f"{count:,} by {kind}" for kind, count in self.leaked.items() if count)
        captions = {}
        if self.caption_words is not None:
            mean, least, most = self.caption_words
            captions = {"caption words": f"{mean:.1f} on average, {least} to {most}"}
        ledger = {"all that was left out": str(self.ledger)} if self.ledger else {"left out": "none"}
        return {
            "examples": ", ".join(f"{side} {self.examples[side]}" for side in SIDES if side in self.examples),
            **(
                {"columns": "; ".join(f"{n}: {it}" for n, it in self.columns.items())} if self.columns else {}
            ),
            **self.notes,
            **captions,
            "duplicates": ", ".join(counted(count, what) for what, count in self.duplicates.items()),
            "leaked from training to held-out rows": f"{leaks}: scored apart" if leaks else "none",
            **self.left_out,
            **ledger,
        }
