"""A study from its arms to its verdicts: resumable, extensible, honest about what failed."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import yaml

import counterpoint as cp
from counterpoint.execution import UnitProgress
from counterpoint.methods.arm import Arm
from counterpoint.recipes import Recipe, override
from counterpoint.spec import Spec
from counterpoint.study.design import ArmCost, ArmPlan, Design, OtherStudyError
from counterpoint.study.layout import run_folder
from counterpoint.study.study import DryRunExit, folder_of, resummarise
from counterpoint.study.training.run import TrainingRun
from counterpoint.study.training.study import compare
from counterpoint.study.training.tuning import TUNING_SEED, Trial, choose, trials
from counterpoint.training.run import Run, RunState
from counterpoint.training.trackers import MetricLog
from fixtures import foreign

BREAKS = """
import torch
class Breaks(torch.nn.Module):
    def forward(self, image, text):
        return (image - text).sum() * float("nan")
"""


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.titles: list[tuple[str, int]] = []
        self.ends: list[str] = []

    def begin(self, title: str, units: list[TrainingRun]) -> None:
        self.titles.append((title, len(units)))

    def progressed(self, unit: TrainingRun, progress: UnitProgress) -> None:
        return None

    def ended(self, unit: TrainingRun, result: RunState) -> None:
        self.ends.append(f"{unit.run.arm}/{unit.run.seed}/{result.status}")

    def waits(self, reason: str) -> None:
        return None


@pytest.fixture
def quick(pairs: Path, recipe: Recipe, tmp_path: Path) -> dict[str, Any]:
    short = override(recipe, {"steps": 3})
    return {
        "data": str(pairs),
        "recipe": short,
        "tasks": ("retrieval", "zero_shot"),
        "folder": tmp_path / "study",
        "jobs": 1,  # here, where nothing has to be imported anew
    }


def test_a_study_ends_with_numbers_verdicts_tables_and_a_page(quick: dict[str, Any]) -> None:
    study = cp.compare("clip", "siglip", seeds=2, **quick)
    summary = json.loads((study.folder / "summary.json").read_text())
    assert [arm["name"] for arm in summary["arms"]] == ["clip", "siglip"]
    assert summary["primary"] == {
        "task": "retrieval",
        "test": "held out",
        "subset": "all",
        "metric": "i2t_R@1",
    }
    for arm in summary["arms"]:
        metric = next(m for m in arm["metrics"] if m["metric"] == "i2t_R@1")
        assert 0 <= metric["low"] <= metric["mean"] <= metric["high"] <= 1
        assert metric["mean"] == pytest.approx(sum(metric["seeds"].values()) / 2)
        assert arm["cost"]["passes"] == {"image": 3 * 16, "text": 3 * 16}
    main = [d for d in summary["differences"] if d["family"] == "main"]
    assert {(d["a"], d["b"]) for d in main} == {("clip", "siglip")}
    assert {d["metric"] for d in main} == {"i2t_R@1", "group_top1"}
    for d in main:
        assert (
            not d["verdict"] or d["verdict"].startswith("suggestive") or d["verdict"] == "no difference shown"
        )
        a, b = (
            next(m["mean"] for m in arm["metrics"] if m["metric"] == d["metric"]) for arm in summary["arms"]
        )
        assert d["estimate"] == pytest.approx(a - b)
    assert any(line.startswith("2 seeds: ") for line in summary["cannot_show"])
    rows = list(csv.DictReader((study.folder / "table.csv").open()))
    assert {row["arm"] for row in rows} == {"clip", "siglip"}
    assert (study.folder / "table.md").read_text().startswith("| arm |")
    assert r"i2t\_R@1" in (study.folder / "table.tex").read_text()
    assert study.report.exists()
    assert len(study.sentences) == 1


def own_labels(pairs: Path, path: Path) -> Path:
    """The pairs with labels of a user's own: an animal for every row, a size for some."""
    table = pl.read_csv(pairs).drop("group").with_row_index("row")
    table = table.with_columns(
        pl.format("{}/{}", pl.lit(str(pairs.parent)), "file_name").alias("file_name"),
        size=pl.when(pl.col("row") % 3 > 0).then(
            pl.when(pl.col("row") % 2 > 0).then(pl.lit("s")).otherwise(pl.lit("l"))
        ),
        animal=pl.when(pl.col("row") % 4 > 0).then(pl.lit("cat")).otherwise(pl.lit("dog")),
    )
    table.drop("row").write_csv(path)
    return path


