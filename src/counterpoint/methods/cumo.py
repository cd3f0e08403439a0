"""CuMo: a trained picture tower and bridge become mixtures of experts, which start as copies."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import Count, NonNegative, Positive
from ..networks.base import Towers
from ..networks.bridges.mlp import MLPBridge
from ..networks.experts import (
    MixtureBlock,
    MixtureBridge,
    Routing,
    load_balance,
    recorded_routings,
)
from ..networks.heads import Linear
from ..networks.towers.transformer import TransformerBlock, VisionTransformer
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Stage, StepInfo, TrainingExamples
from ._speaking import SpeakingMethod
from .base import ONCE, Ranges

_DENSE, _EXPERTS = "dense", "experts"
_BALANCE, _LOGITS, _SHARES = "balance.", "logits.", "shares."
"""Prefixes of the names of what routers decided about a picture: the two terms, and shares of first choices."""


class CuMo(SpeakingMethod):
    """The feed-forward networks of the picture tower and the bridge become experts after a dense stage.

        p = softmax(G x),   w = the k largest of p, divided by their sum,   y = Σ_e w_e FFN_e(x)

    In the stage ``dense`` the first expert alone serves all tokens, and everything moves but the other experts and the
    routers G. At the start of the stage ``experts``, all experts become copies of the first one. The model then
    computes what it did before, as the weights sum to 1. From there everything moves.

        L = NLL of replies + balance · (LB_tower + LB_bridge) + router_z · (Z_tower + Z_bridge)
        LB = E Σ_e f_e P_e,   Z = mean (logsumexp of the logits)²

    f_e is the share of a picture's patches whose first choice is e, whatever k is, and P_e the mean of p_e over the
    patches. Both terms are computed for each picture and averaged over pictures and the layers of the tower. The
    smallest value of LB with uniform P is 1. No expert has a capacity.

    Args:
        towers: of pictures, the built-in ``vit``, and of conversations.
        recipe: unused: the bridge is as wide as the towers.
        experts: E.
        choices: k.
        dense: length of the dense stage, as a multiple of the other one's.
        start: what experts become at the start of their stage: copies, or networks with random weights.
        balance: weight of the load balance.
        router_z: weight of Z.

    Raises:
        LookupError: for a picture tower without the blocks of the built-in transformer.
        ValueError: for fewer than 2 choices, whose one weight would be 1 and teach the router nothing.

    Source: Li et al., "CuMo: Scaling Multimodal LLM with Co-Upcycled Mixture-of-Experts" (2024), arXiv 2405.05949. The
    paper trains the bridge alone before its dense stage and reads pictures at two scales; this does neither.
    """

    family = "speaking"
    papers = ("cumo",)
    tunable: ClassVar[Ranges] = {"balance": (0.01, 1.0)}
    packs: ClassVar[bool] = True
    epoch_start_every = ONCE

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        experts: Count = 4,
        choices: Count = 2,
        dense: Positive = 1.0,
        start: Literal["copies", "random"] = "copies",
        balance: NonNegative = 0.1,
        router_z: NonNegative = 0.01,
    ) -> None:
        super().__init__(towers, "mlp", tune_image="full")
        if choices < 2:
            raise ValueError("choices=1 gives a weight of 1 whatever the router says; take 2 or more")
        tower, bridge = self.image_tower, self.bridge_projections[self.picture]
        if not isinstance(tower, VisionTransformer):
            raise LookupError("cumo makes experts of the blocks of the built-in vit")
        assert isinstance(bridge, MLPBridge)
        blocks = [block for block in tower.blocks if isinstance(block, TransformerBlock)]
        # Not within the tower, whose weights are set already.
        routers = [Linear(tower.width, experts) for _ in blocks]
        self.routers = nn.ModuleList(routers)
        tower.blocks = nn.ModuleList(
            MixtureBlock(block, experts, choices, router)
            for block, router in zip(blocks, routers, strict=True)
        )
        self.bridge_projections[self.picture] = MixtureBridge(bridge, experts, choices)
        self.balance, self.router_z, self.start = balance, router_z, start
        self.stages = (Stage(_DENSE, dense), Stage(_EXPERTS, 1))
        self._largest: Tensor | None = None

    @property
    def parts(self) -> list[MixtureBlock | MixtureBridge]:
        """The blocks of the picture tower, and the bridge last."""
        return [part for part in self.modules() if isinstance(part, MixtureBlock | MixtureBridge)]

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Begin the stage of experts: make them copies of the dense networks, or draw their weights."""
        if clock.stage != _EXPERTS:
            return
        for part in self.parts:
            if self.start == "copies":
                part.mixture.copy_expert(0, range(1, len(part.mixture.experts)))
            else:
                for layer in part.mixture.experts.modules():
                    if isinstance(layer, Linear):
                        layer.reset_parameters()

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        for part in self.parts:
            part.active = 0 if clock.stage == _DENSE else None
        return batch

    def encode(self, batch: Batch) -> Embeddings:
        with recorded_routings(part.mixture for part in self.parts) as routings:
            z = super().encode(batch)
        if routings:  # the dense stage routes no token
            of_layers = [of_pictures(routing, len(batch)) for routing in routings]
            balance, logits, shares = (torch.stack(parts, 1) for parts in zip(*of_layers, strict=True))
            z[_BALANCE + self.picture] = balance[:, :-1].mean(1) + balance[:, -1]
            z[_LOGITS + self.picture] = logits[:, :-1].mean(1) + logits[:, -1]
            z[_SHARES + self.picture] = shares
        return z

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        losses = {"nll": self.mean_over_tokens(z[self.talk], batch[self.talk])}
        if (name := _BALANCE + self.picture) in z:
            ranks = Ranks.present()
            losses["balance"] = self.balance * moments.mean(z[name], ranks=ranks)
            losses["router_z"] = self.router_z * moments.mean(z[_LOGITS + self.picture], ranks=ranks)
            shares = moments.mean(z[_SHARES + self.picture].detach(), ranks=ranks)
            self._largest = shares.amax(1).mean()
        return losses

    def numbers(self) -> dict[str, float]:
        # Near 1, all tokens are served by the same experts, which the loss does not tell.
        return {} if self._largest is None else {"largest_share": float(self._largest)}


def of_pictures(
    routing: Routing, pictures: int
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"], Float[Tensor, "B E"]]:
    """Return the load balance, the mean squared norm of logits and the shares of first choices of each picture.

    Args:
        routing: of all patches, picture by picture.
        pictures: how many there are.
    """
    p = routing.probabilities
    first = F.one_hot(routing.chosen[:, 0], p.shape[1]).to(p)
    shares, probabilities = (of.view(pictures, -1, p.shape[1]).mean(1) for of in (first, p))
    squares = routing.logits.logsumexp(1).square().view(pictures, -1).mean(1)
    return load_balance(shares, probabilities), squares, shares
