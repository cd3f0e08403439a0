"""A study of labels that are few or wrong in training: the same for every arm, kept, and true where it is tested."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from counterpoint.data.derived.relabelled import RelabelledData
from counterpoint.data.embeddings import EmbeddingCache
from counterpoint.data.source import load_any
from counterpoint.evaluation import create
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.study.design import Design
from counterpoint.study.gate import prepare
from counterpoint.study.opened import open_data
from counterpoint.study.training.runner import run, validation_numbers
from counterpoint.training.record.provenance import ChangedDataError
from counterpoint.training.run import OtherRunError, Run
from counterpoint.training.start import load
from counterpoint.training.start import prepare as start

DATA = "scenes:basic,train=60,validation=6,test=12"
RECIPE = override(load_recipe("seconds"), {"steps": 2, "batch_size": 16})
LABELS = "colour,share=0.5,noise=0.4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled") / "run"
    run(Run("supcon,on=images", DATA, RECIPE, labels=LABELS), folder, tasks=("probe",))
    return folder


def test_all_that_is_asked_is_part_of_a_run_and_of_a_study(folder: Path) -> None:
    ran = Run.read(folder)
    assert ran.labels == LABELS
    assert ran.target is not None
    assert ran.target.label == "colour"
    with pytest.raises(OtherRunError):
        replace(ran, labels="colour").check(folder)
    one, other = (
        Design(("moco",), data=DATA, labels=text) for text in ("colour, share=0.5", "colour,share=0.4")
    )
    assert one.labels == "colour,share=0.5"
    none = replace(one, labels="")
    for new, there in ((one, other), (one, none), (none, one)):
        with pytest.raises(ValueError, match="it differs in labels"):
            new.joined(there, Path("there"))


def test_the_run_goes_on_with_its_own_labels_alone(folder: Path) -> None:
    assert run(Run.read(folder), folder, tasks=("probe",)).status == "finished"
    assert isinstance(open_data(Run.read(folder)), RelabelledData)
    other = Run("supcon,on=images", DATA, RECIPE, labels="colour")
    with pytest.raises((OtherRunError, ChangedDataError)):
        run(other, folder, tasks=("probe",))


@pytest.mark.parametrize("arm", ["moco", "clip"])
@pytest.mark.parametrize(
    ("label", "task", "main", "read"),
    [
        ("colour", "probe", "logistic_colour_top1", "logistic_colour_top1"),
        ("size", "regression", "ridge_size_mae", "ridge_size_spearman"),
    ],
)
def test_label_is_shown_as_it_is_comes_first_and_in_validation(
    label: str, task: str, main: str, read: str, arm: str
) -> None:
    planned, plain = Run(arm, DATA, RECIPE, labels=label), load_any(DATA)
    model, _ = start(planned, plain)
    data = open_data(planned).suited(model.inputs)
    assert create(task).main_metrics(data)[0] == main
    numbers = validation_numbers(model, data)
    assert any(name.endswith(f"/{task}/{read}") for name in numbers)
    assert all(label in name for name in numbers)
    assert plain.learned == ""
    assert data.fingerprint.parts == plain.fingerprint.parts
    unlabelled = validation_numbers(model, plain.suited(model.inputs))
    assert all(("/retrieval/" in name) == (arm == "clip") for name in unlabelled), (
        "pairs by themselves are retrieved"
    )


def test_the_probe_learns_from_the_labels_that_training_saw(folder: Path) -> None:
    data, plain = open_data(Run.read(folder)), load_any(DATA)
    assert isinstance(data, RelabelledData)
    model = load(folder)
    data = data.suited(model.inputs)
    rows = next(iter(data.splits.test.values()))
    probe = create("probe")
    assert probe.main_metrics(data)[0] == "logistic_colour_top1"
    asked: list[int] = []

    class Watched(EmbeddingCache):
        def column(self, column: str, rows: np.ndarray, head: str = "default") -> object:  # type: ignore[override]
            asked.extend(rows.tolist())
            return super().column(column, rows, head)

    probe.labels = ("colour",)
    probe(Watched(model, data), data, rows)
    shown = data.splits.train[data.labels["colour"].values[data.splits.train] >= 0]
    assert set(asked) - {*rows} == {*shown}
    assert len(shown) < len(plain.splits.train)


def test_label_is_not_there_is_refused_before_folder_is_taken(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown label 'coluor': did you mean 'colour'"):
        run(Run("supcon,on=images", DATA, RECIPE, labels="coluor,share=0.5"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_similar_classes_may_be_those_of_a_model(folder: Path) -> None:
    planned = Run("moco", DATA, RECIPE, labels=f"colour,noise=0.5,kind=similar,encoder={folder}")
    data = open_data(planned)
    assert isinstance(data, RelabelledData)
    values = data.labels["colour"].values
    assert len(data.wrong)
    assert (values[data.wrong] != data.true[data.wrong]).all()
    of_class = {(int(a), int(b)) for a, b in zip(data.true[data.wrong], values[data.wrong], strict=True)}
    assert len(of_class) == len({true for true, _ in of_class})


@pytest.mark.parametrize(
    ("arms", "labels", "asked"),
    [
        (("cross-entropy", "logit-adjusted"), "colour", True),
        (("cross-entropy,labels=colour", "harmonic,labels=colour"), "", True),
        (("cross-entropy,labels=colour", "harmonic,labels=count"), "", False),
        (("cross-entropy", "supcon,on=images"), "colour", False),
        (("bce", "asymmetric"), "concepts", False),
    ],
)
def test_arms_all_learn_classes_of_one_label_asked_for_first(
    arms: tuple[str, ...], labels: str, asked: bool, tmp_path: Path
) -> None:
    design = Design(arms, data=DATA, labels=labels, recipe=RECIPE)
    tasks = prepare(design, tmp_path / "study").design.tasks
    assert (tasks[0] == "classification") == asked
    assert "probe" in tasks
