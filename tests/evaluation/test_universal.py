"""Precision@1 of pictures with requests: who is right, among which candidates, and what a row scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.data.source import load_any
from counterpoint.evaluation import create
from counterpoint.evaluation.task import NotApplicableError

DATA = load_any("scenes:basic,pixels=24,train=4,validation=2,test=12,talk=questions+captions")
(ROWS,) = DATA.splits.test.values()
ASKED = [(n, one) for n, row in enumerate(DATA.read("talk", ROWS)) for one in row]
REPLIES = sorted({one.reply for _, one in ASKED})


class Knowing:
    """A model whose queries lie at the replies that it knows of requests, and all else at one place."""

    heads = ("global",)
    embeds = ("image", "talk")
    joint_columns = ("image+talk",)

    def __init__(self, wrong: str = "") -> None:
        self.known = [(one.request, REPLIES.index(one.reply)) for _, one in ASKED]
        self.wrong, self.calls = wrong, 0

    def embed(self, column: str, inputs: Any, head: str = "default") -> Tensor:
        if column == "talk":
            return F.one_hot(
                torch.tensor([REPLIES.index(row[-1].reply) for row in inputs]), len(REPLIES)
            ).float()
        queries = []
        for (exchange,) in inputs["talk"]:
            request, reply = self.known[self.calls]
            assert exchange == (request, "")
            self.calls += 1
            queries.append(0 if self.wrong == "all" else reply)
        z = F.one_hot(torch.tensor(queries), len(REPLIES)).float()
        return torch.ones_like(z) if self.wrong == "tied" else z

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


def test_row_scores_the_mean_over_its_exchanges() -> None:
    assert create("universal")(Knowing(), DATA, ROWS).value("P@1") == 1
    scores = create("universal")(Knowing("all"), DATA, ROWS)
    right = [np.mean([one.reply == REPLIES[0] for n, one in ASKED if n == row]) for row in range(len(ROWS))]
    np.testing.assert_allclose(scores.outcomes("P@1"), right)
    assert scores.metrics["P@1"].chance == 1 / len(REPLIES)
    constant = scores.metrics["P@1"].constant
    share = dict.fromkeys(REPLIES, 0.0)
    for n, one in ASKED:
        share[one.reply] += 1 / sum(n == m for m, _ in ASKED) / len(ROWS)
    assert constant is not None
    assert constant(np.arange(len(ROWS))) == pytest.approx(max(share.values()))


@pytest.mark.parametrize("candidates", [2, 3, 1000])
def test_right_reply_is_among_the_candidates_and_ties_share(candidates: int) -> None:
    scores = create("universal", candidates=candidates)(Knowing("tied"), DATA, ROWS)
    assert scores.value("P@1") == pytest.approx(1 / min(candidates, len(REPLIES)))
    assert scores.metrics["P@1"].chance == 1 / min(candidates, len(REPLIES))


def test_models_without_queries_are_refused() -> None:
    model = Knowing()
    model.joint_columns = ()  # type: ignore[assignment] # of an instance, where the class has a constant
    with pytest.raises(NotApplicableError, match="columns=image\\+talk"):
        create("universal")(model, DATA, ROWS)
