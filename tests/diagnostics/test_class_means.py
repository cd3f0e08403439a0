"""Geometry of class means, against its definition written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.diagnostics import (
    class_cosines,
    mean_cosine,
    orthogonal_frame,
    simplex,
    utilization,
    within_class_variation,
)


def cloud(n: int, d: int, k: int) -> tuple[Tensor, Tensor]:
    """Random embeddings of k classes; some have none."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(-1, k, (n,), generator=generator)
    return torch.randn(n, d, generator=generator) + 2 * torch.eye(k, d)[labels], labels


def defined(z: Tensor, labels: Tensor, k: int) -> tuple[float, float, float]:
    x, y = F.normalize(z.double(), dim=1).numpy()[labels >= 0], labels.numpy()[labels >= 0]
    means = np.stack([x[y == c].mean(0) for c in range(k)])
    gram = means @ means.T
    gram /= np.linalg.norm(gram)
    frames = [np.eye(k), np.eye(k) - 1 / k]
    of_frames = [float(np.linalg.norm(gram - frame / np.linalg.norm(frame))) for frame in frames]
    within = np.mean([np.cov(x[y == c].T, bias=True) for c in range(k)], axis=0)
    centred = means - means.mean(0)
    between = centred.T @ centred / k
    return of_frames[0], of_frames[1], float(np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / k)


@pytest.mark.parametrize(("d", "k"), [(8, 4), (3, 6)])
def test_numbers_of_class_means_are_those_of_the_definition(d: int, k: int) -> None:
    z, labels = cloud(200, d, k)
    found = [measure(3 * z, labels) for measure in (orthogonal_frame, simplex, within_class_variation)]
    assert found == pytest.approx(defined(z, labels, k))


def test_frames_and_simplices_are_known_whatever_the_imbalance() -> None:
    labels = torch.tensor([0] * 9 + [1] * 3 + [2])
    frame = torch.eye(5)[labels]
    assert orthogonal_frame(frame, labels) == pytest.approx(0)
    assert mean_cosine(frame, labels) == 0
    assert within_class_variation(frame, labels) == pytest.approx(0)
    vertices = torch.eye(3) - 1 / 3
    assert simplex(vertices[labels], labels) == pytest.approx(0)
    assert class_cosines(vertices[labels], labels).tolist() == pytest.approx([-1 / 2] * 3)
    assert orthogonal_frame(torch.ones(13, 5), labels) == pytest.approx(math.sqrt(2 - 2 / math.sqrt(3)))


def test_one_class_has_no_geometry_and_labels_one_for_each_row() -> None:
    z = torch.randn(4, 3)
    for measure in (orthogonal_frame, simplex, within_class_variation, mean_cosine):
        assert math.isnan(measure(z, torch.tensor([2, 2, -1, 2])))
        assert math.isnan(measure(z[:0], torch.zeros(0, dtype=torch.int64)))


def test_utilization_is_the_nearest_known_point_of_each_query() -> None:
    z, _ = cloud(60, 4, 3)
    queries, known = F.normalize(z[:20], dim=1), F.normalize(z[20:], dim=1)
    expected = torch.cdist(queries, known).square().amin(1).mean()
    assert utilization(5 * queries, known) == pytest.approx(float(expected), rel=1e-5)
    assert utilization(queries, torch.cat([known, queries])) == pytest.approx(0, abs=1e-12)
    assert math.isnan(utilization(queries, known[:0]))
