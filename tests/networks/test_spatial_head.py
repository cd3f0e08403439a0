"""A head of vectors as one of patches: the mean over patches is the head of the mean."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoint.networks.heads import mlp
from counterpoint.networks.spatial_head import SpatialHead


def trained(norm: bool = True) -> nn.Sequential:
    """Return a head in evaluation mode whose batch norms have seen other features."""
    generator = torch.Generator().manual_seed(0)
    head = mlp(6, 16, 4, layers=3, norm=norm).double()
    with torch.no_grad():
        for p in head.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
        head.train()(2 + 3 * torch.randn(50, 6, generator=generator, dtype=torch.float64))
    return head.eval()


def maps() -> Tensor:
    return 2 + 3 * torch.randn(5, 3, 4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("norm", [True, False])
def test_mean_over_patches_is_the_head_of_the_mean_in_either_mode(norm: bool) -> None:
    head, x = trained(norm), maps()
    spatial = SpatialHead(head)
    expected = head(x.mean((1, 2)))
    for mode in (True, False):
        torch.testing.assert_close(spatial.train(mode)(x).mean((1, 2)), expected)
    assert spatial(x).shape == (5, 3, 4, 4)
    plain = head(x.flatten(0, 2)).view(5, 12, 4).mean(1)
    assert (plain - expected).abs().max() > 0.1
    assert (spatial(x) - head(x.flatten(0, 2)).view(5, 3, 4, 4)).abs().max() > 0.1


def test_a_channel_whose_mean_is_0_is_dropped_in_all_patches() -> None:
    spatial = SpatialHead(nn.Sequential(nn.ReLU(), nn.Linear(2, 2, bias=False))).double()
    spatial.layers[1].weight.data.copy_(torch.eye(2))
    x = torch.tensor([[[[1.0, -1.0], [-1.0, 3.0]]]]).double()
    assert spatial(x).tolist() == [[[[0.0, -1.0], [0.0, 3.0]]]]


def test_the_head_that_is_given_stays_as_it_is() -> None:
    head = trained()
    before = {name: value.clone() for name, value in head.state_dict().items()}
    SpatialHead(head).train()(maps()).sum().backward()
    for name, value in head.state_dict().items():
        assert value.equal(before[name])
    assert all(p.grad is None for p in head.parameters())


def test_heads_that_do_not_preserve_the_mean_are_refused() -> None:
    for layer in (nn.GELU(), nn.BatchNorm1d(4, track_running_stats=False), nn.LayerNorm(4)):
        with pytest.raises(ValueError, match="so that the mean is preserved"):
            SpatialHead(nn.Sequential(nn.Linear(4, 4), layer))


def test_a_linear_layer_is_itself() -> None:
    layer, x = nn.Linear(6, 3).double(), maps()
    torch.testing.assert_close(SpatialHead(layer)(x), F.linear(x, layer.weight, layer.bias))
