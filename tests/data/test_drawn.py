"""Rows and tags that the seed of a run draws, and classes that training lacks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from counterpoint.data.base import Data, Splits
from counterpoint.data.derived.drawn import DrawnData
from counterpoint.data.derived.labelling import Labelling
from counterpoint.data.derived.new_classes import NewClassesData
from counterpoint.data.labels import LabelTypeError, Tags
from counterpoint.methods import Arm
from counterpoint.recipes import load
from counterpoint.study.design import Design
from counterpoint.study.opened import relabelled
from counterpoint.training.drawn import drawn
from counterpoint.training.run import Run
from fixtures.labelled import COUNTS, Many


class Tagged(Data):
    """Rows of which each has some of three tags; the last is rare."""

    def __init__(self) -> None:
        chances = np.random.default_rng(0).random((200, 3))
        self.values = (chances < [0.5, 0.2, 0.05]).astype(np.int8)
        self.columns, self.name, self.ids = {"image": "image"}, "tagged", np.arange(200) * 7
        self.splits = Splits(np.arange(150), {}, {"t": np.arange(150, 200)})

    @property
    def labels(self) -> dict[str, Tags]:  # type: ignore[override] # read-only there too
        return {"tags": Tags(("red", "round", "rare"), self.values)}

    def read(self, column: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return rows


def draw(text: str, data: Data | None = None, seed: int = 0) -> DrawnData:
    return DrawnData(data or Many(), Labelling.parse(text), seed)


def test_shots_are_so_many_rows_of_each_class() -> None:
    data = draw("kind,shots=4")
    values = data.labels["kind"].values
    assert np.bincount(values[data.splits.train]).tolist() == [4] * 5
    assert (values[data.splits.train] == Many().kinds[data.splits.train]).all()
    many = draw("kind,shots=100").splits.train
    assert np.bincount(Many().kinds[many]).tolist() == [min(100, count) for count in COUNTS]


def test_more_shots_hold_fewer_and_seeds_differ() -> None:
    one, four, sixteen = ({*draw(f"kind,shots={k}").splits.train.tolist()} for k in (1, 4, 16))
    assert one < four < sixteen
    other = {*draw("kind,shots=4", seed=1).splits.train.tolist()}
    assert other != four
    assert {*draw("kind,shots=4").splits.train.tolist()} == four


def test_order_of_rows_does_not_count() -> None:
    order = np.random.default_rng(1).permutation(len(Many()))
    plain, turned = draw("kind,shots=3"), draw("kind,shots=3", Many(order))
    assert {*plain.ids[plain.splits.train].tolist()} == {*turned.ids[turned.splits.train].tolist()}


def test_labels_of_held_out_rows_change_no_draw() -> None:
    plain, other = Many(), Many()
    held = np.concatenate([*plain.splits.validation.values(), *plain.splits.test.values()])
    other.kinds = other.kinds.copy()
    other.kinds[held] = np.roll(other.kinds[held], 3)
    assert (draw("kind,shots=3", plain).splits.train == draw("kind,shots=3", other).splits.train).all()


def test_tasks_see_all_rows_and_the_drawn_labels() -> None:
    data = draw("kind,shots=2")
    seen = data.evaluated()
    assert (seen.splits.train == Many().splits.train).all()
    train, values = Many().splits.train, seen.labels["kind"].values
    assert {*train[values[train] >= 0].tolist()} == {*data.splits.train.tolist()}
    for rows in (*seen.splits.validation.values(), *seen.splits.test.values()):
        assert (values[rows] == Many().kinds[rows]).all()
    assert (seen.labels["other"].values == Many().kinds).all()


def test_shots_of_tags_are_rows_until_each_tag_has_them() -> None:
    data, plain = draw("tags,shots=3", Tagged()), Tagged()
    train = data.splits.train
    counts = (plain.values[train] == 1).sum(0)
    assert counts.min() == 3
    assert {*train.tolist()} < {*draw("tags,shots=5", Tagged()).splits.train.tolist()}


def test_known_is_a_share_of_cells() -> None:
    data, plain = draw("tags,known=0.3", Tagged()), Tagged()
    values = data.labels["tags"].values
    train = plain.splits.train
    hidden = values[train] == -1
    assert hidden.mean() == pytest.approx(0.7, abs=0.08)
    assert (values[train][~hidden] == plain.values[train][~hidden]).all()
    assert (values[150:] == plain.values[150:]).all()
    assert (draw("tags,known=0.3", Tagged(), 1).labels["tags"].values != values).any()
    more = draw("tags,known=0.6", Tagged()).labels["tags"].values
    assert ((values == -1) | (more == values)).all()


def test_new_classes_leave_training_and_have_a_label_of_their_own() -> None:
    data, plain = NewClassesData(Many(), "kind", 0.4), Many()
    base, new = data.labels["kind"], data.labels["new_kind"]
    assert (len(base.names), len(new.names)) == (3, 2)
    assert {*base.names, *new.names} == {*"abcde"}
    train = data.splits.train
    assert not new.known[train].any()
    assert (plain.kinds[train] < 0).sum() == (plain.kinds[plain.splits.train] < 0).sum()
    rows = plain.splits.test["t"]
    assert (base.known[rows] ^ new.known[rows]).all()
    for label in (base, new):
        of_label = np.flatnonzero(label.known)
        assert [label.names[k] for k in label.values[of_label]] == ["abcde"[k] for k in plain.kinds[of_label]]
    assert data.fingerprint.parts != plain.fingerprint.parts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind,shots=0", "shots must be at least 1"),
        ("kind,known=0", "known must be greater than 0"),
        ("kind,new=0.5,known=0.5", "a label is one or the other"),
        ("kind,new=1", "new must be less than 1"),
    ],
)
def test_refused_as_it_is_read(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Labelling.parse(text)


def test_refused_for_the_data() -> None:
    with pytest.raises(LabelTypeError, match="tags are needed"):
        draw("kind,known=0.5")
    with pytest.raises(ValueError, match=r"new=0\.8 makes 4 of 5 classes new"):
        NewClassesData(Many(), "kind", 0.8)
    data = Many()
    data.kinds = np.where(data.kinds == 3, 2, data.kinds)
    assert len(draw("kind,shots=1", data).splits.train) == 4  # a class without rows has none
    data.kinds = np.full_like(data.kinds, -1)
    with pytest.raises(ValueError, match="no row to train on of 'many' has a class"):
        draw("kind,shots=1", data)


def test_arm_and_labels_say_the_shots_of_a_run() -> None:
    data = relabelled(Many(), "kind")
    for run in (
        Run("cross-entropy,shots=2", "many", load("seconds"), labels="kind"),
        Run("cross-entropy", "many", load("seconds"), labels="kind,shots=2"),
        Run("cross-entropy,shots=2", "many", load("seconds"), labels="kind,shots=4"),
    ):
        of_run = drawn(run, data)
        assert len(of_run.splits.train) == 10
        assert drawn(run, of_run) is of_run
    assert drawn(Run("cross-entropy", "many", load("seconds"), labels="kind"), data) is data
    with pytest.raises(ValueError, match="shots are of a label"):
        drawn(Run("cross-entropy,shots=2", "many", load("seconds")), data)


def test_design_spells_out_shots_and_the_model() -> None:
    design = Design(arms=("coop", "linear,strength=2"), shots=(1, 4), from_="runs/a,b=c").spelled_out()
    assert design.arms == (
        'coop,from="runs/a,b=c",shots=1',
        'linear,strength=2,from="runs/a,b=c",shots=1',
        'coop,from="runs/a,b=c",shots=4',
        'linear,strength=2,from="runs/a,b=c",shots=4',
    )
    assert (Arm.parse(design.arms[2]).shots, Arm.parse(design.arms[2]).origin) == (4, "runs/a,b=c")
    with pytest.raises(ValueError, match="both say shots"):
        Design(arms=("coop,shots=2",), shots=(1,)).spelled_out()
    with pytest.raises(ValueError, match="shots must be a whole number of at least 1, got '0'"):
        Arm.parse("coop,shots=0")


def test_library_pair_is_a_pair_of_towers() -> None:
    arm = Arm.parse("coop,from=open_clip:ViT-B-32@weights.pt")
    assert arm.towers == dict.fromkeys(("image", "text"), "open_clip:ViT-B-32@weights.pt")
    assert not arm.origin