@pytest.mark.parametrize("tasks", [("zero_shot",), ("retrieval", "zero_shot", "probe")])
def test_a_user_s_own_labels_are_in_verdicts_tables_and_report(
    quick: dict[str, Any], pairs: Path, tmp_path: Path, tasks: tuple[str, ...]
) -> None:
    quick |= {"data": f"{own_labels(pairs, tmp_path / 'lab.csv')},outside=yes", "tasks": tasks}
    study = cp.compare("clip", "dcl", seeds=1, **quick)
    by_family = {
        family: {d["metric"] for d in study.summary.plain()["differences"] if d["family"] == family}
        for family in ("main", "on other labels")
    }
    first = {"retrieval": "i2t_R@1", "zero_shot": "animal_top1", "probe": "logistic_animal_top1"}
    others = {"zero_shot": "size_top1", "probe": "logistic_size_top1"}
    assert by_family == {
        "main": {first[task] for task in tasks},
        "on other labels": {others[task] for task in tasks if task in others},
    }
    assert study.summary.plain()["primary"]["metric"] == first[tasks[0]]
    metric = next(m for m in study.summary.plain()["arms"][0]["metrics"] if m["metric"] == "animal_top1")
    assert metric["chance"] == 1 / 2
    assert 1 / 2 < metric["constant"] < 1
    page = study.report.read_text(encoding="utf-8")
    table = (study.folder / "table.csv").read_text()
    for name in (*by_family["main"], *by_family["on other labels"]):
        assert name in page
        assert name in table
    assert "constant" in table.splitlines()[0]


def test_finished_runs_are_not_repeated_and_a_study_can_grow(quick: dict[str, Any]) -> None:
    first, second, third = Heard(), Heard(), Heard()
    compare("clip", seeds=1, listener=first, **quick)
    assert first.ends == ["clip/0/finished"]
    before = (quick["folder"] / "runs" / "clip" / "seed-0" / "run.json").stat().st_mtime_ns
    grown = compare("clip", "align", seeds=2, listener=second, **quick)
    assert [a["name"] for a in grown.summary.plain()["arms"]] == ["clip", "align"]
    assert (quick["folder"] / "runs" / "clip" / "seed-0" / "run.json").stat().st_mtime_ns == before
    same = compare("clip", seeds=1, listener=third, **quick)
    assert [a["name"] for a in same.summary.plain()["arms"]] == ["clip", "align"]
    assert same.summary.plain()["differences"] == resummarise(quick["folder"]).summary.plain()["differences"]


def test_another_study_in_the_folder(quick: dict[str, Any]) -> None:
    compare("clip", seeds=1, **quick)
    with pytest.raises(OtherStudyError, match=r"it differs in budget.*another folder"):
        compare("clip", seeds=1, budget="passes", **quick)


def test_data_with_another_budget_for_what_is_broken_is_the_same(quick: dict[str, Any], pairs: Path) -> None:
    compare("clip", seeds=1, **quick)
    scores = quick["folder"] / "runs" / "clip" / "seed-0" / "scores.json"
    before = scores.stat().st_mtime_ns
    again = compare("clip", seeds=1, **quick | {"data": f"{pairs},broken=0.2"})
    assert scores.stat().st_mtime_ns == before
    assert again.summary.plain()["data"] == f"{pairs},broken=0.2"
    with pytest.raises(OtherStudyError, match=r"it differs in data\)"):
        compare("clip", seeds=1, **quick | {"data": f"{pairs},group=none"})


