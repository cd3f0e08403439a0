from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from counterpoint.catalog.digest import digest
from counterpoint.catalog.evidence import Evidence, RequiredData, Result
from counterpoint.execution import UnitProgress
from counterpoint.registry import UnknownNameError, source_of
from counterpoint.study.training.run import TrainingRun
from counterpoint.training.run import RunState
from counterpoint_reproductions import mlcd, multiberts, plan, reproduce
from counterpoint_reproductions.lab import Arrays, Lab, TrainingComparison, above, decides, effects, per_seed
from counterpoint_reproductions.lab import plan as planning
from counterpoint_reproductions.lab.lab import TUNING_SEEDS

CALLS: list[int] = []


def squares(n: int) -> Arrays:
    CALLS.append(n)
    return {"squares": np.arange(n) ** 2}


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


def test_a_finished_cell_is_read_and_not_computed_again(tmp_path: Path) -> None:
    first = Lab(tmp_path).grid(squares, {"n": (3, 4)}, seeds=None)
    lab = Lab(tmp_path)
    second = lab.grid(squares, {"n": (4, 3)}, seeds=None)
    assert CALLS == [3, 4]
    assert list(second) == [(4,), (3,)]
    assert second[3][None]["squares"].tolist() == first[3][None]["squares"].tolist() == [0, 1, 4]
    assert lab.reused == float(first[3][None]["seconds"] + first[4][None]["seconds"])


