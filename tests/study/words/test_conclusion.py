"""The answer of a study in three lines, and its tables at the width of a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from counterpoint.cli.common.study import show
from counterpoint.cli.common.terminal import Terminal
from counterpoint.study.schema import FailedRun, TrainingCost, TrainingSummary
from counterpoint.study.study import Study
from counterpoint.study.words.conclusion import conclusion
from counterpoint.study.words.terminal import for_terminal, leaderboard, shorten
from fixtures.synthetic_study import EIGHT, write_study

PRIMARY = {"task": "zero_shot", "test": "held out", "subset": "all", "metric": "animal_top1"}


def study(
    means: dict[str, float],
    verdicts: dict[str, str],
    seeds: int = 5,
    needed: dict[str, Any] | None = None,
    low: float = 0.2,
    **floor: float,
) -> TrainingSummary:
    """Return a summary with a best arm, and the verdicts on it against each other arm."""
    best = max(means, key=means.__getitem__)
    arms = [
        {
            "name": name,
            "slug": name,
            "label": name,
            "failed": (),
            "unfinished": (),
            "diagnostics": {},
            "learnt": (),
            "steps": 1,
            "cost": dict.fromkeys(TrainingCost.model_fields, 1) | {"passes": {"image": 1, "text": 1}},
            "metrics": [
                {
                    "seeds": {},
                    "n": 100,
                    **PRIMARY,
                    "mean": mean,
                    "low": low,
                    "high": mean + 0.1,
                    "chance": 0.25,
                    "constant": None,
                    "higher_is_better": True,
                }
                | floor
            ],
        }
        for name, mean in means.items()
    ]
    differences = []
    for name, verdict in verdicts.items():
        gap = means[best] - means[name]
        differences.append(
            {
                **PRIMARY,
                "family": "main",
                "a": name,
                "b": best,
                "estimate": -gap,
                "low": -gap - 0.02,
                "high": -gap + 0.03,
                "p": None,
                "p_holm": None,
                "n_seeds": 0,
                "n_failed": 0,
                "notes": (),
                "sentence": "",
            }
            | {"verdict": verdict}
            | {"seeds_needed": needed and {"examples_factor": 1.0, "at_least": False} | needed}
        )
    return TrainingSummary.model_validate(
        {"arms": arms, "differences": differences, "primary": PRIMARY, "seeds": list(range(seeds))}
        | {"data": "emoji", "margin": 0.01, "budget": "steps", "tune": 0, "recipe": {}, "plans": {}}
        | {"winner": {"name": best, "command": "", "python": ""}, "title": "", "environment": {}}
        | {"multiplicity": "", "warnings": (), "cannot_show": (), "labels": "", "tasks": (), "tuning": ()}
    )


def test_arm_lacks_metric_is_told_by_what_it_shares_with_others() -> None:
    found = study({"a": 0.3, "b": 0.5, "c": 0.4, "d": 0.1}, {"a": "worse", "c": "worse"}, low=0.4)
    other = found.primary.model_dump() | {"metric": "age_mae"}
    (*arms, last) = found.arms
    without = last.model_copy(update={"metrics": (last.metrics[0].model_copy(update=other),)})
    shared = [
        d.model_copy(
            update=other | {"family": "on metrics of some arms", "a": d.a, "b": "d", "verdict": verdict}
        )
        for d, verdict in zip(found.differences, ("suggestive: better", "worse"), strict=True)
    ]
    some = found.model_copy(update={"arms": (*arms, without), "differences": (*found.differences, *shared)})
    first, *_, line = conclusion(some)
    assert first == "b is ahead of all 2 other arms that have it on zero_shot animal_top1 (held out)."
    assert line == (
        "d has no such number: a seems ahead of it on zero_shot age_mae (held out); "
        "it is ahead of c on zero_shot age_mae (held out); nothing compares it with b."
    )
    apart = found.model_copy(update={"arms": (found.arms[1], without), "differences": ()})
    assert conclusion(apart) == [
        "No two arms can be compared on zero_shot animal_top1 (held out); b scores 50.0 (40.0 to 60.0) percent.",
        "d has no such number: nothing compares it with b.",
    ]


def test_arms_that_are_compared_with_one_of_them_alone() -> None:
    found = study({"a": 0.3, "b": 0.5, "c": 0.4, "d": 0.5}, {"a": "worse", "c": "worse"}, low=0.4)
    ahead = found.differences[1].model_copy(update={"a": "b", "b": "c", "verdict": "better"})
    behind = ahead.model_copy(update={"a": "a", "verdict": "suggestive: worse", "estimate": -0.1})
    open_ = ahead.model_copy(update={"a": "d", "verdict": "no difference shown", "estimate": 0.1})
    of_c = found.model_copy(update={"differences": (behind, ahead, open_), "reference": "c"})
    assert conclusion(of_c) == [
        "On zero_shot animal_top1 (held out) 1 of 3 other arms seems ahead of c, 1 behind and 0 equivalent; "
        "of 1 no difference is shown.",
        "b has the best mean. b leads by 10.0 points over c (95 % interval 7.0 to 12.0).",
    ]
    of_b = found.model_copy(update={"reference": "b"})
    assert conclusion(of_b)[0] == (
        "On zero_shot animal_top1 (held out) 0 of 2 other arms are ahead of b, 2 behind and 0 equivalent; "
        "of 0 no difference is shown."
    )
    assert for_terminal(of_c).reference == "c"
    other = found.primary.model_dump() | {"metric": "age_mae"}
    (*arms, last) = found.arms
    without = last.model_copy(update={"metrics": (last.metrics[0].model_copy(update=other),)})
    lacking = of_c.model_copy(update={"arms": (*arms, without), "differences": (behind, ahead)})
    assert conclusion(lacking)[2:] == ["d has no such number: nothing compares it with c."]


def test_one_arm_ahead_of_all_others() -> None:
    found = conclusion(study({"a": 0.3, "b": 0.5, "c": 0.4}, {"a": "worse", "c": "worse"}, low=0.4))
    assert found == [
        "b is ahead of all 2 other arms on zero_shot animal_top1 (held out).",
        "b leads by 10.0 points over c (95 % interval 7.0 to 12.0) and 20.0 points over a (17.0 to 22.0).",
    ]


def test_arms_that_learn_from_other_things_are_said_to() -> None:
    found = study({"a": 0.3, "b": 0.5, "c": 0.4}, {"a": "worse", "c": "worse"}, low=0.4)
    learns = {"a": "pictures", "b": "pictures; folder", "c": "pictures; folder"}
    arms = tuple(arm.model_copy(update={"learns": learns[arm.name]}) for arm in found.arms)
    lines = conclusion(found.model_copy(update={"arms": arms}))
    assert lines[1].endswith("over a (17.0 to 22.0). b learns from other things than a.")
    assert len(lines) == 2


def test_a_suggestion_says_what_would_make_it_firm() -> None:
    found = conclusion(study({"a": 0.3, "b": 0.5}, {"a": "suggestive: worse"}, seeds=3, low=0.4))
    assert found[0] == "b seems ahead of a on zero_shot animal_top1 (held out)."
    assert found[2] == "3 seeds can only suggest a lead: run the command again with --seeds 5."


def test_failed_runs_take_seeds_besides() -> None:
    found = study({"a": 0.3, "b": 0.5}, {"a": "suggestive: worse"}, low=0.4)
    lost = found.arms[0].model_copy(update={"failed": (FailedRun(seed=3, reason="it diverged"),)})
    pairs = [each.model_copy(update={"n_seeds": 4}) for each in found.differences]
    one_less = found.model_copy(update={"arms": (lost, found.arms[1]), "differences": tuple(pairs)})
    words = "4 seeds can only suggest a lead: run the command again with --seeds 6."
    assert conclusion(one_less)[2] == words


@pytest.mark.parametrize(
    ("needed", "last"),
    [
        (
            {"effect": 0.01, "n": 9, "examples_factor": 1.0},
            "To show a difference of 1 point from a takes about 9 seeds.",
        ),
        (
            {"effect": 0.01, "n": 107, "at_least": True},
            "To show a difference of 1 point from a takes at least 107 seeds.",
        ),
        (
            {"effect": 0.01, "n": None, "examples_factor": 4.23},
            "To show a difference of 1 point from a you need a test set at least 4.2 times as large, and more seeds.",
        ),
        (None, "Nothing is known about other runs with 1 seed: run the command again with --seeds 5."),
    ],
)
def test_what_is_open_says_what_would_decide_it(needed: dict[str, Any] | None, last: str) -> None:
    summary = study(
        {"a": 0.48, "b": 0.5}, {"a": "no difference shown"}, 1 if needed is None else 5, needed, 0.4
    )
    found = conclusion(summary)
    assert found[0] == "No arm is shown to be ahead on zero_shot animal_top1 (held out); b has the best mean."
    assert found[-1] == last
    assert len(found) == 3


def test_arms_of_same_mean_level_few_examples_promise_nothing() -> None:
    verdicts = {"b": "no difference shown", "c": "no difference shown"}
    needed = {"effect": 0.01, "n": 5, "examples_factor": 1.0}
    found = study({"a": 0.5, "b": 0.5, "c": 0.5}, verdicts, needed=needed, low=0.4, n=2)
    assert conclusion(found) == [
        "No arm is shown to be ahead on zero_shot animal_top1 (held out); a, b and c have the same mean.",
        "a differs by 0.0 points from b (95 % interval −2.0 to 3.0) and 0.0 points from c (−2.0 to 3.0).",
        "2 test examples cannot show a difference: at least 10 are needed.",
    ]


def test_equivalent_arms_and_some_ahead() -> None:
    assert conclusion(study({"a": 0.499, "b": 0.5}, {"a": "equivalent"}, low=0.4))[0] == (
        "b and a are equivalent on zero_shot animal_top1 (held out)."
    )
    assert conclusion(study({"a": 0.499, "b": 0.5}, {"a": "suggestive: equivalent"}, seeds=1, low=0.4))[
        0
    ] == ("b and a seem equivalent on zero_shot animal_top1 (held out).")
    means = {name: 0.1 * k for k, name in enumerate("abcdefg", 1)}
    verdicts = {name: "worse" if name == "a" else "no difference shown" for name in "abcdef"}
    needed = {"effect": 0.01, "n": 9, "examples_factor": 1.0}
    assert conclusion(study(means, verdicts, needed=needed, low=0.4))[0] == (
        "g is ahead of 1 of 6 other arms on zero_shot animal_top1 (held out); "
        "it is not shown to be better than b, c, d and 2 others."
    )


def test_a_score_that_needs_no_model_is_said_to_be_one() -> None:
    """The best arm's interval begins below what always naming the commonest class scores."""
    summary = study({"a": 0.3, "b": 0.5}, {"a": "worse"}, low=0.42, constant=0.45)
    assert "b is not shown to be above the best constant answer (45.0 percent)." in conclusion(summary)[1]
    summary = study({"a": 0.3, "b": 0.5}, {"a": "worse"}, low=0.46, constant=0.45)
    assert not any("not shown to be above" in line for line in conclusion(summary))


