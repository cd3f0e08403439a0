"""The task on given regions: closed outcomes, sizes, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.data.items import Regions
from counterpoint.data.source import load
from counterpoint.evaluation import create
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.testing._task import RandomEmbedder

DATA = load("scenes:basic,pixels=24,train=20,validation=2,test=8")
ROWS = DATA.splits.test["as trained"]


class Oracle(RandomEmbedder):
    """Embeds every region as the phrase that its item has, by the picture's bytes and its box."""

    def __init__(self, rows: Any, side: int | None = None) -> None:
        super().__init__()
        items = DATA.items(Regions, rows)
        masks, shown = items.masks(np.arange(len(items))), items.pictures(np.arange(len(items)))
        self.side = side
        self.numbers = {phrase: k for k, phrase in enumerate(dict.fromkeys(items.phrases))}
        self.known = {
            (picture.numpy().tobytes(), mask.numpy().tobytes()): phrase
            for picture, mask, phrase in zip(shown, masks, items.phrases, strict=True)
        }

    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        assert modality == "text"
        # Repeated, as the penalty of a logistic regression falls with the number of equal features.
        return torch.eye(len(self.numbers)).repeat(1, 30)[[self.numbers[phrase] for phrase in inputs]]

    def embed_regions(
        self, pictures: Tensor, boxes: Tensor, head: str = "default", side: int | None = None
    ) -> Tensor:
        assert side == self.side
        phrases = []
        for picture, (box,) in zip(pictures, boxes, strict=True):
            left, top, right, bottom = (box * 24).round().int().tolist()
            inside = {
                phrase: np.frombuffer(mask, bool).reshape(24, 24)[top:bottom, left:right].mean()
                for (shown, mask), phrase in self.known.items()
                if shown == picture.numpy().tobytes()
            }
            phrases.append(max(inside, key=lambda phrase: inside[phrase]))
        return self.embed("text", phrases)[:, None]


def test_regions_that_are_embedded_as_their_phrases_are_named() -> None:
    oracle = Oracle(np.concatenate([DATA.splits.train, ROWS]), side=48)
    scores = create("regions", side=48)(oracle, DATA, ROWS)
    phrases = DATA.items(Regions, ROWS).phrases
    assert scores.metrics["named"].chance == pytest.approx(1 / len(set(phrases)))
    named, read = (scores.outcomes(name) for name in ("named", "read"))
    assert named.mean() > 0.9  # a thing may fill another one's box
    learnt = set(DATA.items(Regions, DATA.splits.train).phrases)
    np.testing.assert_array_equal(read, named * [phrase in learnt for phrase in phrases])
    assert 0 < read.mean() < named.mean()
    assert set(scores.examples["subset"]) <= {"up to 3 %", "3 to 10 %", "over 10 %"}


def test_a_model_without_regions_is_refused() -> None:
    class Plain(RandomEmbedder):
        embed_regions = None

    with pytest.raises(NotApplicableError, match="needs a model with embed_regions"):
        create("regions")(Plain(), DATA, ROWS)


def test_a_side_that_the_tower_cannot_take_is_refused() -> None:
    class Small(RandomEmbedder):
        def embed_regions(self, *args: Any, **options: Any) -> Tensor:
            raise ValueError("none of 7 pixels")

    with pytest.raises(NotApplicableError, match="none of 7 pixels"):
        create("regions", side=7)(Small(), DATA, ROWS)
