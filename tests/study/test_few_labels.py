"""A pair adapted to few labels, from the run of the pair to the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import counterpoint as cp
from counterpoint.data.base import Data
from counterpoint.data.derived.drawn import DrawnData
from counterpoint.data.derived.labelling import Labelling
from counterpoint.data.source import load_any
from counterpoint.methods.arm import Arm
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.study.training.runner import run
from counterpoint.study.training.study import compare
from counterpoint.study.training.tuning import trial_score
from counterpoint.training.drawn import drawn
from counterpoint.training.loop import fit
from counterpoint.training.run import Run
from counterpoint.training.start import load, prepare
from fixtures.open_clip import small_open_clip

DATA = "scenes:basic,train=60,validation=6,test=12"
RECIPE = override(load_recipe("seconds"), {"steps": 2, "batch_size": 16, "towers.context": 40})
ARMS = ("zero-shot", "linear", "linear-text,epochs=2", "coop,words=a,steps=2")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair") / "run"
    run(Run("clip", DATA, RECIPE), folder, tasks=("retrieval",))
    return folder


@pytest.fixture(scope="module")
def study(pair: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("few") / "study"
    return compare(
        *ARMS,
        folder=folder,
        data=DATA,
        recipe=RECIPE,
        labels="colour",
        shots=(1, 2),
        from_=str(pair),
        seeds=2,
        tasks=("classification",),
        jobs=1,
    )


@pytest.mark.slow
def test_arms_are_compared_at_equal_shots(study: Any) -> None:
    summary = study.summary
    assert len(summary.arms) == 2 * len(ARMS)
    pairs = {(d.a, d.b) for d in summary.differences}
    assert pairs
    assert all(Arm.parse(a).shots == Arm.parse(b).shots for a, b in pairs)
    assert summary.multiplicity.count("row of each class: ") == 1
    assert summary.multiplicity.count("rows of each class: ") == 1
    assert {arm.cost.rows for arm in summary.arms if Arm.parse(arm.name).shots == 1} == {6}


def test_each_fold_of_the_shots_is_held_out_once() -> None:
    data = load_any(DATA)
    classes = data.label("colour", "classes").values
    parts = [
        DrawnData(data, Labelling.parse(f"colour,shots=4,fold={fold},folds=2"), 0).evaluated()
        for fold in (1, 2)
    ]
    whole = DrawnData(data, Labelling.parse("colour,shots=4"), 0)
    held = [part.splits.test["fold"] for part in parts]
    assert sorted(np.concatenate(held)) == sorted(whole.splits.train)
    for part, rows in zip(parts, held, strict=True):
        assert not part.splits.validation
        assert not np.isin(rows, part.splits.train).any()
        assert (np.unique(classes[rows], return_counts=True)[1] <= 2).all()
        assert (part.label("colour", "classes").values[rows] == classes[rows]).all()
    for labels, match in [
        ("colour,shots=2,fold=1,folds=4", "4 folds of 2 shots"),
        ("colour,fold=1,folds=2", "2 folds of no shots"),
        ("colour,shots=4,fold=3,folds=2", "fold is at most folds"),
    ]:
        with pytest.raises(ValueError, match=match):
            DrawnData(data, Labelling.parse(labels), 0)


@pytest.mark.slow
def test_a_search_is_judged_by_folds_of_the_shots(pair: Path, tmp_path: Path) -> None:
    study = compare(
        "linear",
        "zero-shot",
        folder=tmp_path / "study",
        data=DATA,
        recipe=RECIPE,
        labels="colour",
        shots=(2,),
        from_=str(pair),
        seeds=1,
        tasks=("classification",),
        tune=2,
        jobs=1,
    )
    (search, _) = study.summary.tuning
    assert search.trials == 2
    scores = []
    for trial in sorted((study.folder / "tuning").glob("linear*/trial-*")):
        folds = sorted(trial.iterdir())
        assert [fold.name for fold in folds] == ["fold-1", "fold-2"]
        rows = [json.loads((fold / "scores.json").read_text()) for fold in folds]
        assert {row["test"] for of_fold in rows for row in of_fold} == {"fold"}
        accuracies = [row["value"] for of_fold in rows for row in of_fold if row["metric"] == "accuracy"]
        scores.append(np.mean(accuracies))
        assert trial_score(trial) == pytest.approx(scores[-1])
    chosen = max(range(2), key=lambda k: scores[k])
    assert ("strength" in search.chosen) == (chosen == 1)
    assert "2 trials" in (study.folder / "report.html").read_text()


@pytest.mark.slow
def test_report_begins_with_the_baselines(study: Any) -> None:
    page = (study.folder / "report.html").read_text(encoding="utf-8")
    answer = page.partition('<section id="leaderboard"')[0]
    assert answer.count("<li>") > 3
    assert "zero-shot,shots=1" in answer
    assert "zero-shot,shots=2" in answer
    assert answer.count("from=") == 0
    assert "By the rows of each class" in page


@pytest.mark.slow
def test_winner_is_a_classifier_of_its_own(study: Any) -> None:
    folder = next((study.folder / "runs").glob("coop*/seed-0"))
    model = load(folder)
    pictures = torch.randint(0, 256, (3, 3, 48, 48), dtype=torch.uint8)
    assert model.target.classes == load_any(DATA).label("colour").names
    assert torch.allclose(model.classify({"image": pictures}).sum(1), torch.ones(3))
    assert (folder / "inputs" / "tokenizer.json").exists()


@pytest.mark.parametrize("arm", ARMS)
def test_labels_of_other_rows_change_no_weight(arm: str, pair: Path) -> None:
    plain = load_any(DATA)

    def weights(data: Data) -> dict[str, torch.Tensor]:
        planned = Run(f"{arm},from={pair},shots=2", DATA, RECIPE, 1, "colour")
        method, loader = prepare(planned.on(data), drawn(planned, data))
        fit(method, loader, RECIPE, seed=1)
        return method.state_dict()

    other = plain.learning("colour")
    label = plain.label("colour")
    held = np.concatenate([*plain.splits.validation.values(), *plain.splits.test.values()])
    values = np.array(label.values)
    values[held] = np.roll(values[held], 1)
    assert (values != label.values).any()
    other.__dict__["labels"] = {**plain.labels, "colour": replace(label, values=values)}
    one, again = weights(plain), weights(other)
    assert all(torch.equal(one[name], again[name]) for name in one)


def test_new_classes_are_asked_by_their_names(pair: Path, tmp_path: Path) -> None:
    planned = Run(f"zero-shot,from={pair}", DATA, RECIPE, 0, "background,new=0.5,shots=2")
    run(planned, tmp_path / "run", tasks=("new_classes",))
    rows = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert {row["metric"] for row in rows} == {"base", "new", "harmonic"}


def test_tags_are_answered_by_the_adapted_pair_alone(pair: Path, tmp_path: Path) -> None:
    planned = Run(f"linear,from={pair}", DATA, RECIPE, 0, "concepts,known=0.5")
    run(planned, tmp_path / "run", tasks=("multi_label",))
    rows = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert all(row["metric"].startswith("own_concepts_") for row in rows)
    assert {row["metric"] for row in rows if row["role"] == "primary"} == {"own_concepts_mAP"}


@pytest.mark.parametrize(
    ("arm", "labels", "message"),
    [
        ("zero-shot", "colour", "adapts a pair of towers that is trained already"),
        ("zero-shot,from=PAIR,shots=2", "", "shots are of a label|learns from a label"),
        ("zero-shot,from=PAIR", "size", "and classes or tags are needed"),
        ("zero-shot,from=PAIR,wise=0.5", "colour", "continues from none"),
    ],
)
def test_refused_before_anything_is_trained(arm: str, labels: str, message: str, pair: Path) -> None:
    planned = Run(arm.replace("PAIR", str(pair)), DATA, RECIPE, 0, labels)
    with pytest.raises(ValueError, match=message):
        prepare(planned.on(load_any(DATA)), load_any(DATA))


def test_pair_of_a_library_keeps_its_scale_and_its_space(tmp_path: Path) -> None:
    small_open_clip(tmp_path)
    name = f"open_clip:tiny@{tmp_path}"
    planned = Run(f"zero-shot,from={name},template={{}}", DATA, RECIPE, 0, "background")
    method, _ = prepare(planned.on(load_any(DATA)), load_any(DATA))
    model = cp.load(name)
    with torch.no_grad():
        method.begin()
    names = method.required_target().classes
    torch.testing.assert_close(method.texts, model.embed("text", list(names)), rtol=1e-4, atol=1e-5)
    scale = model.image_tower.scale[0]
    assert float(method.objective.temperature.inverse()) == pytest.approx(scale, rel=1e-5)


def test_search_is_refused(pair: Path, tmp_path: Path) -> None:
    for shots, tasks, match in [
        ((1, 2), (), "'zero-shot,from=.*,shots=1' has one row of each class"),
        (
            (2,),
            ("retrieval",),
            "judges folds of the shots by classification, multi_label, zero_shot or probe",
        ),
    ]:
        with pytest.raises(ValueError, match=match):
            compare(
                "zero-shot",
                folder=tmp_path / "s",
                data=DATA,
                labels="colour",
                from_=str(pair),
                tune=2,
                shots=shots,
                tasks=tasks,
            )
    with pytest.raises(ValueError, match="tune=2 searches by the learning curve"):
        compare("zero-shot", folder=tmp_path / "s", data=DATA, labels="colour", from_=str(pair), tune=2)


@pytest.mark.slow
def test_run_without_a_common_space_is_refused(tmp_path: Path) -> None:
    run(Run("ntxent,on=images", DATA, RECIPE), tmp_path / "run", tasks=("probe",))
    planned = Run(f"zero-shot,from={tmp_path / 'run'}", DATA, RECIPE, 0, "colour")
    with pytest.raises(ValueError, match=r"no linear layers of .* into a common space"):
        prepare(planned.on(load_any(DATA)), load_any(DATA))
