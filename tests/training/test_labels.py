"""The label that methods learn from: part of a run and of a study, and kept with what the data says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from counterpoint.data.source import load_any
from counterpoint.methods.arm import Arm
from counterpoint.methods.single_loss import SingleLoss
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.study.design import Design
from counterpoint.study.training.runner import run
from counterpoint.study.words.learning import learns_from
from counterpoint.training.run import OtherRunError, Run, target_of
from counterpoint.training.start import load, prepare
from counterpoint.types import Target
from fixtures.tiny import TinyData

DATA = "scenes:basic,train=24,validation=4,test=4"
RECIPE = override(load_recipe("seconds"), {"steps": 2, "batch_size": 8})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels") / "run"
    run(Run("late,fill=mean", DATA, RECIPE, labels="count"), folder, test=False)
    return folder


def test_a_run_keeps_its_label_and_the_classes(folder: Path) -> None:
    there, data = Run.read(folder), load_any(DATA)
    names = data.labels["count"].names
    assert (there.labels, there.target) == ("count", Target("count", names))
    model = load(folder)
    assert model.target == Target("count", names)
    rows = np.arange(3)
    p = model.classify({"image": data.read("image", rows), "text": data.read("text", rows)})
    assert p.shape == (3, len(names))


def test_another_label_is_another_run(folder: Path) -> None:
    there = Run.read(folder)
    there.check(folder)
    with pytest.raises(OtherRunError):
        replace(there, labels="colour").check(folder)


def test_arm_may_learn_from_another_label_those_without_one_from() -> None:
    data = load_any(DATA)
    for arm, label in (("supcon", "count"), ("supcon,labels=colour", "colour")):
        method, _ = prepare(Run(arm, DATA, RECIPE, labels="count"), data)
        assert isinstance(method, SingleLoss)
        assert method.labels == label
    method, _ = prepare(Run("supcon", DATA, RECIPE), data)
    assert isinstance(method, SingleLoss)
    assert method.labels == "group"
    method, _ = prepare(Run("m3col", DATA, RECIPE), data)
    assert method.target is None  # type: ignore[attr-defined] # M3Col's
    prepare(Run("clip", DATA, RECIPE, labels="count"), data)


def test_a_label_that_the_data_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown label 'cont': did you mean 'count'"):
        Run("late", DATA, RECIPE, labels="cont").on(load_any(DATA))


def test_a_run_without_a_label_writes_none() -> None:
    assert set(Run("clip", DATA, RECIPE).plain()) == {"format", "arm", "data", "seed", "recipe"}


def test_the_label_is_part_of_a_study() -> None:
    one, other = (Design(("late",), data=DATA, labels=name) for name in ("count", "colour"))
    with pytest.raises(ValueError, match="it differs in labels"):
        one.joined(other, Path("there"))
    plain = {key: value for key, value in one.plain().items() if key != "format"}
    assert Design(**Design.fields_of(plain)) == one
    assert "labels" not in Design(("clip",)).plain()


@pytest.mark.parametrize("text", ["cross-entropy", "supcon,on=images"])
def test_where_nobody_names_a_label_the_only_one_is_learned(text: str) -> None:
    arm, data = Arm.parse(text), TinyData()
    named, run = target_of(arm, "group", data), Run(text, "tiny", RECIPE)
    assert target_of(arm, "", data) == (
        named if text == "cross-entropy" else None
    )  # the method's, or the loss's own
    there = data.labels
    data.labels = {"tone": there["tone"]}
    only = target_of(arm, "", data)
    assert only is not None
    assert only.label == "tone"
    assert learns_from(replace(run, target=only)) == "pictures; tone"
    data.labels = {"tone": there["tone"], "gender": there["gender"]}
    with pytest.raises(
        ValueError, match=rf"^{text} learns from a label: name one with --labels, tone or gender$"
    ):
        target_of(arm, "", data)
    data.labels = {}
    with pytest.raises(ValueError, match="and 'tiny' has none that it can learn from"):
        target_of(arm, "", data)
