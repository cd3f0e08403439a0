"""The report on data as a whole, and the functions that make it, keep it and show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, final

from PIL import Image

from ...execution import Executor, Listener, Local, NullListener, ResourceRequest
from ...execution.executors import LOCAL, executor_of
from ...files import write_text, writing
from ...recipes import Towers, load
from ...trust import given
from ..kinds.parsing import parse
from ..listed.ledgers import keep, ledger_file
from ..source import load_any
from ..sources import Ledger
from ._looking import looks_of_units, scan
from ._section import Finding, ReportSection
from ._seen import DataOverview, Looks, seen_in_data, seen_in_records
from .advice import commands, repair
from .card import card
from .sections import SECTIONS

_COLUMNS, _LINES, _TILE, _GAP = 8, 12, 96, 8


@final
@dataclass(frozen=True)
class DataReport:
    """The contents of data, the faults in them, and the commands that fit it.

    Attributes:
        source: as the user wrote it.
        sections: the findings of each section that has any, by its title.
        commands: that fit the data, each with what it does.
        left_out: the file that lists everything that is left out; None where there is none.
        repair: what to do before the commands; empty where the data can be used as it is.
    """

    source: str
    sections: Mapping[str, tuple[Finding, ...]]
    commands: tuple[tuple[str, str], ...]
    seen: DataOverview = field(repr=False)
    left_out: Path | None = None
    repair: str = ""

    def plain(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        return {
            "source": self.source,
            **{
                title: {
                    finding.name: {"value": finding.value}
                    | ({"examples": list(finding.examples)} if finding.examples else {})
                    | ({"warning": True} if finding.warning else {})
                    for finding in findings
                }
                for title, findings in self.sections.items()
            },
            **({"repair": self.repair} if self.repair else {}),
            "commands": [command for command, _ in self.commands],
        }

    def sheet(self, path: Path | None = None) -> Path | None:
        """Draw the largest sets of pictures that look alike as a PNG, a line each; None where there are none.

        Args:
            path: of the PNG; in the cache folder unless given.
        """
        sets = self.seen.alike[:_LINES]
        if not sets:
            return None
        wide = min(max(map(len, sets)), _COLUMNS)
        size = (wide * (_TILE + _GAP), len(sets) * (_TILE + _GAP))
        page = Image.new("RGB", size, "lightgrey")
        for line, members in enumerate(sets):
            for column, row in enumerate(members[:_COLUMNS]):
                picture = self.seen.picture(row, _TILE)
                page.paste(picture, (column * (_TILE + _GAP) + _GAP // 2, line * (_TILE + _GAP) + _GAP // 2))
        path = path or ledger_file(Path(self.source)).with_suffix(".png")
        with writing(path) as part:
            page.save(part, format="PNG")
        return path

    def card(self, path: Path) -> Path:
        """Write a data card: Markdown with the block of metadata that Hugging Face reads.

        Args:
            path: of the Markdown file.
        """
        write_text(path, card(self.seen, self.sections, self.commands))
        return path


def report(
    source: str,
    *,
    sample: int | None = None,
    towers: Towers | None = None,
    jobs: int = 1,
    executor: str | Executor = LOCAL,
    needs: ResourceRequest | None = None,
    listener: Listener | None = None,
) -> DataReport:
    """Look at data and tell what is there, what is wrong with it, and which commands fit it.

    Nothing is refused for being broken: whatever can be read is told of, and the rest counted by reason. Pictures in
    files may be looked at by other processes, elsewhere too; all else is looked at in this one. The report is the same.

    Args:
        source: whatever ``--data`` takes: a folder, a table, shards, the name of a world.
        sample: look at the pictures of so many examples, and give shares with intervals; at all unless given.
        towers: of the recipe that captions and pictures are measured against; those of the default recipe unless given.
        jobs: processes that look at pictures.
        executor: where pictures are looked at: ``"local"``, ``"ray"`` or an executor (`counterpoint.execution`); other
            machines must see the cache folder.
        needs: of those who look.
        listener: is told of progress.

    Raises:
        HandedOver: if others look at the pictures, after this call, as jobs of SLURM; called again, it reports.
        FileNotFoundError: if there is nothing at the path of the data; the message says what was expected.
        ValueError: if there is nothing that can be read.

    >>> found = report("digits")
    >>> found.sections["contents"][0].text
    '1,797'
    """
    given(source)
    looking: Looks = scan
    if executor != LOCAL or jobs > 1:
        needs = needs or ResourceRequest()
        chosen = Local(jobs) if executor == LOCAL else executor_of(executor, needs)
        looking = partial(looks_of_units, executor=chosen, needs=needs, listener=listener or NullListener())
    seen = _seen(source, sample, towers or load().towers, looking)
    parts: list[ReportSection] = sorted(
        (SECTIONS.get(name)() for name in SECTIONS.names()), key=lambda s: s.order
    )
    sections = {part.title: tuple(findings) for part in parts if (findings := part.findings(seen))}
    left_out = ledger_file(Path(source)) if len(seen.ledger) else None
    return DataReport(source, sections, tuple(commands(seen)), seen, left_out, repair(seen, left_out))


def _seen(source: str, sample: int | None, towers: Towers, looking: Looks) -> DataOverview:
    ledger = Ledger()
    parsed = parse(source)
    records, share = parsed.some_records(ledger)
    if records is None:
        return seen_in_data(source, load_any(source), towers=towers, sample=sample)
    seen = seen_in_records(
        source,
        records,
        ledger,
        options=parsed.options,
        towers=towers,
        sample=sample,
        share=share,
        looking=looking,
    )
    keep(ledger, ledger_file(Path(source)))
    return seen
