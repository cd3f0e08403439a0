from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.retrieval import retrieval_precision

from counterpoint.evaluation import create, evaluate
from counterpoint.evaluation.tasks.label_retrieval import precisions
from fixtures.tiny import Oracle, Pixels, TinyData


def test_precision_equals_torchmetrics_other_rows_negative() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.rand(30, 4, generator=generator) + 0.1
    classes = torch.randint(0, 3, (30,), generator=generator)
    positive = precisions(Pixels(), z, z, classes)
    negative = precisions(Pixels(), -z, z.flip(0) * 0 + z, classes)
    for i in range(30):
        others = torch.arange(30) != i
        scores, same = z @ z[i], classes == classes[i]
        for k in (1, 5, 10):
            assert positive[k][i] == pytest.approx(
                float(retrieval_precision(scores[others], same[others], top_k=k))
            )
            # With queries turned round, all cosines are negative, and the most distant come first.
            lowest = torch.argsort(scores[others])[:k]
            assert negative[k][i] == pytest.approx(float(same[others][lowest].float().mean()))


def test_ties_at_the_last_place_count_by_their_expectation() -> None:
    table = torch.tensor([0.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    classes = torch.tensor([0, 0, 1, 0, 1, 0, 1, 0])
    found = precisions(Pixels(), table[:, None] * 0 + 1, table[:, None], classes)
    tied = [1, 0, 1, 0, 1]
    means = [np.mean([1, *(1 - tied[j] for j in chosen)]) for chosen in itertools.combinations(range(5), 4)]
    assert found[5][0] == pytest.approx(np.mean(means))


def test_the_task_by_label_from_captions_and_from_pictures(tiny_data: TinyData) -> None:
    shape = torch.from_numpy(tiny_data.labels["subgroup"].values)
    images = torch.eye(7)[shape]
    texts = {tiny_data.captions(row)[0]: images[row] for row in range(70)}
    scores = create("label_retrieval", labels=("subgroup", "tone"))(
        Oracle(tiny_data, images, texts), tiny_data, np.arange(70)
    )
    assert scores.value("i2i_subgroup_P@5") == 1
    assert scores.value("t2i_subgroup_P@1") == scores.value("t2i_subgroup_P@5") == 1
    assert scores.value("t2i_subgroup_P@50") == pytest.approx((9 + 41 * 0) / 50)
    assert scores.metrics["t2i_subgroup_P@5"].chance == pytest.approx(9 / 69)
    assert scores.examples["i2i_tone_P@5"].null_count() == 14
    assert math.isnan(create("label_retrieval")(Pixels(), tiny_data, np.arange(8)).value("i2i_group_P@10"))


def test_a_model_of_pictures_alone_is_asked_by_pictures() -> None:
    class Pictures(Pixels):
        """`Pixels` without texts."""

        embeds = ("image",)

    data = TinyData()
    (scores,) = evaluate(Pictures(), data, ["label_retrieval"], {"all": np.arange(70)}).by_test["all"]
    assert {name.split("_")[0] for name in scores.metrics} == {"i2i"}
    assert scores.main[0] == "i2i_group_P@10"
    assert scores.value("i2i_group_P@1") > 0.5
