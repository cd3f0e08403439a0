"""Mixtures of experts: routing as a loop, capacity, and parity with Mixtral's block and loss."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers.models.mixtral.configuration_mixtral import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock, load_balancing_loss_func

from counterpoint.networks.experts import (
    MixtureOfExperts,
    RoutingTotals,
    coefficient_of_variation,
    load_balance,
    within_capacity,
)

F64 = torch.float64


def mixture(experts: int = 4, **options: object) -> MixtureOfExperts:
    torch.manual_seed(0)
    return MixtureOfExperts(8, lambda: nn.Linear(8, 8), experts, **options).double()  # type: ignore[arg-type]


def served_by_hand(gates: Tensor, chosen: Tensor, experts: int, limit: int) -> Tensor:
    """Serve choices one after the other: first choices before second ones, the largest gates first."""
    used, served = [0] * experts, torch.zeros_like(chosen, dtype=torch.bool)
    for choice in range(gates.shape[1]):
        for token in gates[:, choice].argsort(descending=True).tolist():
            expert = int(chosen[token, choice])
            served[token, choice] = used[expert] < limit
            used[expert] += 1
    return served


def test_output_is_the_weighted_sum_of_the_served_experts() -> None:
    x = torch.randn(20, 8, dtype=F64, generator=torch.Generator().manual_seed(1))
    for choices, capacity in ((1, 0.5), (2, 0.8), (2, None)):
        module = mixture(choices=choices)
        output, routing = module(x, capacity)
        limit = 20 if capacity is None else round(capacity * choices * 20 / 4)
        served = served_by_hand(routing.probabilities.topk(choices)[0], routing.chosen, 4, limit)
        assert torch.equal(routing.served, served)
        for token in range(20):
            expected = torch.zeros(8, dtype=F64)
            for choice in range(choices):
                expert = int(routing.chosen[token, choice])
                if served[token, choice]:
                    expected += routing.probabilities[token, expert] * module.experts[expert](x[token])
            torch.testing.assert_close(output[token], expected)


def test_capacity_is_not_rounded_up_to_a_multiple_of_four() -> None:
    # V-MoE's code gives each of 8 experts room for 12 of 72 tokens at c = 1.05.
    served = within_capacity(torch.rand(72, 1), torch.zeros(72, 1, dtype=torch.long), 8, 1.05)
    assert served.sum() == 9


def test_identical_experts_with_renormalised_weights_are_the_dense_network() -> None:
    module = mixture(choices=2, renormalise=True)
    for expert in module.experts:
        expert.load_state_dict(module.experts[0].state_dict())
    x = torch.randn(5, 8, dtype=F64)
    torch.testing.assert_close(module(x)[0], module.experts[0](x))


def test_a_router_that_could_not_learn_is_refused() -> None:
    with pytest.raises(ValueError, match="the router learns nothing"):
        mixture(renormalise=True)
    with pytest.raises(ValueError, match="choices=5: a token chooses between 1 and 4 experts"):
        mixture(choices=5)


def test_parity_with_the_block_and_the_loss_of_mixtral() -> None:
    config = MixtralConfig(hidden_size=8, intermediate_size=16, num_local_experts=4, num_experts_per_tok=2)
    torch.manual_seed(0)
    theirs = MixtralSparseMoeBlock(config)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)

    class Expert(nn.Module):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def forward(self, x: Tensor) -> Tensor:
            gate, up = (x @ theirs.experts.gate_up_proj[self.number].T).chunk(2, -1)
            return (nn.functional.silu(gate) * up) @ theirs.experts.down_proj[self.number].T

    numbers = iter(range(4))
    ours = MixtureOfExperts(8, lambda: Expert(next(numbers)), 4, choices=2, renormalise=True)
    ours.router.weight.data.copy_(theirs.gate.weight)
    x = torch.randn(3, 5, 8)
    output, routing = ours(x.flatten(0, 1))
    torch.testing.assert_close(output.view(3, 5, 8), theirs(x))
    shares = nn.functional.one_hot(routing.chosen, 4).double().mean(0).sum(0)
    torch.testing.assert_close(
        load_balance(shares.float(), routing.probabilities.mean(0)),
        load_balancing_loss_func((routing.logits,), 4, 2),
    )


def test_totals_are_sums_over_tokens() -> None:
    routing = mixture()(torch.randn(6, 8, dtype=F64), 0.5)[1]
    total = RoutingTotals.of(routing)
    p = routing.probabilities
    torch.testing.assert_close(total.entropy, -(p * p.log()).sum())
    torch.testing.assert_close(total.squared_norm, routing.logits.exp().sum(1).log().square().sum())
    assert total.chosen.sum() == total.tokens == 6
    assert total.served == routing.served.sum()
    assert coefficient_of_variation(torch.ones(4)) == 0
