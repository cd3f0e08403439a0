"""Joint scores of pairs beside embeddings, and likelihoods of captions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.data.items import Choices
from counterpoint.data.source import load
from counterpoint.evaluation import create, evaluate
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.study.gate import asked_of
from counterpoint.testing import MethodCase
from counterpoint.testing._task import RandomEmbedder
from counterpoint.types import PairStates

DATA = load("scenes:basic,pixels=24,train=4,validation=2,test=40")
ROWS = next(iter(DATA.splits.test.values()))


class Joint(RandomEmbedder):
    """A model whose joint score knows which caption is whose, and whose second score is its opposite."""

    pair_heads = ("joint", "opposite")

    def __init__(self, embeds: tuple[str, ...] = ("image", "text")) -> None:
        super().__init__()
        self.embeds, self.panels = embeds, list[int]()
        self.owner = {DATA.captions(int(row))[0]: self.mark(DATA.images(np.array([row])))[0] for row in ROWS}

    @staticmethod
    def mark(pictures: Tensor) -> Tensor:
        return pictures.double().flatten(1) @ torch.linspace(0, 1, pictures[0].numel(), dtype=torch.float64)

    def pair_states(self, column: str, raw: Any) -> PairStates:
        if column == "image":
            return {"picture": self.mark(raw)}
        return {"text": torch.stack([self.owner.get(text, torch.tensor(0.0).double()) for text in raw])}

    def pair_scores(self, a: PairStates, b: PairStates) -> Tensor:
        a, b = (a, b) if "picture" in a else (b, a)
        self.panels.append(len(a["picture"]))
        right = -(a["picture"] - b["text"]).abs()
        return torch.stack([right, -right], 1)


def test_best_answers_by_embedding_are_ranked_once_more() -> None:
    found = create("retrieval", rerank=8)(Joint(), DATA, ROWS)
    plain = create("retrieval", rerank=0)(Joint(), DATA, ROWS)
    assert not any("[joint]" in name for name in plain.metrics)
    by_embedding = found.examples["i2t_rank"].to_numpy()
    assert by_embedding.tolist() == plain.examples["i2t_rank"].to_list()
    joint, opposite = (found.examples[f"i2t_rank[{head}]"].to_numpy() for head in ("joint", "opposite"))
    inside = by_embedding <= 8
    assert 0 < inside.sum() < len(ROWS)
    assert (joint[inside] == 1).all()
    assert (opposite[inside] == 8).all()
    assert (joint[~inside] == by_embedding[~inside]).all()
    assert found.metrics["t2i_R@1[joint]"].chance == found.metrics["t2i_R@1"].chance


def test_all_answers_reranked_is_the_joint_score_alone() -> None:
    model = Joint()
    found = create("retrieval,rerank=40")(model, DATA, ROWS)
    assert found.value("i2t_R@1[joint]") == found.value("t2i_R@1[joint]") == 1
    assert sum(model.panels) == 2 * len(ROWS) ** 2  # once for both scores


def test_choices_and_squares_are_scored_jointly_throughout() -> None:
    choices = create("sugarcrepe")(Joint(), DATA, ROWS)
    plain = create("sugarcrepe")(RandomEmbedder(), DATA, ROWS)
    assert choices.value("accuracy") == plain.value("accuracy")
    items, model = DATA.items(Choices, ROWS), Joint()
    # Items whose right caption is that of a row; of the others the joint score knows nothing.
    known = {
        int(identity)
        for identity, texts, answer in zip(items.ids, items.options, items.answers, strict=True)
        if texts[answer] in model.owner
    }
    right = dict(zip(choices.examples["example"], choices.examples["right[joint]"], strict=True))
    assert len(known) > len(items) / 2
    assert all(right[identity] == 1 for identity in known)
    assert choices.value("accuracy[opposite]") == 0
    squares = create("winoground")(Joint(), DATA, ROWS)
    assert squares.metrics.keys() >= {"group", "group[joint]", "text[opposite]"}


def test_model_without_embeddings_of_texts_has_joint_scores_alone() -> None:
    model = Joint(("image",))
    assert "accuracy" not in create("sugarcrepe")(model, DATA, ROWS).metrics
    with pytest.raises(NotApplicableError, match="two columns that the model embeds"):
        create("retrieval")(model, DATA, ROWS)
    (result,) = evaluate(model, DATA, ["sugarcrepe"], {"some": ROWS}).by_test["some"]
    assert result.main == ()


def test_each_arm_of_a_study_is_asked_what_it_can_answer() -> None:
    tasks = [create(name) for name in ("retrieval", "sugarcrepe", "captions", "probe")]
    names = {
        name: [task.name for task in asked_of(MethodCase(name).build(), tasks)] for name in ("clip", "cappa")
    }
    assert names == {
        "clip": ["retrieval", "sugarcrepe", "probe"],
        "cappa": ["sugarcrepe", "captions", "probe"],
    }
    assert [task.name for task in asked_of(MethodCase("clip").build(), tasks[2:3])] == [
        "captions"
    ]  # which refuses it


def test_captions_are_judged_by_likelihood_and_by_what_they_say() -> None:
    found = create("captions")(RandomEmbedder(), DATA, ROWS)
    words = [
        caption.split() for row in ROWS for caption in dict.fromkeys(DATA.evaluation_texts("text", int(row)))
    ]
    letters, tokens = sum(len(word) for of_one in words for word in of_one), sum(map(len, words))
    assert found.value("nll") == pytest.approx(letters / 4 / tokens)
    assert found.value("blind_nll") == pytest.approx(letters / 2 / tokens)
    cats = [any("cat" in caption for caption in DATA.captions(int(row))) for row in ROWS]
    assert found.examples["mentions"].to_list() == [1.0] * len(ROWS)
    assert 0 < found.value("chair") <= 1
    assert found.value("chair") <= 1 - np.mean(cats) + 0.1
    with pytest.raises(NotApplicableError, match="models that write captions"):
        create("captions")(MethodCase("clip").build(), DATA, ROWS)
