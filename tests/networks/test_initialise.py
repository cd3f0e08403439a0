"""Initial weights: a function of seed and name, of nothing else."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from counterpoint.networks import (
    BytePairTokenizer,
    ConvNet,
    MomentumCopy,
    TextTransformer,
    VisionTransformer,
    heads,
    initialise,
)


def towers() -> nn.ModuleDict:
    tokenizer = BytePairTokenizer.train(["a car"], 259, 8)
    return nn.ModuleDict(
        {
            "image": ConvNet(32, (8, 16)),
            "vit": VisionTransformer(32, 16, 16, 1, 2),
            "text": TextTransformer(tokenizer, 16, 1, 2),
            "head": heads.mlp(16, 32, 8, last_norm="affine"),
            "prototypes": heads.Prototypes(8, 5),
        }
    )


def same(a: nn.Module, b: nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def test_same_seed_same_start_whatever_stood_before() -> None:
    one, two = towers(), towers()
    for p in two.parameters():
        p.data.fill_(7.0)
    initialise(one, 3)
    torch.randn(5)
    initialise(two, 3)
    assert same(one, two)


def test_every_weight_of_ours_is_redrawn() -> None:
    module = towers()
    for p in module.parameters():
        p.data.fill_(torch.nan)
    initialise(module, 0)
    assert all(p.isfinite().all() for p in module.parameters())


def test_other_modules_and_order_change_nothing() -> None:
    alone, crowd = towers(), towers()
    parts = dict(crowd.items())
    crowd = nn.ModuleDict(
        {"extra": nn.Linear(9, 9), **dict(reversed(parts.items())), "more": nn.Conv2d(1, 1, 1)}
    )
    initialise(alone, 1)
    initialise(crowd, 1)
    for name in parts:
        assert same(alone[name], crowd[name])


def test_prefix_is_the_name() -> None:
    whole, part = towers(), towers()["text"]
    initialise(whole, 1)
    initialise(part, 1, "text")
    assert same(whole["text"], part)


def test_seed_and_name_each_matter() -> None:
    a, b = nn.Linear(4, 4), nn.Linear(4, 4)
    initialise(a, 0, "a")
    for seed, name in ((1, "a"), (0, "b")):
        initialise(b, seed, name)
        assert not torch.equal(a.weight, b.weight)


def test_global_generator_is_untouched() -> None:
    module, before = towers(), torch.random.get_rng_state()
    initialise(module, 0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_momentum_copies_follow_their_module() -> None:
    online = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    method = nn.ModuleDict({"a_copy": MomentumCopy(online), "online": online})
    initialise(method, 5)
    assert same(online, method["a_copy"].module)
    plain = nn.ModuleDict({"online": copy.deepcopy(online)})
    initialise(plain, 5)
    assert same(plain["online"], online)


def test_towers_that_are_set_are_left_alone() -> None:
    tower = ConvNet(32, (8,))
    tower.weights_set = True
    before = copy.deepcopy(tower.state_dict())
    initialise(nn.ModuleDict({"tower": tower}), 0)
    assert all(torch.equal(v, before[k]) for k, v in tower.state_dict().items())


def test_attention_of_torch_is_covered() -> None:
    one, two = nn.MultiheadAttention(8, 2), nn.MultiheadAttention(8, 2)
    initialise(one, 0)
    initialise(two, 0)
    assert same(one, two)


def test_a_matrix_nobody_draws_is_an_error_and_a_scalar_is_not() -> None:
    class Loss(nn.Module):
        def __init__(self, *shape: int) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(shape))

    initialise(nn.ModuleDict({"loss": Loss()}), 0)
    with pytest.raises(TypeError, match=r"Loss \(loss\).*reset_parameters"):
        initialise(nn.ModuleDict({"loss": Loss(2, 2)}), 0)


def test_deviations_are_clips() -> None:
    tokenizer = BytePairTokenizer.train(["a car"], 259, 100)
    text = TextTransformer(tokenizer, width=256, depth=2, heads=4)
    initialise(text, 0)
    block = text.blocks[0]
    expected = {
        text.token_embedding.weight: 0.02,
        text.position_embedding.weight: 0.01,
        block.qkv.weight: 256**-0.5,
        block.out.weight: 256**-0.5 * 4**-0.5,
        block.up.weight: 512**-0.5,
        block.down.weight: 256**-0.5 * 4**-0.5,
    }
    for weight, std in expected.items():
        error = 5 * std / (2 * weight.numel()) ** 0.5  # five standard errors of a sample deviation
        assert abs(weight.std().item() - std) < error
