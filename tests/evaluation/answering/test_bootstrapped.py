"""Bootstrapped questions: retry and fallback, composition, difficulty, drops that are paired, judges, long contexts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.data.items import Operator, Question, QuestionVariants, Sample
from counterpoint.data.pictured import PairedData
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.evaluation import breakdown, create
from counterpoint.evaluation.tasks.vlb import (
    HARD,
    PAIRS,
    SINGLE,
    TRIES,
    VARIANTS,
    VLB,
    AssistantJudge,
    bootstrap,
    difficulty,
)
from counterpoint.registry import UnknownNameError
from counterpoint.types import Prompt

WORLD = "scenes:tiny,pixels=32,train=20,test=24"


@dataclass(frozen=True)
class Words:
    """A sample of words alone."""

    text: str = "Is it so?"

    @property
    def question(self) -> Question:
        return Question("so", self.text, "yes", ("yes", "no"))

    @property
    def picture(self) -> Tensor:
        return torch.zeros(3, 4, 4, dtype=torch.uint8)

    @property
    def captions(self) -> Sequence[str]:
        return ("so", "not so")


class Fixed(QuestionVariants):
    """One question, and operators that a test chooses."""

    def __init__(self, accept: Any = lambda after: True, **operators: Operator) -> None:
        self.ids, self.kinds, self.rows = np.array([3]), ["so"], np.array([0])
        self.questions = [Words().question]
        self.operators = operators
        self.accept, self.seen = accept, list[tuple[Sample, Sample, str]]()

    def pictures(self, positions: Any) -> Tensor:
        return torch.zeros(len(positions), 3, 4, 4, dtype=torch.uint8)

    def sample(self, position: int) -> Words:
        return Words()

    def judge(self, before: Sample, after: Sample, done: str) -> bool:
        self.seen.append((before, after, done))
        return bool(self.accept(after))


def says(word: str) -> Operator:
    def operator(sample: Sample, seed: int) -> tuple[Words, str]:
        return Words(f"{word} {sample.question.text}"), f"{word} was said"

    return operator


def test_operators_act_in_order_and_judge_sees_the_first_item() -> None:
    items = Fixed(V=says("v"), L=says("w"))
    found, given_up = bootstrap(items, 0, "V+L")
    assert found.question.text == "w v Is it so?"
    assert given_up == 0
    assert [(before.question.text, done) for before, _, done in items.seen] == [
        ("Is it so?", "v was said"),
        ("Is it so?", "v was said; w was said"),
    ]


def test_a_refused_operator_is_tried_again_and_then_given_up() -> None:
    items = Fixed(lambda after: "v" not in after.question.text, V=says("v"), L=says("w"))
    found, given_up = bootstrap(items, 0, "V+L")
    assert found.question.text == "w Is it so?"
    assert given_up == 0.5
    assert len(items.seen) == TRIES + 1
    found, given_up = bootstrap(Fixed(V=lambda sample, seed: None), 0, "V")
    assert (found.question.text, given_up) == ("Is it so?", 1.0)


def test_each_try_has_a_seed_of_its_own_and_so_has_each_edition() -> None:
    seeds: list[int] = []

    def operator(sample: Sample, seed: int) -> tuple[Words, str]:
        seeds.append(seed)
        return Words(str(seed)), ""

    for edition in (0, 0, 1):
        bootstrap(Fixed(lambda after: False, V=operator), 0, "V", edition=edition)
    assert seeds[:TRIES] == seeds[TRIES : 2 * TRIES]
    assert len(set(seeds)) == 2 * TRIES


def test_a_judge_of_the_users_replaces_the_items_own() -> None:
    items = Fixed(V=says("v"))
    assert bootstrap(items, 0, "V", judge=lambda before, after, done: False)[1] == 1.0
    assert not items.seen
    with pytest.raises(UnknownNameError, match="unknown bootstrapping operator 'W'"):
        bootstrap(items, 0, "V+W")


def test_difficulty_counts_hard_operators() -> None:
    assert len(PAIRS) == len(set(PAIRS)) == 12
    assert {name for name in SINGLE if difficulty(name)} == HARD
    assert max(VARIANTS, key=difficulty) == "V1+V3+L4"
    assert difficulty("vanilla") == difficulty("pad") == 0


class Constant:
    """Replies the same to everything."""

    def __init__(self, text: str) -> None:
        self.text, self.asked = text, list[Prompt]()

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        self.asked += prompts
        return [self.text] * len(prompts)

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Tensor:
        self.asked += prompts
        return torch.tensor([[float(word in self.text) for word in words]] * len(prompts))


def world() -> Scenes:
    return Scenes.parse(WORLD)


def rows(data: Scenes) -> np.ndarray:
    return data.splits.test["as trained"]


def test_scores_are_of_every_variant_paired_and_by_kind() -> None:
    data, assistant = world(), Constant("yes")
    variants = ("V1", "L4", "V1+L4", "pad")
    scores = VLB(variants)(assistant, data, rows(data))
    table = scores.examples
    assert scores.task == "vlb"
    assert {"vanilla", *variants} <= set(table.columns)
    for name in variants:
        drop = table["vanilla"] - table[name]
        assert (table[f"drop_{name}"] == drop).all()
        assert scores.value(f"drop_{name}") == pytest.approx(scores.value("vanilla") - scores.value(name))
        assert 0 <= scores.value(f"fallback_{name}") < 0.5
    assert scores.value("hard_1") == pytest.approx((scores.value("V1") + scores.value("L4")) / 2)
    assert scores.value("hard_2") == scores.value("V1+L4")
    assert "hard_0" not in scores.metrics  # the control is no difficulty
    assert len(assistant.asked) == 5 * len(table)
    asked = assistant.asked[-len(table)]
    assert asked.picture is not None
    assert asked.picture.shape == (3, 32, 32)
    by_kind = breakdown(scores)
    assert set(by_kind["subset"]) == {"all", "chance", *table["subset"].unique()}
    yes = [kind for kind in table["subset"].unique() if not kind.startswith("choose")]
    for kind in yes:  # one question of each answer: whoever says yes to all is right half of the time
        assert scores.value("vanilla", kind) == scores.value("V1", kind) == 0.5


def test_the_vanilla_items_are_the_questions_as_they_are() -> None:
    data, assistant = world(), Constant("")
    VLB(("pad",))(assistant, data, rows(data))
    items = data.items(QuestionVariants, rows(data))
    first = assistant.asked[: len(items)]
    assert all(one.text.startswith(q.text) for one, q in zip(first, items.questions, strict=True))
    shown = [one.picture for one in first if one.picture is not None]
    assert torch.equal(torch.stack(shown), items.pictures(np.arange(len(items))))


def test_an_assistant_judges_but_not_itself() -> None:
    data, assistant = world(), Constant("no")
    scores = VLB(("V1",), AssistantJudge(Constant("no")))(assistant, data, rows(data)[:4])
    assert scores.value("fallback_V1") == 1.0
    assert scores.value("drop_V1") == 0.0
    scores = VLB(("V1",), AssistantJudge(judge := Constant("yes")))(assistant, data, rows(data)[:4])
    assert scores.value("fallback_V1") == 0.0
    shown = judge.asked[0]
    assert len(shown.turns) == 1
    assert shown.turns[0].picture is not None
    assert shown.turns[0].reply in ("yes", "no") or f'Is "{shown.turns[0].reply}" still' in shown.text
    with pytest.raises(ValueError, match="judge its own test"):
        VLB(("V1",), AssistantJudge(assistant))(assistant, data, rows(data)[:4])


class Titles:
    """An embedder whose texts are hashed words, and whose pictures are what a test says."""

    heads = ("global",)

    def __init__(self, words: int | None = None) -> None:
        self.words = words

    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        if modality == "image":
            return torch.nn.functional.normalize(inputs.float().mean((2, 3)) + 1, dim=-1)[:, [0, 1, 2] * 8]
        found = torch.zeros(len(inputs), 24)
        for row, text in zip(found, inputs, strict=True):
            for word in text.split()[: self.words]:
                row[sum(map(ord, word)) % 24] += 1
        return torch.nn.functional.normalize(found, dim=-1)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


@pytest.mark.parametrize("model", [Constant("yes"), Titles()])
def test_scores_are_kept_under_the_name_with_its_options(model: Any) -> None:
    data, name = world(), "vlb,variants=V1/L1,edition=1"
    assert create(name)(model, data, rows(data)[:4]).task == name


def test_embedders_choose_among_captions() -> None:
    data = world()
    scores = VLB(("V1", "L1", "L4"))(Titles(), data, rows(data))
    assert all(kind.startswith("choose") for kind in scores.examples["subset"])
    assert scores.metrics["vanilla"].chance == pytest.approx(
        np.mean(
            [
                1 / len(q.options)
                for q in data.items(QuestionVariants, rows(data)).questions
                if q.kind.startswith("choose")
            ]
        )
    )
    assert 0 <= scores.value("V1") <= 1


def test_a_window_that_cuts_the_answers_off_is_an_error() -> None:
    data = world()
    VLB(("V1",))(Titles(words=6), data, rows(data))
    with pytest.raises(ValueError, match="window cuts them off"):
        VLB(("L4",))(Titles(words=6), data, rows(data))
    VLB(("V1",)).check_model(Titles(words=6), data)
    VLB(("L4",)).check_model(Titles(words=60), data)
    with pytest.raises(ValueError, match="window cuts them off"):  # and so before it is trained
        VLB(("L4",)).check_model(Titles(words=6), data)


class Bare(PairedData):
    """Data without items."""

    name = "bare"

    def images(self, rows: Any) -> Any:
        raise AssertionError

    def captions(self, row: int) -> Sequence[str]:
        return [""]