def test_a_cell_with_other_settings_is_another_cell(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    for n in (3, 5, 3):
        assert len(lab.grid(squares, {}, seeds=None, n=n)[()][None]["squares"]) == n
    assert CALLS == [3, 5]


def test_what_was_finished_before_an_interruption_stays(tmp_path: Path) -> None:
    def notify(text: str) -> None:
        if text.startswith("4"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Lab(tmp_path, notify=notify).grid(squares, {"n": (3, 4)}, seeds=None)
    Lab(tmp_path).grid(squares, {"n": (3, 4)}, seeds=None)
    assert CALLS == [3, 4]


@pytest.mark.slow
def test_several_jobs_compute_in_processes_of_their_own(tmp_path: Path) -> None:
    parallel, serial = (
        Lab(tmp_path / str(jobs), jobs=jobs).grid(
            multiberts.simulate, {"worlds": (2, 3)}, seeds=None, n_boot=10
        )
        for jobs in (2, 1)
    )
    for worlds in (2, 3):
        for kind in ("multi", "single"):
            assert parallel[worlds][None][kind].tolist() == serial[worlds][None][kind].tolist()


class Watcher:
    """A watcher that counts what is trained."""

    def __init__(self) -> None:
        self.units: list[TrainingRun] = []
        self.steps = 0

    def begin(self, title: str, units: Any) -> None:
        self.units += units

    def progressed(self, unit: TrainingRun, progress: UnitProgress) -> None:
        self.steps += 1

    def ended(self, unit: TrainingRun, result: RunState) -> None:
        return None

    def waits(self, reason: str) -> None:
        return None


def test_study_trains_what_is_missing_for_as_long_as_it_is_told(tmp_path: Path) -> None:
    from counterpoint_reproductions.lab.towers import tiny

    pair = TrainingComparison(
        {"softmax": "clip", "sigmoid": "siglip"},
        {"retrieval": ("i2t_R@1",)},
        data="emoji",
        recipe=tiny(),
        steps={"sigmoid": 3},
        seeds=1,
    )
    first = Watcher()
    Lab(tmp_path, listener=first).study(pair)
    assert {unit.run.arm: unit.run.recipe.steps for unit in first.units} == {"clip": 2, "siglip": 3}
    assert first.steps == 5
    second = Watcher()
    lab = Lab(tmp_path, listener=second)
    trained = lab.study(pair)
    assert second.steps == 0
    spent = [RunState.read(unit.folder) for unit in first.units]
    assert lab.reused == sum(state.seconds for state in spent if state is not None) > 0
    assert set(trained.plans) == {"softmax", "sigmoid"}


def _measured(low: float) -> Result:
    return Result(name="gain", metric="R@1", expected="above", estimate=0.2, low=low, high=0.3, n_seeds=5)


def _replace(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[Lab], list[Result]], claim: ModuleType = multiberts
) -> None:
    for name, value in (("CLAIM", "A helps."), ("REFUTED", "it does not"), ("run", run)):
        monkeypatch.setattr(claim, name, value)


def test_evidence_says_what_was_tested_and_on_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(lab: Lab) -> list[Result]:
        lab.note("One.", "Two.")
        lab.reused = 100.0
        return [_measured(0.1)]

    _replace(monkeypatch, run)
    full = reproduce("multiberts", folder=tmp_path)
    assert full.verdict == "reproduced"
    assert full.claim == "A helps. Refuted if it does not."
    assert full.command == "counterpoint reproduce multiberts"
    assert full.notes == "One. Two."
    assert full.seconds >= 100
    smoke = reproduce("multiberts", quick=True)
    assert smoke.verdict == "inconclusive"
    assert smoke.quick
    assert smoke.notes.startswith("A smoke run")
    full.write(tmp_path / "multiberts.json")
    assert Evidence.read(tmp_path / "multiberts.json") == full


def test_a_smoke_run_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folders: list[Path] = []

    def run(lab: Lab) -> list[Result]:
        lab.grid(squares, {"n": (3,)}, seeds=None)
        folders.append(lab.folder)
        assert lab.seeds(8) == ((0, 1) if lab.quick else tuple(range(8)))
        return [_measured(0.1)]

    _replace(monkeypatch, run)
    reproduce("multiberts", quick=True)
    assert not folders[0].exists()
    assert not list(tmp_path.iterdir())
    reproduce("multiberts")
    assert folders[1] == Path("runs/claims/multiberts")
    assert len(list((tmp_path / "runs/claims/multiberts/cells").iterdir())) == 1


def test_an_unknown_paper() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'siglip'"):
        reproduce("sigllip")


def test_a_second_run_has_seeds_that_the_first_had_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[tuple[int, ...]] = []

    def run(lab: Lab) -> list[Result]:
        assert lab.seeds((7,)) == (7,)  # seeds that a claim names, as of a model that exists, stay
        assert lab.seeds(range(1, 6)) == (lab.seeds(5) if lab.second else (1, 2, 3, 4, 5))
        seeds.append(lab.seeds(5))
        half = 0.3 / len(seeds[-1]) ** 0.5
        return [
            Result(
                name="gain",
                metric="R@1",
                expected="above",
                estimate=0.1,
                low=0.1 - half,
                high=0.1 + half,
                n_seeds=len(seeds[-1]),
                needed=None if half < 0.1 else RequiredData(towards="reproduced", effect=0.1, seeds=12),
            )
        ]

    _replace(monkeypatch, run)
    first = reproduce("multiberts", folder=tmp_path)
    second = reproduce("multiberts", folder=tmp_path, decide=first)
    assert seeds[0] == (0, 1, 2, 3, 4)
    assert len(seeds[1]) == 24
    assert not set(seeds[1]) & (set(seeds[0]) | set(TUNING_SEEDS))
    assert (first.verdict, second.verdict) == ("inconclusive", "reproduced")
    assert second.earlier == first.left_open()
    assert second.command == "counterpoint reproduce multiberts --decide"
    with pytest.raises(ValueError, match="leaves open"):
        reproduce("multiberts", folder=tmp_path, decide=second.model_copy(update={"earlier": None}))


def test_run_records_claim_and_refuses_parts_without_declaration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gain = per_seed("gain", "R@1", [0.02, 0.05, 0.01, 0.04, 0.03])
    parts = [above(gain, **effects.convention("share"))]
    _replace(monkeypatch, lambda lab: list(decides(*parts)))
    made = reproduce("multiberts", folder=tmp_path)
    assert made.declared == digest(source_of("counterpoint_reproductions.multiberts"))
    assert made.results[0].wide == (made.results[0].low, made.results[0].high)
    assert made.verdict == "reproduced"
    parts.append(above(gain, 0.5, name="another"))
    with pytest.raises(ValueError, match="another: it decides, so declare how small an effect matters"):
        reproduce("multiberts", quick=True)


def test_larger_test_set_decides_where_data_of_studies_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Lab] = []

    def run(lab: Lab) -> list[Result]:
        seen.append(lab)
        one = above(per_seed("gain", "R@1", [0.02, 0.05, 0.01, 0.04, 0.03]), **effects.convention("share"))
        return list(decides(one))

    needed = RequiredData(towards="reproduced", effect=0.1, examples=2.0, by="estimate")
    (declared,) = decides(above(per_seed("g", "R@1", [0.1] * 5), **effects.convention("share")))
    fields = declared.model_dump(exclude={"verdict"}) | {"low": -0.1, "high": 0.2, "needed": needed}
    for claim in (mlcd, multiberts):
        _replace(monkeypatch, run, claim)
    first = reproduce("mlcd", folder=tmp_path).model_copy(update={"results": (Result(**fields),)})
    monkeypatch.setattr(mlcd, "COMPARISON", TrainingComparison({"a": "clip"}, {}, data="emoji"))
    with pytest.raises(ValueError, match=r"the test set of emoji cannot grow.*\(clips, motions, scenes,"):
        reproduce("mlcd", folder=tmp_path, decide=first)
    made = TrainingComparison({"a": "clip"}, {}, data="scenes:basic,test=100")
    for claim in (mlcd, multiberts):
        monkeypatch.setattr(claim, "COMPARISON", made)
    second = reproduce("mlcd", folder=tmp_path, decide=first)
    assert (seen[-1].second, seen[-1].examples) == (5, 4.0)
    assert second.earlier is not None
    with pytest.raises(ValueError, match="the cells of its grid open their data themselves"):
        reproduce("multiberts", folder=tmp_path, decide=first)


