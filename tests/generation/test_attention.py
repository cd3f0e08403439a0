"""Cross-attention of U-Nets: what is recorded, what boxes change, and what stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoint.generation import (
    BoxedConcept,
    cells_of,
    positions_of,
    recorded_attention,
    regional_attention,
)
from counterpoint.networks.init import initialise
from counterpoint.networks.painter import PaintingNetwork
from counterpoint.networks.towers.tokenizer import BytePairTokenizer


@pytest.fixture(scope="module")
def painter() -> PaintingNetwork:
    tokenizer = BytePairTokenizer.train(["a red cat and a blue fish"], 400, 8)
    made = PaintingNetwork(tokenizer, 8, width=4, blocks=2, text_width=8, text_layers=1)
    initialise(made, 0)
    return made.eval()


def given(painter: PaintingNetwork) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(2, 3, 8, 8, generator=generator)
    return noisy, torch.tensor([3, 700]), painter.states(painter.tokenizer(["a red cat", "a blue fish"]))


def outputs(unet: Any, run: Any) -> dict[str, Tensor]:
    """What each cross-attention layer returns in a run."""
    seen: dict[str, Tensor] = {}
    layers = {name: m for name, m in unet.named_modules() if name.endswith("attn2")}
    hooks = [
        layer.register_forward_hook(lambda _, args, out, name=name: seen.update({name: out}))
        for name, layer in layers.items()
    ]
    run()
    for hook in hooks:
        hook.remove()
    return seen


def test_recorded_maps_are_probabilities_with_gradient_and_of_the_last_pass(painter: PaintingNetwork) -> None:
    noisy, times, states = given(painter)
    states = states.detach().requires_grad_()
    plain = painter(noisy, times, states)
    with recorded_attention(painter.unet) as maps:
        for _ in range(2):
            recorded = painter(noisy, times, states)
        assert maps.sides == (4,)
        assert all(
            len(layers) == 4 for layers in maps._layers.values()
        )  # one down, the middle, two up; of one pass
        torch.testing.assert_close(recorded, plain, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(maps.at(4).sum(1), torch.ones(2, 4, 4))
        (gradient,) = torch.autograd.grad(maps.at(4)[:, 2].square().sum(), states)
    assert gradient.abs().sum() > 0
    assert torch.equal(painter(noisy, times, states), plain)


def test_maps_of_a_token_lie_between_0_and_1_and_a_constant_map_is_0(painter: PaintingNetwork) -> None:
    noisy, times, states = given(painter)
    with recorded_attention(painter.unet) as maps:
        painter(noisy, times, states)
        one = maps.of(torch.tensor([2, 3]))
        assert one.amin() == 0
        assert one.amax() == 1
        maps.clear()
        maps.add(torch.full((2, 2, 16, 8), 1 / 8))
        assert torch.equal(maps.of(torch.tensor([0, 1])), torch.zeros(2, 4, 4))
        with pytest.raises(ValueError, match="square"):
            maps.add(torch.ones(1, 1, 8, 8))


def test_a_box_over_the_picture_is_ordinary_attention_with_that_text(painter: PaintingNetwork) -> None:
    noisy, times, states = given(painter)
    text = states[:1]
    expected = painter(noisy, times, text.expand_as(states))
    with regional_attention(painter.unet, [BoxedConcept(text, (0, 0, 1, 1))], guided=False):
        drawn = painter(noisy, times, states)
    torch.testing.assert_close(drawn, expected, atol=1e-5, rtol=1e-5)


def test_cells_in_no_box_and_the_unconditional_half_are_those_of_the_base_bit_for_bit(
    painter: PaintingNetwork,
) -> None:
    noisy, times, states = given(painter)
    base = outputs(painter.unet, lambda: painter(noisy, times, states))
    first = "down_blocks.1.attentions.0.transformer_blocks.0.attn2"
    update = {first: torch.ones(12, 8)}
    for guided in (False, True):
        concept = BoxedConcept(states[1:].flip(1), (0, 0, 0.5, 1), keys=update, values=update)
        with regional_attention(painter.unet, [concept], guided=guided):
            drawn = outputs(painter.unet, lambda: painter(noisy, times, states))
        # The first layer reads the same cells in both runs; those behind it read what it changed.
        changed = (drawn[first] != base[first]).any(-1).view(2, 4, 4)
        assert not changed[:, :, 2:].any()
        assert changed[1, :, :2].all()
        assert changed[0, :, :2].all() != guided
        assert not (guided and changed[0].any())


def test_overlapping_boxes_give_the_weighted_mean(painter: PaintingNetwork) -> None:
    noisy, times, states = given(painter)
    first = "down_blocks.1.attentions.0.transformer_blocks.0.attn2"

    def alone(*concepts: BoxedConcept) -> Tensor:
        with regional_attention(painter.unet, concepts, guided=False):
            return outputs(painter.unet, lambda: painter(noisy, times, states))[first]

    whole = (0.0, 0.0, 1.0, 1.0)
    one, other = BoxedConcept(states[:1], whole, weight=3.0), BoxedConcept(states[1:], whole)
    torch.testing.assert_close(alone(one, other), 0.75 * alone(one) + 0.25 * alone(other))


def test_a_small_box_has_a_cell_at_every_side() -> None:
    box = (0.51, 0.51, 0.52, 0.52)
    assert [int(cells_of(box, side).sum()) for side in (1, 2, 8, 16)] == [1, 1, 1, 1]
    assert cells_of((0.0, 0.0, 0.5, 1.0), 4).tolist() == [[True, True, False, False]] * 4
    assert int(cells_of((0.1, 0.1, 0.2, 0.2), 10).sum()) == 1


def test_refusals(painter: PaintingNetwork) -> None:
    states = torch.zeros(1, 8, 8)
    for box in ((0, 0, 0, 1), (-0.1, 0, 1, 1), (0, 0, 1, 1.1), (0.6, 0, 0.5, 1)):
        with pytest.raises(ValueError, match="must hold"):
            BoxedConcept(states, box)
    with pytest.raises(ValueError, match="above 0"):
        BoxedConcept(states, (0, 0, 1, 1), weight=0)
    concept = BoxedConcept(states, (0, 0, 1, 1), keys={"mid.attn2": torch.zeros(8, 8)})
    with pytest.raises(LookupError, match="of another model"), regional_attention(painter.unet, [concept]):
        pass
    with pytest.raises(LookupError, match="no cross-attention"), recorded_attention(torch.nn.Linear(2, 2)):
        pass
    with pytest.raises(ValueError, match="text 1 does not have"):
        positions_of(torch.tensor([[1, 5], [1, 2]]), 5)
