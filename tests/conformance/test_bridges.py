"""Properties of every bridge: the facts that its class states."""

from __future__ import annotations

import pytest
import torch

from counterpoint.networks.bridges import BRIDGES
from counterpoint.networks.bridges.base import Bridge, Given, Seen
from counterpoint.networks.init import initialise

WIDTH, OUT, GRID, LAYERS = 12, 16, (4, 4), 6
FIXED = ("linear", "mlp", "scan", "stacked")
"""Bridges with a token for each patch."""
every = pytest.mark.parametrize("name", BRIDGES.names())


def build(name: str, **options: int) -> Bridge:
    kind: type[Bridge] = BRIDGES.get(name)
    if "layers" in kind.options:
        options["layers"] = LAYERS
    if "levels" in kind.options:
        options["levels"] = 2
    bridge = kind(WIDTH, OUT, GRID, **options)
    initialise(bridge, 0)
    for parameter_name, parameter in bridge.named_parameters():
        if parameter_name.endswith("gate"):  # closed at the start
            torch.nn.init.constant_(parameter, 0.5)
    return bridge.eval()


def seen(bridge: Bridge, seed: int = 0, rows: int = 3) -> Seen:
    generator = torch.Generator().manual_seed(seed)
    sizes = bridge.level_sizes if bridge.levels else (16, 16)  # one that it does not read
    levels = tuple(torch.randn(rows, size, WIDTH, generator=generator) for size in sizes)
    return Seen(levels, GRID, torch.randn(rows, 64, WIDTH, generator=generator))


def all_of(given: Given) -> torch.Tensor:
    """Return the tokens, and what the functions of layers make of the same states of all rows, behind them."""
    generator = torch.Generator().manual_seed(2)
    states = torch.randn(3 + given.tokens.shape[1] + 2, OUT, generator=generator).expand(
        len(given.tokens), -1, -1
    )
    return torch.cat([given.tokens, *(change(states, 3) for _, change in sorted(given.before.items()))], 1)


@every
def test_it_gives_as_many_tokens_as_it_says(name: str) -> None:
    bridge = build(name)
    assert bridge(seen(bridge)).tokens.shape == (3, bridge.tokens, OUT)
    if name in FIXED:
        with pytest.raises(
            ValueError, match="tokens=5: this bridge gives a token for each of the 16 patches"
        ):
            build(name, tokens=5)
    else:
        other = build(name, tokens=9)
        assert other(seen(other)).tokens.shape == (3, 9, OUT)


@every
def test_every_parameter_gets_a_gradient(name: str) -> None:
    bridge = build(name)
    made = all_of(bridge(seen(bridge)))
    (made * torch.randn(made.shape)).sum().backward()
    assert not [n for n, p in bridge.named_parameters() if p.grad is None or not p.grad.any()]


@every
def test_the_tokens_of_a_picture_do_not_depend_on_other_pictures(name: str) -> None:
    bridge = build(name)
    whole = seen(bridge)
    alone = Seen(tuple(level[1:2] for level in whole.levels), GRID, whole.fine[1:2])
    torch.testing.assert_close(all_of(bridge(alone)), all_of(bridge(whole))[1:2])


@every
def test_its_facts_hold(name: str) -> None:
    bridge = build(name)
    first, other = seen(bridge, 0), seen(bridge, 1)
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(level.shape[1], generator=generator) for level in first.levels]
    moved = tuple(level[:, order] for level, order in zip(first.levels, orders, strict=True))
    turned = Seen(moved, GRID, first.fine)
    before, after = all_of(bridge(first)), all_of(bridge(turned))
    assert torch.allclose(before, after, atol=1e-6) == (not bridge.order)
    levels = Seen((*other.levels[:-1], first.last), GRID, first.fine)
    assert torch.equal(all_of(bridge(levels)), before) == (not bridge.levels)
    finer = Seen(first.levels, GRID, other.fine)
    assert torch.equal(all_of(bridge(finer)), before) == (not bridge.fine)
    asked = torch.randn(3, 4, OUT)
    assert torch.equal(all_of(bridge(first, asked)), before) == (not bridge.asks)


@every
def test_it_is_saved_and_loaded(name: str) -> None:
    bridge, other = build(name), build(name)
    initialise(other, 1)
    other.load_state_dict(bridge.state_dict())
    assert torch.equal(all_of(other(seen(other))), all_of(bridge(seen(bridge))))


@every
def test_tokens_begin_at_the_scale_of_words(name: str) -> None:
    bridge = build(name)
    assert 0.2 < float(bridge(seen(bridge, rows=64)).tokens.detach().std()) / bridge.std < 3
