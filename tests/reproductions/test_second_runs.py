"""Second runs of claims: whatever begins from another run finds it under the seeds that a second run has."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from counterpoint.files import DamagedFileError
from counterpoint.study.training.tuning import TUNING_SEED
from counterpoint_reproductions import CLAIMS, Lab
from counterpoint_reproductions._registry import module
from counterpoint_reproductions.lab import Grid, TrainedStudy, TrainingComparison


class Reached(Exception):
    """The end of a plan: a number is asked for, which no plan has."""


class Numbers:
    """The results of a study that is not carried out."""

    def __getattr__(self, name: str) -> Any:
        raise Reached


class Planned(TrainedStudy):
    """A study that is not carried out."""

    def on(self, *args: Any, **options: Any) -> Any:
        raise Reached


@dataclass
class Planning(Lab):
    """A laboratory that plans studies and carries out none.

    Attributes:
        planned: the seeds of every study so far.
    """

    planned: dict[str, set[int]] = field(default_factory=dict)

    def study(self, comparison: TrainingComparison, name: str = "study") -> TrainedStudy:
        own = set(self.seeds(comparison.seeds))
        begun = {TUNING_SEED, *own} if len(comparison.rates) > 1 else own
        for arm in comparison.arms.values():
            for origin, seed in re.findall(
                rf"{re.escape(str(self.folder))}/([^/]+)/runs/[^/]+/seed-([^,+\"]+)", arm
            ):
                missing = (begun if seed == "{seed}" else {int(seed)}) - self.planned[origin]
                assert not missing, (
                    f"{name} begins from runs of {origin} under seeds that it has not: {missing}"
                )
        self.planned.setdefault(name, set()).update(own)
        trained = Planned.__new__(Planned)
        trained.arms, trained.plans, trained._folder = comparison.arms, {}, self.folder / name
        trained.results = Numbers()  # type: ignore[assignment] # there are none
        return trained

    def grid(self, *args: Any, **settings: Any) -> Grid:
        raise Reached


def chained() -> list[str]:
    """Return the claims some of whose runs begin from others, read and not imported."""
    found = []
    for slug in CLAIMS.names():
        spec = find_spec(CLAIMS.reference(slug).partition(":")[0])
        assert spec is not None
        assert spec.origin is not None
        text = Path(spec.origin).read_text(encoding="utf-8")
        if re.search(r"\.each\(|\.folder\([^)]*, 0\)|unpaired\.towers|went_on\(", text):
            found.append(slug)
    return found


@pytest.mark.parametrize("second", [0, 7])
@pytest.mark.parametrize("slug", chained())
def test_what_begins_from_another_run_finds_it_in_second_run_too(
    slug: str, second: int, tmp_path: Path
) -> None:
    lab = Planning(tmp_path, second=second)
    # A number of a study, or a run that is read.
    with pytest.raises((Reached, DamagedFileError, ValueError)) as reached:
        list(module(slug).run(lab))
    assert type(reached.value) is not ValueError or "is not a run folder" in str(reached.value)
    assert lab.planned
