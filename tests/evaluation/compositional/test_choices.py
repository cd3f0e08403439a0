"""Choices: SugarCrepe's and ARO's scores in closed form, ties and chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from counterpoint.evaluation import create
from counterpoint.types import Embedder, Scores
from fixtures.hand_made import Blind, HandChoices, ItemData, SimilarityTable

KINDS = ["swap object", "replace object", "replace colour", "add object"]


def given(
    rows: list[list[float]], answers: list[int], kinds: list[str] | None = None
) -> tuple[ItemData, SimilarityTable]:
    """Data and a model with these similarities of each item's options."""
    options = [[f"{k} option {o}" for o in range(len(row))] for k, row in enumerate(rows)]
    table = {}
    for k, (texts, row) in enumerate(zip(options, rows, strict=True)):
        for text, value in zip(texts, row, strict=True):
            table[text] = torch.full((len(rows),), 0.99)
            table[text][k] = value
    return ItemData(HandChoices(options, answers, kinds)), SimilarityTable(table)


def score(name: str, data: ItemData, model: Embedder) -> Scores:
    return create(name)(model, data, np.arange(2))


def test_each_kind_and_family_has_its_score() -> None:
    data, model = given([[0.9, 0.1], [0.1, 0.9], [0.2, 0.3], [0.5, 0.1]], [0, 0, 1, 0], KINDS)
    found = score("sugarcrepe", data, model)
    assert found.value("accuracy") == 3 / 4
    assert found.value("mean_over_kinds") == 3 / 4
    assert [found.value(f) for f in ("swap", "replace", "add")] == [1, 1 / 2, 1]
    assert found.value("accuracy", "replace object") == 0
    assert np.isnan(found.value("swap", "add object"))
    assert found.examples["chosen"].to_list() == [0, 1, 1, 0]


def test_the_mean_over_kinds_is_not_swayed_by_frequent_ones() -> None:
    data, model = given([[0.9, 0.1]] * 9 + [[0.1, 0.9]], [0] * 10, ["add object"] * 9 + ["swap object"])
    found = score("sugarcrepe", data, model)
    assert (found.value("accuracy"), found.value("mean_over_kinds")) == (pytest.approx(0.9), 0.5)


@pytest.mark.parametrize("name", ["sugarcrepe", "aro"])
def test_blind_model_has_nothing_right_wherever_answer_stands(name: str) -> None:
    options = [[f"{k} {o}" for o in range(5)] for k in range(100)]
    data = ItemData(HandChoices(options, [k % 5 for k in range(100)]))
    assert score(name, data, Blind(texts=True, pictures=False)).value("accuracy") == 0


@pytest.mark.parametrize("name", ["sugarcrepe", "aro"])
def test_family_called_like_column_of_all_tasks_leaves_it_alone(name: str) -> None:
    data, model = given([[0.9, 0.1], [0.1, 0.9]], [0, 0], ["example a", "subset b"])
    found = score(name, data, model)
    assert found.examples["example"].to_list() == [10, 11]
    assert {*found.examples["subset"]} <= {"example a", "subset b", "kind example", "kind subset"}
    assert [found.value(f"kind {family}") for family in ("example", "subset")] == [1, 0]


def test_several_options_need_the_best_of_all() -> None:
    data, model = given([[0.5, 0.9, 0.1], [0.5, 0.4, 0.1], [0.5, 0.5, 0.1]], [0, 0, 0])
    found = score("sugarcrepe", data, model)
    assert found.examples["right"].to_list() == [0, 1, 0]
    np.testing.assert_allclose(found.examples["margin"].to_numpy(), [-0.4, 0.1, 0], atol=1e-6)


def test_chance_is_what_random_similarities_score() -> None:
    generator = np.random.default_rng(0)
    sizes = [2] * 120 + [5] * 80
    rows = [generator.random(size).tolist() for size in sizes]
    answers = [int(generator.integers(size)) for size in sizes]
    data, model = given(rows, answers)
    found = score("sugarcrepe", data, model)
    chance = found.metrics["accuracy"].chance
    assert chance == pytest.approx((120 / 2 + 80 / 5) / 200)
    hits = round(found.value("accuracy") * 200)
    assert stats.binomtest(hits, 200, chance).pvalue > 0.001
    loop = [max(range(len(r)), key=r.__getitem__) == a for r, a in zip(rows, answers, strict=True)]
    assert hits == sum(loop)


def test_aro_averages_over_relations() -> None:
    kinds = ["relation: behind", "relation: behind", "relation: on", "attribution: white red", "order"]
    data, model = given([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9]], [0] * 5, kinds)
    found = score("aro", data, model)
    assert found.value("accuracy") == pytest.approx(3 / 5)
    assert found.value("relation") == pytest.approx(2 / 3)
    assert found.value("relation_macro") == pytest.approx(1 / 2)
    assert (found.value("attribution_macro"), found.value("order")) == (1, 0)
    assert found.subsets() == ("all", "attribution", "order", "relation")


def test_a_choice_needs_two_options_and_an_answer_among_them() -> None:
    for options, answer in (([["a"]], 0), ([["a", "b"]], 2)):
        with pytest.raises(ValueError, match="a choice is between two at least, one of which is right"):
            score("sugarcrepe", ItemData(HandChoices(options, [answer])), Blind())


@pytest.mark.parametrize("name", ["right", "margin", "chosen", "guess", "kind", "accuracy"])
def test_a_kind_called_like_an_outcome_takes_no_place(name: str) -> None:
    kinds = [f"{name} of", "left of", "left of"]
    data, model = given([[0.9, 0.1], [0.1, 0.9], [0.2, 0.3]], [0, 0, 0], kinds)
    found = score("sugarcrepe", data, model)
    assert found.value("accuracy") == pytest.approx(1 / 3)
    assert found.value("mean_over_kinds") == 1 / 2
    assert (found.value(f"kind {name}"), found.value("left")) == (1, 0)
