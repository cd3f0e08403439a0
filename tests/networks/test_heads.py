"""Heads: shapes and biases of the card, starts, prototypes of unit norm."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from counterpoint.networks import heads, initialise


def shape(module: nn.Module) -> list[object]:
    """Layers as the card writes them."""
    out: list[object] = []
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            out.append((layer.in_features, layer.out_features, layer.bias is not None))
        elif isinstance(layer, nn.BatchNorm1d):
            out.append("BN" if layer.affine else "BN plain")
        elif isinstance(layer, nn.ReLU):
            out.append("ReLU")
    return out


def test_shapes_of_the_card() -> None:
    rocket = heads.mlp(2048, 4096, 256)
    assert shape(rocket) == [
        (2048, 4096, True),
        "BN",
        "ReLU",
        (4096, 4096, True),
        "BN",
        "ReLU",
        (4096, 256, True),
    ]
    projector = heads.mlp(512, 2048, 128, layers=2, last_norm="plain", bias=False)
    assert shape(projector) == [(512, 2048, False), "BN", "ReLU", (2048, 128, False), "BN plain"]
    predictor = heads.mlp(128, 2048, 128, layers=2, bias="last")
    assert shape(predictor) == [(128, 2048, False), "BN", "ReLU", (2048, 128, True)]
    barlip = heads.mlp(16, 30, 81, last_norm="affine")
    assert shape(barlip) == [(16, 30, True), "BN", "ReLU", (30, 30, True), "BN", "ReLU", (30, 81, True), "BN"]
    convirt = heads.mlp(768, 512, 512, layers=2, norm=False)
    assert shape(convirt) == [(768, 512, True), "ReLU", (512, 512, True)]
    assert shape(heads.mlp(4, 99, 2, layers=1)) == [(4, 2, True)]


def test_no_layers_is_an_error() -> None:
    with pytest.raises(ValueError, match="layers=0"):
        heads.mlp(4, 4, 4, layers=0)


def test_linear_start() -> None:
    head = heads.Linear(256, 512)
    initialise(head, 0)
    assert head.bias is None
    assert abs(head.weight.std().item() * 16 - 1) < 5 / (2 * head.weight.numel()) ** 0.5
    other = heads.Linear(64, 64, std=0.5, bias=True)
    assert other.bias.eq(0).all()


def test_prototype_scores_are_cosines_whatever_the_lengths() -> None:
    torch.manual_seed(0)
    prototypes, v = heads.Prototypes(6, 10).double(), torch.randn(7, 6, dtype=torch.float64)
    scores = prototypes(v)
    for i in range(7):
        for k in range(10):
            c = prototypes.weight[k]
            assert torch.isclose(scores[i, k], v[i] @ c / (v[i].norm() * c.norm()))
    with torch.no_grad():
        prototypes.weight *= torch.rand(10, 1, dtype=torch.float64) + 0.5
    assert torch.allclose(prototypes(3 * v), scores)


def test_prototype_gradient_does_not_change_lengths() -> None:
    torch.manual_seed(0)
    prototypes = heads.Prototypes(6, 10).double()
    prototypes(torch.randn(7, 6, dtype=torch.float64)).pow(2).sum().backward()
    radial = (prototypes.weight.grad * prototypes.weight).sum(1)
    assert torch.allclose(radial, torch.zeros_like(radial), atol=1e-12)
