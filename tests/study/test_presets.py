"""Named comparisons: what they hold, which tasks data can be asked, and one order over many tasks."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatch
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from counterpoint.cli import main
from counterpoint.cli.common.terminal import Terminal
from counterpoint.cli.compare import show_standings
from counterpoint.data import load
from counterpoint.data.labels import Tags
from counterpoint.data.source import load_any
from counterpoint.evaluation import TASKS, evaluate
from counterpoint.methods import METHODS
from counterpoint.methods.arm import Arm
from counterpoint.methods.late import Filling
from counterpoint.methods.options import read, required
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.registry import UnknownNameError
from counterpoint.spec import Spec
from counterpoint.study import Study
from counterpoint.study.presets import MOST_PAIRS, PRESETS
from counterpoint.study.schema import TrainedArm, TrainingCost, TrainingSummary
from counterpoint.study.summary import MOST_IN_PAIRS
from counterpoint.study.words.standings import mean_ranks, of_arms
from counterpoint.training.run import target_of
from counterpoint_reproductions import CLAIMS
from counterpoint_reproductions._presets import find
from counterpoint_reproductions._registry import module
from fixtures.files import bitmap
from fixtures.tiny import TinyData, TraitsData

SMALL = "scenes:tiny,train=24,validation=8,test=16"


def of_claims(statement: str) -> list[str]:
    """Return the papers whose claims make a statement; they are read and not imported, which takes long."""
    return [
        slug
        for slug in CLAIMS.names()
        if (spec := find_spec(CLAIMS.reference(slug).partition(":")[0])) is not None
        if re.search(rf"^{statement} = ", Path(spec.origin or "").read_text(encoding="utf-8"), re.MULTILINE)
    ]


def test_arms_claim_take_other_steps_get_same_something_else(
    subtests: pytest.Subtests,
) -> None:
    for name in sorted({*of_claims("COMPARISON")} - {*of_claims("PRESET")}):
        with subtests.test(name):
            # ``steps`` of a claim make passes or time equal on its own data; on a user's the budget has to.
            assert (find(name).budget == "steps") == (not module(name).COMPARISON.steps)


def test_a_preset_names_what_exists(subtests: pytest.Subtests) -> None:
    for name in [*PRESETS, *of_claims("PRESET"), *of_claims("COMPARISON")]:
        with subtests.test(name):
            preset = find(name)
            assert preset.name == name
            assert preset.baseline in preset.arms
            # Of many arms each is compared with the first one alone.
            assert len(preset.arms) <= MOST_IN_PAIRS or preset.baseline == preset.arms[0]
            assert len(set(preset.arms)) == len(preset.arms)
            for arm in preset.arms:
                Arm.parse(arm)
            for task in preset.tasks:
                assert Spec.parse(task).name in TASKS


def test_no_two_arms_of_preset_same_but_for_defaults_one_states(
    subtests: pytest.Subtests,
) -> None:
    for slug in [*PRESETS, *of_claims("PRESET"), *of_claims("COMPARISON")]:
        with subtests.test(slug):

            def whole(spec: str) -> object:
                arm = Arm.parse(spec)
                constructor = arm._constructor()
                defaults = {
                    n: p.default
                    for n, p in signature(constructor).parameters.items()
                    if p.default is not p.empty
                }
                name = arm.method if arm.loss is None else arm.loss[1]
                options = defaults | read(name, constructor, arm.options)
                return replace(arm, spec="", options={}), tuple(map(str, sorted(options.items(), key=str)))

            found = [whole(arm) for arm in find(slug).arms]
            assert all(found.count(arm) == 1 for arm in found)


@pytest.mark.slow
@pytest.mark.parametrize("name", of_claims("PRESET"))
def test_the_question_of_a_claim_is_asked_of_other_data(name: str) -> None:
    preset, reasons = find(name), []
    few = "train=60,validation=8,test=60"
    for source in ("digits", "emoji", f"motions:basic,{few}", f"speech:short,{few}", "voxels:digits"):
        data = load_any(source)
        try:
            assert preset.arms_for(data) == preset.arms
            assert preset.tasks_for(data)
            return
        except ValueError as reason:
            reasons.append(str(reason))
    raise AssertionError(reasons)


OUTSIDE = {
    "cappa": "embeds no texts",
    "cwcl": "begins from a pretrained tower",
    "fusemix": "begins from pretrained towers",
    "lit": "begins from a pretrained tower",
    "vlm2vec": "begins from a language model",
    "painter": "draws, and embeds nothing",
    "prior": "reads reports of several sentences",
    "dreamlip": "reads captions of several sentences",
}
"""Methods of a picture and a text without labels that the league leaves out."""


def test_the_league_has_every_method_of_two_columns_without_labels_or_second_model() -> None:
    arms, league = {name: Arm.parse(name) for name in METHODS.names()}, set(PRESETS["league"].arms)
    alone = {name for name, arm in arms.items() if not (arm.learns or required(arm._constructor()))}
    pairs = set()
    for name in alone:
        with suppress(ValueError):
            if len(arms[name].reads()) == 2 and not arms[name].kind.closed:
                pairs.add(name)
    assert pairs == league | OUTSIDE.keys()


def test_the_claim_of_every_method_is_a_question_to_other_data() -> None:
    """The claim of a paper with a method here trains that method, so it states with which arms it compares it."""
    stated = {*PRESETS, *of_claims("PRESET"), *of_claims("COMPARISON")}
    for name in METHODS.names():
        for slug in METHODS.get(name).papers:
            assert slug not in CLAIMS or slug in stated, (
                f"{slug}: give its claim a PRESET or a COMPARISON ({name})"
            )


def test_medical_benchmark_has_eight_methods_of_three_families() -> None:
    preset = find("medical-vl-benchmark")
    assert len(preset.arms) == 8
    assert len(preset.families) == 3
    with pytest.raises(UnknownNameError, match="did you mean 'medical-vl-benchmark'"):
        find("medical-vl")


def test_tasks_that_data_cannot_be_asked_are_left_out() -> None:
    preset = find("medical-vl-benchmark")
    assert preset.tasks_for(load(SMALL)) == tuple(preset.tasks)
    assert "question_answering" not in preset.tasks_for(load("emoji"))
    with pytest.raises(ValueError, match=r"few-shot asks about: few_shot needs 5 classes .* and 'emoji' has"):
        PRESETS["few-shot"].tasks_for(load("emoji"))


@pytest.mark.slow
def test_sounds_and_texts_are_compared_on_what_is_heard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preset, data = find("sound-text"), "sounds:basic,train=16,validation=4,test=12"
    assert preset.arms == ("clip", "dcl", "msclap", "siglip")
    assert preset.tasks_for(load_any(data)) == ("retrieval",)
    options = ["--seeds", "1", "--steps", "1", "--batch-size", "8", "--jobs", "1", "--out", str(tmp_path)]
    assert main(["compare", "--preset", "sound-text", "--data", data, *options]) == 0
    (test,) = of_arms(
        [arm for arm in Study.read(tmp_path).summary.arms if arm.name == "dcl"], preset.tasks
    ).values()
    assert len(test) == 2 * len(load_any(data).splits.test), "both ways, on every test set"
    assert "each pair by itself" in capsys.readouterr().out


@pytest.mark.slow
def test_gaps_are_compared_by_the_classes_that_arms_learn(tmp_path: Path) -> None:
    preset, data = find("gaps"), "scenes:gaps,train=24,validation=12,test=12"
    assert preset.tasks_for(load_any(data)) == ("classification", "missing_modality")
    options = [
        "--labels",
        "group",
        "--seeds",
        "1",
        "--recipe",
        "seconds",
        "--steps",
        "1",
        "--batch-size",
        "8",
    ]
    command = ["compare", "--preset", "gaps", "--data", data, *options, "--jobs", "1", "--out", str(tmp_path)]
    assert main(command) == 0
    arms = {arm.name for arm in Study.read(tmp_path).summary.arms}
    assert arms == set(preset.arms)
    metrics = {score.metric for arm in Study.read(tmp_path).summary.arms for score in arm.metrics}
    assert {"accuracy", "withheld_accuracy", "without_table", "importance_table"} <= metrics


def test_ranks_by_hand() -> None:
    found = mean_ranks(
        {
            "clip": np.array([0.5, 0.5, 0.5, 0.5]),
            "slip": np.array([0.6, 0.4, 0.5, 0.7]),
            "filip": np.array([0.7, 0.6, 0.6, 0.6]),
        },
        "clip",
    )
    assert [(it.arm, it.rank) for it in found] == [("filip", 1.25), ("slip", 2.125), ("clip", 2.625)]
    best, slip, clip = found
    assert best.difference == pytest.approx(0.125)
    assert best.low <= best.difference <= best.high
    assert best.low > 0  # better in every task, so in every resample
    assert slip.low < 0 < slip.high
    assert (clip.difference, clip.low, clip.high) == (0, 0, 0)
    assert {it.tasks for it in found} == {4}


def metric(name: str, mean: float, higher: bool = True, subset: str = "all") -> dict[str, object]:
    place = {"task": "retrieval", "test": "t", "subset": subset, "metric": name, "seeds": {}, "n": 1}
    place |= {"chance": None, "constant": None}
    return {**place, "mean": mean, "low": mean, "high": mean, "higher_is_better": higher}


def arms_of(metrics: dict[str, list[dict[str, object]]]) -> list[TrainedArm]:
    cost = dict.fromkeys(TrainingCost.model_fields, 1) | {"passes": {"image": 1, "text": 1}}
    return [
        TrainedArm.model_validate(
            {"name": name, "slug": name, "label": name, "steps": 1, "cost": cost, "metrics": own}
            | {"failed": (), "unfinished": (), "diagnostics": {}, "learnt": ()}
        )
        for name, own in metrics.items()
    ]


def test_scores_better_low_turned_round_and_shared_metrics_count() -> None:
    metrics = {
        "a": [metric("R@1", 0.2), metric("rank", 3, False), metric("R@1", 0.9, subset="x")],
        "b": [metric("R@1", 0.1), metric("rank", 2, False), metric("R@5", 0.3)],
    }
    arms = arms_of(metrics)
    found = of_arms(arms, {"retrieval": ("R@*", "rank")})
    assert {arm: values.tolist() for arm, values in found.items()} == {"a": [0.2, -3], "b": [0.1, -2]}
    assert of_arms(arms, {"probe": ("*",)})["a"].tolist() == []


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "no mean ranks"), (1, ""), (2, "2 tasks, each arm ranked in each")]
)
def test_mean_ranks_are_shown_over_several_tasks(
    count: int, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = PRESETS["sound-text"]
    metrics = [metric(f"{way}_R@10", 0.5) for way in ("a2t", "t2a")[:count]]
    summary = TrainingSummary.model_construct(arms=arms_of(dict.fromkeys(preset.arms, metrics)))
    show_standings(Terminal(), summary, preset)
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.startswith(f"{preset.name}: " * (count > 1) + shown)
    assert bool(printed) == bool(shown)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("regions", "scenes:basic,retold=3"),
        ("distil", "scenes:basic"),
        ("dense", "scenes:basic"),
        ("bridges", "scenes:tiny,talk=questions+captions"),
        ("embedders", "scenes:tiny,talk=captions"),
    ],
)
def test_a_world_with_everything_is_compared_by_all_arms(name: str, data: str) -> None:
    preset = find(name)
    of_maps = ",maps=classes" if name == "distil" else ""
    loaded = load_any(f"{data},train=24,validation=4,test=6{of_maps}")
    assert preset.arms_for(loaded) == preset.arms
    assert preset.tasks_for(loaded) == tuple(preset.tasks)


def test_unequal_tasks_and_a_missing_baseline_are_refused() -> None:
    with pytest.raises(ValueError, match="the same tasks of every arm"):
        mean_ranks({"a": np.zeros(2), "b": np.zeros(3)}, "a")
    with pytest.raises(ValueError, match="the baseline 'c'"):
        mean_ranks({"a": np.zeros(2)}, "c")


@pytest.mark.slow
def test_the_command_line_takes_a_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = [
        "--steps",
        "1",
        "--batch-size",
        "8",
        "--seeds",
        "1",
        "--jobs",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]
    options += ["--towers.image-size", "16", "--augmentation.no-synonyms"]
    assert (
        main(["compare", "clip", "filip", "--preset", "medical-vl-benchmark", "--data", SMALL, *options]) == 0
    )
    said = capsys.readouterr().out
    assert "medical-vl-benchmark: zero_shot, probe, retrieval, question_answering" in said
    assert "mean rank" in said
    assert "and their parts" in said
    assert main(["compare", "--preset", "medicall", *options]) == 1
    assert "unknown preset of compare 'medicall'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_papers_claim_is_a_question_to_other_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [
        "--preset",
        "siglip",
        "--data",
        "digits",
        "--recipe",
        "seconds",
        "--steps",
        "3",
        "--seeds",
        "2",
        "--jobs",
        "1",
    ]
    assert main(["compare", *given, "--out", str(tmp_path / "study")]) == 0
    shown = capsys.readouterr()
    for arm in find("siglip").arms:
        assert (tmp_path / "study/runs" / Arm.parse(arm).slug / "seed-1/scores.json").exists()
    assert "siglip: retrieval" in shown.out + shown.err


def test_a_claim_without_training_runs_is_no_preset() -> None:
    with pytest.raises(ValueError, match="vcd: its claim compares no training runs"):
        find("vcd")


def test_sensors_are_compared_by_what_there_is() -> None:
    preset, small = find("sensors"), "train=16,validation=4,test=12"
    devices = load_any(f"motions:basic,{small}")
    assert preset.arms_for(devices) == ("ntxent,on=series", "rebar", "collossl")
    assert preset.arms_for(devices, "activity") == preset.arms
    assert {"supcon,on=series", "cross-entropy,on=series"} <= {*preset.arms}
    assert Arm.parse("cross-entropy,on=series").reads(devices.columns) == {"wrist": "series"}
    one = load_any(f"motions:basic,{small},columns=wrist+text")
    assert preset.arms_for(one) == ("ntxent,on=series", "rebar")
    assert Arm.parse("ntxent,on=series").reads(devices.columns) == {"wrist": "series"}
    with pytest.raises(ValueError, match=r"sensors is no comparison for .*: unknown column 'series'"):
        preset.arms_for(load(SMALL))


def test_a_comparison_that_learns_says_how_its_label_is_named(tmp_path: Path) -> None:
    for k in range(20):
        place = tmp_path / "photos" / "ab"[k % 2] / f"{k}.bmp"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(bitmap(k))
    fault = r"partly-labelled is no comparison for .*: unknown label 'group'.* --labels NAME"
    with pytest.raises(ValueError, match=fault):
        find("partly-labelled").arms_for(load_any(str(tmp_path / "photos")))


def test_every_filling_of_late_fusion_is_among_gaps() -> None:
    fillings = {f"late,fill={fill}" for fill in get_args(Filling)}
    unset = signature(METHODS.get("late")).parameters["fill"].default
    assert fillings - {f"late,fill={unset}"} <= {*find("gaps").arms}
    assert "late" in find("gaps").arms


def test_three_columns_are_compared_with_every_two_of_them_meet() -> None:
    preset, data = find("three"), TinyData()
    data.columns = {"image": "image", "text": "text", "audio": "audio"}
    lone = np.arange(len(data)) % 2 == 0
    there = {"image": lone, "text": np.ones(len(data), bool), "audio": ~lone}
    data.present = lambda column, rows: there[column][rows]  # type: ignore[method-assign] # of this data alone
    pairs = ("clip,columns=image+text", "clip,columns=text+audio")
    assert preset.arms_for(data) == (*pairs, "more", "more,hub=none")
    assert not {arm for arm in preset.arms if not {*preset.forms(arm, data)} & {*preset.arms_for(data)}}
    there["image"] = np.ones(len(data), bool)
    assert preset.arms_for(data)[:3] == (pairs[0], "clip,columns=image+audio", pairs[1])
    assert preset.forms("more", data) == ("more",)


def test_more_pairs_columns_than_preset_makes_arms_of_to_named() -> None:
    preset, data = find("three"), TinyData()
    series = [f"device {number}" for number in range(4)]
    data.columns = {"image": "image", "text": "text", **dict.fromkeys(series, "series")}
    data.present = lambda column, rows: np.ones(len(rows), bool)  # type: ignore[method-assign] # of this data alone
    with pytest.raises(
        ValueError, match=r"three has an arm of clip for every .* most 10, .* 15 such pairs .*: name"
    ):
        preset.arms_for(data)
    assert f"{MOST_PAIRS} at most" in preset.about
    del data.columns["device 3"]
    assert len(preset.arms_for(data)) == MOST_PAIRS + 2, "five columns"
    data.columns["device 3"] = "series"
    data.present = lambda column, rows: np.arange(len(rows)) % 2 == (column in series)  # type: ignore[method-assign] # of this data alone
    assert len(preset.arms_for(data)) == 1 + 6 + 2, "two columns and four, which never meet"


def test_models_of_two_columns_have_no_rank_among_those_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    every = [metric(f"{way}_R@10", 0.5) for way in ("a2t", "t2a", "i2t")]
    arms = {"clip,columns=image+text": every[2:], "more": every, "more,hub=none": every}
    show_standings(Terminal(), TrainingSummary.model_construct(arms=arms_of(arms)), PRESETS["three"])
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.startswith("three: 3 tasks, each arm ranked in each")
    assert "clip" not in printed


@pytest.mark.parametrize("name", ["no-labels", "partly-labelled", "long-tail", "noisy-labels"])
def test_pictures_and_labels_are_compared_by_all_arms_they_suit(name: str) -> None:
    preset, data = find(name), load_any("scenes:basic,train=24,validation=4,test=6")
    arms = preset.arms_for(data, "colour,share=0.5")
    assert arms == preset.arms
    assert {Arm.parse(arm).learned("colour") for arm in arms} <= {"", "colour"}
    assert preset.tasks_for(data) == tuple(preset.tasks)
    for arm in arms:
        target = target_of(Arm.parse(arm), "colour,share=0.5", data)
        Arm.parse(arm).build(load_recipe("cpu"), data.examples(), 0, columns=data.columns, target=target)


def test_arms_of_tags_are_for_data_with_tags() -> None:
    preset, data = find("multi-label"), TinyData()
    tags = Tags.of([["red"] if row % 2 else ["red", "round"] for row in range(len(data))])
    data.labels = {**data.labels, "tags": tags}
    assert preset.arms_for(data, "tags,missing=0.4") == preset.arms
    assert preset.tasks_for(data) == ("multi_label",)
    with pytest.raises(ValueError, match=r"no comparison .* labels .*tags \(tags\)"):
        preset.arms_for(data, "tone")


@pytest.mark.parametrize(
    ("name", "label", "metrics"),
    [
        ("numbers", "area", {"ridge_area_mae", "area_ordinality"}),
        # Five classes that training has not seen, of two rows each, which are too few for five shots.
        ("few-shot", "look", {"look_5way_1shot"}),
    ],
)
def test_numbers_and_unseen_classes_are_asked_of_all_arms(name: str, label: str, metrics: set[str]) -> None:
    preset, data = find(name), TraitsData()
    assert preset.arms_for(data, label) == preset.arms
    assert preset.tasks_for(data) == tuple(preset.tasks)
    recipe = override(load_recipe("cpu"), {"towers.image_size": 24})
    for arm in preset.arms:
        parsed = Arm.parse(arm)
        target = target_of(parsed, label, data)
        assert target is not None
        assert target.label == label
        model = parsed.build(recipe, data.examples(), 0, columns=data.columns, target=target).eval()
    scores = evaluate(model, data.suited(model.inputs), tasks=tuple(preset.tasks)).scores()
    found = {
        row["metric"] for row in scores if any(fnmatch(row["metric"], it) for it in preset.tasks[row["task"]])
    }
    assert metrics <= found
    with pytest.raises(ValueError, match=f"{name} is no comparison for"):
        preset.arms_for(data, "traits")


def test_arms_that_learn_another_kind_of_label_are_left_out() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'colour'"):
        find("partly-labelled").arms_for(load_any(SMALL), "coluor,share=0.5")
    data = load_any("emoji")
    assert "supcon,on=images" in find("partly-labelled").arms_for(data, "tone")
