from __future__ import annotations

import math
from inspect import unwrap

import pytest
import torch
from scipy.linalg import subspace_angles
from torch import Tensor

from counterpoint.diagnostics import induced_positives, normalised, principal_angles

F64 = torch.float64


def joint(v: int = 5, k: int = 4) -> Tensor:
    p = torch.rand(v, k, generator=torch.Generator().manual_seed(0), dtype=F64)
    return p / p.sum()


def matrix(n: int, k: int, seed: int) -> Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=F64)


def test_independent_modalities_have_one_singular_value() -> None:
    rows, columns = torch.tensor([0.2, 0.3, 0.5], dtype=F64), torch.tensor([0.6, 0.4], dtype=F64)
    values = torch.linalg.svdvals(normalised(torch.outer(rows, columns)))
    torch.testing.assert_close(values, torch.tensor([1.0, 0.0], dtype=F64), rtol=0, atol=1e-12)


def test_classes_that_never_mix_have_a_singular_value_of_1_each() -> None:
    p = torch.block_diag(joint(3, 2), joint(2, 2), joint(2, 3))
    values = torch.linalg.svdvals(normalised(p))
    torch.testing.assert_close(values[:3], torch.ones(3, dtype=F64))
    assert values[3] < 0.999


def test_counts_are_made_a_probability() -> None:
    torch.testing.assert_close(normalised(700 * joint()), normalised(joint()))
    assert induced_positives(700 * joint()).sum().item() == pytest.approx(1)


def test_induced_positives_are_a_chance_to_meet_through_a_text() -> None:
    p = joint()
    met = induced_positives(p)
    for v in range(5):
        for w in range(5):
            texts = range(4)
            chance = sum(p[:, t].sum() * (p[v, t] / p[:, t].sum()) * (p[w, t] / p[:, t].sum()) for t in texts)
            assert met[v, w].item() == pytest.approx(float(chance), rel=1e-12)
    torch.testing.assert_close(met.sum(1), p.sum(1))


def test_images_through_texts_images_with_texts_share_subspaces() -> None:
    p = joint()
    a = normalised(p)
    torch.testing.assert_close(normalised(induced_positives(p)), a @ a.T)
    images = torch.linalg.svd(normalised(induced_positives(p))).U[:, :2]
    assert principal_angles(images, torch.linalg.svd(a).U[:, :2]).max() < 1e-9


@pytest.mark.parametrize(("k", "m"), [(2, 2), (3, 1), (1, 3), (6, 2)])
def test_principal_angles_are_those_of_scipy(k: int, m: int) -> None:
    a, b = matrix(6, k, 0), matrix(6, m, 1)
    angles = principal_angles(a, b)
    expected = torch.from_numpy(subspace_angles(a.numpy(), b.numpy())).flip(0)
    torch.testing.assert_close(angles, expected, rtol=1e-9, atol=1e-12)


def test_angles_do_not_depend_on_basis_and_small_ones_are_exact() -> None:
    e = torch.eye(5, dtype=F64)
    tilted = torch.stack([e[0], math.cos(1e-9) * e[1] + math.sin(1e-9) * e[2]], 1)
    mixed = e[:, :2] @ matrix(2, 2, 0)
    angles = principal_angles(mixed, tilted @ matrix(2, 2, 1))
    torch.testing.assert_close(angles, torch.tensor([0.0, 1e-9], dtype=F64), rtol=1e-5, atol=1e-14)


def test_what_never_occurs_is_to_be_left_out() -> None:
    p = joint()
    p[:, 2] = 0
    for function in (normalised, induced_positives):
        with pytest.raises(ValueError, match="column 2 of the joint probability is all 0: leave it out"):
            function(p)
        with pytest.raises(ValueError, match="row 0 of the joint probability is all 0"):
            function(torch.zeros(2, 2))
        with pytest.raises(ValueError, match="finite and at least 0"):
            function(-joint())


def test_spaces_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="of one length"):
        unwrap(principal_angles)(matrix(5, 2, 0), matrix(4, 2, 0))
