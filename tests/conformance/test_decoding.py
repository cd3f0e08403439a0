"""Properties that must hold of every registered decoding method, whatever the method is."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.decoding import DECODING, Decoding, Plain, create, describe, plausibility_only
from counterpoint.decoding.combine import combine
from fixtures.tiny_vlms import KINDS, Inputs, tiny

KIND = KINDS["Llava"]
ROWS, OTHERS = (
    [KIND.row(1, length=5), KIND.row(2, length=3)],
    [KIND.row(3, length=4), KIND.row(4, length=7)],
)
SAMPLING: dict[str, Any] = {"do_sample": True, "temperature": 2.0}

every = pytest.mark.parametrize("name", DECODING.names())
strong = pytest.mark.parametrize(
    "name", [name for name in DECODING.names() if "alpha" in DECODING.get(name).__dataclass_fields__]
)


def decode(method: Decoding | None, rows: list[Inputs], others: list[Inputs], **options: Any) -> Any:
    """Decode some rows, with what the method needs made of other rows."""
    inputs, options = KIND.batch(rows), {"do_sample": False, "max_new_tokens": 8} | options
    if method is None:
        return tiny(KIND.name).generate(**inputs, **options)[:, -8:].tolist(), None
    needed = {branch.needs for branch in method.branches()} - {None}
    given: dict[str, Any] = dict.fromkeys((need for need in needed if need), KIND.batch(others))
    if "description" in given:
        given["description"] = describe(tiny(KIND.name), inputs, max_new_tokens=4)
    bound = method.on(inputs, **given)
    torch.manual_seed(3)
    return tiny(KIND.name).generate(**inputs, **options, custom_generate=bound)[:, -8:].tolist(), bound.cost


@every
def test_a_batch_says_what_its_rows_say_alone(name: str) -> None:
    method = create(name)
    together, _ = decode(method, ROWS, OTHERS)
    alone = [decode(method, [row], [other])[0] for row, other in zip(ROWS, OTHERS, strict=True)]
    assert together == [tokens for (tokens,) in alone]


@every
def test_it_changes_what_is_said_unless_it_is_plain(name: str) -> None:
    found = [decode(method, ROWS, OTHERS, **SAMPLING)[0] for method in (create(name), Plain())]
    assert (found[0] != found[1]) == (name != "plain")


@strong
@pytest.mark.parametrize("mode", [{}, SAMPLING], ids=["greedy", "sampling"])
def test_strength_0_is_plain_decoding(name: str, mode: dict[str, Any]) -> None:
    method, plain = create(name, alpha=0.0, beta=0.0), Plain()
    assert decode(method, ROWS, OTHERS, **mode)[0] == decode(plain, ROWS, OTHERS, **mode)[0]


@strong
def test_strength_0_leaves_the_plausibility_rule(name: str) -> None:
    method = create(name, alpha=0.0, beta=0.3)
    rule, plain = plausibility_only(create(name, beta=0.3)), Plain()
    assert rule is not None
    found = [decode(each, ROWS, OTHERS, **SAMPLING)[0] for each in (method, rule, plain)]
    assert found[0] == found[1] != found[2]


@every
def test_beams_work_exactly_where_it_says_so(name: str) -> None:
    method = create(name)
    if method.beams:
        assert len(decode(method, ROWS, OTHERS, num_beams=2)[0]) == 2
    else:
        with pytest.raises(ValueError, match="num_beams must be 1"):
            decode(method, ROWS, OTHERS, num_beams=2)


@every
def test_the_cost_reported_is_that_of_the_passes_taken(name: str) -> None:
    calls: list[int] = []
    method = create(name)
    decoder = tiny(KIND.name).model.language_model
    hook = decoder.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        _, cost = decode(method, ROWS, OTHERS)
    finally:
        hook.remove()
    # A description, of 4 tokens here, is made once a picture and counted apart.
    described = any(branch.needs == "description" for branch in method.branches())
    assert sum(cost.passes.values()) == len(calls) - (4 if described else 0)
    assert cost.passes["own"] == 8


@every
def test_random_state_is_left_alone(name: str) -> None:
    decode(create(name), ROWS[:1], OTHERS[:1])
    after = torch.rand(3)
    torch.manual_seed(3)  # as before decoding
    assert torch.equal(after, torch.rand(3))


@every
@given(st.integers(0, 1000))
def test_the_likeliest_token_always_stays_and_no_score_is_nan(name: str, seed: int) -> None:
    method = create(name)
    drawn = torch.Generator().manual_seed(seed)
    own, *others = 5 * torch.randn(1 + len(method.branches()), 3, 12, generator=drawn)
    kept = method.keep(own, others)
    assert kept.gather(1, own.argmax(-1, keepdim=True)).all()
    assert combine(own, others, method.weights(own, others)).isfinite().all()


@every
def test_facts_are_stated(name: str) -> None:
    kind = DECODING.get(name)
    assert kind.__doc__
    assert ("Source:" in kind.__doc__) == bool(kind.papers) == (name != "plain")


@every
def test_it_is_a_value(name: str) -> None:
    method = create(name)
    assert pickle.loads(pickle.dumps(method)) == dataclasses.replace(method) == method
