"""CoAVT: a joint encoder of two columns, and queries that read from it what a text is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..forms import Count, NonNegative, Positive
from ..losses import MILLoss
from ..networks.base import TextTower, Towers
from ..networks.fusion.query_transformer import QueryTransformer
from ..networks.fusion.tokens import ColumnTokens
from ..networks.heads import Linear
from ..networks.towers.parts.pooling import inside
from ..networks.towers.transformer import TransformerBlock
from ..pairwise import Temperature, moments
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from ._joint import JointMethod
from .base import Ranges
from .needs import Needs
from .tower_method import distinct, paired

Tokens = tuple[Float[Tensor, "B _ W"], Bool[Tensor, "B _"]]
"""Tokens or states, and which of them are no padding."""


class CoAVT(JointMethod):
    """Two columns and a text: aligned with both columns together by queries, and with each of the two by itself.

        F_a, F_b, F_ab = blocks of the tokens of one column, of the other, and of both, in passes of their own
        q_1 … q_K = nz(W_q queries reading F_ab),   t = nz(W_t f_T(text))
        a = nz(W_a mean F_a),   b = nz(W_b mean F_b)
        L = C(max_k <q_k, t>) + w (C(<a, t>) + C(<b, t>)) + m matching + c (−mean log p(word | earlier words, queries))

    C is InfoNCE in both directions, in which rows with the same text are no negatives of each other. Matching asks
    queries that read F_ab and the text together whether these belong together: for each row its own pair, another text
    and another F_ab, drawn by their similarity from the rows of all ranks. The three passes of the query transformer
    are separate, so that no contrast sees a text.

    Rows with gaps are used: in the place of a column that a row lacks stands one learned token, and a term takes the
    rows that have its columns. The joint column is embedded by the K queries, and a similarity is that of the best; a
    column alone is embedded by a or b, with w = 0 by queries that read the joint encoder without the other column.
    Matching serves training alone.

    Args:
        towers: the towers, by column: two with features of their parts, and one of texts, in any order.
        recipe: gives the width of the embedding.
        width: of tokens and queries; a multiple of 4.
        depth: joint blocks.
        queries: K. The paper has 32.
        layers: of the query transformer.
        pooling: ``"mean"`` has nz(W_q mean F_ab) in the place of the queries in contrast.
        separate: w.
        matching: m.
        captioning: c.
        temperature: where τ starts; learned within [0.01, 1].

    Raises:
        ValueError: for a width that is no multiple of 4, and for other than one column of texts.

    Source: Yang et al., "CoAVT: A Cognition-Inspired Unified Audio-Visual-Text Pre-Training Model for Multimodal
    Processing" (2024), arXiv 2401.12264. No code is published: sizes, the shared norm and the layers of the query
    transformer that attend to states are not confirmed.
    """

    family = "fusion"
    papers = ("coavt",)
    needs: ClassVar[Needs] = Needs(3, 3)
    incomplete: ClassVar[Literal["drop", "use"]] = "use"
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}
    draws = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        width: Count = 128,
        depth: Count = 1,
        queries: Count = 8,
        layers: Count = 2,
        pooling: Literal["queries", "mean"] = "queries",
        separate: NonNegative = 1.0,
        matching: NonNegative = 1.0,
        captioning: NonNegative = 1.0,
        temperature: Positive = 0.07,
    ) -> None:
        super().__init__(towers)
        texts = [column for column, tower in towers.items() if isinstance(tower, TextTower)]
        if len(texts) != 1:
            raise ValueError(f"coavt takes two columns and one of texts, and is given {', '.join(towers)}")
        if width % 4:
            raise ValueError(f"width={width} must be a multiple of 4")
        (self.text,) = texts
        self.sides = tuple(column for column in towers if column != self.text)
        self.views, self.pooling = paired(towers), pooling
        self.separate, self.matching, self.captioning = separate, matching, captioning
        self.tokens = nn.ModuleDict({side: ColumnTokens(towers[side].width, width) for side in self.sides})
        self.missing = nn.ParameterDict({side: nn.Parameter(torch.zeros(width)) for side in self.sides})
        self.blocks = nn.ModuleList(TransformerBlock(width, 4, depth, causal=False) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        tokenizer = self.text_tower.tokenizer
        first = tokenizer(["a", "b"])[:, 0]
        self.skipped = int(first[0] == first[1])  # a token that begins every text is not predicted
        self.bridge = QueryTransformer(width, queries, layers, tokenizer.vocabulary, tokenizer.context)
        self.match = Linear(width, 1, bias=True)
        embedding = recipe.widths.embedding
        widths = dict.fromkeys(distinct(towers), width) | {self.columns[self.text]: self.text_tower.width}
        self.projections = nn.ModuleDict({name: Linear(size, embedding) for name, size in widths.items()})
        self.joint_projection = Linear(width, embedding)
        self.bags = queries if pooling == "queries" else 1
        self.objective = MILLoss("max", temperature=Temperature(temperature, bounds=(0.01, 1.0)))

    @property
    def joint_columns(self) -> tuple[str, ...]:
        return ("+".join(self.sides),)

    @property
    def width(self) -> int:
        """The numbers of an embedding: K vectors side by side, of a single vector K copies."""
        return self.bags * self.joint_projection.out_features

    def encode(self, batch: Batch) -> Embeddings:
        (joint,) = self.joint_columns
        tokens = {side: self.tokens[side](self.tower(side), batch[side]) for side in self.sides}
        states, mask = self.fused(tokens, {side: batch.has(side) for side in self.sides})
        # Padding is zero, so that `losses` knows it.
        z = {joint: states * mask[..., None], f"queries.{joint}": self.read(states, mask)}
        z[self.text] = self.text_tower(batch[self.text])
        if self.separate:
            z |= {side: self.alone(*tokens[side]) for side in self.sides}
        if self.captioning:
            targets = batch[self.text][:, self.skipped :]
            words = inside(targets, self.text_tower.tokenizer.end)
            z[f"likelihood.{self.text}"] = self.bridge.log_likelihood(states, mask, targets, words)
        return z

    def fused(self, tokens: Mapping[str, Tokens], has: Mapping[str, Bool[Tensor, " B"]]) -> Tokens:
        """Return the states of both columns together; one learned token stands for a column that a row lacks."""
        states, masks = [], []
        for side, (of_side, mask) in tokens.items():
            lacks = ~has[side][:, None]
            first = torch.arange(mask.shape[1], device=mask.device) == 0
            states.append(torch.where(lacks[..., None], self.missing[side].to(of_side), of_side))
            masks.append(torch.where(lacks, first, mask))
        return self.states(torch.cat(states, 1), torch.cat(masks, 1))

    def states(self, x: Float[Tensor, "B n W"], mask: Bool[Tensor, "B n"]) -> Tokens:
        """Return the states behind the joint blocks."""
        for block in self.blocks:
            x = block(x, mask=mask)
        return self.norm(x), mask

    def read(self, states: Float[Tensor, "B n W"], mask: Bool[Tensor, "B n"]) -> Float[Tensor, "B K W"]:
        """Return what contrast reads of the states of both columns."""
        return mean_of(states, mask)[:, None] if self.pooling == "mean" else self.bridge(states, mask)[0]

    def alone(self, tokens: Float[Tensor, "B n W"], mask: Bool[Tensor, "B n"]) -> Float[Tensor, "B W"]:
        """Return the mean of a column's states in a pass of its own."""
        return mean_of(*self.states(tokens, mask))

    def features(self, column: str, inputs: Tensor) -> Tensor:
        if column == self.text:
            return super().features(column, inputs)
        tokens, mask = self.tokens[column](self.tower(column), inputs)
        if self.separate:
            return self.alone(tokens, mask)
        nothing = tokens[:, :1], mask[:, :1]
        both = {side: (tokens, mask) if side == column else nothing for side in self.sides}
        has = {side: torch.full_like(mask[:, 0], side == column) for side in self.sides}
        return self.read(*self.fused(both, has))

    def joint_features(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "n K W"]:
        tokens = {side: self.tokens[side](self.tower(side), inputs[side]) for side in self.sides}
        return self.read(*self.fused(tokens, {side: mask.any(1) for side, (_, mask) in tokens.items()}))

    def project(
        self, column: str, features: Float[Tensor, "n W"] | Float[Tensor, "n K W"], head: str
    ) -> Float[Tensor, "n D"]:
        """Return K unit-norm vectors side by side."""
        if features.ndim == 3:
            return F.normalize(self.joint_projection(features), dim=-1).flatten(1)
        return F.normalize(self.projections[self.columns[column]](features), dim=-1).repeat(1, self.bags)

    def similarity(self, a: Float[Tensor, "n D"], b: Float[Tensor, "m D"]) -> Float[Tensor, "n m"]:
        """Return the cosine of the best of K vectors."""
        # Unit norm of the whole left each of the vectors a norm of K^−½.
        x, y = (z.view(len(z), self.bags, -1) for z in (a, b))
        return self.bags * torch.einsum("nkd,mkd->nmk", x, y).amax(-1)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        (joint,) = self.joint_columns
        one, other = self.sides
        texts = text_numbers(batch[self.text], self.text_tower.tokenizer.end)
        t = F.normalize(self.projections[self.columns[self.text]](z[self.text]), dim=-1)[:, None]
        q = F.normalize(self.joint_projection(z[f"queries.{joint}"]), dim=-1)
        has = {joint: batch.has(self.text) & (batch.has(one) | batch.has(other))}
        losses = {f"{joint}-{self.text}": self._contrast(q, t, texts, has[joint])}
        for side in self.sides if self.separate else ():
            x = F.normalize(self.projections[self.columns[side]](z[side]), dim=-1)[:, None]
            term = self._contrast(x, t, texts, batch.has(self.text) & batch.has(side))
            losses[f"{side}-{self.text}"] = self.separate * term
        if self.matching:
            rows = has[joint]
            parts = (z[joint][rows], batch[self.text][rows], texts[rows], q[rows], t[rows, 0])
            losses["matching"] = self.matching * self._matching(*parts)
        if self.captioning:
            summed, count = z[f"likelihood.{self.text}"].unbind(1)
            weights = count.detach() * has[joint]
            mean = moments.mean(-summed / count.detach().clamp_min(1), weights, ranks=Ranks.present())
            losses["caption"] = self.captioning * mean
        return losses

    def _contrast(
        self,
        x: Float[Tensor, "B K d"],
        t: Float[Tensor, "B 1 d"],
        texts: Int[Tensor, " B"],
        rows: Bool[Tensor, " B"],
    ) -> Float[Tensor, ""]:
        """Return the contrast over the rows of all ranks that have both sides; 0 where there is none."""
        x, t = x[rows], t[rows]
        if not sum(Ranks.present().counts(len(x), x.device)):
            return 0 * (x.sum() + t.sum())
        return self.objective(x, t, groups=texts[rows])

    def _matching(
        self,
        states: Float[Tensor, "B n W"],
        tokens: Int[Tensor, "B L"],
        texts: Int[Tensor, " B"],
        q: Float[Tensor, "B K d"],
        t: Float[Tensor, "B d"],
    ) -> Float[Tensor, ""]:
        """Return the cross-entropy of whether states and texts match; of one text in all rows it is 0."""
        ranks = Ranks.present()
        counts = ranks.counts(len(states), states.device)
        states, tokens = (longest(part, ranks) for part in (states, tokens))
        with torch.no_grad():
            everyones_q = ranks.everyones(q.flatten(1)).view(sum(counts), *q.shape[1:])
            s = torch.einsum("ikd,jd->ijk", everyones_q, ranks.everyones(t)).amax(-1)
            s, of_all = (s * self.objective.temperature.inverse()).cpu(), ranks.everyones(texts).cpu()
            same = of_all[:, None] == of_all
            usable = ~same.all(1)
            # Every rank draws for all rows, so that the draw does not depend on the number of ranks.
            text, state = (drawn_negatives(scores, same) for scores in (s, s.T))
        everyones = ranks.everyones(states.flatten(1)).view(sum(counts), *states.shape[1:])
        everyones_tokens = ranks.everyones(tokens)
        here = torch.arange(sum(counts))[ranks.rows(counts)]
        of_states = torch.cat([here, here, state[here]]).to(states.device)
        of_text = torch.cat([here, text[here], here]).to(states.device)
        chosen, words = everyones[of_states], everyones_tokens[of_text]
        mask = inside(words, self.text_tower.tokenizer.end)
        asked, _ = self.bridge(chosen, chosen.ne(0).any(-1), words, mask)
        logits = self.match(asked).mean((1, 2))
        target = torch.arange(len(logits), device=logits.device) < len(here)
        wrong = F.binary_cross_entropy_with_logits(logits, target.to(logits), reduction="none")
        return moments.mean(wrong, usable[here].repeat(3).to(wrong), ranks=ranks)


