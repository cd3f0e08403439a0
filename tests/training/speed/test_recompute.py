"""Blocks that compute again give the gradient of those that keep everything, in less memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from counterpoint.data.loading.loader import Loader
from counterpoint.data.loading.order import ShuffledOrder
from counterpoint.methods.arm import Arm
from counterpoint.networks.base import Tower
from counterpoint.networks.towers.parts.blocks import dropping, residual_blocks
from counterpoint.recipes import Recipe, override
from counterpoint.training.loop import fit
from counterpoint.training.speed.memory import measure
from counterpoint.training.speed.recompute import recompute
from fixtures.tiny import TinyData

DATA = TinyData()


def method_of(recipe: Recipe, arm: str = "clip-rocket") -> Any:
    return Arm.parse(arm).build(recipe, {"text": [DATA.captions(row)[0] for row in range(70)]}, seed=0)


def loader_of(method: Any, recipe: Recipe) -> Loader:
    return Loader(
        DATA,
        ShuffledOrder(DATA.splits.train, recipe.batch_size, 0),
        method.views,
        augmentation=recipe.augmentation,
        inputs=method.inputs,
    )


@pytest.mark.parametrize("microbatch", [0, 5])
def test_a_run_is_the_same_with_dropout_and_microbatches(microbatch: int, recipe: Recipe) -> None:
    recipe = override(
        recipe, {"steps": 3, "microbatch": microbatch, "options": {"clip-rocket": {"dropout": 0.3}}}
    )
    kept, again = method_of(recipe), method_of(recipe)
    recompute(again)
    for method in (kept, again):
        fit(method, loader_of(method, recipe), recipe, accelerator="cpu")
    left = kept.state_dict()
    for name, value in again.state_dict().items():
        torch.testing.assert_close(value, left[name], msg=name)


def test_layers_that_dropped_out_more_for_a_while_do_so_again() -> None:
    layer, x = nn.Dropout(0.1), torch.ones(1000, requires_grad=True)
    blocks = nn.Sequential(nn.Sequential(layer, nn.Tanh()), nn.Sequential(nn.Dropout(0.0), nn.Tanh()))
    tower = _Blocks(blocks)
    recompute(tower)
    with dropping([layer], [0.7]):
        out = tower(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad == 0, out == 0)
    assert 0.6 < float((out == 0).float().mean()) < 0.8


class _Blocks(Tower):
    """Blocks alone."""

    modality = "series"

    def __init__(self, blocks: nn.Sequential) -> None:
        super().__init__()
        self.blocks, self.scale = blocks, nn.Parameter(torch.ones(()))

    @property
    def input(self) -> Any:
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(self.scale * x)


def test_an_example_keeps_less(recipe: Recipe) -> None:
    recipe = override(recipe, {"towers.image": "vit"})
    kept, again = method_of(recipe, "clip"), method_of(recipe, "clip")
    recompute(again)
    before, after = (measure(method.train(), loader_of(method, recipe)).encoder for method in (kept, again))
    assert after < before / 2


def test_what_cannot_compute_again_is_refused(recipe: Recipe) -> None:
    plain = override(recipe, {"towers.image": "mlp", "towers.text": "bag"})
    with pytest.raises(ValueError, match="no trained tower has blocks"):
        recompute(method_of(plain, "clip"))
    counting = method_of(recipe, "clip")
    residual_blocks(counting.image_tower)[0].norm = nn.BatchNorm2d(3)
    with pytest.raises(ValueError, match="would count every batch twice"):
        recompute(counting)
