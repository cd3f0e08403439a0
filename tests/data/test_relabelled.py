"""Labels that are few, wrong or rare in training: by item ids alone, the same for all, and true wherever is tested."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from counterpoint.data.base import Data, Splits
from counterpoint.data.derived.labelling import Labelling
from counterpoint.data.derived.relabelled import RelabelledData
from counterpoint.data.labels import LabelTypeError, Numbers, Tags
from counterpoint.registry import UnknownNameError
from fixtures.labelled import COUNTS, UNLABELLED, Many
from fixtures.tiny import TinyData


def relabelled(text: str, data: Data | None = None) -> RelabelledData:
    return RelabelledData(data or Many(), Labelling.parse(text))


@pytest.fixture(
    scope="module", params=["kind,share=0.3,noise=0.2", "kind,noise=0.4,imbalance=10", "kind,share=0.001"]
)
def changed(request: pytest.FixtureRequest) -> RelabelledData:
    return relabelled(request.param)


def test_rows_of_tests_and_other_labels_are_as_they_were(changed: RelabelledData) -> None:
    plain = Many()
    for rows in (changed.splits.validation["v"], changed.splits.test["t"]):
        assert (changed.labels["kind"].values[rows] == plain.kinds[rows]).all()
    assert (changed.labels["other"].values == plain.kinds).all()
    assert (changed.true == plain.kinds).all()


def test_what_was_changed_is_what_is_told(changed: RelabelledData) -> None:
    seen, true = changed.labels["kind"].values, changed.true
    train = changed.splits.train
    assert set(changed.wrong) == set(np.flatnonzero((seen >= 0) & (seen != true)))
    assert set(changed.hidden) == set(np.flatnonzero((seen < 0) & (true >= 0)))
    assert set(changed.removed) == set(Many().splits.train) - set(train)
    assert (true[changed.wrong] >= 0).all()


def test_any_order_of_rows_shows_the_same_labels(changed: RelabelledData) -> None:
    order = np.random.default_rng(1).permutation(len(changed))
    turned = RelabelledData(Many(order), changed.labelling)
    seen = dict(zip(turned.ids.tolist(), turned.labels["kind"].values.tolist(), strict=True))
    assert [seen[item] for item in changed.ids.tolist()] == changed.labels["kind"].values.tolist()
    assert set(turned.ids[turned.splits.train]) == set(changed.ids[changed.splits.train])


def test_a_share_is_one_of_each_class_and_at_least_one_row() -> None:
    for share in (0.001, 0.1, 0.5):
        data = relabelled(f"kind,share={share}")
        seen = data.labels["kind"].values[data.splits.train]
        assert np.bincount(seen[seen >= 0]).tolist() == [max(round(share * n), 1) for n in COUNTS]
    few, many = (relabelled(f"kind,share={share}").hidden for share in (0.1, 0.5))
    assert set(many) < set(few)


def test_symmetric_noise_gives_every_other_class_alike() -> None:
    data = relabelled("kind,noise=0.6")
    assert len(data.wrong) == round(0.6 * sum(COUNTS))
    true, seen = data.true[data.wrong], data.labels["kind"].values[data.wrong]
    table = np.zeros((5, 5))
    np.add.at(table, (true, seen), 1)
    assert (np.diag(table) == 0).all()
    expected = np.array(COUNTS)[:, None] * 0.6 / 4 * (1 - np.eye(5))
    assert (
        ((table - expected) ** 2)[expected > 0] / expected[expected > 0]
    ).sum() < 40  # χ² of 20 cells, p ≈ 0.005
    assert set(relabelled("kind,noise=0.2").wrong) < set(data.wrong)


def test_similar_noise_gives_the_class_whose_mean_is_nearest() -> None:
    data = relabelled("kind,noise=0.5,kind=similar")
    nearest = np.array([2, 3, 0, 1, 3])
    assert len(data.wrong)
    assert (data.labels["kind"].values[data.wrong] == nearest[data.true[data.wrong]]).all()

    def far(data: Data, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        assert isinstance(data, Many)
        return np.array([[0.0], [10], [21], [33], [1]])[data.kinds[rows]]

    data = RelabelledData(Many(), Labelling.parse("kind,noise=0.5,kind=similar,encoder=mine"), far)
    nearest = np.array([4, 4, 1, 2, 0])
    assert (data.labels["kind"].values[data.wrong] == nearest[data.true[data.wrong]]).all()


@pytest.mark.parametrize("ratio", [1, 4, 50])
def test_imbalance_thins_classes_exponentially_to_the_ratio(ratio: float) -> None:
    data = relabelled(f"kind,imbalance={ratio}")
    train = data.splits.train
    left = np.bincount(data.true[train][data.true[train] >= 0])
    largest = min(n * ratio ** (k / 4) for k, n in enumerate(COUNTS))
    assert left.tolist() == [round(largest * ratio ** (-k / 4)) for k in range(5)]
    assert (data.true[train] < 0).sum() == UNLABELLED
    assert np.concatenate(data.splits.tasks).size == len(train)
    assert not np.isin(data.removed, np.concatenate(data.splits.tasks)).any()


def test_rows_that_a_test_holds_too_are_not_touched() -> None:
    data = Many()
    both = data.splits.train[:300]
    data.splits = Splits(data.splits.train, {}, {"t": both})
    changed = relabelled("kind,share=0.1,noise=0.5,imbalance=2", data)
    assert (changed.labels["kind"].values[both] == data.kinds[both]).all()
    assert np.isin(both, changed.splits.train).all()


def test_what_is_wrong_is_part_of_what_data_is() -> None:
    plain, one, other = TinyData(), *(relabelled(f"tone,noise={noise}", TinyData()) for noise in (0.5, 0.9))
    parts = [data.fingerprint.parts for data in (plain, one, other)]
    assert parts[0].items() < parts[1].items()
    assert parts[1] != parts[2]
    assert one.identity(["text"]) != other.identity(["text"]) != plain.identity(["text"])
    assert one.sized(32).wrong is one.wrong
    thinned = relabelled("tone,imbalance=1.5", TinyData())
    if len(rows := thinned.fingerprint.rows):
        assert (rows["split"].to_numpy()[thinned.removed] == "").all()


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("kidn,share=0.1", UnknownNameError, "did you mean 'kind'"),
        ("kind,shar=0.1", UnknownNameError, "did you mean 'share'"),
        ("kind,share=0", ValueError, "share must be greater than 0"),
        ("kind,share=1.5", ValueError, "share must be at most 1"),
        ("kind,noise=1", ValueError, "noise must be less than 1"),
        ("kind,noise=0.1,kind=near", ValueError, "kind must be one of 'symmetric' or 'similar'"),
        ("kind,kind=similar", ValueError, "say of how many rows, noise=0.2"),
        ("kind,noise=0.1,encoder=runs/one", ValueError, "add kind=similar"),
        ("share=0.1", ValueError, "first comes the label"),
        ("kind,imbalance=0.5", ValueError, "imbalance must be at least 1"),
        ("kind,imbalance=201", ValueError, "leaves no row of e, .* at most 200 can be had"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        relabelled(text)


@pytest.mark.parametrize("text", ["kind,noise=0.2", "kind,imbalance=2"])
def test_noise_and_imbalance_need_two_classes(text: str) -> None:
    data = Many()
    data.kinds = np.zeros_like(data.kinds)
    with pytest.raises(ValueError, match="need two classes"):
        relabelled(text, data)


def test_similar_classes_of_data_without_pictures_need_encoder() -> None:
    data = Many()
    data.columns = {"series": "series"}
    with pytest.raises(ValueError, match="name what compares them, encoder=MODEL"):
        relabelled("kind,noise=0.2,kind=similar", data)


def test_no_row_of_shards_leaves_training() -> None:
    data = Many()
    data.shards = (300, 200)
    with pytest.raises(ValueError, match=r"labels kind: 'many' lies in shards, .*: leave imbalance out"):
        relabelled("kind,imbalance=2", data)


class Tagged(Many):
    """The same rows with three tags each, the rarest of which applies to a few rows, and a number."""

    @property
    def labels(self) -> dict[str, Any]:  # type: ignore[override] # of all kinds
        draws = np.random.default_rng(2).random((20_000, 3))[self.ids]
        tags = (draws < [0.5, 0.2, 0.02]).astype(np.int8)
        tags[self.kinds == -1] = -1
        number = np.where(self.kinds == -1, np.nan, draws[:, 0])
        return {**super().labels, "tags": Tags(("often", "now", "rare"), tags), "number": Numbers(number)}


def test_missing_tags_seem_not_to_apply_tag_by_tag() -> None:
    data = relabelled("tags,missing=0.4", Tagged())
    train, true, seen = data.splits.train, data.true, data.labels["tags"].values
    applied, shown = ((values[train] == 1).sum(0) for values in (true, seen))
    assert (shown == applied - np.minimum(np.round(0.4 * applied), applied - 1)).all()
    assert ((seen == true) | ((seen == 0) & (true == 1))).all()
    assert set(data.wrong) == set(np.flatnonzero((seen != true).any(1)))
    assert not np.isin(np.concatenate([*data.splits.test.values()]), data.wrong).any()
    assert set(relabelled("tags,missing=0.1", Tagged()).wrong) < set(data.wrong)
    gone = relabelled("tags,missing=0.99", Tagged()).labels["tags"].values[train]
    assert ((gone == 1).sum(0) >= 1).all()


@pytest.mark.parametrize("label", ["tags", "number"])
def test_a_share_of_other_labels_is_one_of_the_rows(label: str) -> None:
    data = relabelled(f"{label},share=0.1", Tagged())
    known = data.labels[label].known[data.splits.train].sum()
    assert round(0.1 * sum(COUNTS)) <= known <= round(0.1 * sum(COUNTS)) + 3
    rare = relabelled("tags,share=0.001", Tagged()).labels["tags"].values[data.splits.train]
    assert ((rare == 1).sum(0) >= 1).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tags,noise=0.1", "holds tags, and classes are needed"),
        ("number,imbalance=2", "holds numbers, and classes are needed"),
        (
            "kind,missing=0.1",
            r"holds classes, and tags are needed: there are tags; .* between bars: red\|green$",
        ),
    ],
)
def test_options_of_another_kind_of_label_are_refused(text: str, message: str) -> None:
    with pytest.raises(LabelTypeError, match=message):
        relabelled(text, Tagged())
    with pytest.raises(ValueError, match="a label is one or the other"):
        relabelled("tags,missing=0.1,noise=0.1", Tagged())


def test_the_least_number_of_examples_is_an_option_of_the_data() -> None:
    with pytest.raises(ValueError, match="is said of the data: --least 5"):
        Labelling.parse("folder,least=5")
