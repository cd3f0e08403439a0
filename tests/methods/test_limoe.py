"""LIMoE: the terms of its routers, padding, the dense limit and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from method_stubs import LATE, batch, build

from counterpoint.networks.experts import RoutingTotals
from counterpoint.types import Batch

F64 = torch.float64


def small(**options: Any) -> Any:
    chosen = {"width": 16, "layers": 2, "experts": 4, "text_experts": 2, "image_experts": 3} | options
    return build("limoe", **chosen).double()


def terms(method: Any, given: Batch) -> dict[str, torch.Tensor]:
    losses: dict[str, torch.Tensor] = method.losses(method.encode(given), given, LATE)
    return losses


def routing(method: Any, given: Batch) -> dict[str, Any]:
    """Return how the router of the only layer of experts routed a batch."""
    masks = {column: method.mask(column, given[column]) for column in method.columns}
    (layer,) = method.transform(method.encode(given), masks, method.capacity)[1]
    assert isinstance(layer, dict)
    return layer


def test_terms_of_the_routers_by_hand() -> None:
    for entropy in (True, False):
        method = small(weight=1.0, entropy=entropy)
        given = batch(method, 4, dtype=F64)
        layer = routing(method, given)
        logits = torch.cat([part.logits for part in layer.values()])
        p = logits.softmax(1)
        importance, first = p.sum(0), torch.nn.functional.one_hot(p.argmax(1), 4).double().mean(0)
        expected = logits.logsumexp(1).square().mean() + 4 * (first * p.mean(0)).sum()
        expected = expected + importance.var(correction=0) / importance.mean() ** 2
        for column, least in (("image", 3), ("text", 2)) if entropy else ():
            p = layer[column].probabilities
            mean = p.mean(0)
            expected = expected + (math.log(least) + (mean * mean.log()).sum()).clamp_min(0)
            if column == "text":
                expected = expected - (p * p.log()).sum(1).mean()
        torch.testing.assert_close(terms(method, given)["routing"], expected)


def test_global_entropy_asks_for_several_experts_and_no_more() -> None:
    method = small()
    columns = {
        column: RoutingTotals.of(part)
        for column, part in routing(method, batch(method, 4, dtype=F64)).items()
    }

    def with_mean(*shares: float) -> float:
        p = torch.tensor(shares, dtype=F64)
        text = columns["text"]
        loss = method._entropy_loss(columns | {"text": text._replace(probabilities=p * text.tokens)})
        return float(loss.detach())

    collapsed, two, four = with_mean(1, 0, 0, 0), with_mean(0.5, 0.5, 0, 0), with_mean(0.25, 0.25, 0.25, 0.25)
    assert collapsed - two == pytest.approx(math.log(2))
    assert two == pytest.approx(four)


def test_padding_changes_nothing_and_has_no_vote() -> None:
    method = small()
    given = batch(method, 4, dtype=F64)
    text = given["text"].clone()
    text[0, 2], text[1, 1] = (method.tokenizer.end,) * 2
    given = Batch(given.ids, {**given.views, "text": text})
    assert not method.mask("text", text)[0, 3:].any()
    padded = text.clone()
    padded[~method.mask("text", text)] = 5
    other = Batch(given.ids, {**given.views, "text": padded})
    first, second = terms(method, given), terms(method, other)
    for name, loss in first.items():
        torch.testing.assert_close(loss, second[name], rtol=0, atol=0)


def test_one_expert_is_a_dense_transformer_without_terms_of_routers() -> None:
    method = small(experts=1)
    assert terms(method, batch(method, 4, dtype=F64)).keys() == {"contrast"}
    assert not method.numbers()


def test_shares_of_served_tokens_are_logged() -> None:
    method = small(capacity=0.5)
    given = batch(method, 4, dtype=F64)
    terms(method, given)
    numbers, layer = method.numbers(), routing(method, given)
    for column in method.columns:
        assert numbers[f"served_{column}"] == pytest.approx(float(layer[column].served.double().mean()))
    assert min(numbers.values()) < 1


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ValueError, match="no multiple of patch=7"):
        small(patch=7)
    with pytest.raises(ValueError, match="must be at most experts=4"):
        small(text_experts=5)