def test_more_seeds_and_a_larger_test_set_decide_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Lab] = []

    def run(lab: Lab) -> list[Result]:
        seen.append(lab)
        values = [0.1, 0.12] * (len(lab.seeds(6)) // 2)
        results = [above(per_seed(name, "R@1", values), **effects.convention("share")) for name in "ab"]
        return list(decides(*results))

    _replace(monkeypatch, run, mlcd)
    first = reproduce("mlcd", folder=tmp_path)
    needs = [
        RequiredData(towards="reproduced", effect=0.11, seeds=8, examples=1.0, by="estimate"),
        RequiredData(towards="reproduced", effect=0.11, examples=2.5, by="estimate"),
    ]
    wide = {"low": -0.1, "high": 0.32, "wide": (-0.2, 0.42)}
    undecided = tuple(
        Result(**(result.model_dump(exclude={"verdict"}) | wide | {"needed": needed}))
        for result, needed in zip(first.results, needs, strict=True)
    )
    second = reproduce("mlcd", folder=tmp_path, decide=first.model_copy(update={"results": undecided}))
    assert (seen[-1].second, seen[-1].examples) == (16, 5.0)
    assert second.verdict == "reproduced"


def test_a_plan_says_what_a_run_would_take_and_no_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(planning, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def run(lab: Lab) -> list[Result]:
        clock[0] += 60.0
        lab.reused = 120.0
        values = [0.01 * seed for seed in range(len(lab.seeds(6)))]
        return list(decides(above(per_seed("gain", "R@1", values), **effects.convention("share"))))

    _replace(monkeypatch, run)
    planned = plan("multiberts", folder=tmp_path)
    assert planned.seeds == 6
    assert planned.seconds == 540.0  # a minute of its own and two of earlier calls, at 6 seeds in place of 2
    (part,) = planned.parts
    assert (part.role, part.delta, part.decides) == ("superiority", 0.01, False)


@pytest.mark.parametrize(
    ("lab", "data"),
    [
        ({}, "scenes:basic,test=100"),
        ({"second": 7}, "scenes:basic,test=100,seed=2000"),
        ({"second": 5, "examples": 2.5}, "scenes:basic,test=250,seed=2000"),
    ],
)
def test_made_data_of_a_second_run_are_of_another_world(
    lab: dict[str, Any], data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def design(comparison: TrainingComparison, *_: object) -> None:
        raise RuntimeError(comparison.data)

    monkeypatch.setattr(TrainingComparison, "design", design)
    with pytest.raises(RuntimeError, match=f"^{data}$"):
        Lab(tmp_path, **lab).study(TrainingComparison({"a": "clip"}, {}, data="scenes:basic,test=100"))
