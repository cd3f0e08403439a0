"""From a data set to batches: which rows, views and random draws follow from the seed and the step alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ...execution import helpers
from ...frames import composed
from ...modalities import MODALITIES, resolve
from ...networks.base import Input, ScaledInput
from ...reasons import counted
from ...recipes.schema import Augmentation
from ...types import Batch, StepInfo, View, ViewSpec
from .. import views as view_room
from ..base import Data, Rows
from ..labels import Label
from ..replaced import Replacement
from ..views.transforms import SpatialTransform, transforms
from .features import DeterministicView
from .order import Epochs, Order
from .sampled import SampledOrder
from .samplers import Sampler


class Loader:
    """Batches of a data set for training.

    The batch of a step is a function of ``(seed, step)``: a run can start anywhere, with any number of workers, and
    see the same examples, crops and words.

    Args:
        data: where examples come from.
        order: says which rows are a step's; its seed is that of every view.
        views: what a batch holds.
        augmentation: options of the views.
        inputs: of the towers, by column: what turns raw forms into tensors; of views that have one of their own, by the
            view's name.
        labels: of batches; those of the data unless given.
        workers: processes that prepare batches; 0 prepares them in this process.
        steady: by name, the views that show the same every time and whose towers remember.
        rank, world: this process's share of every batch: the consecutive rows that are its turn, so that the ranks'
            parts in their order are the batch of one process.

    Attributes:
        replaced: the broken records of the batch that was yielded last, each with what took its place.

    Raises:
        ValueError: if there are fewer than two rows to train on, or fewer in a batch than ranks; for a view with a size
            of a column whose examples have none.
    """

    def __init__(
        self,
        data: Data,
        order: Order,
        views: ViewSpec,
        *,
        augmentation: Augmentation,
        inputs: Mapping[str, Input],
        labels: Mapping[str, Label] | None = None,
        workers: int = 0,
        steady: Mapping[str, DeterministicView] = MappingProxyType({}),
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if order.examples < 2:
            raise ValueError(
                f"the training split of {data.name!r} has {counted(order.examples, 'example')}; contrast needs at "
                "least 2"
            )
        self.data, self.order, self.views, self.inputs = data, order, views, inputs
        self._began, self.labels = order, data.labels if labels is None else labels
        self.augmentation, self.workers = augmentation, workers
        self.steady = dict(steady)  # a view of a mapping cannot go to the workers
        self._transforms = transforms(views, augmentation)
        self._inputs = {name: _sized(name, view, inputs) for name, view in views.items()}
        self._columns = {view.column: view.modality for view in views.values()}
        if order.batch_size < world:
            raise ValueError(
                f"a batch of {order.batch_size} cannot be shared by {world} ranks; make batch_size larger"
            )
        self.rank, self.world = rank, world
        self.replaced: list[Replacement] = []

    @property
    def batch_size(self) -> int:
        """The examples of a step over all ranks."""
        return self.order.batch_size

    def batch(self, step: int, steps: int | None = None) -> Batch:
        """Return this rank's part of the batch of a step.

        Args:
            step: from 0.
            steps: of the whole run, which tasks in turn are shares of; the first task has every step unless given.
        """
        batch = self.of(*self.order.part(step, self.rank, self.world, steps))
        labels = self.order.labels(self.rank, self.world)
        return replace(batch, labels={**batch.labels, **{k: torch.from_numpy(v) for k, v in labels.items()}})

    def first(self, most: int) -> Batch:
        """Return the first examples of this rank's part of the first batch, at most so many, for a look ahead."""
        rows, epoch = self.order.part(0, self.rank, self.world)
        return self.of(rows[:most], epoch if isinstance(epoch, int) else epoch[:most])

    def of(self, rows: Rows, epoch: Epochs) -> Batch:
        """Return the batch of some rows, as it is in an epoch, or each of them in one of its own."""
        drawn = [name for name in self.views if name not in self.steady]
        raw = _Columns(self, rows, epoch)
        tensors = {name: self._transform(name, raw, rows, epoch) for name in drawn}
        framed = {name: self.views[name].column for name in drawn if self.views[name].framed}
        cuts = {column: self.data.cuts(column, rows) for column in set(framed.values())}
        frames = {
            name: composed(cuts[column], self._transform(name, raw, rows, epoch, framed=True))
            for name, column in framed.items()
        }
        for name, view in self.steady.items():

            def draw(new: list[int], name: str = name) -> Tensor:
                part = np.array(new)  # which looks the same in any epoch
                return self._transform(name, _Columns(self, part, 0), part, 0)

            tensors[name] = view(rows.tolist(), draw)
        labels = {name: label.tensor(rows) for name, label in self.labels.items()}
        present = {column: torch.from_numpy(self.data.present(column, rows)) for column in self._columns}
        gaps = {column: have for column, have in present.items() if not have.all()}
        return Batch(torch.from_numpy(self.data.ids_of(rows)), tensors, labels, gaps, frames)

    def _transform(self, name: str, raw: _Columns, rows: Rows, epoch: Epochs, framed: bool = False) -> Tensor:
        """Return a view of some rows, whose columns are there in their raw forms; or with ``framed`` its frames."""
        view, ids = self.views[name], self.data.ids_of(rows)
        keys = view_room.key(self.order.seed, epoch, ids, name)
        transform: Any = self._transforms[name]
        # Only to a view that is derived: others need not know of parts.
        part: dict[str, Any] = {}
        if view.like:
            part["part"] = view_room.key(self.order.seed, epoch, ids, view.like)
            if isinstance(transform, SpatialTransform):
                part["followed"] = raw[self.views[view.like].column], self._inputs[view.like]
        return (transform.frames if framed else transform)(raw[view.column], keys, self._inputs[name], **part)

    def read(self, column: str, rows: Rows, epoch: Epochs) -> Any:
        """Return a column of a batch in its raw form, with what all views of an example share already drawn."""
        raw = self.data.read_training(column, rows)
        share = MODALITIES.get(self._columns[column]).share
        if share is None:
            return raw
        keys = view_room.key(self.order.seed, epoch, self.data.ids_of(rows), "shared caption")
        return resolve(share)(raw, self.augmentation, keys)

    def regroup(
        self, groups: Callable[[Int[Tensor, " N"]], Int[Tensor, " N"] | None], sampler: str = "groups"
    ) -> None:
        """Make batches from now on by groups of rows, each of one group; of all rows where there are no groups.

        Args:
            groups: from the ids of all rows to their groups, or to None.
            sampler: another one than that of batches of one group.

        Raises:
            ValueError: where no group fills a batch.
        """
        rows = self._began.rows(0, 1)
        group_ids = groups(torch.from_numpy(self.data.ids_of(rows)))
        self.order = self._began
        if group_ids is not None:
            drawn = Sampler.parse(sampler)
            self.order = SampledOrder(
                rows, group_ids.numpy(), drawn, self._began.batch_size, self._began.seed
            )

    def batches(self, start: int, steps: int) -> Iterator[tuple[Batch, StepInfo]]:
        """Yield the batches of steps ``start`` to ``steps - 1``; `replaced` is of the batch that was yielded last."""
        source: Iterator[tuple[Batch, list[Replacement]]]
        self.data.replaced()  # what was read before is of no batch
        # Before the workers begin, who take along what the data has heard.
        self.data.expect(self.order.shards_of(start, self.rank, self.world))
        if self.workers:
            whole = DataLoader(
                _Steps(self, start, steps),
                batch_size=None,
                num_workers=self.workers,
                multiprocessing_context="spawn",
            )
            with helpers.begun():
                source = iter(whole)
        else:
            source = ((self.batch(step, steps), self.data.replaced()) for step in range(start, steps))
        for step, (batch, self.replaced) in zip(range(start, steps), source, strict=True):
            self.data.expect(self.order.shards_of(step, self.rank, self.world))
            yield batch, self.order.clock(step, steps)


