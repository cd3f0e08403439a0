"""Conan: negatives that have become easy give way to the next ones, and graded pairs are a part of every step."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import Count, Natural, NonNegative, Positive, Share
from ..losses import CoSENTLoss, HardNegativesLoss
from ..networks.base import TextTower, Tokenizer, Towers
from ..recipes.schema import Recipe
from ..registry import unknown
from ..types import Batch, Embeddings, StepInfo, TrainingExamples
from ._candidates import Candidates, easy, mine
from .base import ONCE, Ranges
from .dual_encoder import linear_heads
from .needs import Needs
from .tower_method import TowerMethod, paired

CANDIDATES = "candidates"
"""The view that `prepare` adds: what the tower takes of each query's negatives ``(B, M, L)``."""
_COUNTS, _DOCUMENTS = "candidates.counts", "candidates.documents"
_OFFSETS, _FIRST, _NEXT = "candidates.offsets", "candidates.first", "candidates.next"


class Conan(TowerMethod):
    """Queries find their documents among all documents of the batch and mined hard negatives; graded pairs beside it.

        L = HardNegatives(q, p, n) + β · CoSENT(a, b),    all embeddings nz(W f(·)), nz(u) = u / ‖u‖

    At the start the documents most similar to each query are mined, ``listed`` of them; of each list the first
    ``negatives`` count. They travel from `prepare` on as a view ``(B, M, L)``, while lists and what counts of them are
    saved with the model, so that a loader need not know what was mined. Whenever a query comes round, the scores s of
    its negatives are compared with the scores s₀ that they had when they were taken, both in evaluation mode: where
    1.15 · s < s₀ and abs(s) < 0.8, or s₀ ≤ 0, the next candidate of the list takes the place, with its own score as s₀;
    where the list has ended, the negative stays. A document that is more similar to the query than ``most`` of the
    similarity of its own is no negative, since it is likely right; nor is one that is the query's own under another
    example.

    The first two columns are query and document, of texts. With four columns the other two are graded pairs, whose
    similarity is the label ``graded``, a number a class in rising order; rows that lack a column take no part in its
    term, so that sources are mixed: ``--data faq.csv --data graded.csv,share=0.5``. The paper makes the same of the
    processes of a step, some of which have retrieval and some graded pairs.

    The constants are from a summary of the paper, which has no code; they are options. Its longer prefixes (a loss for
    each of several widths) and its filter of pairs are not here.

    Args:
        towers: by column, two or four.
        recipe: gives the width of the embedding.
        temperature: τ of the queries; fixed.
        graded_temperature: τ of CoSENT; fixed.
        beta: β, of the graded pairs.
        graded: the label that says how alike a graded pair is.
        negatives: M, how many candidates of a query count at a time; 0 for those of the batch alone.
        listed: how many are mined.
        skip: of the ranking, how many are left out at its head.
        mined: ``"hardest"``, those most similar to the query; ``"random"``, any documents, drawn anew at every mining.
        most: see above.
        renew: ``"easy"`` as above; ``"never"`` keeps the first negatives; ``"all"`` mines anew every ``every`` epochs.
        every: epochs from one mining to the next, for ``renew="all"``.
        factor, limit: the 1.15 and the 0.8 of the rule.

    Raises:
        ValueError: for documents whose tower has no tokenizer; in ``losses`` for a label that the data does not have.

    Source: Li et al., "Conan-embedding: General Text Embedding with More and Better Negative Samples" (2024), arXiv
    2408.15710.
    """

    family = "text"
    papers = ("conan-embedding",)
    needs: ClassVar[Needs] = Needs(2, 4, paired=True, second="text")
    incomplete: ClassVar[Literal["drop", "use"]] = "use"
    tunable: ClassVar[Ranges] = {"temperature": (0.01, 0.1)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        temperature: Positive = 0.02,
        graded_temperature: Positive = 0.05,
        beta: NonNegative = 0.8,
        graded: str = "similarity",
        negatives: Natural = 4,
        listed: Count = 32,
        skip: Natural = 0,
        most: Share = 0.95,
        mined: Literal["hardest", "random"] = "hardest",
        renew: Literal["easy", "never", "all"] = "easy",
        every: Count = 1,
        factor: Positive = 1.15,
        limit: Positive = 0.8,
    ) -> None:
        super().__init__(towers)
        self.query, self.document, *self.pair = towers
        self._sides, self._negatives = (self.query, self.document), f"{CANDIDATES}.{self.document}"
        tower = self.tower(self.document)
        if not isinstance(tower, TextTower):
            raise ValueError(
                f"conan keeps the tokens of every document, and {tower.name or type(tower).__name__!r} has no "
                "tokenizer: take another tower of texts, text=transformer"
            )
        self.views = paired(towers)
        self.projections = nn.ModuleDict(linear_heads(towers, recipe.widths.embedding))
        self.objective, self.cosent = HardNegativesLoss(temperature), CoSENTLoss(graded_temperature)
        self.beta, self.graded = beta, graded
        self.negatives, self.listed, self.skip, self.most = negatives, listed, skip, most
        self.mined, self.renew, self.factor, self.limit = mined, renew, factor, limit
        self.epoch_start_every = every if renew == "all" else ONCE
        if not negatives:
            self.epoch_start_every = 0
        self.candidates = Candidates(negatives)

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Mine candidates for every query, from all documents."""
        mask = examples.map(lambda batch: batch.has(self.query) & batch.has(self.document))
        inputs = examples.map(lambda batch: self._whole(batch[self.document]))[mask]
        both = examples.map(
            lambda batch: torch.stack([self._unit(column, batch[column]) for column in self._sides], 1)
        )
        queries, answers = both[mask].float().unbind(1)
        # One text under several examples is one document.
        documents, numbers = torch.unique(inputs, dim=0, return_inverse=True)
        last = torch.zeros(len(documents), dtype=torch.int64).scatter_(0, numbers, torch.arange(len(numbers)))
        # In a look this is the same on every rank, and follows from the run's seed and the step.
        draws = torch.default_generator if self.mined == "random" else None
        mined = mine(
            queries, answers[last], numbers, self.listed, skip=self.skip, most=self.most, draws=draws
        )
        self.candidates.fill(examples.ids[mask], numbers, documents, mined)

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Add the negatives that count, those that have become easy replaced by the next of their lists."""
        if not self.negatives:
            return batch
        store = self.candidates
        if not store.filled:  # nothing was mined yet, as where a step is only measured
            return self._measured(batch)
        slot, known = store.find(batch.ids)
        places, first, following = store.offsets[slot], store.first[slot], store.next[slot]
        if self.renew == "easy":
            places, first, following = self._renewed(batch, slot, known, places, first, following)
        numbers = torch.where(known[:, None], store.at(slot, places), -1)
        views = {
            CANDIDATES: self._trimmed(store.documents[numbers.clamp_min(0)]),
            _COUNTS: numbers >= 0,
            _DOCUMENTS: torch.cat([torch.where(known, store.own[slot], -1)[:, None], numbers], dim=1),
            _OFFSETS: places,
            _FIRST: first,
            _NEXT: following,
        }
        return replace(batch, views={**batch.views, **views})

    def _renewed(
        self, batch: Batch, slot: Tensor, known: Tensor, offsets: Tensor, first: Tensor, following: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what counts after those that have become easy gave way."""
        store, was_training = self.candidates, self.training
        self.eval()  # as when the first scores were taken
        try:
            numbers = store.at(slot, offsets)
            queries = self._unit(self.query, batch[self.query])
            answers = self._unit(self.document, batch[self.document])
            positive = (queries * answers).sum(-1)
            now = self._scores(queries, numbers)
            gone = easy(now, first, self.factor, self.limit) & (numbers >= 0) & known[:, None]
            for index in range(self.negatives):
                # A row that has no more candidates keeps what it has.
                free = gone[:, index] & (store.at(slot, following[:, None])[:, 0] >= 0)
                new = torch.where(free, store.at(slot, following[:, None])[:, 0], -1)[:, None]
                score = self._scores(queries, new)[:, 0]
                right = score > self.most * positive if self.most < 1 else torch.zeros_like(free)
                taken = free & ~right
                offsets[:, index] = torch.where(taken, following, offsets[:, index])
                first[:, index] = torch.where(taken, score, first[:, index])
                following = following + free.long()
        finally:
            self.train(was_training)
        return offsets, first, following

    def _scores(self, queries: Float[Tensor, "B d"], numbers: Tensor) -> Float[Tensor, "B M"]:
        """Return the cosines of queries with documents by their numbers; −inf where a number is −1."""
        scores = queries.new_full(numbers.shape, -torch.inf)
        rows, columns = torch.nonzero(numbers >= 0, as_tuple=True)
        if len(rows):
            inputs = self._trimmed(self.candidates.documents[numbers[rows, columns]])
            documents = self._unit(self.document, inputs)
            scores[rows, columns] = (queries[rows] * documents).sum(-1).to(scores)
        return scores

    def _measured(self, batch: Batch) -> Batch:
        """Return a batch of the size that a step has, with each row's own document in place of mined ones."""
        # Those of other rows would depend on which rows a rank holds, and may not be there.
        there = batch.has(self.query) & batch.has(self.document)
        repeated = batch[self.document][:, None].repeat(1, self.negatives, 1)
        counts = there[:, None].repeat(1, self.negatives)
        return replace(batch, views={**batch.views, CANDIDATES: repeated, _COUNTS: counts})

    def encode(self, batch: Batch) -> Embeddings:
        z = {
            name: self._some(view.column, batch[name], batch.has(view.column))
            for name, view in self.views.items()
        }
        if CANDIDATES in batch.views:
            z[self._negatives] = self._some(self.document, batch[CANDIDATES], batch[_COUNTS])
        return z

    def _some(self, column: str, inputs: Tensor, mask: Tensor) -> Tensor:
        """Return features of those inputs that are there, zeros for the others, which no tower need look at."""
        if mask.ndim == 1 and mask.all():
            return self.features(column, inputs)
        # As precise as the head that reads them, where no feature says it.
        weight = next(self.projections[self.columns[column]].parameters())
        features = weight.new_zeros(*mask.shape, self.tower(column).width)
        if mask.any():
            some = self.features(column, inputs[mask])
            features = features.to(some.dtype).masked_scatter(mask[..., None], some)
        return features

    def _whole(self, tokens: Tensor) -> Tensor:
        """Return texts as long as the context, so that one text is the same whatever batch it came in."""
        tokenizer = self._tokenizer
        longest = F.pad(tokens, (0, tokenizer.context - tokens.shape[1]), value=tokenizer.end)
        ended = (longest[:, 1:] == tokenizer.end).cumsum(1) > 0
        return torch.cat([longest[:, :1], longest[:, 1:].masked_fill(ended, tokenizer.end)], dim=1)

    def _trimmed(self, tokens: Tensor) -> Tensor:
        """Return texts up to where the longest of them ends."""
        going = (tokens[..., 1:] != self._tokenizer.end).flatten(0, -2).any(0)
        return tokens[..., : int(going.sum()) + 2]

    @property
    def _tokenizer(self) -> Tokenizer:
        tower = self.tower(self.document)
        assert isinstance(tower, TextTower)
        return tower.tokenizer

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        terms = {"conan": self._retrieval(z, batch)}
        if self.pair:
            if self.graded not in batch.labels:
                raise unknown("label", self.graded, batch.labels)
            both = batch.has(self.pair[0]) & batch.has(self.pair[1])
            a, b = (self._head(column, z[column][both]) for column in self.pair)
            labels = batch.labels[self.graded][both]
            # A step of one source alone may have none.
            graded = self.cosent(a, b, labels=labels) if self.cosent.count(a) else a.sum()
            terms["cosent"] = self.beta * graded
        return terms

    def _retrieval(self, z: Embeddings, batch: Batch) -> Tensor:
        both = batch.has(self.query) & batch.has(self.document)
        q, p = (self._head(column, z[column][both]) for column in (self.query, self.document))
        if not self.objective.count(q):
            return q.sum()
        negatives, counts, documents = None, None, None
        if self._negatives in z:
            some, counts = z[self._negatives][both], batch[_COUNTS][both]
            negatives = self._head(self.document, some.flatten(0, 1))
            negatives = negatives.view(*some.shape[:2], negatives.shape[1])
        if _DOCUMENTS in batch.views:
            numbers = batch[_DOCUMENTS][both]
            documents = numbers[:, 0], numbers[:, 1:]
        return self.objective(q, p, negatives, counts, documents)

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        super().after_step(z, batch, clock)
        if self.renew == "easy" and _OFFSETS in batch.views:
            self.candidates.store(batch.ids, batch[_OFFSETS], batch[_FIRST], batch[_NEXT])

    def passes(self) -> dict[str, float]:
        passes = super().passes()
        passes[self.tower(self.document).modality] += self.negatives
        for column in self._sides if self.renew == "all" else ():
            passes[self.tower(column).modality] += 1 / self.epoch_start_every
        return passes

    def passes_of_all(self) -> dict[str, float]:
        mined_once = self._sides if self.epoch_start_every == ONCE else ()
        return dict(Counter(self.tower(column).modality for column in mined_once))

    def _unit(self, column: str, inputs: Tensor) -> Float[Tensor, "n d"]:
        """Return the embeddings of a column's inputs."""
        return self._head(column, self.features(column, inputs))

    def _head(self, column: str, features: Float[Tensor, "n w"]) -> Float[Tensor, "n d"]:
        return F.normalize(self.project(column, features, "global"), dim=-1)
