from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.evaluation import create
from counterpoint.types import Scores
from fixtures.tiny import Oracle, Pixels, TinyData


class Named(TinyData):
    """The tiny data with given evaluation captions for its first rows."""

    def __init__(self, names: dict[int, tuple[str, ...]]) -> None:
        super().__init__()
        self.names = names

    def evaluation_captions(self, row: int) -> Sequence[str]:
        return self.names[row]


def oracle(data: TinyData, images: Sequence[Sequence[float]], texts: dict[str, Sequence[float]]) -> Oracle:
    table = torch.zeros(len(data), len(images[0]))
    table[: len(images)] = torch.tensor(images)
    return Oracle(data, table, {name: torch.tensor(v) for name, v in texts.items()})


def outcome(scores: Scores, name: str) -> list[float]:
    return list(scores.examples[name])


def test_known_cosines_give_the_ranks_computed_by_hand() -> None:
    data = Named({0: ("a",), 1: ("b",), 2: ("c",)})
    model = oracle(
        data,
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        {"a": [-0.5, 0, 0.2], "b": [-0.6, -0.1, 0.1], "c": [-0.7, 0.3, 0]},
    )
    # Similarity of picture (row) and caption (column): [-.5 -.6 -.7], [0 -.1 .3], [.2 .1 0].
    scores = create("retrieval")(model, data, np.array([0, 1, 2]))
    assert outcome(scores, "i2t_rank") == [1, 3, 3]
    assert outcome(scores, "t2i_rank") == [3, 2, 2]
    assert outcome(scores, "i2t_top") == data.ids[[0, 2, 0]].tolist()
    assert outcome(scores, "t2i_top") == data.ids[[2, 2, 1]].tolist()
    assert scores.value("i2t_R@1") == pytest.approx(1 / 3)
    assert scores.value("t2i_R@1") == 0
    assert scores.value("i2t_median_rank") == 3
    assert scores.metrics["i2t_R@1"].chance == pytest.approx(1 / 3)
    assert not scores.metrics["i2t_median_rank"].higher_is_better


def test_rows_with_the_same_caption_are_correct_for_each_other() -> None:
    data = Named({0: ("cat",), 1: ("cat",), 2: ("dog",)})
    model = oracle(data, [[0, 1], [1, 0], [0.5, 0.5]], {"cat": [1, 0], "dog": [0, 1]})
    scores = create("retrieval")(model, data, np.array([0, 1, 2]))
    # "cat" finds row 1 first, and that is right for row 0 too; the gallery of captions has two members.
    assert outcome(scores, "t2i_rank") == [1, 1, 2]
    assert outcome(scores, "t2i_top") == data.ids[[1, 1, 0]].tolist()
    assert outcome(scores, "i2t_rank") == [2, 1, 1.5]
    assert scores.metrics["i2t_R@1"].chance == pytest.approx(1 / 2)
    assert scores.metrics["t2i_R@1"].chance == pytest.approx((2 / 3 + 2 / 3 + 1 / 3) / 3)


def test_row_with_several_captions_scores_mean_best_when_queries() -> None:
    data = Named({0: ("a", "b"), 1: ("c",)})
    model = oracle(data, [[1, 0], [0, 1]], {"a": [0, 1], "b": [1, 0], "c": [0.5, 0.2]})
    scores = create("retrieval")(model, data, np.array([0, 1]))
    assert outcome(scores, "i2t_rank") == [1, 2]
    assert outcome(scores, "t2i_rank") == [1.5, 2]
    assert outcome(scores, "t2i_R@1") == [0.5, 0]


def test_a_collapsed_model_scores_chance_in_every_metric(tiny_data: TinyData) -> None:
    class Collapsed(Pixels):
        def embed(self, modality: str, inputs: object, head: str = "default") -> Tensor:
            return torch.ones(len(inputs), 4) / 2  # type: ignore[arg-type]

    scores = create("retrieval")(Collapsed(), tiny_data, np.arange(70))
    for name, metric in scores.metrics.items():
        assert scores.value(name) == pytest.approx(metric.chance), name


def test_caption_of_many_pictures_is_good_answer_to_all_of_them() -> None:
    """Five of 36 pictures have one caption: who always says it is right for 13.9 %, where chance is 1 of 32."""
    names = {row: ("icon",) if row < 5 else (f"thing {row}",) for row in range(36)}
    texts = {text: [0.0, 1.0] if text == "icon" else [0.0, 0.0] for (text,) in names.values()}
    model = oracle(Named(names), [[0.0, 1.0]] * 36, texts)
    scores = create("retrieval")(model, Named(names), np.arange(36))
    for direction in ("i2t", "t2i"):
        assert scores.constant(f"{direction}_R@1") == pytest.approx(5 / 36)
        assert scores.constant(f"{direction}_R@5") == pytest.approx((5 + 4) / 36)
    assert scores.value("i2t_R@1") == pytest.approx(5 / 36)
    assert scores.metrics["i2t_R@1"].chance == pytest.approx(1 / 32)
    assert scores.constant("i2t_median_rank") is None


def test_without_repeats_the_best_constant_answer_is_chance(tiny_data: TinyData) -> None:
    scores = create("retrieval")(Pixels(), tiny_data, np.arange(70))
    for name, metric in scores.metrics.items():
        if "R@" in name:
            assert scores.constant(name) == pytest.approx(metric.chance), name


def test_further_heads_are_scored_under_their_names(tiny_data: TinyData) -> None:
    rows = np.arange(6)
    captions = [tiny_data.evaluation_captions(int(row))[0] for row in rows]
    images = torch.eye(70)
    right = {caption: images[i] for i, caption in enumerate(captions)}
    wrong = {caption: images[5 - i] for i, caption in enumerate(captions)}
    model = Oracle(tiny_data, images, right, ("global", "local"), {"local": (images, wrong)})
    scores = create("retrieval")(model, tiny_data, rows)
    assert scores.value("i2t_R@1") == 1
    assert scores.value("i2t_R@1[local]") == 0


def test_too_few_rows_and_a_row_without_caption_are_errors(tiny_data: TinyData) -> None:
    retrieval = create("retrieval")
    with pytest.raises(ValueError, match=r"at least 2 example.*'tiny' has 1"):
        retrieval(Pixels(), tiny_data, np.array([3]))
    with pytest.raises(ValueError, match="example 1003 of 'tiny' has no caption"):
        retrieval(Pixels(), Named({0: ("a",), 1: ()}), np.array([0, 1]))
