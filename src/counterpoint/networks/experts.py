"""Mixtures of experts: a router sends each token to a few of several feed-forward networks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from .bridges.base import Bridge, Given, Seen
from .bridges.mlp import MLPBridge
from .heads import Linear
from .towers.transformer import TransformerBlock

PAPERS = {
    "clip-moe": ("MixtureOfExperts", "MixtureBlock", "load_balance"),
    "cumo": ("MixtureBridge", "MixtureBlock", "MixtureOfExperts", "load_balance"),
    "evlm": ("MixtureOfExperts", "load_balance"),
    "limoe": ("ExpertBlock", "MixtureOfExperts", "RoutingTotals", "coefficient_of_variation", "load_balance"),
    "r2-t2": ("MixtureOfExperts", "forced_routings", "mean_weights"),
}
_ALONE = Ranks()


class Routing(NamedTuple):
    """What a router decided about some tokens.

    Attributes:
        logits: of the router, in float32 at least.
        probabilities: their softmax.
        chosen: the experts that each token chose, the first choice first.
        weights: of the chosen experts in the output.
        served: which choices were carried out; the others found their expert full.
    """

    logits: Float[Tensor, "n E"]
    probabilities: Float[Tensor, "n E"]
    chosen: Int[Tensor, "n k"]
    weights: Float[Tensor, "n k"]
    served: Bool[Tensor, "n k"]


class MixtureOfExperts(nn.Module):
    """A weighted sum of the experts that a router chooses for each token.

        p = softmax(W x),   y = Σ over the k largest of w_e expert_e(x)

    The weights w are p, or p divided by the sum of the k largest.

    With a capacity c, an expert serves at most ``max(1, round(k n c / E))`` of the n tokens of all ranks, first choices
    before second ones, and among these the largest gates first (batch priority routing). A choice that is not served
    adds nothing to the output.

    >>> mixture = MixtureOfExperts(8, lambda: nn.Linear(8, 8), experts=4)
    >>> output, routing = mixture(torch.zeros(5, 8))
    >>> output.shape, routing.chosen.shape
    (torch.Size([5, 8]), torch.Size([5, 1]))

    Args:
        width: of a token.
        expert: makes one expert, a network from ``width`` to ``out``.
        experts: how many there are.
        out: width of the output; ``width`` unless given.
        choices: k, the experts of a token.
        renormalise: whether the weights of the chosen experts sum to 1.
        router: gives the logits, a module of whoever made the mixture; a layer of its own unless given.

    Attributes:
        forced: weights of all experts for the tokens of each row, in place of the router's; see `forced_routings`.

    Raises:
        ValueError: for more choices than experts, and for one choice with weights that sum to 1, of which the router
            would learn nothing.

    Source: Riquelme et al., "Scaling Vision with Sparse Mixture of Experts" (2021), arXiv 2106.05974; without its noise
    and without rounding the capacity up to a multiple of 4.
    """

    forced: Tensor | None = None

    def __init__(
        self,
        width: int,
        expert: Callable[[], nn.Module],
        experts: int,
        *,
        out: int | None = None,
        choices: int = 1,
        renormalise: bool = False,
        router: Linear | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= choices <= experts:
            raise ValueError(f"choices={choices}: a token chooses between 1 and {experts} experts")
        if renormalise and choices == 1 < experts:
            raise ValueError(
                "renormalise with choices=1 makes every weight 1, so that the router learns nothing"
            )
        self.out, self.choices, self.renormalise = out or width, choices, renormalise
        if router is None:
            self.router = Linear(width, experts)
        else:  # not registered, so that its weights are held once
            self.__dict__["router"] = router
        self.experts = nn.ModuleList(expert() for _ in range(experts))

    def forward(
        self, x: Float[Tensor, "n width"], capacity: float | None = None
    ) -> tuple[Float[Tensor, "n out"], Routing]:
        """Return the output of each token, and how it was routed.

        Args:
            x: the tokens, without padding.
            capacity: c, as a multiple of an equal share; None for experts that serve all.
        """
        if self.forced is not None:
            return self._under(x, self.forced.repeat_interleave(len(x) // len(self.forced), 0))
        with torch.autocast(x.device.type, enabled=False):
            logits = F.linear(upcast(x), upcast(self.router.weight))
        probabilities = logits.softmax(-1)
        weights, chosen = probabilities.topk(self.choices)
        served = torch.ones_like(chosen, dtype=torch.bool)
        if capacity is not None:
            served = within_capacity(weights, chosen, len(self.experts), capacity, ranks=Ranks.present())
        if self.renormalise:
            weights = weights / weights.sum(-1, keepdim=True)
        output = x.new_zeros(len(x), self.out)
        for number, expert in enumerate(self.experts):
            # An expert computes the tokens that it serves, and no others.
            token, choice = ((chosen == number) & served).nonzero(as_tuple=True)
            weight = weights[token, choice, None].to(x.dtype)
            output = output.index_add(0, token, (weight * expert(x[token])).to(x.dtype))
        return output, Routing(logits, probabilities, chosen, weights, served)

    def _under(
        self, x: Float[Tensor, "n width"], weights: Float[Tensor, "n E"]
    ) -> tuple[Float[Tensor, "n out"], Routing]:
        """Return the sum of all experts under some weights, through which gradients flow."""
        outputs = torch.stack([expert(x) for expert in self.experts], 1)
        largest, chosen = weights.topk(weights.shape[1])
        served = torch.ones_like(chosen, dtype=torch.bool)
        routing = Routing(weights.clamp_min(1e-12).log(), weights, chosen, largest, served)
        return (weights.to(outputs)[..., None] * outputs).sum(1), routing

    @torch.no_grad()
    def copy_expert(self, source: int, targets: Iterable[int]) -> None:
        """Give experts the weights of another one."""
        state = self.experts[source].state_dict()
        for target in targets:
            self.experts[target].load_state_dict(state)


@torch.no_grad()
def within_capacity(
    gates: Float[Tensor, "n k"],
    chosen: Int[Tensor, "n k"],
    experts: int,
    capacity: float,
    *,
    ranks: Ranks = _ALONE,
) -> Bool[Tensor, "n k"]:
    """Return which choices of tokens find room in the buffers of their experts, those of all ranks counted.

    >>> gates = torch.tensor([[0.6], [0.9], [0.8]])
    >>> within_capacity(gates, torch.zeros(3, 1, dtype=torch.long), experts=3, capacity=2.0).squeeze(1).tolist()
    [False, True, True]
    """
    counts = ranks.counts(len(gates), gates.device)
    # All first choices, then all second ones.
    of_all = ranks.gather(gates, counts).mT.flatten()
    chosen_of_all = ranks.gather(chosen, counts).mT.flatten()
    choice = torch.arange(gates.shape[1], device=gates.device).repeat_interleave(sum(counts))
    order = (of_all - choice).argsort(descending=True, stable=True)
    limit = max(1, round(capacity * gates.shape[1] * sum(counts) / experts))
    # The position of a choice in the buffer of its expert, from 1.
    hot = F.one_hot(chosen_of_all[order], experts)
    position = (hot.cumsum(0) * hot).sum(1)
    within = torch.empty_like(position, dtype=torch.bool).scatter(0, order, position <= limit)
    return within.view(gates.shape[1], -1).mT[ranks.rows(counts)]


class RoutingTotals(NamedTuple):
    """Sums over the tokens of all ranks of what a router decided.

    Attributes:
        probabilities: of each expert.
        chosen: first choices of each expert.
        entropy: of the probabilities.
        squared_norm: of the logits: the square of the logarithm of the sum of their exponentials.
        served: tokens whose first choice had room.
        tokens: how many they are.
    """

    probabilities: Float[Tensor, " E"]
    chosen: Float[Tensor, " E"]
    entropy: Float[Tensor, ""]
    squared_norm: Float[Tensor, ""]
    served: Float[Tensor, ""]
    tokens: Float[Tensor, ""]

    @classmethod
    def of(cls, routing: Routing, *, ranks: Ranks = _ALONE) -> RoutingTotals:
        """Return the sums over some tokens."""
        p = routing.probabilities
        sums = (
            p.sum(0),
            F.one_hot(routing.chosen[:, 0], p.shape[1]).sum(0).to(p),
            torch.special.entr(p).sum(),
            routing.logits.logsumexp(1).square().sum(),
            routing.served[:, 0].sum().to(p),
            p.new_tensor(len(p)),
        )
        return cls(*map(ranks.sum, sums))


class ExpertBlock(TransformerBlock):
    """A transformer block whose feed-forward part is a mixture of experts.

    Args:
        width, heads, depth: as of a `TransformerBlock`.
        experts: how many there are.
    """

    def __init__(self, width: int, heads: int, depth: int, experts: int) -> None:
        super().__init__(width, heads, depth, causal=False)
        del self.up, self.down

        def expert() -> nn.Module:
            up = Linear(width, 4 * width, std=(2 * width) ** -0.5, bias=True)
            down = Linear(4 * width, width, std=(2 * depth * width) ** -0.5, bias=True)
            return nn.Sequential(up, nn.GELU(), down)

        self.mixture = MixtureOfExperts(width, expert, experts)

    def route(self, x: Float[Tensor, "n W"], capacity: float | None) -> tuple[Float[Tensor, "n W"], Routing]:
        """Return attended tokens after the experts, and how they were routed."""
        output, routing = self.mixture(self.norm_2(x), capacity)
        return x + output, routing


class MixtureBlock(TransformerBlock):
    """A trained transformer block, of whose feed-forward part there are several copies.

        u = norm(h),   h + Σ_e w_e FFN_e(u)

    With identical experts it computes what the block does.

    Args:
        block: whose parts it takes over.
        experts: how many copies there are.
        choices: the experts of a token; their weights sum to 1.
        router: see `MixtureOfExperts`.

    Attributes:
        active: the expert that serves all tokens by itself; None for the mixture.
    """

    active: int | None = None

    def __init__(self, block: TransformerBlock, experts: int, choices: int, router: Linear) -> None:
        width = block.out.in_features
        super().__init__(width, block.heads, 1, block.causal)
        feed_forward = nn.Sequential(block.up, nn.GELU(), block.down)
        self.mixture = MixtureOfExperts(
            width,
            lambda: copy.deepcopy(feed_forward),
            experts,
            choices=choices,
            renormalise=True,
            router=router,
        )
        del self.up, self.down
        self.norm_1, self.norm_2, self.qkv, self.out = block.norm_1, block.norm_2, block.qkv, block.out

    def _fed(self, x: Float[Tensor, "*batch n W"]) -> Float[Tensor, "*batch n W"]:
        u = self.norm_2(x).flatten(0, -2)
        fed: Tensor = self.mixture(u)[0] if self.active is None else self.mixture.experts[self.active](u)
        return x + fed.view_as(x)


class MixtureBridge(Bridge):
    """A bridge of two linear layers, of which there are several copies.

    With identical experts it computes what the bridge does.

    Args:
        bridge: whose parts it takes over.
        experts: how many copies there are.
        choices: the experts of a patch; their weights sum to 1.

    Attributes:
        active: the expert that serves all patches by itself; None for the mixture.
    """

    active: int | None = None

    def __init__(self, bridge: MLPBridge, experts: int, choices: int) -> None:
        width, out = bridge.up.in_features, bridge.down.out_features
        super().__init__(width, out, bridge.grid, bridge.tokens, bridge.std)
        layers = nn.Sequential(bridge.up, nn.GELU(), bridge.down)
        self.mixture = MixtureOfExperts(
            width, lambda: copy.deepcopy(layers), experts, out=out, choices=choices, renormalise=True
        )

    def forward(self, seen: Seen, asked: Float[Tensor, "B Q W"] | None = None) -> Given:
        x = seen.last.flatten(0, 1)
        tokens: Tensor = self.mixture(x)[0] if self.active is None else self.mixture.experts[self.active](x)
        return Given(tokens.view(*seen.last.shape[:2], -1))


@contextmanager
def recorded_routings(mixtures: Iterable[MixtureOfExperts]) -> Iterator[list[Routing]]:
    """Record how mixtures route tokens inside a ``with`` block, in the order of their calls."""
    routings: list[Routing] = []
    handles = [
        mixture.register_forward_hook(lambda module, args, output: routings.append(output[1]))
        for mixture in mixtures
    ]
    try:
        yield routings
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def forced_routings(
    mixtures: Sequence[MixtureOfExperts], weights: Float[Tensor, "B mixtures E"]
) -> Iterator[None]:
    """Weigh experts by given numbers inside a ``with`` block, the same for all tokens of a row.

    Args:
        mixtures: which get as many tokens of each row, row by row.
        weights: of each row in each mixture. All experts are computed.
    """
    for mixture, of_mixture in zip(mixtures, weights.unbind(1), strict=True):
        mixture.forced = of_mixture
    try:
        yield
    finally:
        for mixture in mixtures:
            mixture.forced = None


def mean_weights(routings: Sequence[Routing], inside: Bool[Tensor, "B n"]) -> Float[Tensor, "B mixtures E"]:
    """Return the mean weights of the experts over tokens of each row, those of experts that were not chosen being 0.

    Args:
        routings: of the tokens of B rows, row by row.
        inside: the tokens of the mean.

    >>> half = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    >>> routing = Routing(half, half, torch.tensor([[0, 1], [0, 1]]), half, torch.ones(2, 2, dtype=torch.bool))
    >>> mean_weights([routing], torch.ones(1, 2, dtype=torch.bool)).tolist()
    [[[0.75, 0.25]]]
    """
    means = []
    for routing in routings:
        weights = torch.zeros_like(routing.logits).scatter(
            1, routing.chosen, routing.weights * routing.served
        )
        weights = weights.view(*inside.shape, -1) * inside[..., None]
        means.append(weights.sum(1) / inside.sum(1, keepdim=True))
    return torch.stack(means, 1)


def coefficient_of_variation(totals: Float[Tensor, "*rest E"]) -> Float[Tensor, "*rest"]:
    """Return the squared coefficient of variation of totals of experts: 0 where all are equal.

    >>> coefficient_of_variation(torch.tensor([1.0, 3.0])).item()
    0.25
    """
    return totals.var(-1, correction=0) / totals.mean(-1).square()


def load_balance(
    chosen: Float[Tensor, "*rest E"], probabilities: Float[Tensor, "*rest E"]
) -> Float[Tensor, "*rest"]:
    """Return ``E Σ_e f_e P_e`` of the share f of tokens that choose an expert and its mean probability P.

    It is 1 where both are uniform, or as many as there are choices where the shares of all choices are added.

    >>> load_balance(torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5])).item()
    1.0
    """
    return chosen.shape[-1] * (chosen * probabilities).sum(-1)


def votes(routings: Sequence[Routing], row: Int[Tensor, " n"], rows: int) -> Float[Tensor, "{rows} parts"]:
    """Return sums over the tokens of each row and over layers: probabilities, choices of each expert, tokens.

    Args:
        routings: of some layers, all of the same n tokens.
        row: that each token is of.
        rows: how many there are.
    """
    experts = routings[0].probabilities.shape[1]
    sums = routings[0].probabilities.new_zeros(rows, 2 * experts + 1)
    for routing in routings:
        chosen = F.one_hot(routing.chosen, experts).sum(1).to(sums)
        parts = [routing.probabilities, chosen, torch.ones_like(chosen[:, :1])]
        sums = sums.index_add(0, row, torch.cat(parts, 1))
    return sums


def balance_of_votes(of_rows: Float[Tensor, "rows parts"]) -> Float[Tensor, ""]:
    """Return the `load_balance` of the tokens of all rows of all ranks, choices added up; of k choices k at best."""
    probabilities, chosen, tokens = (
        Ranks.present().sum(of_rows.sum(0)).tensor_split([of_rows.shape[1] // 2, of_rows.shape[1] - 1])
    )
    return load_balance(chosen / tokens, probabilities / tokens)
