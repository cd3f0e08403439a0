"""The task of flagged words: a judge that knows, one that does not, and the numbers of both by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from counterpoint.data.source import load_any
from counterpoint.evaluation import create
from counterpoint.evaluation.several import average_precision
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.raw import changed_words
from counterpoint.types import Prompt

DATA = load_any("scenes:tiny,pixels=24,train=8,validation=4,test=30,talk=captions")
ROWS = next(iter(DATA.splits.test.values()))


class Silent:
    """An embedder that judges nothing."""

    heads = ("default",)

    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        raise NotImplementedError

    similarity = embed


class Judge(Silent):
    """A judge that says how probable words are by a function of a reply."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def judge(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[Tensor]:
        assert all(prompt.picture is not None for prompt in prompts)
        return [torch.tensor(self.function(reply), dtype=torch.float32) for reply in replies]


def pairs() -> list[tuple[str, str]]:
    good = [talk[0].reply for talk in DATA.read("talk", ROWS)]
    return [
        (reply, edited)
        for row, reply in zip(ROWS, good, strict=True)
        if (edited := DATA.edited_reply(int(row), reply, 0)) is not None and any(changed_words(reply, edited))
    ]


def test_a_judge_that_knows_is_right_and_one_that_trusts_all_finds_none() -> None:
    truth = {edited: changed_words(reply, edited) for reply, edited in pairs()}
    assert not {*truth} & {reply for reply, _ in pairs()}
    knows = Judge(
        lambda reply: [0.1 if wrong else 0.9 for wrong in truth.get(reply, [False] * len(reply.split()))]
    )
    scores = create("flagged")(knows, DATA, ROWS)
    assert {name: scores.value(name) for name in ("map", "sentences", "replies")} == {
        "map": 1,
        "sentences": 1,
        "replies": 1,
    }
    trusts = create("flagged")(Judge(lambda reply: [0.9] * len(reply.split())), DATA, ROWS)
    assert trusts.value("replies") == 0.5
    assert trusts.value("map") == pytest.approx(trusts.value("base"))
    changed = sum(map(sum, truth.values()))
    assert trusts.value("base") == pytest.approx(
        changed / sum(len(r.split() + e.split()) for r, e in pairs())
    )


def test_average_precision_is_over_all_words_together() -> None:
    rng = np.random.default_rng(0)
    true, score = rng.integers(-1, 2, (30, 4)), rng.random((30, 4)).round(1)
    known = true >= 0
    expected = average_precision_score(true[known], score[known])
    assert average_precision(np.hstack([true, score])) == pytest.approx(expected)


def test_other_models_and_data_without_errors_are_refused() -> None:
    plain = load_any("scenes:tiny,pixels=24,train=8,validation=4,test=4,talk=questions")
    with pytest.raises(NotApplicableError, match="a true reply and one with an error, and no test row"):
        create("flagged")(
            Judge(lambda reply: [0.5] * len(reply.split())), plain, next(iter(plain.splits.test.values()))
        )
    with pytest.raises(NotApplicableError, match="asks models that judge replies, as tldr trains them"):
        create("flagged")(Silent(), DATA, ROWS)