def test_the_margin_is_the_reports_and_locks_no_folder(quick: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="margin must be greater than 0, got 0"):
        compare("clip", seeds=1, margin=0.0, **quick)
    assert not quick["folder"].exists(), "refused before anything is trained"
    heard = Heard()
    compare("clip", seeds=1, **quick)
    before = (quick["folder"] / "runs" / "clip" / "seed-0" / "scores.json").stat().st_mtime_ns
    assert compare("clip", seeds=1, margin=0.2, listener=heard, **quick).summary.plain()["margin"] == 0.2
    assert (quick["folder"] / "runs" / "clip" / "seed-0" / "scores.json").stat().st_mtime_ns == before
    plain = yaml.safe_load((quick["folder"] / "study.yaml").read_text())
    (quick["folder"] / "study.yaml").write_text(yaml.safe_dump({**plain, "margin": 0.0}))
    with pytest.raises(ValueError, match=r"study\.yaml is damaged \(margin must be greater than 0"):
        resummarise(quick["folder"])
    assert resummarise(quick["folder"], margin=0.02).summary.plain()["margin"] == 0.02
    assert resummarise(quick["folder"]).summary.plain()["margin"] == 0.02, "the study keeps it"


def test_an_arm_that_fails_is_reported_and_counted(quick: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "my_loss.py").write_text(BREAKS)
    arm = f"{tmp_path / 'my_loss.py'}:Breaks"
    study = compare("clip", arm, seeds=2, **quick)
    broken = study.summary.plain()["arms"][1]
    assert [f["seed"] for f in broken["failed"]] == [0, 1]
    assert "not finite at step 0" in broken["failed"][0]["reason"]
    assert any("failed on 2 of 2 seeds" in w for w in study.summary.plain()["warnings"])
    assert study.summary.plain()["winner"]["name"] == "clip"
    assert all(d["verdict"] == "no difference shown" for d in study.summary.plain()["differences"])


def test_every_arm_failed(quick: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "my_loss.py").write_text(BREAKS)
    with pytest.raises(RuntimeError, match="every run failed; the first reason: the loss is not finite"):
        compare(f"{tmp_path / 'my_loss.py'}:Breaks", seeds=1, **quick)


def test_a_dry_run_tells_the_cost_and_writes_nothing(quick: dict[str, Any]) -> None:
    told: dict[str, ArmCost] = {}

    def on_cost(design: Design, plans: Mapping[str, ArmPlan]) -> bool:
        told.update({arm: plan.cost for arm, plan in plans.items() if plan.cost is not None})
        return False

    with pytest.raises(DryRunExit):
        compare("clip", "slip", seeds=1, on_cost=on_cost, **quick)
    assert told["slip"].passes["image"] == 3 * told["clip"].passes["image"] == 3
    assert not quick["folder"].exists()


def test_every_arm_gets_same_trials_and_the_study_uses_the_best(quick: dict[str, Any]) -> None:
    heard = Heard()
    study = compare("clip", "slip", seeds=1, tune=3, listener=heard, **quick)
    assert heard.titles == [("timing 2 arms", 0), ("tuning", 6), ("training", 2)]
    assert all(str(TUNING_SEED) in end for end in heard.ends[:6])
    searched = [
        TrainingRun(Run.read(folder), folder, test=False) for folder in study.folder.glob("tuning/*/trial-*")
    ]
    assert len({unit.key for unit in searched}) == 6
    assert any(unit.key.startswith("clip") and unit.key.endswith(", trial 0") for unit in searched)
    assert {a["arm"] for a in study.summary.plain()["tuning"]} == {"clip", "slip"}
    assert all(a["trials"] == 3 and a["seconds"] > 0 for a in study.summary.plain()["tuning"])
    assert not (
        study.folder / "tuning" / "clip" / "trial-0" / "scores.json"
    ).exists()  # test sets stay unseen


def test_the_trial_with_the_best_validation_at_its_end_is_chosen(tmp_path: Path) -> None:
    search = [Trial(ArmPlan(9, {"optimizer.lr": lr})) for lr in (0.1, 0.2, 0.3, 0.4)]
    told = {0: (0.9, 0.2), 1: (0.1, 0.6), 2: (0.3, 0.4), 3: (0.9, 0.9)}  # R@1 midway and at the end
    folders = [tmp_path / f"trial-{number}" for number in told]
    for folder, (midway, end) in zip(folders, told.values(), strict=True):
        folder.mkdir()
        RunState(status="failed" if folder == folders[3] else "finished").write(folder)
        log = MetricLog(folder)
        for way in ("i2t", "t2i"):
            log.add(5, {f"validation/all/retrieval/{way}_R@1": midway})
            log.add(
                9,
                {f"validation/all/retrieval/{way}_R@1": end, f"validation/all/retrieval/{way}_R@5": 1 - end},
            )
        log.close()
    assert choose(search, folders) == search[1].plan


