"""CLIP-MoE: where experts come from, what moves in which stage, and the load balance."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from method_stubs import LATE, batch, build, tiny_transformer, tiny_vit
from torch.nn import functional as F

from counterpoint.networks.experts import MixtureBlock
from counterpoint.networks.heads import Linear
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.study.training.runner import run as carry_out
from counterpoint.training.run import Run
from counterpoint.training.start import load

F64 = torch.float64


def test_copies_compute_what_the_dense_towers_do() -> None:
    for tower, inputs in (
        (tiny_vit(), torch.rand(3, 3, 8, 8)),
        (tiny_transformer(), torch.tensor([[5, 7, 63, 0], [5, 63, 0, 0], [9, 8, 7, 63]])),
    ):
        other: Any = copy.deepcopy(tower)
        other.blocks = torch.nn.ModuleList(
            MixtureBlock(block, 4, 2, Linear(tower.width, 4)) for block in other.blocks
        )
        torch.testing.assert_close(other(inputs), tower(inputs), atol=1e-5, rtol=1e-5)


def test_load_balance_is_over_layers_and_tokens_without_padding() -> None:
    method = build("clip-moe", balance=1.0).double()
    given = batch(method, 4, dtype=F64)
    given.views["text"][0, 2] = method.tower("text").tokenizer.end  # type: ignore[index] # a dictionary here
    recorded = []
    for block in method.blocks:
        block.mixture.register_forward_hook(lambda module, args, output: recorded.append(output[1]))
    losses = method.losses(method.encode(given), given, LATE)
    for column, routing, weight in zip(("image", "text"), recorded, (1.0, 0.5), strict=True):
        shares = F.one_hot(routing.chosen, 4).double().mean(0)
        expected = 4 * sum((shares[choice] * routing.probabilities.mean(0)).sum() for choice in range(2))
        torch.testing.assert_close(losses[f"balance_{column}"], weight * expected)
    tokens = sum(len(routing.chosen) for routing in recorded[1:])
    assert tokens == 3 * 5 + 3


def test_one_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="choices=1 gives a weight of 1"):
        build("clip-moe", choices=1)


@pytest.mark.slow
def test_a_run_trains_one_expert_after_the_other_and_then_the_routers(tmp_path: Path) -> None:
    recipe = override(
        load_recipe("cpu-dense"),
        {
            "steps": 6,
            "batch_size": 16,
            "towers.image_size": 16,
            "towers.image_width": 16,
            "validate_every": 6,
        },
    )
    data = "scenes:tiny,train=64,validation=16,test=16"
    carry_out(Run("clip,image=vit", data, recipe), tmp_path / "base", test=False)
    arm = f'clip-moe,experts=3,clusters=2,from="{tmp_path / "base"}"'
    carry_out(Run(arm, data, recipe), tmp_path / "moe", test=False)
    base, moe = load(tmp_path / "base"), load(tmp_path / "moe")
    for old, new in zip(base.image_tower.blocks, moe.image_tower.blocks, strict=True):
        for name in ("norm_1", "norm_2", "qkv", "out"):
            assert torch.equal(getattr(old, name).weight, getattr(new, name).weight)
        first, second, third = new.mixture.experts
        assert torch.equal(first[0].weight, old.up.weight)
        assert not torch.equal(second[0].weight, first[0].weight)
        assert not torch.equal(third[0].weight, second[0].weight)
    for name, head in base.projections.items():
        assert torch.equal(head.weight, moe.projections[name].weight)