@given(
    st.lists(st.text("ab,=@/", min_size=1, max_size=60), min_size=1, max_size=8, unique=True),
    st.integers(12, 30),
)
def test_names_that_differ_read_differently_however_short(names: Sequence[str], width: int) -> None:
    short = shorten(names, width)
    assert all(len(text) <= width for text in short.values())
    assert len(set(short.values())) == len(names)


def test_the_part_that_differs_is_kept() -> None:
    names = [f"open_clip:ViT-B-32@/models/{name}/weights.pt,tune=lora" for name in ("one", "two")]
    assert [
        text.count(name) for text, name in zip(shorten(names, 24).values(), ("one", "two"), strict=True)
    ] == [1, 1]


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Study[Any]:
    folder = tmp_path_factory.mktemp("eight")
    return Study(folder, write_study(folder, "nowhere.csv", arms=EIGHT))


@pytest.mark.parametrize("every", [False, True])
def test_eight_arms_begin_with_the_answer_and_fit_a_terminal(
    eight: Study[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, every: bool
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show(Terminal(), eight, every, as_json=False)
    text = capsys.readouterr().out
    lines = text.splitlines()
    answer = conclusion(for_terminal(eight.summary))
    assert 1 <= len(answer) <= 3
    assert " ".join(" ".join(line.strip() for line in lines).split()).startswith(" ".join(answer))
    tables = [line for line in lines if line.startswith(" ")]
    assert max(map(len, tables)) <= 80
    for name in for_terminal(eight.summary).arms:
        assert any(line.startswith(f" {name.name} ") for line in tables)
    assert text.count("•") == (len(eight.summary.plain()["differences"]) if every else 0)


def test_a_narrow_and_a_wide_table_hold_the_same_numbers(eight: Study[Any]) -> None:
    def numbers(width: int) -> list[str]:
        console = Console(width=width, record=True)
        for table in leaderboard(for_terminal(eight.summary), width=width):
            console.print(table)
        return sorted(word for word in console.export_text().split() if "–" in word)

    assert numbers(60) == numbers(200)
    assert len(numbers(60)) >= 8 * 4


def test_where_test_rows_leaked_verdicts_are_about_clean_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixtures.synthetic_study._SUBSETS", ("leaked", "clean"))
    summary = write_study(tmp_path, "nowhere.csv", arms=("clip", "slip"), failed=None)
    assert summary.primary.subset == "clean"
    main = {(d.task, d.test, d.subset) for d in summary.differences if d.family == "main"}
    assert {subset for _, _, subset in main} == {"clean"}
    beside = {d.subset for d in summary.differences if d.family == "by subset"}
    assert beside == {"all", "leaked"}
    assert any("14 of 28 examples of the test set 'concepts' share" in line for line in summary.warnings)
    assert "(compositions, clean examples)" in conclusion(summary)[0]
    console = Console(width=200, record=True)
    for table in leaderboard(summary, width=200):
        console.print(table)
    text = console.export_text()
    assert text.count("compositions,") == 2
    assert text.count("compositions") == 4  # of two metrics, on clean rows and on all
