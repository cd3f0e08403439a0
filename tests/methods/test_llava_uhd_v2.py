"""LLaVA-UHD v2: the guided up-sampler by hand, windows, jitters, and what each stage moves."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from counterpoint.methods.llava_uhd_v2 import jittered
from counterpoint.networks.bridges.base import Seen
from counterpoint.networks.bridges.pyramid import PyramidBridge
from counterpoint.networks.guided_upsampler import AttentionDownsampler, GuidedUpsampler, bicubic
from counterpoint.networks.init import initialise
from counterpoint.types import StepInfo
from fixtures.speaking import RECIPE, batch_of, speaking

SPEAK = StepInfo(5, 10, stage="speak")
UPSAMPLE = StepInfo(0, 10, stage="upsample")
TOWERS = RECIPE.towers.model_copy(update={"image_patch": 4})


def built(options: str = "") -> Any:
    return speaking(f"llava-uhd-v2{options}", "talk", recipe=RECIPE.model_copy(update={"towers": TOWERS}))


@torch.no_grad()
def test_up_sampling_is_that_of_a_loop() -> None:
    torch.manual_seed(0)
    up = GuidedUpsampler(5).double().eval()
    nn.init.constant_(up.theta, 0.3)
    nn.init.constant_(up.sigma, 0.8)
    features, picture = torch.randn(1, 2, 2, 3).double(), torch.rand(1, 3, 8, 12).double()
    made = up(features, picture)[0]
    g = F.adaptive_avg_pool2d(picture, (4, 6))
    phi = up.range(g)
    phi_padded = F.pad(phi, (3, 3, 3, 3), mode="reflect")[0]
    padded = F.pad(bicubic(features), (3, 3, 3, 3), mode="reflect")[0]
    for y, x in ((0, 0), (2, 5), (3, 1)):
        offsets = [(a, b) for a in range(7) for b in range(7)]
        alike = [float(phi_padded[:, y + a, x + b] @ phi[0, :, y, x]) * math.exp(0.3) for a, b in offsets]
        r = torch.tensor(alike).double().softmax(0)
        s = [math.exp(-(((a - 3) / 3) ** 2 + ((b - 3) / 3) ** 2) / (2 * 0.8**2)) for a, b in offsets]
        k = r * torch.tensor(s).double()
        k = k / k.sum()
        k = k + 0.1 * up.correction(torch.cat([k, g[0, :, y, x]])[None, :, None, None])[0, :, 0, 0]
        expected = sum(k[n] * padded[:, y + a, x + b] for n, (a, b) in enumerate(offsets))
        torch.testing.assert_close(made[:, y, x], expected)


def test_down_sampling_is_attention_within_cells() -> None:
    torch.manual_seed(0)
    down = AttentionDownsampler(3, 2).eval()
    nn.init.normal_(down.scale)
    nn.init.normal_(down.offset)
    maps = torch.randn(2, 3, 4, 6)
    cell = maps[1, :, 2:4, 4:6].flatten(1)
    weights = (down.attention(cell.T)[:, 0] * down.scale + down.offset).softmax(0)
    torch.testing.assert_close(down(maps)[1, :, 1, 2], cell @ weights)


def test_a_token_reads_its_own_window_at_every_level_and_values_have_no_position() -> None:
    bridge = PyramidBridge(4, 8, (4, 4), 4)
    initialise(bridge, 0)
    levels = tuple(torch.randn(1, size, 4) for size in bridge.level_sizes)
    assert bridge.level_sizes == (16, 64, 256)
    before = bridge(Seen(levels, (4, 4))).tokens
    for number, side in enumerate((4, 8, 16)):
        changed = [level.clone() for level in levels]
        quarter = changed[number].view(1, side, side, 4)[:, : side // 4, 3 * side // 4 :]
        quarter += 1 + torch.randn(4)  # a corner of the second window
        after = bridge(Seen(tuple(changed), (4, 4))).tokens
        differ = ~torch.isclose(before, after).all(-1)[0]
        assert differ.tolist() == [False, True, False, False]
    # Of a map that is the same everywhere, no position reaches a token of equal queries.
    queries = bridge.queries.weight.data.view(4, 4, 8)
    queries[:] = queries[:, :1].clone()
    for part in bridge.inputs:  # and of levels with equal values
        part.load_state_dict(bridge.inputs[0].state_dict())
    even = tuple(torch.ones(1, size, 4) for size in bridge.level_sizes)
    tokens = bridge(Seen(even, (4, 4))).tokens[0]
    torch.testing.assert_close(tokens, tokens[:1].expand(4, -1))


def test_a_finer_map_is_detached_before_the_next() -> None:
    bridge = PyramidBridge(4, 8, (4, 4), 4, guided=True)
    initialise(bridge, 0)
    _, _, last = bridge.pyramid(torch.randn(1, 4, 4, 4), torch.rand(1, 3, 16, 16))
    last.sum().backward()
    assert all(p.grad is None for p in bridge.upsamplers[0].parameters())
    assert any(p.grad is not None for p in bridge.upsamplers[1].parameters())


def test_jitters_are_the_same_at_every_size() -> None:
    maps = F.interpolate(torch.rand(3, 2, 3, 3), (24, 24), mode="bilinear")
    still = torch.tensor([[0, 0.5, 0.5, 0.0]]).expand(3, -1)
    torch.testing.assert_close(jittered(maps, still), maps, rtol=1e-4, atol=1e-5)
    mirrored = torch.tensor([[0, 0.5, 0.5, 1.0]]).expand(3, -1)
    torch.testing.assert_close(jittered(maps, mirrored), maps.flip(3), rtol=1e-4, atol=1e-5)
    numbers = torch.rand(3, 4)
    small = F.avg_pool2d(maps, 2)
    torch.testing.assert_close(
        F.avg_pool2d(jittered(maps, numbers), 2), jittered(small, numbers), rtol=0, atol=0.1
    )


@pytest.mark.parametrize("guided", ["true", "false"])
def test_stages_move_the_up_sampler_and_then_the_rest(guided: str) -> None:
    method = built(f",guided={guided}")
    up, speak = method.stages
    names = {name for name, p in method.named_parameters() if p.requires_grad}
    moved = [{name for name in names if name.startswith(stage.moves)} for stage in (up, speak)]
    assert moved[0] | moved[1] == names
    assert not moved[0] & moved[1]
    torch.manual_seed(0)
    batch = method.prepare(batch_of(method), UPSAMPLE)
    z = method.encode(batch)
    (loss,) = method.losses(z, batch, UPSAMPLE).values()
    loss.backward()
    assert {name for name, p in method.named_parameters() if p.grad is not None} == moved[0]
    parts = [method.encode(part) for part in batch.split(2)]
    torch.testing.assert_close(torch.cat([part["error.image"] for part in parts]), z["error.image"])
    batch = method.prepare(batch_of(method), SPEAK)
    assert {*method.losses(method.encode(batch), batch, SPEAK)} == {"nll"}
    assert method.passes() == {"image": 2.0, "talk": 0.5}


def test_loss_of_the_up_sampler_is_that_of_a_loop() -> None:
    method = built()
    batch = method.prepare(batch_of(method), UPSAMPLE)
    pictures, directions = batch["image"], batch["directions.image"]
    torch.testing.assert_close(directions.norm(dim=2), torch.ones(4, 30).double())
    patches = method.image_tower.patches(pictures)
    levels, total = method.bridge.pyramid(patches, pictures)[1:], torch.zeros(4).double()
    for j in range(2):
        numbers = batch["jitter.image"][:, j]
        target = method.image_tower.patches(jittered(pictures, numbers))
        for k in range(2):
            made = method.downsamplers[k](jittered(levels[k], numbers))
            for row in range(4):
                e = (directions[row] @ (made - target)[row].flatten(1)).square().mean(0)
                s = (method.spreads[k](target)[row, 0].flatten() + 0.1).exp()
                total[row] += (e / (2 * s**2) + s.log()).mean() / 2
    torch.testing.assert_close(method.losses(method.encode(batch), batch, UPSAMPLE)["upsample"], total.mean())
    errors = method.reconstruction_errors(pictures, batch["jitter.image"][:, 0])
    assert errors.shape == (4,)


def test_numbers_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="tokens=3: bridge=pyramid gives a square number"):
        PyramidBridge(4, 8, (4, 4), 3)
    with pytest.raises(ValueError, match="guided up-sampling needs two rows and columns of patches"):
        PyramidBridge(4, 8, (2, 1), guided=True)


def test_sft_reads_bicubic_maps() -> None:
    method = speaking("sft,bridge=pyramid", "talk", recipe=RECIPE.model_copy(update={"towers": TOWERS}))
    plain = method.speaker
    batch = batch_of(method)
    sizes = plain.bridge.level_sizes
    patches = plain.patches(batch["image"])
    assert patches.shape[1] == sum(sizes)
    coarse = plain.image.patches(batch["image"])
    finer = bicubic(bicubic(coarse)).flatten(2).mT
    torch.testing.assert_close(patches[:, -sizes[-1] :], finer)
