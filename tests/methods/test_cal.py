"""CAL: weights from the contrast of gold logits, by hand; what is hidden; its limit; its control."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from counterpoint.methods.cal import CAL, pooled, shuffled
from counterpoint.networks.bridges.base import Given
from counterpoint.types import StepInfo
from fixtures.speaking import batch_of, speaking

CLOCK = StepInfo(0, 10)


def run(method: Any, batch: Any) -> dict[str, Tensor]:
    batch = method.prepare(batch, CLOCK)
    return method.losses({**method.targets(batch), **method.encode(batch)}, batch, CLOCK)


def test_weights_and_loss_are_those_of_a_loop() -> None:
    method = speaking("cal,low=0.01,high=0.2", "talk")
    batch = batch_of(method)
    speaker, head, talk = method.speaker, method.language.head, batch["talk"]
    total, weight = 0.0, 0.0
    for i in range(4):
        given = speaker.given(speaker.patches(batch["image"][i : i + 1]))
        length = int((talk[i, 2] > 0).sum())
        tokens = talk[i : i + 1, 0, :length]
        with torch.no_grad():
            seen, blind = (head(speaker.states(tokens, given, hidden=it))[0] for it in (False, True))
        spoken = [t for t in range(1, length) if talk[i, 1, t]]
        delta = [float(seen[t - 1, tokens[0, t]] - blind[t - 1, tokens[0, t]]) for t in spoken]
        clipped = [min(max(value, 0.01), 0.2) for value in delta]
        assert len({*clipped}) > 1
        for n, t in enumerate(spoken):
            near = clipped[max(n - 1, 0) : n + 2]
            w = sum(near) / len(near)
            total = total - w * seen[t - 1].log_softmax(-1)[tokens[0, t]]
            weight += w
    torch.testing.assert_close(run(method, batch)["cal"], total / weight)


def test_nothing_depends_on_a_hidden_picture_and_positions_stay() -> None:
    method = speaking("cal", "talk")
    speaker, batch = method.speaker, batch_of(method)
    tokens = batch["talk"][:, 0]
    given = speaker.given(speaker.patches(batch["image"]))
    hidden = speaker.states(tokens, given, hidden=True)
    nothing = Given(torch.zeros_like(given.tokens))
    torch.testing.assert_close(speaker.states(tokens, nothing, hidden=True), hidden)
    assert hidden.isfinite().all()
    assert not torch.allclose(speaker.states(tokens, given), hidden)
    # Positions count the picture's tokens; without them the text would move up.
    opening, count = method.language.chat.opening, given.tokens.shape[1]
    positions = torch.arange(tokens.shape[1])
    positions[opening:] += count
    # With a mask: transformers takes a gap in positions without one for the border between two texts.
    causal = torch.ones(4, len(positions), len(positions), dtype=torch.bool).tril()
    moved = method.language.token_states(method.language.embed(tokens), positions.expand(4, -1), causal)
    torch.testing.assert_close(hidden, moved)


def test_equal_bounds_are_sft_and_so_is_a_picture_that_changes_nothing() -> None:
    plain, method = speaking("sft", "talk"), speaking("cal,low=1,high=1", "talk")
    method.load_state_dict(plain.state_dict())
    batch = batch_of(method)
    (expected,) = plain.losses(plain.encode(batch), batch, CLOCK).values()
    torch.testing.assert_close(run(method, batch)["cal"], expected)
    free = speaking("cal", "talk")
    free.load_state_dict(plain.state_dict())
    z = free.encode(batch)
    (same,) = free.losses({**z, "blind.talk": z["seen.talk"]}, batch, CLOCK).values()
    torch.testing.assert_close(same, expected)


def test_weights_have_no_gradient_and_their_passes_no_dropout() -> None:
    method = speaking("cal", "talk").train()
    batch = batch_of(method)
    assert not any(it.requires_grad for it in method.targets(batch).values())
    assert not method.encode(batch)["seen.talk"].requires_grad
    with patch.object(CAL, "_drops", True):
        modes: list[bool] = []
        base = method.language.model.base_model
        handle = base.register_forward_pre_hook(lambda module, args: modes.append(module.training))
        assert {*method.targets(batch)} == {"seen.talk", "blind.talk"}
        assert "seen.talk" not in method.encode(batch)
        handle.remove()
    assert modes == [False, False, True]
    assert method.passes() == {"image": 1, "talk": 2}


def test_pooling_stays_within_a_reply() -> None:
    mask = torch.tensor([[False, True, True, False, True, True]])
    values = torch.tensor([[9.0, 1.0, 3.0, 9.0, 5.0, 2.0]])
    torch.testing.assert_close(pooled(values, mask, 3), torch.tensor([[0, 2, 2, 0, 3.5, 3.5]]))
    torch.testing.assert_close(pooled(values, mask, 1), torch.tensor([[0.0, 1, 3, 0, 5, 2]]))


def test_the_control_has_the_same_weights_in_another_order() -> None:
    mask = torch.rand(50, 9, generator=torch.Generator().manual_seed(0)) < 0.6
    values = torch.where(mask, torch.rand(50, 9), 0.0)
    order = torch.rand(50, 9).argsort(1)
    moved = shuffled(values, mask, order)
    assert torch.equal(moved.sort(1).values, values.sort(1).values)
    assert ((moved > 0) == (values > 0)).all()
    assert not torch.equal(moved, values)
    method = speaking("cal,shuffled=true,low=0.01,high=0.2", "talk")
    batch = batch_of(method)
    torch.manual_seed(0)
    first = run(method, batch)["cal"]
    same = method.prepare(batch, CLOCK)
    assert method.draws
    assert not torch.equal(first, run(speaking("cal,low=0.01,high=0.2", "talk"), batch)["cal"])
    own = replace(same, views={**same.views, "order.talk": torch.arange(32).expand(4, -1)})
    z = {**method.targets(own), **method.encode(own)}
    plain = run(speaking("cal,low=0.01,high=0.2", "talk"), batch)["cal"]
    torch.testing.assert_close(method.losses(z, own, CLOCK)["cal"], plain)


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="low=6 is above high=5"):
        speaking("cal,low=6", "talk")
    with pytest.raises(ValueError, match="window=2 has no middle"):
        speaking("cal,window=2", "talk")
