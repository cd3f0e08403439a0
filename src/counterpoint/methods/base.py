"""The method contract: how one batch becomes losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..networks.base import Input
from ..pairwise import Loss, Temperature
from ..ranges import Checked
from ..types import Batch, Embeddings, Kind, Pairs, Stage, StepInfo, TrainingExamples, ViewSpec
from .needs import Needs

Ranges = Mapping[str, tuple[float, float]]
"""Options by name, each with the lowest and the highest value that a search may draw."""
ONCE = 1 << 30
"""More epochs than a run has: a method that looks so rarely looks at the start, and at that of each stage."""


class Method(Checked, nn.Module, ABC):
    """A method: the way from one batch to losses.

    ``encode`` works sample by sample and ``losses`` looks across samples, so that gradient caching,
    evaluation and use come for free. Heads with batch statistics belong in ``losses``.

    Attributes:
        needs: the columns that it takes.
        views: which views of which column a batch holds.
        heads: the embeddings a user can ask for; the first is the default.
        papers: the slugs of the papers it implements.
        tunable: the options that a search draws, log-uniformly where they are positive: loss weights, and the start of
            every scalar that a run learns.
        incomplete: what becomes of rows to train on that lack a column of the views: they are left out (``"drop"``),
            or they come too, and ``batch.present`` says what each of them has (``"use"``).
        optional: modalities of columns that a row may lack, although others without one of its columns are dropped.
        learns: kinds of labels that it can learn from; none for one that learns from no label.
        further: options that name labels which it learns from beside that one, with + between them, each with the kinds
            that it takes.
        asks: options that, unless they are 0, ask something of the towers, which one of them must have: a property of
            `Tower`. The option ``""`` stands for what is asked whatever the options are.
        carries: an option that names a model, and the modality of the tower that the method takes over from it. It
            embeds examples of that modality and does not train on them.
        draws: ``losses`` or ``prepare`` draws from torch's generator, which the loop seeds at every step.
        ordered: the order of the batch decides which examples meet, or as what.
        stages: the parts of a run, in their order; the whole run is one, in which all moves, unless given.
        rates: factors of the learning rate by how the names of parameters begin; the longest beginning counts, and
            others have a factor of 1.
        family: the word under which `counterpoint list` shows it.
        default_label: the label that it learns where nobody names one; empty for a method that then learns none.
        sampler: the way in which rows come, by the classes of the label that it learns from; see
            `counterpoint.data.loading.samplers`. An arm's option ``sampler=`` says otherwise.
        epoch_start_every: epochs from one `on_epoch_start` to the next, or `ONCE`; 0 for a method that takes none.
        tokenized: modalities whose towers give their tokenizers alone, so that no run has weights of them.
        tuned_modalities: modalities of the pretrained towers that an arm's ``tune`` is about; all unless given.
        wise: the share of what a run has learned that its weights end with, the rest being what it continued from; None
            for all of it. An arm sets it: ``wise=0.5``.
        names: it reads the names of classes or tags by the text tower of a trained pair, and is refused without one.
        unlabelled: it also reads the training rows without a label, which with ``shots`` are all that were not drawn.
        closed: it is trained in `on_epoch_start` alone, so that a run of it takes no step.
        regroups: batches are made by groups of the rows, as `groups` says behind every look.
        group_sampler: the way in which a method that regroups has its rows: each batch of one group, or of all groups
            alike (``balanced``).
    """

    needs: ClassVar[Needs] = Needs()
    views: ViewSpec
    heads: tuple[str, ...] = ("global",)
    papers: tuple[str, ...] = ()
    family: ClassVar[str] = ""
    tunable: ClassVar[Ranges] = {}
    incomplete: ClassVar[Literal["drop", "use"]] = "drop"
    optional: ClassVar[tuple[str, ...]] = ()
    learns: ClassVar[tuple[Kind, ...]] = ()
    further: ClassVar[Mapping[str, tuple[Kind, ...]]] = {}
    asks: ClassVar[Mapping[str, str]] = {}
    carries: ClassVar[tuple[str, str] | None] = None
    tokenized: ClassVar[tuple[str, ...]] = ()
    tuned_modalities: ClassVar[tuple[str, ...]] = ()
    draws: bool = False
    ordered: bool = False
    stages: tuple[Stage, ...] = ()
    rates: Mapping[str, float] = MappingProxyType({})
    sampler: str = "natural"
    default_label: ClassVar[str] = ""
    epoch_start_every: int = 0
    wise: float | None = None
    names: ClassVar[bool] = False
    unlabelled: ClassVar[bool] = False
    closed: ClassVar[bool] = False
    regroups: ClassVar[bool] = False
    group_sampler: ClassVar[str] = "groups"

    @classmethod
    def searched(cls, options: Mapping[str, object]) -> Ranges:
        """Return the options that a search draws where some options are given: those without effect are left out."""
        return cls.tunable

    @property
    def embeds(self) -> tuple[str, ...]:
        """Return the columns that it has embeddings of: all that it looks at."""
        return tuple(dict.fromkeys(view.column for view in self.views.values()))

    @property
    def inputs(self) -> Mapping[str, Input]:
        """Return what makes the tensors of views from raw forms, by column."""
        return {}

    @property
    def view_inputs(self) -> Mapping[str, Input]:
        """Return what makes the tensors of single views, by the names of views that have an input of their own."""
        return {}

    def check_start(self, rows: int) -> None:
        """Refuse a run that would fail at its first look, before anything is trained, and studies that hold one.

        Args:
            rows: to train on.

        Raises:
            ValueError: naming the option that is wrong, and what would be right.
        """

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Learn what follows from all training examples: clusters, counts of classes, what to contrast with what.

        Called without gradient and in evaluation mode before the first step of every ``epoch_start_every``-th epoch
        and of every stage. What it learns belongs into buffers: checkpoints hold these, and are written behind steps,
        so that a run that goes on at such a step calls it again, with the weights of the first call. What it draws from
        torch's generator is the same on every rank and follows from the seed and the step.
        """

    def groups(self, ids: Int[Tensor, " N"]) -> Int[Tensor, " N"] | None:
        """Return the groups of all items on the processor, −1 for items of no batch; None where they make no groups.

        Asked of methods that regroup, behind every look and where a run goes on: they must follow from buffers.
        """
        return None

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Return the batch that a step is about: what is chosen, cut or mixed of the one that was loaded.

        Called once a step before everything else, without gradient and whatever the size of microbatches; what it
        draws from torch's generator is the same on every rank and follows from the seed and the step.

        The batch is this rank's part. Whatever is chosen must follow from the whole batch, or from single examples, so
        that it does not depend on the number of ranks::

            ranks = Ranks.present()
            counts = ranks.counts(len(batch), device)     # the rows that each rank has
            whole = ranks.gather(batch["image"], counts)  # the rows of all, in the order of one process's batch
            here = ranks.rows(counts)                     # where this rank's are among them
        """
        return batch

    def targets(self, batch: Batch) -> Embeddings:
        """Return outputs of frozen and momentum copies: once a step, without gradient, never replayed."""
        return {}

    @abstractmethod
    def encode(self, batch: Batch) -> Embeddings:
        """Return features of every view, sample by sample."""

    def pairs(self, z: Embeddings, batch: Batch) -> Pairs:
        """Return which rows of the batch meet in a second round: indices of rows, and labels.

        Called once a step, without gradient; none unless the method says otherwise. A negative is never the row itself,
        nor a row with an equal id. Both rows of a pair are this rank's own, as in published code, so that a rank with
        one row has no pair, and the negatives depend on the number of ranks.

        Args:
            z: what ``targets`` and ``encode`` returned.
            batch: this rank's part of the batch.
        """
        return {}

    def fuse(self, z: Embeddings, pairs: Pairs) -> Embeddings:
        """Return features of pairs, pair by pair: those of some, where gradient caching asks for a part of them.

        It runs no tower: what towers say is in ``z``.
        """
        return {}

    def second_round(self, z: Embeddings, batch: Batch) -> Embeddings:
        """Return what `losses` reads: ``z``, the pairs and what `fuse` makes of them."""
        with torch.no_grad():
            pairs = self.pairs(z, batch)
        return {**z, **pairs, **self.fuse(z, pairs)} if pairs else z

    @abstractmethod
    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        """Return the named terms whose sum is minimised.

        ``z`` holds what ``targets``, ``encode``, ``pairs`` and ``fuse`` returned.
        """

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        """Move the state that moves once per optimiser step: losses commit theirs; momentum copies, queues.

        ``z`` is detached. Not called where the optimiser leaves a step out, as gradients of float16 overflow, unless a
        task ends with it.
        """
        _commit(self)

    @abstractmethod
    def embed(self, column: str, inputs: Any, head: str = "default") -> Tensor:
        """Return unit-norm embeddings of a column's raw inputs, for evaluation and for users."""

    def similarity(self, a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """Return how well each of ``a`` goes with each of ``b``: the cosine, unless the method scores otherwise."""
        return a @ b.T

    def numbers(self) -> dict[str, float]:
        """Return what a run logs of the last step beside losses and learnt scalars: what would tell that it fails."""
        return {}

    def passes(self) -> dict[str, float]:
        """Return how often each tower runs per example and step: the honest unit of what a method costs.

        Counted in inputs of full size: a view of half the side is a quarter of a pass. A method with a joint encoder
        adds the pairs of an example that pass through it, under the name ``"pairs"``. Whatever else of a class runs
        towers, the class adds: copies and teachers in `targets`, and looks, of which one at all examples every
        ``epoch_start_every`` epochs is ``1 / epoch_start_every`` of a pass. Those of a method that looks `ONCE`
        do not grow with the steps: see `passes_of_all`.
        """
        counts: dict[str, float] = {}
        for view in self.views.values():
            counts[view.modality] = counts.get(view.modality, 0) + (1 if view.size == 1 else view.size**2)
        return counts

    def passes_of_all(self) -> dict[str, float]:
        """Return how often each tower runs over all training examples in a run, however many steps it has.

        Counted in inputs of full size: the looks of a method that looks `ONCE`, where a tower runs in them.
        """
        return {}


def _commit(module: nn.Module) -> None:
    """Commit each outermost loss once: a loss inside another one is the outer loss's business."""
    for child in module.children():
        if isinstance(child, Loss):
            child.commit()
        elif isinstance(child, Temperature):
            child.clamp_()
        else:
            _commit(child)