def _sized(name: str, view: View, inputs: Mapping[str, Input]) -> Input:
    """Return the input of a view: its column's, at the view's share of the side."""
    whole = inputs.get(name) or inputs[view.column]
    if view.size == 1:
        return whole
    if not isinstance(whole, ScaledInput):
        raise ValueError(f"view {name!r} of {view.modality} has no sides; leave size={view.size:g} out")
    return whole.scaled(view.size)


class _Columns:
    """The columns of some rows in their raw forms, each read when it is first asked for."""

    def __init__(self, loader: Loader, rows: Rows, epoch: Epochs) -> None:
        self._loader, self._rows, self._epoch = loader, rows, epoch
        self._known: dict[str, Any] = {}

    def __getitem__(self, column: str) -> Any:
        if column not in self._known:
            self._known[column] = self._loader.read(column, self._rows, self._epoch)
        return self._known[column]


class _Steps(Dataset[tuple[Batch, list[Replacement]]]):
    """Steps as items, for worker processes."""

    def __init__(self, loader: Loader, start: int, steps: int) -> None:
        self.loader, self.start, self.steps = loader, start, steps

    def __len__(self) -> int:
        return self.steps - self.start

    def __getitem__(self, index: int) -> tuple[Batch, list[Replacement]]:
        return self.loader.batch(self.start + index, self.steps), self.loader.data.replaced()
