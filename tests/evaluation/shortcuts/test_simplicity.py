"""Class collapse and suppression, read from features made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.data import load
from counterpoint.data.pictured import PairedData
from counterpoint.evaluation import create
from counterpoint.evaluation.simplicity import class_share, collapse_index, noise_of, probed, probed_within
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.evaluation.tasks.cl_simplicity_bias import CLSimplicityBias
from counterpoint.types import Scores
from fixtures.tiny import Oracle, Pixels, TinyData

WORLD = "scenes:spurious,concepts=cat+car+dog+bus,backgrounds=meadow+beach,strength=0.5,train=240,test=120"


@pytest.fixture(scope="module")
def world() -> PairedData:
    return load(f"{WORLD},validation=8,pixels=32")


def codes(world: PairedData, *parts: tuple[str, float]) -> Tensor:
    """Features that hold some labels, each as a one-hot code of some size."""
    columns = []
    for label, size in parts:
        values = world.labels[label].values
        columns.append(size * torch.eye(int(values.max()) + 1)[torch.from_numpy(values)])
    return torch.cat(columns, 1)


def score(world: PairedData, features: Tensor, **options: float) -> Scores:
    class Coded(Oracle):
        def __init__(self) -> None:
            self.heads = ("global",)

        def embed(self, modality: str, inputs: Tensor, head: str = "default") -> Tensor:
            raise AssertionError("rows are looked up")

    model = Coded()
    from counterpoint.data.embeddings import EmbeddingCache

    known = EmbeddingCache(model, world)
    known.images = lambda rows, head="default": features[torch.from_numpy(rows)]  # type: ignore[method-assign]
    return CLSimplicityBias(**options)(known, world, world.splits.test["as trained"])  # type: ignore[arg-type]


def test_an_encoder_of_everything_loses_nothing(world: PairedData) -> None:
    found = score(world, codes(world, ("group", 1), ("concept", 1), ("background", 1)))
    for name in ("group_top1", "concept_top1", "background_top1", "concept_within_group"):
        assert found.value(name) > 0.98, name
    assert found.metrics["concept_within_group"].chance == 0.5
    assert found.metrics["concept_top1"].chance == 0.25


def test_collapse_is_seen_although_a_trace_is_left(world: PairedData) -> None:
    """A thousandth of the class's size is found by a probe without noise, and by none with it."""
    features = codes(world, ("group", 1), ("concept", 1e-3))
    collapsed, naive = score(world, features), score(world, features, noise=0.0)
    assert collapsed.value("group_top1") == naive.value("group_top1") == 1
    assert naive.value("concept_within_group") == 1
    assert abs(collapsed.value("concept_within_group") - 0.5) < 0.2
    assert collapsed.value("concept_share") == pytest.approx(1, abs=1e-3)  # concepts are nested in groups


def test_suppression_is_seen_of_a_class_beside_an_easy_feature(world: PairedData) -> None:
    found = score(world, codes(world, ("concept", 1e-2), ("background", 1)))
    assert found.value("background_top1") > 0.98
    assert found.value("background_share") > 0.99
    assert found.value("concept_top1") < 0.5
    assert found.value("group_share") < 0.05


def test_size_does_not_matter_beside_nothing(world: PairedData) -> None:
    """Noise is relative: features of any scale are the same features."""
    features = codes(world, ("group", 1), ("concept", 0.3))
    small, large = (score(world, scale * features) for scale in (1e-2, 1e2))
    for name in small.metrics:
        assert small.value(name) == pytest.approx(large.value(name)), name


def test_noise_belongs_to_a_row() -> None:
    noise = noise_of(np.array([5, 7, 5]), 2000)
    np.testing.assert_array_equal(noise[0], noise[2])
    assert abs(np.corrcoef(noise[:2])[0, 1]) < 0.1
    assert noise.std() == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(noise_of(np.array([7]), 2000)[0], noise[1])


def test_probes_leave_out_what_has_no_class() -> None:
    x = np.eye(4)[[0, 1, 0, 1, 2]]
    found = probed(x, np.array([0, 1, 0, 1, -1]), x, np.array([0, 1, 1, -1, 0]), 2)
    assert found[:3].tolist() == [1, 1, 0]
    assert np.isnan(found[3])
    assert np.isnan(probed(x, np.zeros(5, int), x, np.zeros(5, int), 2)).all()


def test_within_a_class_its_own_subclasses_compete() -> None:
    """Class 1 has one subclass in training, and no question; class 0 has two, and one that training lacks."""
    classes, subclasses = np.array([0, 0, 1]), np.array([0, 1, 2])
    train = tuple(np.tile(column.T, 10).T for column in (classes, subclasses))
    asked = np.array([0, 1, 1, 0, 2])
    found, guess = probed_within((np.eye(3)[train[1]], *train), (np.eye(3)[asked], np.array([0, 0, 0, 0, 1])))
    assert found[:4].tolist() == [0, 1, 1, 0]
    assert np.isnan(found[4])
    assert guess[:4].tolist() == [0.5] * 4


def test_shares_of_independent_labels_add_up() -> None:
    a, b = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    x = np.stack([3.0 * a, 1.0 * b], 1)
    shares = [class_share(x, labels).mean() for labels in (a, b)]
    assert shares == [pytest.approx(0.9), pytest.approx(0.1)]
    assert np.isnan(class_share(x, np.full(4, -1))).all()
    assert np.isnan(class_share(np.ones((4, 2)), a)).all()
    partly = class_share(x, np.array([0, 0, 1, -1]))
    assert np.isnan(partly[3])
    assert np.nanmean(partly) <= 1


def test_the_share_of_random_classes_is_chance() -> None:
    rng = np.random.default_rng(0)
    shares = [class_share(rng.standard_normal((50, 3)), rng.integers(5, size=50)).mean() for _ in range(300)]
    assert np.mean(shares) == pytest.approx(4 / 49, abs=0.01)


def test_the_index_is_relative_to_a_reference() -> None:
    assert collapse_index(0.5, 0.9, 0.5) == 1
    assert collapse_index(0.9, 0.9, 0.5) == 0
    assert collapse_index(1.0, 0.9, 0.5) == pytest.approx(-0.25)
    with pytest.raises(ValueError, match="above chance"):
        collapse_index(0.5, 0.5, 0.5)


def test_bad_input_is_named(world: PairedData, tiny_data: TinyData) -> None:
    with pytest.raises(NotApplicableError, match="needs the label 'concept'"):
        create("cl_simplicity_bias")(Pixels(), tiny_data, np.arange(70))