def mean_of(states: Float[Tensor, "B n W"], mask: Bool[Tensor, "B n"]) -> Float[Tensor, "B W"]:
    """Return the mean of the states that are no padding."""
    weights = mask.to(states)
    return (states * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)


def text_numbers(tokens: Int[Tensor, "B L"], end: int) -> Int[Tensor, " B"]:
    """Return a number for each text that equal texts share, whatever padding is behind them.

    >>> numbers = text_numbers(torch.tensor([[1, 5, 2, 0], [1, 5, 2, 7], [5, 1, 2, 0]]), end=2)
    >>> (numbers[0] == numbers).tolist()
    [True, True, False]
    """
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(2**62, (tokens.shape[1],), generator=generator).to(tokens.device)
    return ((tokens + 1) * factors * inside(tokens, end)).sum(1)  # a hash: products wrap around


def drawn_negatives(scores: Float[Tensor, "n n"], same: Bool[Tensor, "n n"]) -> Int[Tensor, " n"]:
    """Draw for each row a column that is not the same, by the softmax of scores; any where there is none.

    >>> same = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    >>> drawn_negatives(torch.zeros(3, 3), same)[:2].tolist()
    [2, 2]
    """
    if not len(scores):
        return torch.zeros(0, dtype=torch.long)
    weights = scores.float().masked_fill(same, -torch.inf).softmax(1).nan_to_num(1.0)
    return weights.multinomial(1)[:, 0]


def longest(bags: Tensor, ranks: Ranks) -> Tensor:
    """Return tensors with zeros behind, so that the second axis is as long on every rank."""
    more = max(ranks.counts(bags.shape[1], bags.device)) - bags.shape[1]
    return F.pad(bags, (*(0, 0) * (bags.ndim - 2), 0, more))
