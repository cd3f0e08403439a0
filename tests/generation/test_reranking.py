"""The best of several pictures: by the English text, and judged by someone else."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.generation import CandidatePictures, draw


class Colours:
    """An embedder of grey levels and of texts that name one: cosines of known angles."""

    heads = ("global",)

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        if modality == "text":
            self.texts += inputs
            degrees = torch.tensor([float(text.split()[-1]) for text in inputs])
        else:
            degrees = inputs[:, 0, 0, 0].float()
        radians = degrees * math.pi / 180
        return F.normalize(torch.stack([radians.cos(), radians.sin()], -1), dim=-1)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


def paints(prompt: str, seed: int) -> Tensor:
    return torch.full((3, 2, 2), int(prompt.split()[-1]) + seed, dtype=torch.uint8)


PROMPTS = ["at 10", "at 50", "at 90"]


def test_pictures_belong_to_their_prompts_and_seeds() -> None:
    found = draw(paints, "at 60", PROMPTS, [0, 1, 2])
    assert found.pictures[:, 0, 0, 0].tolist() == [10, 51, 92]
    assert found.prompts == tuple(PROMPTS)


def test_best_is_nearest_to_the_english_text_and_to_no_prompt() -> None:
    scorer = Colours()
    found = draw(paints, "at 60", PROMPTS, [0, 0, 0])
    assert found.best(scorer) == 1
    assert scorer.texts == ["at 60"]
    expected = [math.cos(math.radians(60 - angle)) for angle in (10, 50, 90)]
    assert found.scores(scorer).tolist() == pytest.approx(expected, abs=1e-6)


def test_the_first_of_equals() -> None:
    assert draw(paints, "at 30", ["at 20", "at 40", "at 20"], [0, 0, 0]).best(Colours()) in (0, 1)
    assert draw(paints, "at 20", ["at 20", "at 20"], [0, 0]).best(Colours()) == 0


def test_diversity_is_the_mean_over_pairs() -> None:
    found = draw(paints, "at 0", PROMPTS, [0, 0, 0])
    pairs = [1 - math.cos(math.radians(angle)) for angle in (40, 80, 40)]
    assert found.diversity(Colours()) == pytest.approx(sum(pairs) / 3, abs=1e-6)
    same = draw(paints, "at 0", ["at 10"] * 4, [0] * 4)
    assert same.diversity(Colours()) == pytest.approx(0.0, abs=1e-6)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="at least one prompt and a seed for each, got 0 and 0"):
        draw(paints, "at 0", [], [])
    with pytest.raises(ValueError, match="got 2 and 1"):
        draw(paints, "at 0", ["at 1", "at 2"], [0])

    def grows(prompt: str, seed: int) -> Tensor:
        return torch.zeros(3, 2 + seed, 2, dtype=torch.uint8)

    with pytest.raises(ValueError, match="must be of one size"):
        draw(grows, "x", ["x", "x"], [0, 1])
    with pytest.raises(ValueError, match="two pictures or more, got 1"):
        CandidatePictures("x", ("x",), torch.zeros(1, 3, 2, 2, dtype=torch.uint8)).diversity(Colours())
