"""From a data set to batches: the order, the views and their randomness follow from the seed and the step alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int
from torch.utils.data import DataLoader, Dataset

from ..execution import helpers
from ..networks.base import Tokenizer
from ..reasons import counted
from ..recipes.schema import Augmentation
from ..types import Batch, Clock, ViewSpec
from . import views as view_room
from .base import PairedData, Rows


class Loader:
    """Batches of a data set for training.

    The batch of a step is a function of ``(seed, step)``: a run can start anywhere, with any number of workers, and
    see the same examples, crops and words. An epoch is a fresh permutation; its last, incomplete batch is left out.

    Args:
        data: where examples come from.
        rows: the rows to train on.
        views: what a batch holds.
        augmentation: options of the text views, and whether they share a caption.
        tokenizer: turns captions into token ids.
        image_size: height and width of the image views, in pixels.
        batch_size: examples per step over all ranks; at most ``len(rows)``.
        seed: of the order and of every view.
        workers: processes that prepare batches; 0 prepares them in this process.
        rank, world: this process's share of every batch: the consecutive rows that are its turn, so that the ranks'
            parts in their order are the batch of one process.

    Raises:
        ValueError: if there are fewer than two rows to train on, or fewer in a batch than ranks.
    """

    def __init__(
        self,
        data: PairedData,
        rows: Rows,
        views: ViewSpec,
        *,
        augmentation: Augmentation,
        tokenizer: Tokenizer,
        image_size: int,
        batch_size: int,
        seed: int,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if len(rows) < 2:
            raise ValueError(
                f"the training split of {data.name!r} has {counted(len(rows), 'example')}; contrast needs at least 2"
            )
        view_room.check(views, augmentation)
        self.data, self.rows, self.views, self.tokenizer = data, rows, views, tokenizer
        self.image_size, self.seed, self.workers = image_size, seed, workers
        self.batch_size = min(batch_size, len(rows))
        if self.batch_size < world:
            raise ValueError(
                f"a batch of {self.batch_size} cannot be shared by {world} ranks; make batch_size larger"
            )
        self.rank, self.world = rank, world
        self.shared_caption = augmentation.captions == "shared"
        self._pictures = {
            n: view_room.image(v.augmentation, augmentation)
            for n, v in views.items()
            if v.modality == "image"
        }
        self._texts = {
            n: view_room.text(v.augmentation, augmentation) for n, v in views.items() if v.modality == "text"
        }

    @property
    def steps_per_epoch(self) -> int:
        return len(self.rows) // self.batch_size

    def rows_at(self, step: int) -> tuple[Rows, int]:
        """The rows of a step's global batch, and its epoch."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.rows))
        return self.rows[order[position * self.batch_size : (position + 1) * self.batch_size]], epoch

    def batch(self, step: int) -> Batch:
        """This rank's part of the batch of a step."""
        rows, epoch = self.rows_at(step)
        rows = np.array_split(rows, self.world)[self.rank]
        ids: Int[np.ndarray, " B"] = self.data.ids[rows]
        pictures = self.data.images(rows)
        captions = [list(self.data.training_captions(int(row))) for row in rows]
        if self.shared_caption:
            draws = view_room.uniform(view_room.key(self.seed, epoch, ids, "shared caption"), "caption")[:, 0]
            captions = [[own[int(u * len(own))]] for own, u in zip(captions, draws.tolist(), strict=True)]
        tensors = {}
        for name in self.views:
            keys = view_room.key(self.seed, epoch, ids, name)
            if name in self._pictures:
                tensors[name] = self._pictures[name].apply(pictures, keys, self.image_size)
            else:
                tensors[name] = self.tokenizer(self._texts[name].apply(captions, keys))
        labels = {name: torch.from_numpy(one.values[rows]) for name, one in self.data.labels.items()}
        return Batch(torch.from_numpy(ids), tensors, labels)

    def batches(self, start: int, steps: int) -> Iterator[tuple[Batch, Clock]]:
        """The batches of steps ``start`` to ``steps - 1``."""
        source: Iterator[Batch]
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
            source = (self.batch(step) for step in range(start, steps))
        for step, batch in zip(range(start, steps), source, strict=True):
            yield batch, Clock(step, steps, step // self.steps_per_epoch)


class _Steps(Dataset[Batch]):
    """Steps as items, for worker processes."""

    def __init__(self, loader: Loader, start: int, steps: int) -> None:
        self.loader, self.start, self.length = loader, start, steps - start

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Batch:
        return self.loader.batch(self.start + index)
