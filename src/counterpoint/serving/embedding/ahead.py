"""Work that a thread does ahead of the one that needs it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Generic, Self, TypeVar, final

T = TypeVar("T")
_LOOK = 0.1  # seconds after which a thread that cannot go on looks whether it still should


@final
class PrefetchIterator(Generic[T]):
    """The items of an iterator, made by a thread while those before them are used; its errors are raised here.

    >>> with PrefetchIterator(iter("abc"), most=2) as letters:
    ...     list(letters)
    ['a', 'b', 'c']

    Args:
        items: are made in the thread.
        most: so many wait at most.

    Attributes:
        waited: seconds in which the user of the items waited for one.
    """

    def __init__(self, items: Iterator[T], most: int) -> None:
        self._items = items
        self._queue: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(most)
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._make, name="ahead", daemon=True)
        self.waited = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        while True:
            began = time.perf_counter()
            item = self._queue.get()
            self.waited += time.perf_counter() - began
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item[0]

    def _make(self) -> None:
        end: BaseException | None = None
        try:
            for item in self._items:
                if not self._put((item,)):
                    return
        except BaseException as error:  # it is raised where the items are used
            end = error
        self._put(end)

    def _put(self, item: tuple[T] | BaseException | None) -> bool:
        """Put an item where there is room; False once nobody wants it."""
        while not self._left.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=_LOOK)
                return True
        return False
