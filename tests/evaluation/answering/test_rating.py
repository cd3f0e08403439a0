"""Q-Boost: which logits are read, in which order they are averaged, and what follows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from counterpoint.evaluation.rating import BINARY, ENSEMBLE, PROMPT, TRIADIC, rate, score
from counterpoint.types import Prompt


class Knows:
    """An assistant whose logits are written in the picture: pixel i of the first row is that of word i, in tenths."""

    def __init__(self) -> None:
        self.asked: list[Prompt] = []
        self.words: list[str] = []

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        raise AssertionError("ratings are read, not written")

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Tensor:
        self.asked, self.words = list(prompts), list(words)
        shown = [prompt.picture[0, 0] for prompt in prompts if prompt.picture is not None]
        return torch.stack(shown)[:, : len(words)].double() / 10


def picture(*tenths: int) -> Tensor:
    pixels = torch.zeros(3, 2, 9, dtype=torch.uint8)
    pixels[0, 0, : len(tenths)] = torch.tensor(tenths, dtype=torch.uint8)
    return pixels


NINE = (31, 12, 7, 25, 18, 3, 9, 22, 14)


def by_hand(tenths: Sequence[int]) -> float:
    """The definition as plain loops: word 3 g + k is that of group g and tone k."""
    means = [sum(tenths[3 * g + k] / 10 for g in range(3)) / 3 for k in range(3)]
    powers = [math.exp(mean) for mean in means]
    return (1.0 * powers[0] + 0.5 * powers[1] + 0.0 * powers[2]) / sum(powers)


def test_the_definition_in_loops() -> None:
    assistant = Knows()
    found = rate(assistant, [picture(*NINE)])
    assert found.tolist() == pytest.approx([by_hand(NINE)], rel=1e-6)
    assert assistant.words == [
        "good",
        "average",
        "poor",
        "high",
        "medium",
        "low",
        "fine",
        "acceptable",
        "bad",
    ]
    assert [prompt.text for prompt in assistant.asked] == ["Rate the quality of the image."] == [PROMPT]


def test_one_pass_a_picture_in_their_order() -> None:
    assistant = Knows()
    pictures = [picture(*NINE), picture(*reversed(NINE)), picture(*NINE)]
    found = rate(assistant, pictures).tolist()
    assert len(assistant.asked) == 3
    assert found == pytest.approx([by_hand(NINE), by_hand(NINE[::-1]), by_hand(NINE)], rel=1e-6)


def test_logits_are_averaged_not_scores() -> None:
    separate = [float(score(torch.tensor([[NINE[3 * g : 3 * g + 3]]]).double() / 10)) for g in range(3)]
    joint = float(rate(Knows(), [picture(*NINE)]))
    assert joint != pytest.approx(sum(separate) / 3, abs=1e-3)


def test_the_other_order_of_axes_mixes_tones() -> None:
    """Reshaped as tones × triples the same nine numbers give another score, so the order is under test."""
    turned = torch.tensor(NINE).double().reshape(1, 3, 3).mT / 10
    assert float(score(turned)) != pytest.approx(by_hand(NINE), abs=1e-2)


def test_two_levels_are_the_binary_baseline() -> None:
    found = float(rate(Knows(), [picture(23, 8)], BINARY))
    assert found == pytest.approx(1 / (1 + math.exp(-1.5)), rel=1e-6)


def test_one_triple_is_triadic_tone_integration_alone() -> None:
    a, b, c = (math.exp(x) for x in (2.3, 0.8, 1.7))
    assert float(rate(Knows(), [picture(23, 8, 17)], TRIADIC)) == pytest.approx(
        (a + b / 2) / (a + b + c), rel=1e-6
    )


def test_neutral_word_that_is_impossible_leaves_binary_baseline() -> None:
    logits = torch.tensor([[[2.3, -torch.inf, 0.8]]]).double()
    assert float(score(logits)) == pytest.approx(float(score(logits[..., [0, 2]])))


def test_equal_groups_are_one_group() -> None:
    one = torch.randn(5, 1, 3, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(score(one.expand(-1, 3, -1)), score(one))


@given(st.lists(st.floats(-8, 8), min_size=9, max_size=9), st.floats(-5, 5))
def test_score_is_share_and_ignores_all_logits_have_in_common(values: list[float], shift: float) -> None:
    logits = torch.tensor(values, dtype=torch.float64).reshape(1, 3, 3)
    found = float(score(logits))
    assert 0 <= found <= 1
    assert float(score(logits + shift)) == pytest.approx(found, abs=1e-9)


def test_equal_logits_say_nothing() -> None:
    assert score(torch.zeros(2, 3, 3)).tolist() == [0.5, 0.5]
    assert score(torch.zeros(2, 3, 2)).tolist() == [0.5, 0.5]


def test_a_video_has_the_score_of_its_frames_mean_logits() -> None:
    """As the released evaluation of videos does: the mean is of the logits, and not of the frames' scores."""
    frames = [(40, 0, 0, 40, 0, 0, 40, 0, 0), (0, 0, 60, 0, 0, 60, 0, 0, 60)]
    video = torch.stack([picture(*frame) for frame in frames])
    middle = tuple((a + b) // 2 for a, b in zip(*frames, strict=True))
    found = rate(Knows(), [video, picture(*NINE)]).tolist()
    assert found == pytest.approx([by_hand(middle), by_hand(NINE)], rel=1e-6)
    assert found[0] != pytest.approx(sum(map(by_hand, frames)) / 2, abs=1e-2)


def test_half_precision_is_averaged_in_single() -> None:
    class Coarse(Knows):
        def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Tensor:
            return super().word_logits(prompts, words).bfloat16()

    found = rate(Coarse(), [picture(*NINE)])
    assert found.dtype == torch.float32
    expected = score(torch.tensor(NINE).reshape(1, 3, 3).div(10).bfloat16().float())
    torch.testing.assert_close(found, expected)


def test_averaging_triples_divides_the_noise_of_words() -> None:
    """Logits a_k + noise of variance s²: the mean over G triples has a variance of s² / G."""
    noise = torch.randn(20_000, 3, 3, generator=torch.Generator().manual_seed(0))
    odds = (noise[..., 0] - noise[..., 2]).var(0)
    assert float((noise.mean(1)[:, 0] - noise.mean(1)[:, 2]).var() / odds.mean()) == pytest.approx(
        1 / 3, abs=0.02
    )


def test_nothing_to_rate() -> None:
    assert rate(Knows(), []).shape == (0,)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "two or more, from best to worst"),
        ((("good",),), "two or more, from best to worst"),
        ((("good", "poor"), ("high", "medium", "low")), "as many words each"),
        ((("good", "poor"), ("fine", "poor")), "a word is there twice"),
    ],
)
def test_words_that_make_no_levels(words: Sequence[Sequence[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rate(Knows(), [picture(*NINE)], words)


def test_a_video_without_frames() -> None:
    with pytest.raises(ValueError, match=r"pictures\[1\] is a video without frames"):
        rate(Knows(), [picture(*NINE), torch.zeros(0, 3, 2, 9, dtype=torch.uint8)])


def test_the_words_of_the_paper() -> None:
    assert len({word for group in ENSEMBLE for word in group}) == 9
    assert ENSEMBLE[0] == TRIADIC[0]
    assert BINARY[0] == (TRIADIC[0][0], TRIADIC[0][-1])
