"""The non-local block: its formula, its symmetry, its mask."""

from __future__ import annotations

import torch

from counterpoint.networks import NonLocal, initialise


def block(width: int = 5) -> NonLocal:
    made = NonLocal(width).double()
    initialise(made, 0)
    return made


def bag(n: int = 4) -> torch.Tensor:
    return torch.randn(2, n, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_every_instance_adds_what_it_sees_of_all() -> None:
    non_local, x = block(), bag()
    for b in range(2):
        for n in range(4):
            weights = torch.stack([non_local.theta(x[b, n]) @ non_local.phi(x[b, k]) for k in range(4)]).exp()
            seen = sum(w * non_local.g(x[b, k]) for k, w in enumerate(weights / weights.sum()))
            torch.testing.assert_close(non_local(x)[b, n], x[b, n] + seen)


def test_follows_the_order_of_the_instances() -> None:
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(block()(bag()[:, order]), block()(bag())[:, order])


def test_masked_instances_are_seen_by_none() -> None:
    x = bag(6)
    mask = (torch.arange(6) < 4).expand(2, 6)
    torch.testing.assert_close(block()(x, mask)[:, :4], block()(x[:, :4]))


def test_is_the_identity_where_nothing_is_passed_on() -> None:
    non_local = block()
    torch.nn.init.zeros_(non_local.g.weight)
    assert torch.equal(non_local(bag()), bag())


def test_the_inner_size_is_half_the_width_unless_stated() -> None:
    assert NonLocal(10).theta.weight.shape == (5, 10)
    assert NonLocal(10, inner=3).phi.weight.shape == (3, 10)
    assert NonLocal(10, inner=3).g.weight.shape == (10, 10)
