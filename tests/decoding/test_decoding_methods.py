"""Every method's formula on given logits, against its paper's in plain float64, and the traps of its card."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from counterpoint.decoding import (
    Decoding,
    DescriptionContrastive,
    DescriptionGrounded,
    ExampleContrastive,
    LanguageContrastive,
    LeadingQueryContrastive,
    Ritual,
    VisualContrastive,
    VisualDebias,
    create,
)
from counterpoint.decoding.combine import BranchWeights, bounded_divergence, combine
from counterpoint.decoding.methods.lcd import LEAST_ENTROPY

INF = math.inf


def scores(method: Decoding, *logits: Tensor) -> Tensor:
    """Return what the engine makes of the branches' logits ``(b, v)``, the user's own first."""
    own, *others = logits
    combined = combine(own, others, method.weights(own, others))
    return combined.masked_fill(~method.keep(own, others), -INF)


def logits(seed: int, rows: int = 4, vocabulary: int = 12, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed))


def softmax(row: Sequence[float]) -> list[float]:
    top = max(row)
    weights = [math.exp(value - top) for value in row]
    return [weight / sum(weights) for weight in weights]


def masked(values: Sequence[float], own: Sequence[float], beta: float) -> list[float]:
    p = softmax(own)
    return [value if share >= beta * max(p) else -INF for value, share in zip(values, p, strict=True)]


def compare(found: Tensor, reference: Callable[..., list[float]], *branches: Tensor) -> None:
    """Compare up to a constant a row, which no softmax and no argmax sees."""
    expected = torch.tensor(
        [reference(*rows) for rows in zip(*(branch.double().tolist() for branch in branches), strict=True)]
    )
    torch.testing.assert_close(
        found.double().log_softmax(-1), expected.double().log_softmax(-1), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("method", [VisualContrastive(1.5, 0.05), LeadingQueryContrastive(1.5, 0.05)])
def test_contrast_of_two(method: Decoding) -> None:
    own, other = logits(0), logits(1)

    def formula(l: list[float], d: list[float]) -> list[float]:  # noqa: E741 # the paper's letter
        return masked([2.5 * a - 1.5 * b for a, b in zip(l, d, strict=True)], l, 0.05)

    compare(scores(method, own, other), formula, own, other)


def test_lcd_divides_the_weight_by_the_entropy_in_nats() -> None:
    own, other = logits(0), logits(1)

    def formula(l: list[float], u: list[float]) -> list[float]:  # noqa: E741
        p, q = softmax(l), softmax(u)
        alpha = 2.0 / -sum(x * math.log(x) for x in q)
        return masked(
            [(1 + alpha) * math.log(a) - alpha * math.log(b) for a, b in zip(p, q, strict=True)], l, 0.1
        )

    compare(scores(LanguageContrastive(), own, other), formula, own, other)
    surer = LanguageContrastive().weights(own, [4 * other]).others[0]
    doubtful = LanguageContrastive().weights(own, [other]).others[0]
    assert isinstance(surer, Tensor)
    assert isinstance(doubtful, Tensor)
    assert (surer < doubtful).all(), "the surer the language model, the more is subtracted"


def test_lcd_survives_a_language_model_without_doubt() -> None:
    """Released code divides by zero, and turns the NaN into −inf, which can empty the row."""
    own = logits(0)
    certain = torch.full_like(own, -1e4).index_fill(1, torch.tensor([2]), 1e4)
    found = scores(LanguageContrastive(alpha=2.0, beta=0.1), own, certain)
    assert not found.isnan().any()
    assert found.gather(1, own.argmax(-1, keepdim=True)).isfinite().all(), "the likeliest always survives"
    assert LanguageContrastive().weights(own, [certain]).others[0] == pytest.approx(-2.0 / LEAST_ENTROPY)
    assert LanguageContrastive(by_entropy=False).weights(own, [certain]).others == [-2.0]


def test_vdd_subtracts_the_mean_of_the_image_free_logits() -> None:
    own, none, unk = logits(0), logits(1), logits(2)

    def formula(l: list[float], a: list[float], b: list[float]) -> list[float]:  # noqa: E741
        return masked([2 * x - (y + z) / 2 for x, y, z in zip(l, a, b, strict=True)], l, 0.1)

    method = VisualDebias(("none", "unk"))
    assert [branch.name for branch in method.branches()] == ["none", "unk"]
    compare(scores(method, own, none, unk), formula, own, none, unk)


def test_ritual_adds() -> None:
    own, other = logits(0), logits(1)

    def formula(l: list[float], d: list[float]) -> list[float]:  # noqa: E741
        return masked([a + 3 * b for a, b in zip(l, d, strict=True)], l, 0.1)

    compare(scores(Ritual(), own, other), formula, own, other)


def test_ritual_same_picture_temperature_one_over_one_plus_alpha() -> None:
    own = logits(0)
    torch.testing.assert_close(scores(Ritual(alpha=3.0, beta=0), own, own), own / 0.25)


def test_ritual_with_vcd() -> None:
    own, noisy, transformed = logits(0), logits(1), logits(2)
    both = VisualContrastive(alpha=1.0, beta=0.1) + Ritual(alpha=3.0, beta=0.02)

    def formula(l: list[float], n: list[float], p: list[float]) -> list[float]:  # noqa: E741
        return masked([2 * a - b + 3 * c for a, b, c in zip(l, n, p, strict=True)], l, 0.1)

    compare(scores(both, own, noisy, transformed), formula, own, noisy, transformed)
    assert [branch.name for branch in both.branches()] == ["noise", "transformed"]
    assert both.beams
    assert not (both + DescriptionGrounded()).beams
    assert both + LanguageContrastive() == VisualContrastive() + (Ritual(beta=0.02) + LanguageContrastive())


def test_code_sets_weight_and_rule_from_the_divergence() -> None:
    own, other = logits(0, scale=1.0), logits(0, scale=1.0) + 0.1 * logits(1)

    def formula(l: list[float], d: list[float]) -> list[float]:  # noqa: E741
        p, q = softmax(l), softmax(d)
        divergence = 0.5 * sum((a + b) * math.log2(abs(a - b) ** 0.2 + 1) for a, b in zip(p, q, strict=True))
        alpha = 1 - divergence
        return masked([(1 + alpha) * a - alpha * b for a, b in zip(l, d, strict=True)], l, divergence)

    compare(scores(DescriptionContrastive(), own, other), formula, own, other)


def test_code_with_fixed_weights_is_a_plain_contrast() -> None:
    own, other = logits(0), logits(1)
    fixed = scores(DescriptionContrastive(alpha=1.5, beta=0.05), own, other)
    assert torch.equal(fixed, scores(VisualContrastive(1.5, 0.05), own, other))


def test_code_at_its_ends() -> None:
    own = logits(0)
    assert torch.equal(scores(DescriptionContrastive(), own, own), own), (
        "D = 0: nothing changes, nothing goes"
    )
    one, other = torch.full((1, 5), -1e4), torch.full((1, 5), -1e4)
    one[0, 1] = other[0, 3] = 1e4
    found = scores(DescriptionContrastive(), one, other)
    assert found.isfinite().tolist() == [[False, True, False, False, False]], "D = 1: the likeliest alone"
    assert float(found[0, 1]) == 1e4, "and no contrast"


def test_divergence_of_the_card() -> None:
    p, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.45, 0.55]])
    assert float(bounded_divergence(p, q, 0.2)) == pytest.approx(0.63, abs=0.005)
    assert float(bounded_divergence(p, q, 1.0)) == pytest.approx(0.07, abs=0.005)
    half = bounded_divergence(p.half(), q.half(), 0.2)
    assert half.dtype == torch.float32, "half precision would flush the small terms"


@given(st.integers(0, 10_000), st.sampled_from([0.2, 0.5, 1.0]))
def test_divergence_is_bounded_symmetric_and_grows_towards_other(seed: int, exponent: float) -> None:
    p, q = (logits(seed + offset, rows=1).softmax(-1) for offset in (0, 1))
    steps = [bounded_divergence(p, torch.lerp(p, q, share), exponent) for share in (0.0, 0.3, 0.6, 1.0)]
    values = [float(step) for step in steps]
    assert values[0] == 0.0
    assert all(0.0 <= value <= 1.0 for value in values)
    assert values == sorted(values)
    torch.testing.assert_close(bounded_divergence(p, q, exponent), bounded_divergence(q, p, exponent))


def test_vdgd_scores_are_negative_divergence_inside_the_nucleus() -> None:
    own = logits(0)
    places = [logits(seed).log_softmax(-1) for seed in (1, 2, 3)]  # q_j, a description of three places
    support = torch.stack(places).amax(0)

    def formula(l: list[float], *q: list[float]) -> list[float]:  # noqa: E741
        p = softmax([value / 0.5 for value in l])
        kept, mass = set(), 0.0
        for token in sorted(range(len(p)), key=lambda v: -p[v]):
            if mass < 0.5:
                kept.add(token)
            mass += p[token]
        divergence = [min(-place[v] for place in q) for v in range(len(l))]  # KL(onehot || q) = −log q(v)
        return [-divergence[v] if v in kept else -INF for v in range(len(l))]

    compare(scores(DescriptionGrounded(), own, support), formula, own, *places)


def test_vdgd_divided_is_almost_uniform_in_the_nucleus() -> None:
    """The released code divides K by the size of the vocabulary."""
    own, support = logits(0, vocabulary=3000, scale=0.1), logits(1, vocabulary=3000).log_softmax(-1)
    whole = scores(DescriptionGrounded(), own, support).softmax(-1)
    flat = scores(DescriptionGrounded(divided=True), own, support).softmax(-1)
    kept = DescriptionGrounded().keep(own, [support])
    torch.testing.assert_close(flat, kept / kept.sum(-1, keepdim=True), rtol=0.02, atol=0)
    assert (whole.amax(-1) > 3 * flat.amax(-1)).all()


def test_mvcd_is_a_difference_and_needs_its_rule() -> None:
    own, zero_shot = logits(0), logits(1)

    def formula(e: list[float], s: list[float]) -> list[float]:
        return masked(
            [math.log(a) - math.log(b) for a, b in zip(softmax(e), softmax(s), strict=True)], e, 0.1
        )

    compare(scores(ExampleContrastive(), own, zero_shot), formula, own, zero_shot)
    rare = zero_shot.clone()
    rare[:, 5], own[:, 5] = -50.0, -20.0
    assert (scores(ExampleContrastive(beta=0), own, rare).argmax(-1) == 5).all()
    assert (scores(ExampleContrastive(), own, rare).argmax(-1) != 5).all()


def test_mvcd_without_examples_is_plain() -> None:
    own = logits(0)
    other = own.clone()
    other[1] = logits(1)[1]
    found = scores(ExampleContrastive(beta=0), own, other)
    assert torch.equal(found[0], own[0])
    torch.testing.assert_close(found[1], own[1] - other[1])


@pytest.mark.parametrize("alpha", [0.1, 1 / 3, 1.0, 7.7])
def test_equal_branches_change_no_bit_where_weights_sum_to_one(alpha: float) -> None:
    own = logits(0)
    for method in (
        VisualContrastive(alpha, 0),
        LanguageContrastive(alpha, 0),
        VisualDebias(alpha=alpha, beta=0),
        LeadingQueryContrastive(alpha, 0),
    ):
        assert torch.equal(scores(method, own, own), own)


def test_contrast_lowers_what_is_prior_alone() -> None:
    """With l = sight + prior and l′ = ρ·sight + prior, a token of prior alone falls in rank for every ρ < 1."""
    sight, prior = logits(0, 1, 30).abs(), logits(1, 1, 30)
    sight[0, 7] = 0.0
    prior[0, 7] = prior.max()
    own = sight + prior

    def rank(values: Tensor) -> int:
        return int((values > values[0, 7]).sum())

    for rho in (0.0, 0.3, 0.9):
        found = scores(VisualContrastive(alpha=1.0, beta=0), own, rho * sight + prior)
        assert rank(found) >= rank(own)
        assert found[0, 7] == pytest.approx(float(own[0, 7]), abs=1e-5)
    assert rank(scores(VisualContrastive(alpha=4.0, beta=0), own, prior)) > rank(own)


def test_probabilities_are_not_what_is_contrasted() -> None:
    own, other = logits(0), logits(1)
    shifted = scores(VisualContrastive(beta=0), own, other - 7.0).softmax(-1)
    torch.testing.assert_close(shifted, scores(VisualContrastive(beta=0), own, other).softmax(-1))
    wrong = 2 * own.softmax(-1) - other.softmax(-1)
    assert (wrong.argmax(-1) != shifted.argmax(-1)).any()


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("vdd", {"without": ()}, "at least one"),
    ("vdd", {"without": ("blank",)}, "unknown image-free input 'blank'"),
    ("rituals", {}, "unknown decoding method 'rituals': did you mean 'ritual'"),
]


@pytest.mark.parametrize(("name", "options", "message"), BAD)
def test_bad_names_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        create(name, **options)


def test_weights_may_differ_by_row() -> None:
    own, other = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.zeros(2, 2)
    found = combine(own, [other], BranchWeights([torch.tensor([-1.0, 0.0])], total=torch.tensor([1.0, 2.0])))
    assert found.tolist() == [[2.0, 0.0], [2.0, 0.0]]