def test_trials_versions_validated_different_numbers_not_ranked(tmp_path: Path) -> None:
    search = [Trial(ArmPlan(9, {"optimizer.lr": lr})) for lr in (0.1, 0.2)]
    folders = [tmp_path / f"trial-{number}" for number in range(2)]
    for folder, name in zip(folders, ("retrieval/i2t_R@1", "probe/logistic_kind_top1"), strict=True):
        folder.mkdir()
        RunState(status="finished").write(folder)
        log = MetricLog(folder)
        log.add(9, {f"validation/all/{name}": 0.5})
        log.close()
    told = r"trial-0 by validation/all/retrieval/i2t_R@1; trial-1 by validation/all/probe/logistic_kind_top1\): delete"
    with pytest.raises(ValueError, match=told):
        choose(search, folders)
    RunState(status="failed").write(folders[1])
    assert choose(search, folders) == search[0].plan, "a failed one has no rank"


def test_trials_begin_with_the_recipe_and_draw_alike(recipe: Recipe) -> None:
    design = Design(("clip", "slip"), recipe=recipe, tune=4)
    clip, slip = (trials(design, Arm.parse(arm), ArmPlan(9)) for arm in design.arms)
    assert len(clip) == len(slip) == 4
    assert clip[0].plan == ArmPlan(9)
    rates = [t.plan.changes["optimizer.lr"] for t in clip[1:]]
    assert rates == [t.plan.changes["optimizer.lr"] for t in slip[1:]]
    assert all(recipe.optimizer.lr / 4 <= rate <= 4 * recipe.optimizer.lr for rate in rates)
    assert "ssl_weight" in slip[1].plan.options
    assert "ssl_weight" not in clip[1].plan.options


def test_a_search_draws_the_start_of_siglips_bias(recipe: Recipe) -> None:
    found = trials(Design(("siglip",), recipe=recipe, tune=9), Arm.parse("siglip"), ArmPlan(9))
    assert found[0].plan.options == {}, "the first trial is the method as it is"
    drawn = [t.plan.options["bias"] for t in found[1:]]
    assert all(-12 <= bias <= 0 for bias in drawn)
    assert len(set(drawn)) == len(drawn)
    # Uniform, not log-uniform: no half of the range is left out.
    assert any(bias < -6 for bias in drawn)
    assert any(bias > -6 for bias in drawn)
    assert (
        "bias"
        not in trials(Design(("siglip,bias=-10",), tune=2), Arm.parse("siglip,bias=-10"), ArmPlan(9))[
            1
        ].plan.options
    )


@pytest.mark.slow
def test_two_at_a_time_give_the_same_numbers(quick: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one = compare("clip", "siglip", seeds=1, **quick)
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    two = compare(
        "clip", "siglip", seeds=1, **quick | {"jobs": 2, "folder": quick["folder"].with_name("two")}
    )
    for a, b in zip(one.summary.plain()["arms"], two.summary.plain()["arms"], strict=True):
        assert [m["mean"] for m in a["metrics"]] == [m["mean"] for m in b["metrics"]]


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        (("clpi",), "did you mean 'clip'"),
        (("clip", "clip"), "arms must differ from each other, got 'clip' more than once"),
        ((), "at least one arm"),
        (("clip,ssl_wieght=3",), "option of clip"),
    ],
)
def test_arms_that_cannot_be(arms: tuple[str, ...], message: str, quick: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=message):
        compare(*arms, seeds=1, **quick)
    assert not quick["folder"].exists()


def test_an_unknown_task(quick: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="did you mean 'retrieval'"):
        compare("clip", seeds=1, **{**quick, "tasks": ("retrival",)})


