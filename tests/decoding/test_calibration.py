"""Post-hoc debiasing of class probabilities."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from slow import next_logits

from counterpoint.decoding import answer_probabilities, debiased, first_logits
from counterpoint.registry import UnknownNameError
from fixtures.tiny_vlms import KINDS, tiny


@pytest.mark.parametrize("name", ["Llava", "Qwen2VL", "Blip2"])
def test_first_logits_are_those_of_each_input(name: str) -> None:
    kind, model = KINDS[name], tiny(name)
    rows = [kind.row(1), kind.row(2, length=3)]
    found = first_logits(model, kind.batch(rows), ("none", "unk", "zeros"), unknown_token=7)
    assert list(found) == ["own", "none", "unk", "zeros"]
    for number, row in enumerate(rows):
        ids = row["input_ids"][0].tolist()
        kept = [token for token in ids if token not in kind.slot]
        for key, inputs in {
            "own": row,
            "none": {"input_ids": torch.tensor([kept])},
            "unk": {"input_ids": torch.tensor([[kept[0], 7, *kept[1:]]])},
        }.items():
            expected = next_logits(kind, model, inputs, [])
            torch.testing.assert_close(found[key][number].double(), expected, rtol=1e-4, atol=1e-4)


def test_spellings_add_up() -> None:
    """A dictionary of lower-cased words keeps one spelling; the sum keeps all."""
    logits = torch.tensor([[0.3, 0.3, 0.4, 0.0]]).log()
    assert answer_probabilities(logits, [[0, 1], [2]]).argmax(-1).item() == 0
    assert answer_probabilities(logits, [[1], [2]]).argmax(-1).item() == 1


def test_no_class_with_any_probability_is_unknown_not_nan() -> None:
    logits = torch.tensor([[0.0, -torch.inf, -torch.inf]])
    p = answer_probabilities(logits, [[1], [2]])
    assert p.tolist() == [[0.0, 0.0]]
    prior = torch.tensor([[0.5, 0.5]])
    assert debiased(p, prior).tolist() == [[0.0, 0.0]]


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_two_classes_lose_the_priors_log_odds(yes: float, prior: float) -> None:
    q = debiased(torch.tensor([[yes, 1 - yes]]), torch.tensor([[prior, 1 - prior]]), floor=0.0)
    odds = math.log(yes / (1 - yes)) - math.log(prior / (1 - prior))
    assert float((q[0, 0] / q[0, 1]).log()) == pytest.approx(odds, abs=1e-3)


def test_the_image_free_input_would_be_judged_uniform() -> None:
    prior = torch.tensor([[0.7, 0.2, 0.1]])
    torch.testing.assert_close(debiased(prior, prior, floor=0.0), torch.full((1, 3), 1 / 3))
    assert not debiased(prior, prior, "identity", floor=0.0).any()


def test_the_floor_bounds_a_missing_class() -> None:
    p, prior = torch.tensor([[0.9, 0.1]]), torch.tensor([[1.0, 0.0]])
    q = debiased(p, prior, floor=1e-4)
    expected = torch.tensor([[0.9 / 1.0001, 0.1 / 1e-4]])
    torch.testing.assert_close(q, expected / expected.sum())


def test_bad_classes() -> None:
    logits = torch.zeros(1, 4)
    for answers in ([[0], []], [[0, 1], [1]]):
        with pytest.raises(ValueError, match="every class needs tokens of its own"):
            answer_probabilities(logits, answers)
    with pytest.raises(UnknownNameError, match="unknown form 'diag'"):
        debiased(torch.ones(1, 2), torch.ones(1, 2), "diag")
    with pytest.raises(UnknownNameError, match="unknown image-free input"):
        first_logits(tiny("Llava"), KINDS["Llava"].row(1), ("blank",))
