"""The budget for what is broken: what a run replaces is named in its folder, and too much of it ends the run."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

from ...data.replaced import Replacement
from ...files import write_text

LAST = 10_000
"""Examples, the newest of a run, of which no larger share may be broken either."""
ASKED = 1_000
"""Number by which a rank asks all others to end, as signals do by theirs."""


class TooManyReplacementsError(ValueError):
    """The end of a run of whose examples more were broken than may be; what it had done is kept."""


@final
class Budget:
    """A count of the examples that were replaced: of the data as a whole, each once, and of the newest `LAST`.

    It follows from the steps that were made: a run that goes on takes up what its folder says of the steps before.

    Args:
        share: of the examples that may be broken; one always may.
        examples: that there are to train on.
        folder: of the run, where ``broken.jsonl`` names each; None names none.
        start: the step that the run goes on with.
        batch: the examples of a step.
        rank, world: of this process, which counts its part alone; every rank but the first has a file of its own.
    """

    def __init__(
        self,
        share: float,
        examples: int,
        folder: Path | None = None,
        start: int = 0,
        batch: int = 1,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.share, self._most = share, max(1.0, share * examples / world)
        self._last, self._most_of_last = LAST // world, max(1.0, share * LAST / world)
        name = f"broken-{rank}.jsonl" if rank else "broken.jsonl"
        self.path = None if folder is None else folder / name
        self._rows: dict[int, str] = {}
        self._steps: deque[tuple[int, int]] = deque()  # examples and broken ones of the newest steps
        self._seen = self._recent = 0
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path and self.path.exists() else []
        before = [entry for line in lines if (entry := _entry(line)) and entry["step"] < start]
        # Steps that are made again, and a line that was cut.
        if self.path is not None and len(before) < len(lines):
            write_text(self.path, "".join(f"{json.dumps(entry, ensure_ascii=False)}\n" for entry in before))
        counts = Counter(entry["step"] for entry in before)
        for step in range(max(0, start - self._last // batch - 1), start):
            self._count(batch, counts[step])
        self._rows = {entry["row"]: entry["reason"] for entry in before}

    def add(self, step: int, examples: int, replaced: Iterable[Replacement]) -> None:
        """Count a step, and name what was replaced in it.

        Args:
            step: its number.
            examples: of this process.
            replaced: of them.
        """
        entries = [{"step": step, **asdict(one)} for one in replaced]
        self._count(examples, len(entries))
        self._rows |= {entry["row"]: entry["reason"] for entry in entries}
        if self.path is not None and entries:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(f"{json.dumps(entry, ensure_ascii=False)}\n" for entry in entries)

    def _count(self, examples: int, broken: int) -> None:
        self._steps.append((examples, broken))
        self._seen, self._recent = self._seen + examples, self._recent + broken
        while self._seen - self._steps[0][0] >= self._last:
            gone, were = self._steps.popleft()
            self._seen, self._recent = self._seen - gone, self._recent - were

    @property
    def asks(self) -> int:
        """`ASKED` where more is broken than may be, else 0."""
        return ASKED if len(self._rows) > self._most or self._recent > self._most_of_last else 0

    def error(self) -> TooManyReplacementsError:
        """Return the error that ends the run, with the reasons."""
        reasons = "; ".join(f"{n:,} × {reason}" for reason, n in Counter(self._rows.values()).most_common())
        cause = (
            f"{len(self._rows):,} examples were replaced: {reasons}"
            if self.asks
            else "another rank counted them"
        )
        listed = f"; each is named in {self.path}" if self.path is not None else ""
        return TooManyReplacementsError(
            f"more than {100 * self.share:g} % of the examples cannot be used: {cause}{listed}. The run stands at a "
            "checkpoint: mend them and run the same command again, or begin another run with --broken SHARE"
        )


def _entry(line: str) -> dict[str, Any] | None:
    """Read a line; None for one that a kill has cut."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and {"step", "row", "reason"} <= entry.keys() else None
