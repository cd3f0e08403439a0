"""CoCa: contrast and captioning in one pass, with a decoder of two halves."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..forms import Count, NonNegative, Positive
from ..losses import InfoNCELoss
from ..networks.attention_pooling import AttentionPooler
from ..networks.base import Towers
from ..networks.caption_decoder import ZeroLinear, summed_log_likelihood
from ..networks.fusion.cross_attention import CrossAttentionBlock
from ..networks.heads import Linear
from ..networks.towers.parts.regions import grid
from ..networks.towers.transformer import Embedding, TransformerBlock
from ..pairwise import Temperature
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from ._captioning import CaptioningMethod
from .base import Ranges


class CoCa(CaptioningMethod):
    """The lower half of a decoder encodes texts, the upper half predicts them from pictures.

        words w, class token c = lower(start, y_1 … y_L, class token)
        G = n queries on the patches,   v = one query on G
        L = λ_con InfoNCE(P_I v, P_T c) + λ_cap (−Σ_t log p(y_t | w_<t, G))

    The likelihood is the mean over the tokens of the batch. The class token sees all words of its text and no padding;
    no word sees it, and it does not enter the upper half. A layer of the upper half is a causal block followed by a
    block that attends to G. Patches get learned positions, as those of a convolutional tower have none.

    InfoNCE is the mean of both directions, as in most code; the paper has their sum.

    Args:
        towers: the towers, by column; of that of texts only the tokenizer is used.
        recipe: gives the width of the embedding. The decoder is as wide as the tower of pictures.
        contrast: λ_con. With 0 there is no contrast.
        captioning: λ_cap. With 0 nothing is captioned, and G and v are those of contrast alone.
        depth: layers of each half.
        queries: n.
        pooling: ``"cascade"``, v from G; ``"parallel"``, v from the patches; ``"single"``, v is the first of n + 1
            queries on the patches, and G the others, as usual in open_clip.
        temperature: where τ starts; learned within [0.01, 1].

    Raises:
        LookupError: for an image tower without features of patches.
        ValueError: for two weights of 0.

    Source: Yu et al., "CoCa: Contrastive Captioners are Image-Text Foundation Models" (2022), arXiv 2205.01917; there
    no official code, and blocks and norms are those of open_clip.
    """

    family = "captioning"
    papers = ("coca",)
    continues: ClassVar[tuple[str, ...]] = (
        *(
            "patch_positions",
            "generative",
            "contrastive",
            "token_embedding",
            "position_embedding",
            "class_token",
        ),
        *("lower", "class_norm", "upper", "cross", "norm", "head", "projections"),
    )
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        contrast: NonNegative = 1.0,
        captioning: NonNegative = 2.0,
        depth: Count = 2,
        queries: Count = 16,
        pooling: Literal["cascade", "parallel", "single"] = "cascade",
        temperature: Positive = 0.07,
    ) -> None:
        super().__init__(towers)
        if not contrast and not captioning:
            raise ValueError("contrast=0 and captioning=0 leave no loss: give one of them a weight")
        self.contrast, self.captioning, self.pooling = contrast, captioning, pooling
        width = self.image_tower.width
        heads = math.gcd(width, 4)
        self.patch_positions = Embedding(math.prod(grid(self.image_tower)), width, std=0.02)
        self.generative = AttentionPooler(width, queries + (pooling == "single"), heads)
        self.contrastive = None if pooling == "single" else AttentionPooler(width, 1, heads)
        self.token_embedding = Embedding(self.tokenizer.vocabulary + 1, width, std=0.02)
        self.position_embedding = Embedding(self.length + 1, width, std=0.01)
        self.class_token = Embedding(1, width, std=0.01)
        self.lower = nn.ModuleList(TransformerBlock(width, heads, depth, causal=False) for _ in range(depth))
        self.class_norm = nn.LayerNorm(width)
        self.upper = nn.ModuleList(TransformerBlock(width, heads, depth, causal=True) for _ in range(depth))
        self.cross = nn.ModuleList(CrossAttentionBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = ZeroLinear(width, self.tokenizer.vocabulary)
        embedding = recipe.widths.embedding
        self.projections = nn.ModuleDict({column: Linear(width, embedding) for column in self.columns})
        self.objective = InfoNCELoss(Temperature(temperature, bounds=(0.01, 1.0)))
        unused: list[nn.Module | None] = []
        if not contrast:
            unused = [self.contrastive, self.class_token, self.class_norm, self.projections, self.objective]
        elif not captioning:
            unused = [self.upper, self.cross, self.norm, self.head]
            unused += [self.generative] if pooling == "parallel" else []
        for part in unused:
            if part is not None:
                part.requires_grad_(False)

    def encode(self, batch: Batch) -> Embeddings:
        pooled, vector = self._pooled(batch[self.picture])
        targets, mask = self.targets_of(batch[self.text])
        words, of_class = self._lower(targets, mask)
        z = {self.picture: vector, self.text: of_class}
        if self.captioning:
            states = self._upper(words[:, :-1], pooled)
            z[f"likelihood.{self.text}"] = summed_log_likelihood(self.head, states, targets, mask)
        return z

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        losses = {}
        if self.contrast:
            x, y = (F.normalize(self.project(column, z[column], "global"), dim=-1) for column in self.columns)
            losses["contrast"] = self.contrast * self.objective(x, y)
        if self.captioning:
            losses["caption"] = self.captioning * self.mean_over_tokens(z[f"likelihood.{self.text}"])
        return losses

    def features(self, column: str, inputs: Tensor) -> Tensor:
        """Return the vectors that contrast reads: v of pictures, the class token's state of texts."""
        if column == self.picture:
            return self._pooled(inputs)[1]
        return self._lower(*self.targets_of(inputs))[1]

    def patch_states(self, pictures: Tensor) -> Float[Tensor, "B P D"]:
        return self._pooled(pictures)[0]

    def log_likelihood_of_tokens(
        self,
        targets: Int[Tensor, "B L"],
        mask: Bool[Tensor, "B L"],
        states: Float[Tensor, "B P W"],
    ) -> Float[Tensor, "B 2"]:
        words, _ = self._lower(targets, mask)
        return summed_log_likelihood(self.head, self._upper(words[:, :-1], states), targets, mask)

    def next_logits(self, tokens: Int[Tensor, "B L"], states: Float[Tensor, "B P W"]) -> Float[Tensor, "B V"]:
        words, _ = self._lower(tokens[:, 1:], torch.ones_like(tokens[:, 1:], dtype=torch.bool))
        return self.head(self._upper(words, states)[:, -1])

    def _pooled(self, pictures: Tensor) -> tuple[Float[Tensor, "B P D"], Float[Tensor, "B D"]]:
        """Return G and v."""
        patches = self.image_tower.patches(pictures).flatten(2).mT + self.patch_positions.weight
        pooled = self.generative(patches)
        if self.contrastive is None:
            return pooled[:, 1:], pooled[:, 0]
        return pooled, self.contrastive(pooled if self.pooling == "cascade" else patches)[:, 0]

    def _lower(
        self, targets: Int[Tensor, "B L"], mask: Bool[Tensor, "B L"]
    ) -> tuple[Float[Tensor, "B M W"], Float[Tensor, "B W"]]:
        """Return the states of the start token and of all words, and the class token's, which is the last to be read.

        States of words are not normalised, as the upper half goes on with them.
        """
        tokens = F.pad(targets, (1, 0), value=self.start)
        x = self.token_embedding(tokens) + self.position_embedding.weight[: tokens.shape[1]]
        x = torch.cat([x, self.class_token.weight.expand(len(x), 1, -1)], 1)
        count = x.shape[1]
        seen = torch.ones(count, count, dtype=torch.bool, device=x.device).tril()
        # What the class token sees: the start token, the words of the text, and itself.
        of_class = F.pad(mask, (1, 1), value=True)[:, None]
        seen = torch.cat([seen[:-1].expand(len(x), -1, -1), of_class], 1)[:, None]
        for block in self.lower:
            x = block(x, mask=seen)
        return x[:, :-1], self.class_norm(x[:, -1])

    def _upper(self, words: Float[Tensor, "B L W"], states: Float[Tensor, "B P W"]) -> Float[Tensor, "B L W"]:
        """Return the states that the output layer reads."""
        for block, cross in zip(self.upper, self.cross, strict=True):
            words = cross(block(words), states)
        return self.norm(words)
