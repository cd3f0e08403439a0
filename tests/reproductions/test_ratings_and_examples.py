"""The parts of the claims of ratings, of examples in context and of prompts in several languages."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.evaluation.tasks.abstention import RELEVANT
from counterpoint_reproductions import evalign_icl, pmt2i, q_boost


def test_only_replies_are_learned_their_end_included() -> None:
    start, user, assistant, end = 1, 2, 3, 4
    ids = torch.tensor([[0, start, user, 9, assistant, 7, 8, end, user, 9, assistant, 6, end]])
    none = -100
    expected = [none] * 5 + [7, 8, end] + [none] * 3 + [6, end]
    assert evalign_icl.replies(ids, assistant, end).tolist() == [expected]


def test_an_episode_abstains_in_one_way_and_shows_what_it_asks() -> None:
    world = Scenes.parse("scenes:tiny,train=40,validation=1,test=1")
    examples = evalign_icl.material(world, world.splits.train)
    assert set(examples) == {"caption", "question", "check", "relevance"}
    assert {it.reply for it in examples["relevance"]} == {"yes", "no"}
    rng = np.random.default_rng(0)
    lengths, ways = set(), set()
    for _ in range(200):
        turns = evalign_icl.episode(examples, rng).turns
        lengths.add(len(turns))
        assert turns[-1].picture is not None
        said = {turn.reply.removesuffix(".").lower() for turn in turns} & set(evalign_icl.ABSTENTIONS)
        assert len(said) <= 1
        ways |= said
    assert lengths == set(range(1, evalign_icl.MOST + 2))
    assert ways == set(evalign_icl.ABSTENTIONS)


def test_an_episode_asks_as_often_after_what_is_not_there() -> None:
    world = Scenes.parse("scenes:tiny,train=200,validation=1,test=1")
    examples = evalign_icl.material(world, world.splits.train)
    rng = np.random.default_rng(0)
    turns = [turn for _ in range(400) for turn in evalign_icl.episode(examples, rng).turns]
    said = Counter(turn.reply for turn in turns if turn.text.endswith(RELEVANT))
    assert said.total() > 200
    assert (
        abs(said["Yes."] - said["No."]) < 4 * said.total() ** 0.5
    )  # four standard deviations of a fair coin


def test_ratings_of_perfect_model_and_of_one_knows_single_word() -> None:
    quality = -np.arange(8.0)[None, :, None, None, None] * np.array([1.0, 0.0, -1.0])
    perfect = np.broadcast_to(quality, (3, 8, 5, 3, 3)) + 1e-9 * np.arange(5.0)[:, None, None]
    found = q_boost.correlations(perfect)
    assert all(value == pytest.approx(1.0, abs=0.02) for value in found.values())
    blind = perfect.copy()
    blind[..., 0, :] = 0.0  # the first triple knows nothing
    found = q_boost.correlations(blind)
    assert found["binary"] == found["TTI"] == 0.0
    assert found["TTI + MPE"] > 0.95


def test_three_triples_leave_a_third_of_the_noise() -> None:
    assert float(q_boost.simulated(0, 20_000)["ratio"]) == pytest.approx(1 / 3, abs=0.02)


def test_distortions_grow_with_their_amount() -> None:
    pictures = (255 * torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))).to(torch.uint8)
    for distort in q_boost.DISTORTIONS.values():
        changes = [(distort(pictures, a).float() - pictures.float()).square().mean() for a in (0.2, 0.5, 1.0)]
        assert 0 < changes[0] < changes[1] < changes[2]


def test_prompts_of_translations_and_control_are_equally_long() -> None:
    data = pmt2i.named(20)
    made = pmt2i.prompts(data)
    assert made["0 translations"] == list(data.names["en"])
    for k in range(1, pmt2i.MOST + 1):
        for prompt, control in zip(made[f"{k} translations"], made[f"{k} repetitions"], strict=True):
            assert prompt.count("\n") == control.count("\n") == k
            assert prompt.splitlines()[0] == control.splitlines()[0]
