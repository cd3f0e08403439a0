"""Nearest neighbours by layer: the probe's k-NN with each example left out, and limits."""

from __future__ import annotations

from inspect import unwrap

import numpy as np
import pytest
import torch

from counterpoint.diagnostics.internals import neighbours
from counterpoint.diagnostics.internals.neighbours import named_by_neighbours
from counterpoint.evaluation.classifiers import knn


@pytest.mark.parametrize("panel", [1024, 7])
def test_it_is_the_probe_s_classifier_leaving_one_out(panel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "PANEL", panel)
    rng = np.random.default_rng(0)
    classes = np.arange(50) % 4
    z = rng.standard_normal((50, 6)).astype(np.float32) + np.eye(4, 6, dtype=np.float32)[classes]
    found = named_by_neighbours(torch.from_numpy(z), torch.from_numpy(classes))
    kept = [np.arange(50) != k for k in range(50)]
    expected = [knn(z[rest], classes[rest], z[k : k + 1], 4)[0] == classes[k] for k, rest in enumerate(kept)]
    assert found.tolist() == expected


def test_classes_apart_are_all_named_and_directions_alone_count() -> None:
    classes = torch.arange(30) % 3
    z = torch.eye(3)[classes] + 0.1 * torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    assert named_by_neighbours(z, classes, k=5).all()
    lengths = torch.rand(30, 1, generator=torch.Generator().manual_seed(1)) + 0.1
    assert torch.equal(named_by_neighbours(z, classes), named_by_neighbours(lengths * z, classes))


def test_others_neighbours_equal_features_vote_for_larger_class() -> None:
    classes = torch.tensor([0, 0, 0, 1, 1])
    assert named_by_neighbours(torch.ones(5, 2), classes, k=100).tolist() == [True, True, True, False, False]


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="two examples at least"):
        named_by_neighbours(torch.ones(1, 2), torch.zeros(1).long())
    with pytest.raises(ValueError, match="3 classes"):
        unwrap(named_by_neighbours)(torch.ones(2, 2), torch.zeros(3).long())
