from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.functional.retrieval import retrieval_hit_rate

from counterpoint.evaluation import task
from counterpoint.evaluation.tasks._ranking import Ranking, best_answers, rank
from counterpoint.types import Embedder


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(1, 4))
def test_the_best_constant_answers_are_the_best_of_all(right: list[int], k: int) -> None:
    """Compare with every choice of k answers, where every query has one right answer."""
    covers = [[query for query, answer in enumerate(right) if answer == a] for a in range(5)]
    expected = max(np.mean(np.isin(right, chosen)) for chosen in itertools.combinations(range(5), k))
    assert best_answers(covers, np.full(len(right), 1 / len(right)), k) == pytest.approx(expected)


class DotProduct(Embedder):
    """Similarities are a given table: a query is a row of the table, an answer a unit vector."""

    heads: tuple[str, ...] = ("global",)

    def __init__(self) -> None:
        self.largest = 0

    def embed(self, modality: str, inputs: object, head: str = "default") -> Tensor:
        raise AssertionError("not asked for")

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        self.largest = max(self.largest, len(a) * len(b))
        return a @ b.T


def ranked(table: Tensor, correct: list[list[int]]) -> Ranking:
    return rank(DotProduct(), table, torch.eye(table.shape[1], dtype=table.dtype), correct)


def enumerated(scores: list[int], correct: list[int], k: int) -> tuple[float, float]:
    """Expected rank of the first correct answer and P(hit in k), over every order in which ties may fall."""
    ranks = []
    for order in itertools.permutations(range(len(scores))):
        by_score = sorted(order, key=lambda j: -scores[j])
        ranks.append(1 + min(by_score.index(j) for j in correct))
    return float(np.mean(ranks)), float(np.mean([r <= k for r in ranks]))


@given(st.data())
def test_ties_and_several_correct_answers_equal_mean_over_orders(data: st.DataObject) -> None:
    m = data.draw(st.integers(1, 6))
    scores = data.draw(st.lists(st.integers(-2, 1), min_size=m, max_size=m))
    correct = data.draw(st.lists(st.integers(0, m - 1), min_size=1, max_size=m, unique=True))
    k = data.draw(st.integers(1, m + 1))
    found = ranked(torch.tensor([scores]).float(), [correct])
    expected_rank, expected_hit = enumerated(scores, correct, k)
    assert found.rank()[0] == pytest.approx(expected_rank)
    assert found.hit(k)[0] == pytest.approx(expected_hit)
    flat_rank, flat_hit = enumerated([0] * m, correct, k)
    assert found.chance_rank()[0] == pytest.approx(flat_rank)
    assert found.chance_hit(k)[0] == pytest.approx(flat_hit)


def test_negative_scores_rank_like_same_scores_shifted_positive() -> None:
    table = torch.rand(40, 30, generator=torch.Generator().manual_seed(0)) / 2 + 0.25
    correct = [[i % 30, (7 * i + 1) % 30] for i in range(40)]
    positive, negative = ranked(table, correct), ranked(table - 1, correct)
    assert (table - 1 < 0).all()
    np.testing.assert_array_equal(positive.rank(), negative.rank())
    for k in (1, 5, 10):
        expected = [
            float(retrieval_hit_rate(row, torch.isin(torch.arange(30), torch.tensor(own)), top_k=k))
            for row, own in zip(table, correct, strict=True)
        ]
        np.testing.assert_array_equal(positive.hit(k), expected)
        np.testing.assert_array_equal(negative.hit(k), expected)
    np.testing.assert_array_equal(negative.top, table.argmax(1))


def test_a_model_that_maps_everything_to_one_point_scores_chance() -> None:
    found = ranked(torch.full((50, 50), -0.3), [[i] for i in range(50)])
    assert found.hit(1).mean() == pytest.approx(1 / 50)
    assert found.hit(10).mean() == pytest.approx(10 / 50)
    assert np.median(found.rank()) == 25.5


def test_no_panel_larger_than_allowed_and_panels_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    queries = torch.randint(-2, 3, (53, 4), generator=generator).float()
    gallery = torch.randint(-2, 3, (31, 4), generator=generator).float()
    correct = [[i % 31] for i in range(53)]
    whole = rank(DotProduct(), queries, gallery, correct)
    monkeypatch.setattr(task, "PANEL", 100)
    model = DotProduct()
    parts = rank(model, queries, gallery, correct)
    assert model.largest <= 100
    for name in ("above", "tied", "correct", "right", "top"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_nan_similarity_is_an_error_and_no_perfect_rank() -> None:
    with pytest.raises(ValueError, match="NaN"):
        ranked(torch.tensor([[torch.nan, 0.5]]), [[0]])
