"""The base of losses: facts about them, and the rank-correct pieces they are built from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..ranges import Checked
from ..types import Kind
from . import moments
from .after_step import follow
from .explain import LossExplanation, explain
from .ranks import Ranks
from .reduce import Evaluator, ReductionResults, Terms, TileSize, in_force, known, ranks_of, reduce
from .temperature import Temperature


class Loss(Checked, nn.Module, ABC):
    """A loss on bare embeddings: ``(B, d), (B, d) -> ()``.

    On several ranks each passes its own rows and gets the value over all of them; a data-parallel average of
    the gradients is exact. State changes only in `update_state`, once for each optimizer step.

    Class attributes are facts, checked by the conformance suite:
        symmetric: swapping the two inputs does not change the loss.
        needs_ids: takes ``ids``, a stable integer per example.
        needs_labels: takes ``labels``, those of each example as `counterpoint.types.Batch` holds them.
        learns: kinds of labels that it takes, where it needs some.
        many_views: takes two or more views ``(B, d)`` of each example, not just two.
        ordered: the order of the batch decides which examples meet; of an object, where an option decides that.
        stop_gradient: parts of the value are constants to the gradient, which is then not that of the value.
        tunable: the options that a search draws, log-uniformly, each with its lowest and highest value.
        pairwise: built on similarities of all pairs.
        stateful: has state that `update_state` changes (temperatures apart).
        tileable: needs no matrix of B × B anywhere.
        bounded_below: the loss cannot fall without end on unit-norm inputs.
        papers: catalog slugs.
        family: the word under which `counterpoint list` shows it.
        is_method: training needs nothing but this loss on views of the examples, so that its name is a method's too.
    """

    symmetric: ClassVar[bool] = False
    needs_ids: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    learns: ClassVar[tuple[Kind, ...]] = ("classes",)
    many_views: ClassVar[bool] = False
    ordered: bool = False
    stop_gradient: bool = False
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {}
    pairwise: ClassVar[bool] = False
    stateful: ClassVar[bool] = False
    tileable: ClassVar[bool] = True
    bounded_below: ClassVar[bool] = True
    papers: ClassVar[tuple[str, ...]] = ()
    family: ClassVar[str] = ""
    is_method: ClassVar[bool] = False

    evaluator: Evaluator = "auto"
    tile: TileSize | None = None

    _called = False
    """True if the loss was called in training mode since the last update of its state."""

    def __new__(cls, *args: Any, **options: Any) -> Self:
        loss = super().__new__(cls, *args, **options)
        if cls.update_state is not Loss.update_state:
            follow(loss)
        return loss

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.training:
            self._called = True
        return super().__call__(*args, **kwargs)

    @abstractmethod
    def forward(self, *args: Any, **kwargs: Any) -> Float[Tensor, ""]:
        """Compute the loss."""

    def evaluated(self, evaluator: Evaluator = "auto", tile: TileSize | None = None) -> Self:
        """Return the loss itself, with the evaluator and tile of this and all nested losses set."""
        known(evaluator)
        for module in self.modules():
            if isinstance(module, Loss):
                module.evaluator, module.tile = evaluator, tile
        return self

    def update_state(self) -> None:
        """Update the state from what the last call in training mode has computed; by default there is none.

        Called after an optimizer step, once however many calls came before it, on all ranks.
        """

    def after_step(self, stepped: AbstractSet[int]) -> None:
        """Update the state after an optimizer step if the loss was called in training mode since the last update."""
        if self._called:
            self._called = False
            self.update_state()

    def commit(self) -> None:
        """Clamp temperatures and update state, as happens by itself after each step of a `torch.optim` optimizer.

        Loops that change weights without such an optimizer call it after each step. A second call changes nothing.
        """
        for module in self.modules():
            if isinstance(module, Temperature):
                module.clamp_()
            elif isinstance(module, Loss):
                module.after_step(frozenset())

    def balanced(self, batch_size: int) -> Mapping[str, float]:
        """Return where a learnt scalar's gradient vanishes before anything is learnt, by parameter, if that is known.

        Args:
            batch_size: the pairs of a step over all ranks.
        """
        return {}

    def explain(self, *args: Any, **kwargs: Any) -> LossExplanation:
        """Explain which pairs the loss pulls together and which pairs it pushes apart, and how hard, on this batch."""
        return explain(self, *args, **kwargs)

    @property
    def ranks(self) -> Ranks:
        """The processes that share the batch."""
        return ranks_of(in_force(self.evaluator, self.tile)[0])

    def count(self, rows: Tensor) -> int:
        """Return the number of rows on all ranks."""
        return sum(self.ranks.counts(len(rows), rows.device))

    def index(self, rows: Tensor) -> Int[Tensor, " B"]:
        """Return the global indices of this rank's rows."""
        ranks = self.ranks
        start = sum(ranks.counts(len(rows), rows.device)[: ranks.rank])
        return torch.arange(start, start + len(rows), device=rows.device)

    def mean(
        self, values: Float[Tensor, " B *rest"], weights: Tensor | None = None
    ) -> Float[Tensor, "*rest"]:
        """Return the mean over the anchors of all ranks, the only mean a loss may use.

        Args:
            values: one entry per anchor of this rank.
            weights: ``(B,)``, ≥ 0 (a mask, say): a weighted mean; 0 where all weights are 0.
        """
        return moments.mean(values, weights, ranks=self.ranks)


class PairwiseLoss(Loss):
    """A loss that reduces similarities of all pairs, written once for a tile."""

    pairwise = True

    def reduce(
        self,
        terms: Terms,
        *,
        rows: Mapping[str, Tensor],
        columns: Mapping[str, Tensor],
        shared: Mapping[str, Tensor] | None = None,
        same_columns: bool = False,
        ranks: Ranks | None = None,
        bags: tuple[int, int] = (1, 1),
    ) -> ReductionResults:
        """Call `counterpoint.pairwise.reduce.reduce` with this loss's evaluator."""
        return reduce(
            terms,
            rows=rows,
            columns=columns,
            shared=shared,
            evaluator=self.evaluator,
            tile=self.tile,
            same_columns=same_columns,
            ranks=ranks,
            bags=bags,
        )
