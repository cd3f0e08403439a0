"""Requests that wait are embedded together, and each gets its own answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import numpy as np
import pytest
import torch

from counterpoint.methods.tower_method import TowerMethod
from counterpoint.serving import Index
from counterpoint.serving.requests.batching import Batcher
from fixtures.served import served


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return served(tmp_path_factory.mktemp("served"))


class Held:
    """A model whose answers wait until the test lets them go, and which fails where a text says so.

    Attributes:
        asked: the texts of every call.
    """

    def __init__(self, model: TowerMethod, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[list[str]] = []
        self.free, self.begun = threading.Event(), threading.Event()
        plain: Callable[..., Any] = model.embed

        def embed(column: str, inputs: Any, head: str = "default") -> torch.Tensor:
            self.begun.set()
            assert self.free.wait(60)
            self.asked.append(list(inputs))
            if "bad" in inputs:
                raise ValueError("this text cannot be embedded")
            made: torch.Tensor = plain(column, inputs)
            return made * float("nan") if "nan" in inputs else made

        monkeypatch.setattr(model, "embed", embed)


@pytest.fixture
def held(index: Index, monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(index.model, monkeypatch)


@pytest.fixture
def batcher(index: Index, held: Held) -> Iterator[Batcher]:
    made = Batcher(index.model, 4)
    yield made
    held.free.set()
    made.end()


async def _begun(held: Held) -> None:
    while not held.begun.is_set():
        await asyncio.sleep(0.001)


def test_those_that_wait_go_together_and_get_their_own(batcher: Batcher, held: Held) -> None:
    texts = ["a", "b", "c", "d", "e", "f"]

    async def go() -> list[Any]:
        tasks = [asyncio.create_task(batcher.embed("text", [texts[0]]))]
        await _begun(held)
        tasks += [asyncio.create_task(batcher.embed("text", [text])) for text in texts[1:]]
        await asyncio.sleep(0)
        held.free.set()
        return list(await asyncio.gather(*tasks))

    together = anyio.run(go)
    assert held.asked == [["a"], ["b", "c", "d", "e"], ["f"]]
    alone = [batcher.model.embed("text", [text]).numpy() for text in texts]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.vectors, other, atol=1e-6)
        assert one.vectors.shape == (1, 8)


def test_a_request_of_many_comes_back_in_its_order(batcher: Batcher, held: Held) -> None:
    held.free.set()
    texts = ["long " * 100, "a", "longer " * 300, "b", "c", "d", "e", "long " * 110]

    async def go() -> Any:
        return await batcher.embed("text", texts)

    embedded = anyio.run(go)
    assert all(len(part) <= 4 for part in held.asked)
    for part in held.asked:
        assert max(map(len, part)) <= 2 * max(min(map(len, part)), 64), (
            "texts of unlike lengths waste padding"
        )
    expected = torch.cat([batcher.model.embed("text", [text]) for text in texts])
    np.testing.assert_allclose(embedded.vectors, expected.numpy(), atol=1e-6)
    tokenizer = batcher.model.text_tower.tokenizer
    alone = [len(tokenizer([text])[0]) for text in texts]  # one text alone has no padding
    assert embedded.tokens == sum(alone)


def test_one_that_cannot_be_embedded_fails_alone(batcher: Batcher, held: Held) -> None:
    async def go() -> list[Any]:
        tasks = [asyncio.create_task(batcher.embed("text", ["a"]))]
        await _begun(held)
        tasks += [asyncio.create_task(batcher.embed("text", [text])) for text in ("b", "bad", "nan")]
        await asyncio.sleep(0)
        held.free.set()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    first, second, third, fourth = anyio.run(go)
    assert first.vectors.shape == second.vectors.shape == (1, 8)
    assert second.tokens == len(batcher.model.text_tower.tokenizer(["b"])[0])
    assert isinstance(third, ValueError)
    assert isinstance(fourth, ArithmeticError)


def test_nothing_is_embedded_for_those_that_are_gone(batcher: Batcher, held: Held) -> None:
    async def go() -> None:
        first = asyncio.create_task(batcher.embed("text", ["a"]))
        await _begun(held)
        gone = asyncio.create_task(batcher.embed("text", ["b"]))
        stays = asyncio.create_task(batcher.embed("text", ["c"]))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        held.free.set()
        await asyncio.gather(first, stays)

    anyio.run(go)
    assert held.asked == [["a"], ["c"]]


def test_the_end_finishes_what_has_begun(batcher: Batcher, held: Held) -> None:
    async def go() -> list[Any]:
        tasks = [asyncio.create_task(batcher.embed("text", [text])) for text in ("a", "b")]
        await _begun(held)
        held.free.set()
        await asyncio.to_thread(batcher.end)
        before = list(await asyncio.gather(*tasks))
        return [*before, await batcher.embed("text", ["c"])]

    assert len(anyio.run(go)) == 3
    assert held.asked == [["a"], ["b"], ["c"]]


def test_two_that_share_a_model_count_their_own_tokens(index: Index) -> None:
    first, second = (Batcher(index.model, 8) for _ in range(2))
    alone = asyncio.run(second.embed("text", ["a", "a red car"])).tokens
    begun: list[int] = []

    def meanwhile(tower: torch.nn.Module, inputs: object) -> None:
        if not begun:  # of what the second embeds nothing is begun anew
            begun.append(0)
            begun[0] = asyncio.run(second.embed("text", ["a red car on a road", "a"])).tokens

    hook = index.model.text_tower.register_forward_pre_hook(meanwhile, prepend=True)
    try:
        assert asyncio.run(first.embed("text", ["a", "a red car"])).tokens == alone
    finally:
        hook.remove()
    assert begun[0] > alone
