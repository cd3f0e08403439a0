"""Plausibility rules, and branches with another vocabulary."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.decoding.combine import comparable, entropy, nucleus, plausible


def random(seed: int, rows: int = 3, vocabulary: int = 9) -> torch.Tensor:
    return 3 * torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 10_000), st.floats(0.0, 1.0))
def test_plausible_is_a_share_of_the_largest_probability(seed: int, beta: float) -> None:
    logits = random(seed)
    p = logits.double().softmax(-1)
    expected = p >= beta * p.amax(-1, keepdim=True)
    close = (p - beta * p.amax(-1, keepdim=True)).abs() < 1e-7
    assert ((plausible(logits, beta) == expected) | close).all()
    assert plausible(logits, beta).gather(1, logits.argmax(-1, keepdim=True)).all()


def test_plausible_at_its_ends() -> None:
    logits = random(0)
    assert plausible(logits, 0.0).all()
    assert (plausible(logits, 1.0).sum(-1) == 1).all()
    assert torch.equal(plausible(logits, 1.0).int().argmax(-1), logits.argmax(-1))
    tied = torch.tensor([[1.0, 1.0, 0.0]])
    assert plausible(tied, 1.0).tolist() == [[True, True, False]]


def test_plausible_in_half_precision_is_that_of_float32() -> None:
    logits = random(1).half()
    assert torch.equal(plausible(logits, 0.1), plausible(logits.float(), 0.1))


def test_plausible_by_row() -> None:
    logits = torch.tensor([[0.6, 0.3, 0.1]]).log().expand(2, -1)
    assert plausible(logits, torch.tensor([0.4, 1.0])).tolist() == [[True, True, False], [True, False, False]]


@given(st.integers(0, 10_000), st.floats(0.01, 1.0))
def test_nucleus_is_that_of_transformers(seed: int, top_p: float) -> None:
    from transformers import TemperatureLogitsWarper, TopPLogitsWarper

    logits = random(seed)
    theirs = TopPLogitsWarper(top_p)(None, TemperatureLogitsWarper(0.5)(None, logits))
    assert torch.equal(nucleus(logits, top_p, 0.5), theirs.isfinite())


def test_entropy_of_a_certain_distribution_is_zero() -> None:
    assert float(entropy(torch.tensor([[1e4, 0.0, -1e4]]))) == 0.0


def test_tokens_a_branch_lacks_are_not_contrasted() -> None:
    """Padding with zeros would give them the log-probability of certainty."""
    own, other = random(0), random(1)
    short = comparable(other[:, :7], own)
    assert torch.equal(short[:, :7], other[:, :7])
    extra = own.log_softmax(-1)[:, 7:]
    known = short[:, :7].logsumexp(-1, keepdim=True) - own[:, :7].logsumexp(-1, keepdim=True)
    torch.testing.assert_close(short[:, 7:] - known, own[:, 7:])
    torch.testing.assert_close(own.log_softmax(-1)[:, 7:], extra)
    forbidden = comparable(other.index_fill(1, torch.tensor([2]), -torch.inf), own)
    assert forbidden.isfinite().all()
    assert torch.equal(comparable(torch.cat([other, other], 1), own), other), "surplus entries go"
    assert torch.equal(comparable(torch.full_like(own, -torch.inf), own), own)


def test_padded_branch_agrees_on_what_it_knows_changes_nothing() -> None:
    own = random(0)
    torch.testing.assert_close(comparable(own[:, :6] + 5.0, own), own + 5.0)
