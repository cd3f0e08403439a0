"""Masks from the attention of words: their thresholds, their shares, and what has a gradient."""

from __future__ import annotations

import pytest
import torch

from counterpoint.generation import mask_of_words, masked_errors, shares_of_words


def test_shares_are_a_softmax_in_which_other_tokens_are_minus_infinity() -> None:
    scores = torch.randn(2, 6, 4, 4, dtype=torch.float64)
    words = [1, 4]
    alone = torch.full_like(scores, -torch.inf)
    alone[:, words] = scores[:, words]
    expected = alone.softmax(1)[:, words]
    torch.testing.assert_close(shares_of_words(scores.softmax(1)[:, words]), expected)
    # The published code keeps the zeros of other tokens in the denominator.
    zeros = torch.zeros_like(scores)
    zeros[:, words] = scores.softmax(1)[:, words]
    assert not torch.allclose(zeros.softmax(1)[:, words], expected, atol=0.1)
    assert shares_of_words(torch.zeros(1, 2, 1, 1)).flatten().tolist() == [0.5, 0.5]


@pytest.mark.parametrize("compete", [True, False])
def test_mask_is_that_of_loops(compete: bool) -> None:
    maps = torch.rand(3, 2, 4, 4, dtype=torch.float64)
    mask = mask_of_words(maps, 4, 0.6, compete=compete)
    for b in range(3):
        total = [[0.0] * 4 for _ in range(4)]
        for i in range(4):
            for j in range(4):
                values = [float(maps[b, n, i, j]) for n in range(2)]
                total[i][j] = sum(v * (v / sum(values) if compete else 1) for v in values)
        largest = max(max(row) for row in total)
        for i in range(4):
            for j in range(4):
                assert bool(mask[b, i, j]) == (total[i][j] / largest >= 0.6)


def test_a_mask_is_a_constant_and_belongs_to_its_own_picture() -> None:
    maps = torch.zeros(2, 1, 2, 2)
    maps[0, 0, 0, 0] = maps[1, 0, 1, 1] = 1
    maps.requires_grad_()
    mask = mask_of_words(maps, 2)
    assert mask.tolist() == [[[True, False], [False, False]], [[False, False], [False, True]]]
    assert not mask.requires_grad


def test_flat_attention_and_attention_of_0_mask_nothing() -> None:
    assert mask_of_words(torch.full((1, 2, 2, 2), 0.1), 8).all()
    assert mask_of_words(torch.zeros(1, 2, 2, 2), 8).all()


def test_attention_to_others_does_not_count_where_words_compete() -> None:
    maps = torch.tensor([[[[1.0, 0.3]], [[0.0, 0.3]]]])  # at the second cell no word wins
    assert mask_of_words(maps.expand(1, 2, 2, 2), 2, 0.5, compete=False).all()
    assert mask_of_words(maps.expand(1, 2, 2, 2), 2, 0.5).tolist() == [[[True, False], [True, False]]]


def test_the_mask_multiplies_prediction_and_target() -> None:
    predicted, target = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 3, 4, 4)
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[:, :2] = True
    errors = masked_errors(predicted - target, mask)
    (gradient,) = torch.autograd.grad(errors.sum(), predicted)
    assert not gradient[:, :, 2:].any()  # the prediction outside is drawn to nothing, 0 included
    assert gradient[:, :, :2].all()
    torch.testing.assert_close(errors, (predicted - target)[:, :, :2].square().sum((1, 2, 3)) / 48)
    inside = mask[:, None].float()
    expected = (inside * predicted - inside * target).square().flatten(1).mean(1)
    torch.testing.assert_close(errors, expected)
