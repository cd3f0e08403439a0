"""Squares: closed-form scores, ties, chance, and who is blind to what."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from counterpoint.evaluation import create, evaluate
from counterpoint.evaluation.tasks._squares import SquareTask, decisions
from counterpoint.types import Embedder, Scores
from fixtures.hand_made import Blind, HandSquares, ItemData, SimilarityTable

TASKS = ("winoground", "bivlc", "mmvp", "inpaintcoco")


def given(similarities: torch.Tensor) -> tuple[ItemData, SimilarityTable]:
    """Data and a model with these similarities ``(n, pictures, captions)``."""
    n = len(similarities)
    captions = [(f"{k} zero", f"{k} one") for k in range(n)]
    table = {}
    for k, pair in enumerate(captions):
        for c, text in enumerate(pair):
            table[text] = torch.full((2 * n,), 0.99)  # what is not compared must not matter
            table[text][2 * k : 2 * k + 2] = similarities[k, :, c]
    kinds = ["swap object" if k % 3 else "replace object" for k in range(n)]
    return ItemData(HandSquares(captions, kinds, [7 + 2 * k for k in range(n)])), SimilarityTable(table)


def score(name: str, data: ItemData, model: Embedder) -> Scores:
    return create(name)(model, data, np.arange(2))


def values(scores: Scores) -> dict[str, float]:
    return {name: scores.value(name) for name in scores.metrics}


PERFECT = torch.tensor([[0.8, 0.2], [0.1, 0.7]])


def test_a_perfect_model_is_right_in_everything() -> None:
    data, model = given(PERFECT.repeat(4, 1, 1))
    for name in TASKS:
        found = values(score(name, data, model))
        assert found.pop("picture_gap", 0.0) == 0
        assert set(found.values()) == {1.0}


def test_an_adversarial_model_is_wrong_in_everything() -> None:
    data, model = given(PERFECT.flip(1).repeat(4, 1, 1))
    for name in TASKS:
        assert set(values(score(name, data, model)).values()) == {0.0}


@pytest.mark.parametrize("blind", [(True, True), (True, False), (False, True)])
def test_cannot_tell_two_pictures_or_captions_apart_no_pair(blind: tuple[bool, bool]) -> None:
    """The float32 products of equal vectors differ in their last digits: rounding must not decide."""
    data, _ = given(PERFECT.repeat(60, 1, 1))
    model = Blind(*blind)
    found = values(score("winoground", data, model))
    assert found["group"] == 0
    assert found["image" if blind[0] else "text"] == 0
    assert values(score("bivlc", data, Blind()))["picture_0"] == 0


def test_a_tie_is_wrong() -> None:
    data, model = given(torch.tensor([[[0.5, 0.5], [0.1, 0.7]]]))
    found = values(score("bivlc", data, model))
    assert (found["picture_0"], found["picture_1"], found["caption_0"], found["caption_1"]) == (0, 1, 1, 1)


def test_text_score_about_pictures_image_score_about_captions() -> None:
    # Caption 0 is liked best by both pictures: picture 1 is wrong, both captions find their picture.
    data, model = given(torch.tensor([[[0.9, 0.1], [0.8, 0.7]]]))
    found = values(score("winoground", data, model))
    assert found == {"text": 0, "image": 1, "group": 0}
    data, model = given(torch.tensor([[[0.9, 0.8], [0.1, 0.7]]]))
    assert values(score("winoground", data, model)) == {"text": 1, "image": 0, "group": 0}
    assert values(score("mmvp", data, model))["pair_accuracy"] == 0


def test_a_model_that_prefers_one_picture_has_a_gap() -> None:
    data, model = given(torch.tensor([[[0.9, 0.8], [0.2, 0.3]]]).repeat(5, 1, 1))
    found = values(score("bivlc", data, model))
    assert (found["caption_0"], found["caption_1"], found["picture_gap"], found["t2i"]) == (1, 0, 1, 0)


def test_chance_is_what_exchangeable_similarities_score() -> None:
    """All 24 orders of four different similarities, once each: the chance levels exactly."""
    orders = torch.tensor(list(permutations([0.1, 0.2, 0.3, 0.4]))).view(-1, 2, 2)
    data, model = given(orders)
    for name in TASKS:
        scores = score(name, data, model)
        for metric, definition in scores.metrics.items():
            if metric != "mean_over_patterns":  # kinds hold different shares of the orders
                assert scores.value(metric) == pytest.approx(definition.chance), (name, metric)


def test_decisions_agree_with_a_loop_over_random_squares() -> None:
    similarities = torch.rand(300, 2, 2, generator=torch.Generator().manual_seed(0))
    of_pictures, of_captions = decisions(similarities)
    for k, s in enumerate(similarities.double().tolist()):
        assert of_pictures[k].tolist() == [s[0][0] > s[0][1], s[1][1] > s[1][0]]
        assert of_captions[k].tolist() == [s[0][0] > s[1][0], s[1][1] > s[0][1]]
    data, model = given(similarities)
    found = score("bivlc", data, model)
    assert found.value("i2t") == pytest.approx(of_pictures.all(1).mean())
    assert found.value("t2i") == pytest.approx(of_captions.all(1).mean())
    both = of_pictures.all(1) & of_captions.all(1)
    assert found.value("group") == pytest.approx(both.mean())
    assert found.value("picture_gap") == pytest.approx(
        abs(of_captions[:, 0].mean() - of_captions[:, 1].mean())
    )
    single = score("inpaintcoco", data, model)
    assert single.value("text_single") == pytest.approx(of_pictures.mean())
    assert single.value("image_single") == pytest.approx(of_captions.mean())


def test_the_mean_over_patterns_counts_each_kind_once() -> None:
    # Kinds: replace, swap, swap, replace; the two of replace right, none of swap.
    similarities = torch.stack([PERFECT, PERFECT.flip(1), PERFECT.flip(1), PERFECT, PERFECT.flip(1)])
    data, model = given(similarities)
    found = values(score("mmvp", data, model))
    assert found["pair_accuracy"] == pytest.approx(2 / 5)
    assert found["mean_over_patterns"] == pytest.approx(1 / 2)


def test_examples_are_items_and_subsets_their_kinds() -> None:
    data, model = given(torch.rand(6, 2, 2, generator=torch.Generator().manual_seed(1)))
    results = evaluate(model, data, tasks=TASKS)
    examples = results.examples()
    for task in TASKS:
        mine = examples.filter(task=task)
        assert sorted(mine["example"].unique().to_list()) == [7, 9, 11, 13, 15, 17]
        assert set(mine["subset"]) == {"swap object", "replace object"}
    rows = results.scores()
    assert {r["subset"] for r in rows} == {"all", "swap object", "replace object"}
    assert {r["statistic"] for r in rows} == {"mean", "magnitude", "mean_per_class"}


def test_the_margin_is_the_least_lead() -> None:
    data, model = given(torch.tensor([[[0.8, 0.2], [0.1, 0.7]], [[0.3, 0.2], [0.6, 0.7]]]))
    margin = score("winoground", data, model).examples["margin"].to_numpy()
    np.testing.assert_allclose(margin, [0.7 - 0.2, 0.3 - 0.6], atol=1e-6)


def test_items_must_be_there_and_told_apart() -> None:
    with pytest.raises(ValueError, match=r"asks about minimal pairs, and these rows of .* have none"):
        score("bivlc", ItemData(HandSquares([], [])), Blind())
    twice = ItemData(HandSquares([("a", "b"), ("c", "d")], ["x", "x"], [3, 3]))
    with pytest.raises(ValueError, match="two minimal pairs of 'hand-made' have the same id"):
        score("bivlc", twice, Blind())


def test_all_are_square_tasks() -> None:
    assert all(isinstance(create(name), SquareTask) for name in TASKS)
