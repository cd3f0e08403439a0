"""Requests that wait are embedded together, by one thread that alone uses the model."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...methods.tower_method import TowerMethod
from ...networks.base import TextTower
from ...networks.towers.parts.pooling import inside

_SHORT = 64  # characters up to which texts count as of one length


class EmbeddedBatch(NamedTuple):
    """Embeddings ``(n, d)``, and the number of tokens that were read for them."""

    vectors: Float[np.ndarray, "n d"]
    tokens: int


@dataclass(eq=False)
class _Job:
    """A request that waits."""

    column: str
    inputs: Sequence[Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[EmbeddedBatch] = field(init=False)

    def __post_init__(self) -> None:
        self.answer = self.loop.create_future()

    def tell(self, embedded: EmbeddedBatch | None, error: Exception | None) -> None:
        """Give the answer, in the loop's own thread."""
        if self.answer.done():
            return  # whoever asked is gone
        if embedded is None:
            self.answer.set_exception(error or RuntimeError("no answer"))
        else:
            self.answer.set_result(embedded)


@final
class Batcher:
    """A model in a thread of its own.

    While it embeds, requests wait; then all that wait for the same column are embedded at once.

    Args:
        model: what embeds.
        most: inputs that are embedded together.
        listener: is told the number of inputs of every batch.
    """

    def __init__(
        self, model: TowerMethod, most: int, listener: Callable[[str, int], None] = lambda column, n: None
    ) -> None:
        self.model, self.most, self.listener = model, most, listener
        self._thread = ThreadPoolExecutor(1, "embedding")
        self._lock = threading.Lock()
        self._waiting: deque[_Job] = deque()
        self._busy = False
        self._tokens = _Tokens(model)

    async def embed(self, column: str, inputs: Sequence[Any]) -> EmbeddedBatch:
        """Return embeddings of texts, or of pictures, each uint8 ``(3, H, W)``, in their order.

        Raises:
            ValueError: for what the model cannot embed.
        """
        job = _Job(column, inputs, asyncio.get_running_loop())
        with self._lock:
            self._waiting.append(job)
            begins, self._busy = not self._busy, True
        if begins:
            self._thread.submit(self._work)
        return await job.answer

    def end(self) -> None:
        """Wait until nothing waits."""
        self._thread.submit(lambda: None).result()

    def _work(self) -> None:
        """Embed until nothing waits."""
        while jobs := self._taken():
            self._carry_out(jobs)

    def _taken(self) -> list[_Job]:
        """Return the first request and all that can be embedded with it; none where nothing waits."""
        with self._lock:
            waiting = [job for job in self._waiting if not job.answer.cancelled()]
            self._waiting.clear()
            taken: list[_Job] = []
            room = self.most
            for job in waiting:
                fits = not taken or (job.column == taken[0].column and len(job.inputs) <= room)
                (taken if fits else self._waiting).append(job)
                room -= len(job.inputs) if fits else 0
            self._busy = bool(taken)
            return taken

    def _carry_out(self, jobs: Sequence[_Job]) -> None:
        column = jobs[0].column
        try:
            vectors, tokens = self._embed(column, [each for job in jobs for each in job.inputs])
        except Exception as error:
            if len(jobs) > 1:  # so that what is wrong with one request is not the others' end
                for job in jobs:
                    self._carry_out([job])
                return
            jobs[0].loop.call_soon_threadsafe(jobs[0].tell, None, error)
            return
        start = 0
        for job in jobs:
            part = slice(start, start + len(job.inputs))
            start = part.stop
            embedded = EmbeddedBatch(vectors[part], int(tokens[part].sum()))
            job.loop.call_soon_threadsafe(job.tell, embedded, None)

    def _embed(self, column: str, inputs: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Return embeddings and numbers of tokens, in the order of the inputs."""
        parts = list(self._parts(inputs))
        vectors, tokens = [], []
        for part in parts:
            chosen = [inputs[index] for index in part]
            raw = chosen if isinstance(chosen[0], str) else torch.stack(chosen)
            self._tokens.forget()
            vectors.append(self.model.embed(column, raw).float().cpu().numpy())
            tokens.append(self._tokens.of_each(len(chosen)))
            self.listener(column, len(chosen))
        order = np.argsort(np.concatenate(parts))
        whole = np.concatenate(vectors)
        if not np.isfinite(whole).all():
            raise ArithmeticError("an embedding is NaN or infinite")
        return whole[order], np.concatenate(tokens)[order]

    def _parts(self, inputs: Sequence[Any]) -> Iterator[list[int]]:
        """Yield the places of inputs that go together: texts of about one length, which waste no padding."""
        lengths = [max(len(each), _SHORT) if isinstance(each, str) else 1 for each in inputs]
        part: list[int] = []
        for index in sorted(range(len(inputs)), key=lengths.__getitem__):
            if part and (len(part) == self.most or lengths[index] > 2 * lengths[part[0]]):
                yield part
                part = []
            part.append(index)
        yield part


class _Tokens:
    """A count of the tokens that a model's text tower is given in the thread that counts: others may use it too."""

    def __init__(self, model: TowerMethod) -> None:
        self._seen: list[np.ndarray] = []
        self._thread = 0
        for tower in model.towers.values():
            if isinstance(tower, TextTower):
                tower.register_forward_pre_hook(self._see)

    def _see(self, tower: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if threading.get_ident() != self._thread:
            return
        assert isinstance(tower, TextTower)
        mask = inside(inputs[0], tower.tokenizer.end, begins_with_end=tower.begins_with_end)
        self._seen.append(mask.sum(1).cpu().numpy())

    def forget(self) -> None:
        """Begin to count what this thread embeds."""
        self._seen.clear()
        self._thread = threading.get_ident()

    def of_each(self, n: int) -> np.ndarray:
        """Return the tokens of each of n inputs since counting began; none where they were no texts."""
        return np.concatenate(self._seen) if self._seen else np.zeros(n, np.int64)
