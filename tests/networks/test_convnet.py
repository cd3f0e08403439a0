"""The built-in convolutional tower: one sample at a time, any size, its memory format and normalisation."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from counterpoint.networks import ConvNet, initialise
from counterpoint.networks.towers.convnet import ChannelNorm
from counterpoint.networks.towers.parts.pixels import MEAN, STD, Normalise


def tower(size: int = 48) -> ConvNet:
    net = ConvNet(size, (8, 16, 32))
    initialise(net, 0)
    return net


def test_a_picture_s_features_do_not_depend_on_its_batch() -> None:
    net, images = tower().double().train(), torch.rand(5, 3, 48, 48, dtype=torch.float64)
    together = net(images)
    assert together.shape == (5, net.width) == (5, 32)
    for i in range(5):
        assert torch.allclose(net(images[i : i + 1])[0], together[i], rtol=1e-9)


@pytest.mark.parametrize("size", [16, 40, 64, 65])
def test_other_sizes(size: int) -> None:
    assert tower(size)(torch.rand(2, 3, size, size)).shape == (2, 32)


def test_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match=r"image size 8 is too small.*16"):
        tower(8)


def test_memory_format_is_kept_by_copies_and_loading() -> None:
    net = tower()
    other = copy.deepcopy(net)
    other.load_state_dict(net.state_dict())
    for module in (net, other):
        weight = module.stages[0].conv_1.weight
        assert weight.is_contiguous(memory_format=torch.channels_last)


def test_channel_norm_is_the_formula() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    expected = (x - x.mean(1, keepdim=True)) / (x.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(ChannelNorm(6).double()(x), expected)


def test_normalise_is_imagenets() -> None:
    x = torch.rand(1, 3, 2, 2)
    for c in range(3):
        assert torch.allclose(Normalise()(x)[0, c], (x[0, c] - MEAN[c]) / STD[c])


def test_prepare_resizes_the_shorter_side_and_crops_the_middle() -> None:
    net = tower(16)
    wide = torch.zeros(1, 3, 32, 64, dtype=torch.uint8)
    wide[..., 16:48] = 255
    prepared = net.input(wide)
    assert prepared.shape == (1, 3, 16, 16)
    assert prepared.dtype == torch.float32
    assert prepared[..., 2:-2].min() == 1.0
    same = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)
    assert torch.allclose(net.input(same), same / 255, atol=1e-7)


def test_gradient_reaches_every_weight() -> None:
    net = tower()
    F.normalize(net(torch.rand(4, 3, 48, 48)), dim=-1).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
