from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from counterpoint.diagnostics.capture import Step, captured
from counterpoint.diagnostics.internals.ablations import ablated, ablations, steps_of
from counterpoint.interop.timm import TimmTower
from counterpoint.networks.init import initialise
from counterpoint.networks.towers.convnet import ConvNet
from counterpoint.networks.towers.transformer import VisionTransformer
from fixtures.open_clip import small_open_clip


def pictures(size: int) -> Tensor:
    return torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0))


def towers(tmp_path: Path) -> list[Any]:
    from timm.models.vision_transformer import VisionTransformer as TimmViT

    built_in = VisionTransformer(size=24, patch=8, width=16, depth=2, heads=2)
    initialise(built_in, 0)
    torch.manual_seed(0)
    of_timm = TimmViT(img_size=24, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=0)
    return [
        built_in.eval(),
        TimmTower(of_timm, 24, (0.5,) * 3, (0.5,) * 3).eval(),
        small_open_clip(tmp_path)[0],
    ]


def test_without_a_step_the_state_after_it_is_the_state_before(tmp_path: Path) -> None:
    for tower in towers(tmp_path):
        x = pictures(tower.size)
        whole = captured(tower, x)
        for index, step in enumerate(steps_of(tower)[1:], 1):
            with ablated(tower, step):
                found = captured(tower, x)
            torch.testing.assert_close(found.states[index], whole.states[index - 1])
            assert not torch.allclose(whole.states[index], whole.states[index - 1])
        torch.testing.assert_close(captured(tower, x).output, whole.output)


def test_without_all_steps_only_the_embedding_remains() -> None:
    tower = VisionTransformer(size=24, patch=8, width=16, depth=1, heads=2)
    initialise(tower, 0)
    x = pictures(24)
    with ablated(tower, Step(0, "attention")), ablated(tower, Step(0, "mlp")):
        found = captured(tower, x)
    patches = nn.functional.pixel_unshuffle(tower.normalise(x), 8).flatten(2).transpose(1, 2)
    torch.testing.assert_close(
        found.states[-1], (tower.patch_embedding(patches) + tower.position_embedding.weight).detach()
    )


def test_a_convolutional_block_keeps_its_skip() -> None:
    tower = ConvNet(size=32, widths=(4, 8))
    initialise(tower, 0)
    x = pictures(32)
    stem = tower.stem(tower.normalise(x)).detach()
    with ablated(tower, steps_of(tower)[0]):
        torch.testing.assert_close(captured(tower, x).states[0], stem)


def test_drops_are_the_score_less_the_score_without_the_step() -> None:
    tower = VisionTransformer(size=24, patch=8, width=16, depth=2, heads=2)
    initialise(tower, 0)
    with torch.no_grad():
        x = pictures(24)
        whole = tower(x)
        found = ablations(tower, lambda: float((tower(x) * whole).sum()))
        assert list(found) == list(steps_of(tower))
        for step, drop in found.items():
            with ablated(tower, step):
                assert drop == pytest.approx(float(whole.square().sum() - (tower(x) * whole).sum()))
    assert min(map(abs, found.values())) > 0


def test_unknown_branches_are_refused() -> None:
    with pytest.raises(ValueError, match="branches of a Linear of Sequential are not known"):
        steps_of(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
