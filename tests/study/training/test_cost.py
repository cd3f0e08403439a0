"""The cost of arms and the steps they get: arithmetic on a clock that the test turns."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.cli.compare import cost_tables
from counterpoint.data.source import load_any
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.networks import BytePairTokenizer
from counterpoint.recipes import Recipe, load, names, override, parse
from counterpoint.study import compare
from counterpoint.study.design import ArmCost, ArmPlan, Design
from counterpoint.study.gate import prepare
from counterpoint.study.training import cost as costs
from counterpoint.study.training.cost import Turns, in_turns, plan_arms, share_cut, steps_under
from counterpoint.study.training.runner import run
from counterpoint.study.words.remarks import cut_in_words, length_in_words, remarks
from counterpoint.training import start
from counterpoint.training.run import Run


def turns(least: int, most: int = 0, seconds: float = 0.0) -> Turns:
    return Turns(least, most, seconds, warm_up=1, timed=1)


def priced(seconds: float = 0.1, passes: int = 1, **changes: Any) -> ArmCost:
    return replace(ArmCost(seconds, {"image": passes, "text": 1}, 1_000_000, 0, batch_size=16), **changes)


class FakeClock:
    """Seconds that pass only where the test says so, on a machine whose speed changes."""

    def __init__(self, speed: Callable[[int], float]) -> None:
        self.turns, self.speed = 0, speed

    def arm(self, seconds: float) -> Callable[[], Sequence[float]]:
        def turn() -> Sequence[float]:
            self.turns += 1
            return [seconds * self.speed(self.turns)] * 4

        return turn


@pytest.mark.parametrize(
    "speed",
    [
        lambda turn: 1.0,
        lambda turn: 3.0 if turn <= 4 else 1.0,  # cold at first
        lambda turn: 1.0 + 0.02 * turn,  # ever slower
    ],
)
def test_equal_arms_are_equal_whatever_the_machine_does(speed: Callable[[int], float]) -> None:
    clock = FakeClock(speed)
    seconds = in_turns({name: clock.arm(0.1) for name in "abcd"}, turns(4))
    measured = {name: priced(median(values)) for name, values in seconds.items()}
    steps = steps_under("time", measured, "a", 200)
    assert max(steps.values()) - min(steps.values()) <= 1


def test_a_machine_that_is_busy_for_a_turn_changes_nothing() -> None:
    clock = FakeClock(lambda turn: 5.0 if turn in (7, 8) else 1.0)
    rounds = in_turns({"a": clock.arm(0.1), "b": clock.arm(0.2)}, turns(4))
    assert {arm: median(seconds) for arm, seconds in rounds.items()} == pytest.approx({"a": 0.1, "b": 0.2})


def test_quick_arms_take_more_turns_until_the_time_is_over() -> None:
    now = [0.0]

    def turn() -> Sequence[float]:
        now[0] += 1.0
        return [1.0]

    def taken(arms: int, limits: Turns) -> int:
        return len(in_turns({str(arm): turn for arm in range(arms)}, limits, lambda: now[0])["0"])

    assert taken(1, turns(3, most=12, seconds=6.0)) == 5  # and one to warm up
    assert taken(4, turns(3, most=12, seconds=6.0)) == 3
    assert taken(1, turns(3, most=12, seconds=99.0)) == 12


def test_arm_takes_no_step_not_timed_and_gets_reference_s_steps() -> None:
    assert in_turns({"a": lambda: [0.1], "broken": lambda: []}, turns(2)) == {"a": [0.1, 0.1], "broken": []}
    measured = {"a": priced(0.1), "broken": priced(0.0)}
    assert steps_under("time", measured, "a", 50) == {"a": 50, "broken": 50}


def test_what_each_budget_makes_equal() -> None:
    measured = {"clip": priced(0.1), "slip": priced(0.25, 3)}
    assert steps_under("steps", measured, "clip", 300) == {"clip": 300, "slip": 300}
    assert steps_under("passes", measured, "clip", 300) == {"clip": 300, "slip": 100}
    assert steps_under("time", measured, "clip", 300) == {"clip": 300, "slip": 120}
    heard = {
        arm: replace(cost, passes={"text": 1, "audio": cost.passes["image"]})
        for arm, cost in measured.items()
    }
    assert steps_under("passes", heard, "clip", 300) == {"clip": 300, "slip": 100}


def test_passes_of_all_rows_beside_steps_are_part_of_the_budget() -> None:
    looks = priced(rows=160, passes_of_all={"image": 2})
    measured = {"plain": priced(), "looks": looks, "twice": replace(looks, passes={"image": 2})}
    # 300 steps of 16 rows are 4,800 passes, of which 320 go into looks.
    assert steps_under("passes", measured, "plain", 300) == {"plain": 300, "looks": 280, "twice": 140}
    assert steps_under("passes", measured, "looks", 280) == {"plain": 300, "looks": 280, "twice": 140}
    assert steps_under("steps", measured, "plain", 300) == dict.fromkeys(measured, 300)
    assert [cost.passes_of_run("image", steps) for cost, steps in ((looks, 280), (priced(), 300))] == [
        4800,
        4800,
    ]
    with pytest.raises(
        ValueError, match="arm 'looks' looks at all 160 examples before it trains, which costs as"
    ):
        steps_under("passes", measured, "plain", 20)


def test_looks_are_counted_in_the_dry_run_and_in_the_run(tmp_path: Path) -> None:
    arm, source, steps = "mlcd,clusters=4,positives=2", "scenes:basic,train=24,validation=4,test=6", 3
    small = override(load("seconds"), {"steps": steps, "batch_size": 8})
    design = Design((arm,), data=source, recipe=small, tasks=("probe",))
    (cost,) = costs.measure(prepare(design, tmp_path / "study"), design.arms, timed=False).values()
    (times, _) = cost_tables(design, {arm: ArmPlan(steps, cost=cost)}, jobs=1)
    assert list(times.columns[-1].cells) == ["48"]
    assert run(Run(arm, source, small), tmp_path / "run", test=False).passes == {"image": steps * 8 + 24}


def measuring() -> tuple[Callable[[Sequence[str]], dict[str, ArmCost]], list[Sequence[str]]]:
    """Return a way to measure arms, and what it measured; clip takes 0.1 s at first and twice as much later."""
    asked: list[Sequence[str]] = []
    base = {"clip": (0.1, 1), "siglip": (0.1, 1), "slip": (0.25, 3)}

    def measure(arms: Sequence[str]) -> dict[str, ArmCost]:
        asked.append(list(arms))
        return {arm: priced(base[arm][0] * len(asked), base[arm][1]) for arm in arms}

    return measure, asked


def test_an_arm_that_joins_is_timed_beside_one_that_was_there() -> None:
    measure, measured = measuring()
    design = Design(("clip", "siglip"), recipe=override(load("cpu"), {"steps": 100}), budget="time")
    first = plan_arms(design, {}, 1000, measure)
    assert {arm: plan.steps for arm, plan in first.items()} == {"clip": 100, "siglip": 100}
    grown = plan_arms(replace(design, arms=("clip", "siglip", "slip")), first, 1000, measure)
    assert measured == [["clip", "siglip"], ["clip", "slip"]]
    assert grown["slip"].steps == 40, "the machine is half as fast by now, for both"
    assert {arm: grown[arm] for arm in first} == first
    assert plan_arms(replace(design, arms=tuple(grown)), grown, 1000, measure) == grown
    assert len(measured) == 2, "a study that has all its plans measures nothing"


def test_all_arms_get_the_steps_that_the_costliest_can_make() -> None:
    measure, _ = measuring()
    recipe = override(load("cpu"), {"epochs": 10, "most_passes": 48_000})
    design = Design(("clip", "slip"), recipe=recipe)
    assert {p.steps for p in plan_arms(design, {}, 16 * 1000, measure).values()} == {1000}
    images = plan_arms(replace(design, budget="passes"), {}, 16 * 1000, measure)
    assert {arm: p.steps for arm, p in images.items()} == {"clip": 3000, "slip": 1000}
    # An arm that joins makes the steps of those that were there.
    grown = plan_arms(design, {"clip": ArmPlan(3000)}, 16 * 1000, measure)
    assert grown["slip"].steps == 3000


@given(
    rows=st.integers(2, 10**6),
    batch=st.integers(1, 4096),
    passes=st.integers(1, 30),
    epochs=st.floats(0.1, 100),
    most=st.integers(1, 10**7),
)
def test_steps_follow_the_data_within_their_limits(
    rows: int, batch: int, passes: int, epochs: float, most: int
) -> None:
    batch = min(batch, rows)
    free = Recipe(epochs=epochs).steps_for(rows, batch, passes)
    kept = Recipe(epochs=epochs, most_passes=most).steps_for(rows, batch, passes)
    assert free == max(round(epochs * (rows // batch)), 100)
    assert 100 <= kept <= free
    assert kept == 100 or kept * batch * passes <= most
    assert Recipe(steps=7, epochs=epochs, most_passes=most).steps_for(rows, batch, passes) == 7


def test_arms_are_timed_with_threads_that_their_runs_will_have(
    pairs: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(costs, "_measured", lambda *given: threads.append(torch.get_num_threads()) or {})
    study = prepare(
        Design(("clip",), str(pairs), recipe=recipe, tasks=("retrieval",)), pairs.parent / "study"
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        costs.measure(study, ["clip"], jobs=2)
        costs.measure(study, ["clip"], jobs=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert threads == [1, 2]


def test_arms_of_every_budget_timed_in_turns_beside_busy_cores(
    pairs: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    took: list[str] = []
    cores: list[int] = []

    def fit(method: TowerMethod, *others: object, **options: Any) -> None:
        took.append(type(method).__name__)

    monkeypatch.setattr(costs, "fit", fit)
    monkeypatch.setattr(costs, "_busy_cores", lambda count: cores.append(count) or nullcontext())
    design = Design(("clip", "siglip"), str(pairs), recipe=recipe, tasks=("retrieval",))
    costs.measure(prepare(design, pairs.parent / "study"), design.arms, jobs=2, clock=lambda: 0.0)
    assert took[:4] == ["SigLIP", "CLIP", "CLIP", "SigLIP"]
    assert cores == [1]


def test_other_cores_are_busy_only_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *given: started.append(popen(*given)) or started[-1])
    with costs._busy_cores(2):
        assert [process.poll() for process in started] == [None, None]
    assert all(process.poll() for process in started)


def test_the_forecast_is_the_range_of_what_was_measured() -> None:
    design = Design(("clip", "slip"), data="mine.csv", seeds=(0, 1, 2))
    plans = {
        "clip": ArmPlan(100, cost=priced(0.7, seconds_range=(0.6, 0.9))),
        "slip": ArmPlan(100, cost=priced(1.4, seconds_range=(1.2, 1.8))),
    }
    times, _ = cost_tables(design, plans, jobs=2)
    assert "4.5 to 6.8 min of training (2 runs at a time)" in str(times.title)
    assert list(times.columns[2].cells) == ["60 to 90", "120 to 180"]


def test_steps_follow_data_are_written_in_before_they_are_used() -> None:
    with pytest.raises(ValueError, match="follow the data"):
        _ = load("cpu").total_steps
    assert override(load("cpu"), {"steps": 12}).total_steps == 12
    assert all(load(name).steps is None for name in names() if name not in {"seconds", "paint", "words"})


def test_recipes_of_same_steps_are_the_same_whatever_the_epochs() -> None:
    stated = {"batch_size": 128, "steps": 128}
    assert parse({**stated, "epochs": 9, "most_passes": 5}) == parse(stated)
    assert override(load("cpu"), {"steps": 128}).most_passes is None
    assert parse({"epochs": 9}) != parse({"epochs": 8})


def test_cut_captions_are_those_of_whichever_columns_hold_texts(recipe: Recipe, tmp_path: Path) -> None:
    long = " ".join(f"word {number}" for number in range(40))
    rows = [f"how do I open door {row}?,press button {row} {long}" for row in range(30)]
    (tmp_path / "faq.csv").write_text("question,answer\n" + "\n".join(rows), encoding="utf-8")
    data = load_any(f"{tmp_path / 'faq.csv'},columns=question+answer,group=none")
    small = override(recipe, {"steps": 1, "towers.context": 24})
    method, _ = start.prepare(Run("clip", data.name, small), data)
    assert "text" not in method.embeds
    assert costs.cut_captions(method, data) == 1.0, "every answer is longer than the context, and no question"


def test_conversations_are_cut_by_the_context_of_the_language_model() -> None:
    data = load_any("scenes:tiny,talk=captions,train=20,validation=4,test=4")
    for context, some in (20, True), (200, False):
        small = override(load("speak"), {"steps": 1, "towers.talk_context": context})
        method, _ = start.prepare(Run("cosmo,every=1", data.name, small), data)
        assert "talk" in method.embeds
        assert (costs.cut_captions(method, data) > 0) == some


@pytest.mark.slow
def test_a_study_and_its_runs_say_how_many_steps_they_made(
    pairs: Path, recipe: Recipe, tmp_path: Path
) -> None:
    following = override(recipe, {"steps": None, "epochs": 1, "batch_size": 64})
    study = compare(
        "clip", data=str(pairs), recipe=following, seeds=1, tasks=("retrieval",), folder=tmp_path / "study"
    )
    assert study.summary.plain()["arms"][0]["steps"] == 100
    plan = json.loads((tmp_path / "study" / "plan.json").read_text())["clip"]
    assert plan["steps"] == 100
    rows = plan["cost"]["batch_size"]
    assert rows < 64, "the batch is cut to the examples that there are, and the cost is that of the cut one"
    assert study.summary.plain()["arms"][0]["cost"]["images_seen"] == 100 * rows


def test_cut_captions_are_said_by_arm() -> None:
    tokenizer = BytePairTokenizer.train(["a b c d"], 300, context=4)
    captions = ["a b", "a b c", "a", "a b c d"]
    assert share_cut(tokenizer, captions) == 0.5
    assert share_cut(tokenizer, []) == 0.0
    assert cut_in_words({"clip": 0.004}) == []
    (line,) = cut_in_words({"clip": 0.44, "siglip": 0.44, "open": 0.0})
    assert line.startswith("clip, siglip: 44 % of the training captions have more tokens")


def test_tower_named_without_weights_is_said_to_start_at_random(pairs: Path) -> None:
    arm = "open_clip:ViT-B-32"
    design = Design(
        (arm, "clip", f"{arm}@weights.pt"), data=str(pairs), recipe=override(load("cpu"), {"steps": 1})
    )
    plans = {a: ArmPlan(1, cost=priced(parameters=151_300_000)) for a in design.arms}
    assert remarks(design, plans) == [
        f"{arm}: random start of {arm} (151.3 M parameters to train), as no weights are named; {arm}@FILE starts from "
        "those of a file"
    ]


def test_steps_that_are_not_the_epochs_are_explained(pairs: Path) -> None:
    recipe = override(load("cpu"), {"epochs": 500, "most_passes": 2400})
    design = Design(("clip",), data=str(pairs), recipe=recipe)
    (line,) = remarks(design, {"clip": ArmPlan(150, cost=priced())})
    assert line.startswith("150 steps are ")
    assert "most_passes=2,400" in line
    assert (
        remarks(
            replace(design, recipe=override(recipe, {"steps": 150})), {"clip": ArmPlan(150, cost=priced())}
        )
        == []
    )
    assert length_in_words(Recipe(epochs=10), rows=320, batch_size=32, steps=100) == []
    assert length_in_words(Recipe(epochs=2), rows=320, batch_size=32, steps=100) == [
        "100 steps are 10.0 epochs of 320 examples, not 2: the fewest that follow from the data; --steps 20 makes fewer"
    ]