def test_data_without_labels_is_compared_by_what_needs_none(quick: dict[str, Any], tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(Path(quick["data"]).parent, plain)
    pl.read_csv(plain / "metadata.csv").drop("group").write_csv(plain / "metadata.csv")
    given = {**quick, "data": str(plain / "metadata.csv")}
    with pytest.raises(ValueError, match=r"zero_shot needs labels, .* has none"):
        compare("clip", seeds=1, **given)
    assert not given["folder"].exists(), "told before anything is trained"
    study = compare("clip", seeds=1, **{**given, "tasks": None})
    assert {metric["task"] for metric in study.summary.plain()["arms"][0]["metrics"]} == {
        "retrieval",
        "shift",
    }
    assert study.report.exists()


def test_the_finished_runs_of_an_unfinished_study_are_reported(quick: dict[str, Any]) -> None:
    study = compare("clip", seeds=1, **quick)
    design = Design.read(study.folder)
    assert design is not None
    replace(design, seeds=(0, 1)).reserve(study.folder)
    again = resummarise(study.folder)
    assert again.summary.plain()["arms"][0]["metrics"] == study.summary.plain()["arms"][0]["metrics"]
    assert again.summary.plain()["arms"][0]["unfinished"] == [1]
    assert any("unfinished and left out: clip (seed 1)" in line for line in again.summary.plain()["warnings"])
    shutil.rmtree(study.folder / "runs" / "clip")
    with pytest.raises(ValueError, match="has no finished run"):
        resummarise(study.folder)
    with pytest.raises(ValueError, match="not a study folder"):
        resummarise(study.folder / "runs")


def test_a_study_has_a_folder_of_its_own() -> None:
    assert folder_of(None, ["emoji", "clip", "a" * 100]) == Path("runs") / f"emoji-clip-{'a' * 100}"[:80]
    with pytest.raises(ValueError, match="must name a folder, got nothing"):
        folder_of("", ["emoji"])


def test_arms_of_pictures_are_compared_where_that_makes_sense(quick: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"'dcl,on=images' learns from pictures alone.*choose --tasks probe"):
        compare("clip", "dcl,on=images", seeds=1, **quick)
    study = compare("clip", "dcl,on=images", seeds=2, **{**quick, "tasks": ("probe",)})
    assert {arm["name"] for arm in study.summary.plain()["arms"]} == {"clip", "dcl,on=images"}
    assert study.report.exists()


def test_lit_locks_or_trains_the_image_tower_of_an_earlier_run(quick: dict[str, Any], tmp_path: Path) -> None:
    first = cp.train(
        "clip", quick["data"], recipe=quick["recipe"], folder=tmp_path / "first", tasks=("retrieval",)
    )
    named = override(quick["recipe"], {"towers.image": f"cnn@{tmp_path / 'first'}"})
    study = compare("lit", "lit,mode=Uu", "lit,mode=uu,image=cnn", seeds=1, **{**quick, "recipe": named})
    pretrained = first.image_tower.state_dict()
    for arm, locked in (("lit", True), ("lit,mode=Uu", False), ("lit,mode=uu,image=cnn", False)):
        tower = cp.load(run_folder(study.folder, Spec.parse(arm).slug, 0)).image_tower.state_dict()
        assert all(torch.equal(v, pretrained[k]) for k, v in tower.items()) == locked, arm


def test_arm_that_is_not_trained_runs_once_and_counts_as_fixed(quick: dict[str, Any], tmp_path: Path) -> None:
    as_it_is = f"transformers:clip@{foreign.clip(tmp_path / 'clip')},tune=none"
    heard = Heard()
    study = cp.compare(as_it_is, "clip", seeds=3, budget="time", tune=1, listener=heard, **quick)
    assert sorted(end for end in heard.ends if "tune=none" in end) == [f"{as_it_is}/0/finished"]
    fixed, trained = (
        next(arm for arm in study.summary.arms if (arm.name == as_it_is) == wanted)
        for wanted in (True, False)
    )
    assert (fixed.cost.trained_parameters, study.summary.plans[as_it_is].steps) == (0, 1)
    assert trained.steps == 3
    headline = study.summary.primary.key
    score = fixed.score(headline)
    assert score is not None
    assert list(score.seeds) == ["0"]
    (main,) = [d for d in study.summary.differences if d.family == "main" and d.task == "retrieval"][:1]
    assert main.n_seeds == 3
    assert not fixed.unfinished
    assert any("Nothing in transformers:" in line for line in study.summary.cannot_show)
    more = Heard()
    cp.compare(as_it_is, "clip", seeds=4, budget="time", tune=1, listener=more, **quick)
    assert not any("tune=none" in end and "/3/" in end for end in more.ends)
