from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor

from counterpoint.data import Classes
from counterpoint.data.embeddings import EmbeddingCache
from counterpoint.evaluation import create
from counterpoint.types import Scores
from fixtures.tiny import Oracle, Pixels, TinyData

WIDTH = 6


def prompts(labels: Classes) -> list[list[str]]:
    return [[template.replace("{}", name) for template in labels.templates] for name in labels.names]


def random_answers(data: TinyData, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Unit pictures, and texts of many lengths: a correct ensemble normalises each before the mean."""
    generator = torch.Generator().manual_seed(seed)
    images = F.normalize(torch.randn(len(data), WIDTH, generator=generator), dim=-1)
    texts = {
        prompt: torch.randn(WIDTH, generator=generator) * (1 + 9 * (i % 2))
        for labels in data.labels.values()
        for i, prompt in enumerate(p for of_class in prompts(labels) for p in of_class)
    }
    return images, texts


def looped_similarities(data: TinyData, answers: tuple[Tensor, dict[str, Tensor]], label: str) -> np.ndarray:
    images, texts = answers
    table = np.zeros((len(data), len(data.labels[label].names)))
    for k, of_class in enumerate(prompts(data.labels[label])):
        units = [texts[p].double().numpy() / np.linalg.norm(texts[p].double().numpy()) for p in of_class]
        centre = sum(units) / len(units)
        table[:, k] = images.double().numpy() @ (centre / np.linalg.norm(centre))
    return table


@pytest.mark.parametrize("label", ["group", "subgroup", "tone", "gender"])
def test_both_accuracies_equal_loops_and_scikit_learn(tiny_data: TinyData, label: str) -> None:
    answers = random_answers(tiny_data, 0)
    rows = np.arange(5, 65)
    scores = create("zero_shot")(Oracle(tiny_data, *answers), tiny_data, rows)
    truth = tiny_data.labels[label].values[rows]
    predicted = looped_similarities(tiny_data, answers, label)[rows].argmax(1)
    known = truth >= 0
    assert scores.value(f"{label}_top1") == pytest.approx(np.mean(predicted[known] == truth[known]))
    assert scores.value(f"{label}_mean_per_class") == pytest.approx(
        balanced_accuracy_score(truth[known], predicted[known])
        if set(predicted[known]) <= set(truth[known])
        else mean_of_classes(truth[known], predicted[known])
    )
    assert scores.examples[f"{label}_predicted"].drop_nulls().to_list() == predicted[known].tolist()
    assert scores.examples[f"{label}_top1"].null_count() == np.sum(~known)
    assert scores.constant(f"{label}_top1") == np.bincount(truth[known]).max() / known.sum()
    assert scores.metrics[f"{label}_top1"].chance == 1 / len(tiny_data.labels[label].names)


def mean_of_classes(truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.mean([np.mean(predicted[truth == k] == k) for k in np.unique(truth)]))


def test_heads_and_mixes_weigh_the_global_head_by_w(tiny_data: TinyData) -> None:
    z, h = random_answers(tiny_data, 1), random_answers(tiny_data, 2)
    model = Oracle(tiny_data, *z, heads=("global", "local"), by_head={"local": h})
    scores = create("zero_shot", labels=("subgroup",))(model, tiny_data, np.arange(70))
    truth = tiny_data.labels["subgroup"].values
    cos_z, cos_h = (looped_similarities(tiny_data, answers, "subgroup") for answers in (z, h))

    def expected(similarities: np.ndarray) -> float:
        return float(np.mean(similarities.argmax(1) == truth))

    assert scores.value("subgroup_top1") == pytest.approx(expected(cos_z))
    assert scores.value("subgroup_top1[local]") == pytest.approx(expected(cos_h))
    mixes = [name for name in scores.metrics if name.startswith("subgroup_top1[mixed")]
    assert len(mixes) == 9
    for w in (0.1, 0.3, 0.5, 0.9):
        assert scores.value(f"subgroup_top1[mixed {w}]") == pytest.approx(
            expected(w * cos_z + (1 - w) * cos_h)
        )
    assert scores.value("subgroup_top1[mixed 0.1]") != scores.value("subgroup_top1[mixed 0.9]")


def test_a_collapsed_model_scores_chance_and_not_the_first_class(tiny_data: TinyData) -> None:
    class Collapsed(Pixels):
        def embed(self, modality: str, inputs: object, head: str = "default") -> Tensor:
            return torch.ones(len(inputs), 4) / 2  # type: ignore[arg-type]

    scores = create("zero_shot")(Collapsed(), tiny_data, np.arange(70))
    for label, labels in tiny_data.labels.items():
        assert scores.value(f"{label}_top1") == pytest.approx(1 / len(labels.names))
        assert scores.value(f"{label}_mean_per_class") == pytest.approx(1 / len(labels.names))


def with_label(labels: Classes) -> TinyData:
    data = TinyData()
    data.labels = {"group": labels}
    return data


def test_one_class_and_rows_without_any_label_are_undefined() -> None:
    one = with_label(Classes(("only",), np.zeros(70, dtype=int)))
    assert math.isnan(create("zero_shot")(Pixels(), one, np.arange(9)).value("group_top1"))
    none = with_label(Classes(("a", "b"), np.full(70, -1)))
    scores = create("zero_shot")(Pixels(), none, np.arange(9))
    assert all(math.isnan(scores.value(name)) for name in scores.metrics)


def test_an_absent_subset_is_undefined(tiny_data: TinyData) -> None:
    scores: Scores = create("zero_shot")(Pixels(), tiny_data, np.flatnonzero(tiny_data.subsets == "rest"))
    assert scores.subsets() == ("all",)
    assert math.isnan(scores.value("tone_top1"))
    assert math.isnan(scores.value("group_top1", "tone variants"))


def test_templates_are_normalised_before_their_mean(tiny_data: TinyData) -> None:
    labels = dataclasses.replace(tiny_data.labels["tone"], templates=("{}", "long {}"))
    texts = {
        p: torch.tensor([100.0, 0.0]) if p.startswith("long") else torch.tensor([0.0, 1.0])
        for of_class in prompts(labels)
        for p in of_class
    }
    z = EmbeddingCache(Oracle(tiny_data, torch.zeros(70, 2), texts), tiny_data).classes(labels)
    torch.testing.assert_close(z, torch.full((4, 2), 2**-0.5))
