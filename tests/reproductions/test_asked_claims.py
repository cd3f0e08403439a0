"""The material of the claims about questions: the small model that answers, its readers, what counts as a start."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.data.items import Question
from counterpoint.networks.towers.build import build_image_tower
from counterpoint_reproductions import ebm_vs_cl_vqa, medical_vl_benchmark, vlb
from counterpoint_reproductions.lab import vqa
from counterpoint_reproductions.lab.vqa import SIDE, SmallVQA

QUESTIONS = [
    Question("colour", "Is it red?", "yes", ("yes", "no")),
    Question("choose", "What is it?", "a cat", ("a cat", "a dog")),
]


def pictures(count: int) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def test_questions_are_read_to_end_whatever_stands_beside_them() -> None:
    model = SmallVQA(build_image_tower("cnn", SIDE), QUESTIONS, 0).eval()
    short, long = "Is it red?", "The moon is up. Is it red? Answer yes or no."
    tokens = model.tokens([short, long])
    assert (tokens[0, : tokens.shape[1] - 4] == vqa.PADDING).all()
    assert (tokens[:, -1] > vqa.UNKNOWN).all()
    assert (tokens[1] == vqa.UNKNOWN).sum() == 3  # the, moon, up
    with torch.no_grad():
        assert not torch.allclose(*model(pictures(1).expand(2, -1, -1, -1), tokens))


def test_it_scores_the_answers_it_was_made_with() -> None:
    model = SmallVQA(build_image_tower("cnn", SIDE), QUESTIONS, 0).eval()
    assert model.logits(pictures(2), [question.text for question in QUESTIONS]).shape == (2, 2)
    assert model.targets([Question("", "", "unheard of")]).tolist() == [-1]


def test_it_learns_what_it_is_shown() -> None:
    """Two pictures, one question: only who looks can be right."""
    shown = torch.zeros(8, 3, SIDE, SIDE, dtype=torch.uint8)
    shown[::2, 0] = 255
    said = [Question("colour", "Is it red?", "yes" if k % 2 == 0 else "no", ("yes", "no")) for k in range(8)]
    data = vqa.QuestionSet(shown, said, ["colour"] * 8)
    model = SmallVQA(build_image_tower("cnn", SIDE), said, 0)
    losses = vqa.train(model, data, steps=25, batch=8, lr=3e-3, seed=0)
    assert losses[-1] < losses[0]
    assert vqa.answer(model, data).right.all()
    blind = vqa.answer(model, vqa.QuestionSet(shown[[0, 1]], said[:2], ["colour"] * 2), blind=True)
    assert not blind.right.any()


def test_ink_tells_pictures_apart() -> None:
    white = torch.full((3, SIDE, SIDE), 255, dtype=torch.uint8)
    dot, other = white.clone(), white.clone()
    dot[:, 4:12, 4:12], other[:, 20:28, 20:28] = 0, 0
    z = vlb.ink([dot, other, dot])
    assert float(z[0] @ z[2]) == pytest.approx(1.0, abs=1e-6)
    assert float(z[0] @ z[1]) == pytest.approx(0.0, abs=1e-6)


def test_held_out_combinations_never_occur_in_training() -> None:
    world = vqa.world_of(f"{ebm_vs_cl_vqa.WORLD},train=200,test=60")

    def seen(rows: np.ndarray) -> set[tuple[str, str | None]]:
        return {
            (thing.concept, thing.colour) for row in rows for thing in world.scene(int(row)) if thing.colour
        }

    held_out = seen(world.splits.test[ebm_vs_cl_vqa.TESTS["held out"]])
    assert held_out
    assert not held_out & seen(world.splits.train)


def test_the_benchmark_counts_each_task_once() -> None:
    assert len(set(medical_vl_benchmark.TASKS)) == len(medical_vl_benchmark.TASKS)
    assert medical_vl_benchmark.CHOICE not in medical_vl_benchmark.TASKS
