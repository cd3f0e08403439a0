"""Requests that wait are embedded together, by one thread that alone uses the model."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..methods.base import TowerMethod
from ..networks.base import TextTower
from ..networks.towers.pooling import inside

_SHORT = 64  # characters up to which texts count as of one length


class Embedded(NamedTuple):
    """Embeddings ``(n, d)``, and the number of tokens that were read for them."""

    vectors: Float[np.ndarray, "n d"]
    tokens: int


@dataclass(eq=False)
class _Job:
    """A request that waits."""

    column: str
    inputs: Sequence[Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Embedded] = field(init=False)

    def __post_init__(self) -> None:
        self.answer = self.loop.create_future()

    def tell(self, embedded: Embedded | None, error: Exception | None) -> None:
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
        self._waiting: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._thread: threading.Thread | None = None
        self._tokens = _Tokens(model)

    @property
    def alive(self) -> bool:
        """True while requests are taken."""
        return not self._ended and (self._thread is None or self._thread.is_alive())

    async def embed(self, column: str, inputs: Sequence[Any]) -> Embedded:
        """Return embeddings of texts, or of pictures, each uint8 ``(3, H, W)``, in their order.

        Raises:
            ValueError: for what the model cannot embed.
        """
        job = _Job(column, inputs, asyncio.get_running_loop())
        with self._changed:
            if self._ended:
                raise RuntimeError("the server ends")
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="embedding", daemon=True)
                self._thread.start()
            self._waiting.append(job)
            self._changed.notify()
        return await job.answer

    def end(self) -> None:
        """Finish what waits, and take no more."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while jobs := self._take():
            self._carry_out(jobs)

    def _take(self) -> list[_Job]:
        """Wait for a request, and return all that can be embedded with it; none at the end."""
        with self._changed:
            while not self._waiting:
                if self._ended:
                    return []
                self._changed.wait()
            column, room = self._waiting[0].column, self.most
            taken: list[_Job] = []
            left: deque[_Job] = deque()
            for job in self._waiting:
                if job.answer.cancelled():
                    continue
                fits = not taken or len(job.inputs) <= room
                if job.column == column and fits:
                    taken.append(job)
                    room -= len(job.inputs)
                else:
                    left.append(job)
            self._waiting = left
        return taken or self._take()

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
            embedded = Embedded(vectors[part], int(tokens[part].sum()))
            job.loop.call_soon_threadsafe(job.tell, embedded, None)

    def _embed(self, column: str, inputs: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Return embeddings and numbers of tokens, in the order of the inputs."""
        parts = list(self._parts(inputs))
        vectors, tokens = [], []
        for part in parts:
            chosen = [inputs[place] for place in part]
            raw = chosen if isinstance(chosen[0], str) else torch.stack(chosen)
            vectors.append(self.model.embed(column, raw).float().cpu().numpy())
            tokens.append(self._tokens.taken(len(chosen)))
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
        for place in sorted(range(len(inputs)), key=lengths.__getitem__):
            if part and (len(part) == self.most or lengths[place] > 2 * lengths[part[0]]):
                yield part
                part = []
            part.append(place)
        yield part


class _Tokens:
    """A count of the tokens that a model's text tower is given."""

    def __init__(self, model: TowerMethod) -> None:
        self._seen: list[np.ndarray] = []
        for tower in model.towers.values():
            if isinstance(tower, TextTower):
                tower.register_forward_pre_hook(self._see)

    def _see(self, tower: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(tower, TextTower)
        own = inside(inputs[0], tower.tokenizer.end, begins_with_end=tower.begins_with_end)
        self._seen.append(own.sum(1).cpu().numpy())

    def taken(self, n: int) -> np.ndarray:
        """Return the tokens of each of the last inputs, and forget them; none where they were no texts."""
        seen = np.concatenate(self._seen) if self._seen else np.zeros(n, np.int64)
        self._seen.clear()
        return seen
