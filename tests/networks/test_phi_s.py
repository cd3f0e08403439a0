"""PHI-S: one variance in every channel, one scale and a rotation, and no whitening."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from counterpoint.networks.phi_s import PHIS, hadamard, rotation
from counterpoint.networks.weights import restored


def features(width: int) -> Tensor:
    """Features with channels of unequal variance that hang together."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(width, width, generator=generator).double() * torch.logspace(0, -3, width)
    return torch.randn(500, width, generator=generator).double() @ mixing.T + 3


def fitted(y: Tensor) -> PHIS:
    return PHIS(y.shape[1]).double().fit(y.mean(0), torch.cov(y.T))


def test_every_channel_has_variance_1_and_distances_keep_their_ratios() -> None:
    y = features(12)
    transform = fitted(y)
    z = transform(y)
    torch.testing.assert_close(z.var(0), torch.ones(12).double())
    torch.testing.assert_close(z.mean(0), torch.zeros(12).double(), atol=1e-9, rtol=0)
    ours, theirs = ((x[1:] - x[:-1]).norm(dim=1) for x in (z, y))
    torch.testing.assert_close(ours * transform.scale, theirs)
    torch.testing.assert_close(transform.inverse(z), y)
    # Whitening would make all principal variances 1; here they keep their ratios.
    before, after = (torch.linalg.eigvalsh(torch.cov(x.T)) for x in (y, z))
    torch.testing.assert_close(after * transform.scale**2, before)
    assert before[-1] > 1e4 * before[0]


def test_width_without_hadamard_matrix_has_a_rotation_from_a_seed() -> None:
    y = features(10)
    assert hadamard(10) is None
    torch.testing.assert_close(rotation(10) @ rotation(10).T, torch.eye(10).double())
    assert torch.equal(rotation(10), rotation(10))
    assert fitted(y)(y).var(0).mean().item() == pytest.approx(1)


@pytest.mark.parametrize("order", [1, 2, 4, 12, 20, 28, 36, 44, 64, 96, 192, 768])
def test_hadamard_matrices_have_orthogonal_rows_of_signs(order: int) -> None:
    matrix = hadamard(order)
    assert matrix is not None
    assert matrix.abs().eq(1).all()
    assert torch.equal(matrix @ matrix.T, order * torch.eye(order).double())


def test_features_of_few_directions_are_no_hindrance_and_constant_ones_are_refused() -> None:
    y = features(8)
    y[:, 3:] = y[:, :1]
    z = fitted(y)(y)
    torch.testing.assert_close(z.var(0), torch.ones(8).double())
    with pytest.raises(ValueError, match="the same everywhere"):
        fitted(torch.ones(5, 8).double())


def test_trained_transform_is_read_without_its_width() -> None:
    transform = fitted(features(12)).float()
    with restored():
        other = PHIS(None)
    other.load_state_dict(transform.state_dict())
    y = features(12).float()
    assert torch.equal(other(y), transform(y))
