"""Neighbours: purity and votes by hand, and examples in context that are the nearest ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.data.base import Rows, Splits
from counterpoint.data.labels import Classes
from counterpoint.data.pictured import PairedData
from counterpoint.evaluation import InContext, Shots
from counterpoint.evaluation.in_context_shots import InContextExample
from counterpoint.evaluation.nearest_examples import NearestExamples
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.evaluation.tasks import Neighbours
from counterpoint.types import Prompt

CLASSES = np.array([0, 0, 0, 1, 1, 1, 1, 2, -1, 0, 1, -1])
TRAIN = 9


class Colours(PairedData):
    name = "colours"

    def __init__(self) -> None:
        self.ids = np.arange(len(CLASSES))
        self.splits = Splits(self.ids[:TRAIN], {}, {"all": self.ids[TRAIN:]})
        self.labels = {"kind": Classes(("a", "b", "c"), CLASSES)}
        generator = torch.Generator().manual_seed(4)
        self._pictures = torch.randint(0, 256, (len(CLASSES), 3, 2, 2), generator=generator).to(torch.uint8)

    def images(self, rows: Rows) -> Tensor:
        return self._pictures[rows]

    def captions(self, row: int) -> list[str]:
        return ["a colour"]


class Pixels:
    heads: tuple[str, ...] = ("global",)
    embeds: tuple[str, ...] = ("image",)

    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        return F.normalize(inputs.flatten(1).float() - 128, dim=-1)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


def order(data: Colours, row: int) -> list[int]:
    z = Pixels().embed("image", data.images(data.ids))
    return sorted((n for n in range(TRAIN) if CLASSES[n] >= 0), key=lambda n: -float(z[row] @ z[n]))


def test_purity_and_vote_are_those_of_the_nearest_training_rows() -> None:
    data = Colours()
    scores = Neighbours()(Pixels(), data, data.splits.test["all"])
    for k in (1, 3, 5, 7):
        purities, votes = [], []
        for row in (9, 10):
            near = [int(CLASSES[n]) for n in order(data, row)[:k]]
            counts = {c: near.count(c) for c in set(near)}
            best = [c for c, count in counts.items() if count == max(counts.values())]
            purities.append(near.count(CLASSES[row]) / k)
            votes.append((CLASSES[row] in best) / len(best))
        assert scores.value(f"kind_purity@{k}") == pytest.approx(np.mean(purities))
        assert scores.value(f"kind_vote@{k}") == pytest.approx(np.mean(votes))
    # Row 11 has no class. Three of eight training rows are of class 0, four of class 1.
    assert scores.outcomes("kind_purity@7").shape[0] == 2 or np.isnan(scores.outcomes("kind_purity@7")[-1])
    assert scores.metrics["kind_purity@7"].chance == pytest.approx((3 / 8 + 4 / 8) / 2)


def test_too_few_training_rows_are_refused() -> None:
    data = Colours()
    data.splits = Splits(data.ids[:4], {}, data.splits.test)
    with pytest.raises(ValueError, match="training set"):
        Neighbours()(Pixels(), data, data.splits.test["all"])


class Heard:
    """An assistant that remembers its prompts."""

    def reply(self, prompts: Any, *, seed: int = 0) -> list[str]:
        self.prompts = list(prompts)
        return [""] * len(prompts)

    def word_logits(self, prompts: Any, words: Any) -> Tensor:
        raise NotImplementedError


def test_nearest_examples_are_shown_the_nearest_last_and_never_the_picture_itself() -> None:
    data, heard = Colours(), Heard()
    pictures = data.images(data.ids)
    members = [n for n in range(TRAIN) if CLASSES[n] >= 0]
    pool = [InContextExample(pictures[n], "What?", f"example {n}") for n in members]
    shown = InContext(heard, pool, Shots(3), choose=NearestExamples(Pixels(), pool))
    shown.reply([Prompt("What?", pictures[9]), Prompt("What?", pictures[2])])
    of_9, of_2 = ([turn.reply for turn in prompt.turns] for prompt in heard.prompts)
    assert of_9 == [f"Example {n}." for n in order(data, 9)[:3][::-1]]
    assert of_2 == [f"Example {n}." for n in [n for n in order(data, 2) if n != 2][:3][::-1]]
    with pytest.raises(NotApplicableError, match="a request has none"):
        shown.shown(Prompt("What?"))
    every = InContext(heard, pool, Shots(len(pool)), choose=shown.choose)
    with pytest.raises(NotApplicableError, match="show fewer"):
        every.shown(Prompt("What?", pictures[2]))
