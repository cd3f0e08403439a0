"""LIMoE: one transformer of experts for pictures and texts, trained by contrast."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..forms import Count, NonNegative, Positive
from ..losses import InfoNCELoss
from ..networks.base import TextTower, Towers
from ..networks.experts import (
    ExpertBlock,
    Routing,
    RoutingTotals,
    coefficient_of_variation,
    load_balance,
)
from ..networks.heads import Linear
from ..networks.towers.parts.pixels import Normalise
from ..networks.towers.parts.pooling import inside, pool
from ..networks.towers.transformer import Embedding, TransformerBlock
from ..pairwise import Temperature
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .needs import Needs
from .tower_method import TowerMethod, paired


class LIMoE(TowerMethod):
    """Tokens of a picture and of its caption share the blocks of one transformer, and the experts of every second one.

        x = embed(patches) + positions,   y = embed(words) + positions
        block:     attention within x and within y;   experts on the tokens of both
        embedding: nz(W_m mean of the tokens of column m)
        L = InfoNCE + weight · (sum of the terms of the routers, mean over the layers of experts)

    An expert serves at most its capacity of the patches and words of a batch, by the largest gates first. In use, as
    where pictures are embedded, there is no limit. The blocks run in `losses`, as a token's expert depends on all
    tokens of the batch: microbatches save no memory.

    Terms of the routers, of tokens of all ranks and without padding, with H the entropy and p̄ the mean distribution::

        classic:  CV²(Σ p) + E Σ_e f_e p̄_e + mean (logsumexp of the logits)²,  of all tokens together
        entropy:  mean H(p) of words
                  + max(0, log S_text − H(p̄ of words)) + max(0, log S_image − H(p̄ of patches))

    f is the share of tokens that choose an expert. Local entropy makes a word's choice certain; global entropy keeps S
    experts in use for each column, which words, being few, would not need to balance all tokens.

    Args:
        towers: of pictures and texts; of these only the size of pictures and the tokenizer are used.
        recipe: gives the width of the embedding.
        layers: blocks, every second of which has experts.
        width: of the transformer, which has four attention heads.
        patch: pixels of a patch's side.
        experts: E; 1 gives the dense transformer.
        capacity: of an expert, as a multiple of an equal share.
        entropy: whether the terms of entropy are added to the classic ones.
        text_experts: S_text, how many experts words use at least.
        image_experts: S_image.
        weight: of the terms of the routers; the paper's is not published with its code.
        temperature: where τ starts; learned within [0.01, 1].

    Raises:
        ValueError: for a size of pictures that ``patch`` does not divide, for S above E, and for a tower of texts with
            weights to start from.

    Source: Mustafa et al., "Multimodal Contrastive Learning with LIMoE: the Language-Image Mixture of Experts" (2022),
    arXiv 2206.02770; no code of it is published. There are 32 experts, whose capacity is for the tokens of one device;
    here it is for those of all ranks, whose number changes nothing.
    """

    family = "two towers"
    papers = ("limoe",)
    needs: ClassVar[Needs] = Needs(modalities=("image", "text"))
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "weight": (0.02, 1.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        layers: Count = 4,
        width: Count = 128,
        patch: Count = 8,
        experts: Count = 8,
        capacity: Positive = 1.05,
        entropy: bool = True,
        text_experts: Count = 3,
        image_experts: Count = 5,
        weight: NonNegative = 0.2,
        temperature: Positive = 0.07,
    ) -> None:
        super().__init__(towers)
        self.picture, self.text = towers
        size, reader = self.image_tower.size, towers[self.text]
        if not isinstance(reader, TextTower) or reader.pretrained or self.image_tower.pretrained:
            raise ValueError(
                "limoe trains a transformer of its own and takes no weights from towers: name towers without weights"
            )
        if size % patch:
            raise ValueError(f"pictures of {size} pixels are no multiple of patch={patch}")
        if experts > 1 and max(text_experts, image_experts) > experts:
            raise ValueError(
                f"text_experts={text_experts} and image_experts={image_experts} must be at most experts={experts}"
            )
        self.views = paired(towers)
        self.use_input_alone(self.picture, self.text)
        self.tokenizer = reader.tokenizer
        self.patch, self.capacity, self.entropy, self.weight = patch, capacity, entropy, weight
        self.least = {self.picture: image_experts, self.text: text_experts}
        self.normalise = Normalise()
        self.patch_embedding = Linear(3 * patch**2, width, bias=True)
        self.token_embedding = Embedding(self.tokenizer.vocabulary, width, std=0.02)
        self.patch_positions = Embedding((size // patch) ** 2, width, std=0.02)
        self.token_positions = Embedding(self.tokenizer.context, width, std=0.02)
        heads = math.gcd(width, 4)
        self.blocks = nn.ModuleList(
            ExpertBlock(width, heads, layers, experts)
            if number % 2 and experts > 1
            else TransformerBlock(width, heads, layers, causal=False)
            for number in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        embedding = recipe.widths.embedding
        self.projections = nn.ModuleDict({column: Linear(width, embedding) for column in self.columns})
        self.objective = InfoNCELoss(Temperature(temperature, bounds=(0.01, 1.0)))
        self._served: Embeddings = {}

    def encode(self, batch: Batch) -> Embeddings:
        return {column: self.tokens(column, batch[column]) for column in self.columns}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        masks = {column: self.mask(column, batch[column]) for column in self.columns}
        features, routings = self.transform(z, masks, self.capacity)
        x, y = (
            F.normalize(self.project(column, features[column], "global"), dim=-1) for column in self.columns
        )
        losses = {"contrast": self.objective(x, y)}
        if routings:
            # Sums over the tokens of all ranks: a single part of a batch looks balanced by chance.
            totals = [
                {
                    column: RoutingTotals.of(routing, ranks=Ranks.present())
                    for column, routing in layer.items()
                }
                for layer in routings
            ]
            losses["routing"] = self.weight * torch.stack([*map(self._routing_loss, totals)]).mean()
            self._served = {
                f"served_{column}": torch.stack(
                    [layer[column].served / layer[column].tokens for layer in totals]
                )
                .detach()
                .mean()
                for column in self.columns
            }
        return losses

    def _routing_loss(self, totals: Mapping[str, RoutingTotals]) -> Float[Tensor, ""]:
        """Return the sum of the terms of one layer's router."""
        both = RoutingTotals(*(torch.stack(parts).sum(0) for parts in zip(*totals.values(), strict=True)))
        balance = load_balance(both.chosen / both.tokens, both.probabilities / both.tokens)
        loss = both.squared_norm / both.tokens + coefficient_of_variation(both.probabilities) + balance
        return loss + self._entropy_loss(totals) if self.entropy else loss

    def _entropy_loss(self, totals: Mapping[str, RoutingTotals]) -> Float[Tensor, ""]:
        """Return the local entropy of words, and what global entropies lack."""
        loss = totals[self.text].entropy / totals[self.text].tokens
        for column, total in totals.items():
            entropy = torch.special.entr(total.probabilities / total.tokens).sum()
            loss = loss + F.relu(math.log(self.least[column]) - entropy)
        return loss

    def tokens(self, column: str, inputs: Tensor) -> Float[Tensor, "B n width"]:
        """Return the embedded patches of pictures, or the embedded words of texts."""
        if column == self.text:
            return self.token_embedding(inputs) + self.token_positions.weight[: inputs.shape[1]]
        pixels = F.pixel_unshuffle(self.normalise(inputs), self.patch).flatten(2).mT
        return self.patch_embedding(pixels) + self.patch_positions.weight

    def mask(self, column: str, inputs: Tensor) -> Bool[Tensor, "B n"]:
        """Return which tokens of inputs are no padding."""
        if column == self.text:
            return inside(inputs, self.tokenizer.end)
        return torch.ones(
            len(inputs), len(self.patch_positions.weight), dtype=torch.bool, device=inputs.device
        )

    def features(self, column: str, inputs: Tensor) -> Tensor:
        features, _ = self.transform(
            {column: self.tokens(column, inputs)}, {column: self.mask(column, inputs)}
        )
        return features[column]

    def transform(
        self,
        tokens: Mapping[str, Float[Tensor, "B n W"]],
        masks: Mapping[str, Bool[Tensor, "B n"]],
        capacity: float | None = None,
    ) -> tuple[Embeddings, list[dict[str, Routing]]]:
        """Return the mean of the tokens of each column behind the last block, and how every router routed them.

        Args:
            tokens: by column, embedded.
            masks: which of them are no padding. A routing is of these alone, row after row.
            capacity: of the experts, for the tokens of all columns together; None for no limit.
        """
        x, routings = dict(tokens), []
        counts = [int(mask.sum()) for mask in masks.values()]
        for block in self.blocks:
            if not isinstance(block, ExpertBlock):
                x = {column: block(states, mask=masks[column]) for column, states in x.items()}
                continue
            x = {column: block.attend(states, mask=masks[column]) for column, states in x.items()}
            output, routing = block.route(
                torch.cat([states[masks[column]] for column, states in x.items()]), capacity
            )
            for (column, states), part in zip(x.items(), torch.split(output, counts), strict=True):
                x[column] = torch.zeros_like(states).masked_scatter(masks[column][..., None], part)
            parts = zip(*(torch.split(part, counts) for part in routing), strict=True)
            routings.append({column: Routing(*part) for column, part in zip(x, parts, strict=True)})
        return {
            column: pool(self.norm(states), masks[column], "mean") for column, states in x.items()
        }, routings

    def numbers(self) -> dict[str, float]:
        # Experts that are full drop words first, and the loss does not tell.
        return {name: float(share) for name, share in self._served.items()}
