"""MultiModN: the state, what a gap leaves alone, and the release."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from method_stubs import batch, build, run
from torch import Tensor

from counterpoint.types import Batch

F64 = torch.float64
COLUMNS = ("image", "text")


def method_of(**options: Any) -> Any:
    return build("multimodn", **{"state": 6, "hidden": 5, "dropout": 0.0, **options}).double()


def gapped(method: Any, **there: list[bool]) -> Batch:
    given = batch(method, 4, dtype=F64)
    return replace(given, present={column: torch.tensor(has) for column, has in there.items()})


def released(method: Any, given: Batch, change: float = 0.0) -> Tensor:
    """The loss as the release computes it for a batch without gaps: its order of operations, written anew."""
    target = given.labels["group"]
    state = method.start[None].repeat(len(given), 1)
    error, moved = F.cross_entropy(method.decoder(state), target), torch.tensor(0.0, dtype=F64)
    for column in COLUMNS:
        old = state
        hidden = torch.relu(method.hidden[column](method.towers[column](given[column])))
        state = method.updates[column](torch.cat([hidden, old], 1))
        error = error + F.cross_entropy(method.decoder(state), target)
        moved = moved + ((state - old) ** 2).mean()
    return error / (len(COLUMNS) + 1) + 0.01 * change * moved / len(COLUMNS)


@pytest.mark.parametrize("change", [0.0, 3.0])
def test_without_gaps_it_is_the_release(change: float) -> None:
    method = method_of(change=change)
    given = batch(method, 7, dtype=F64)
    total = sum(run(method, given).values())
    torch.testing.assert_close(total, released(method, given, change))


def test_every_example_skips_its_own_columns() -> None:
    method = method_of()
    given = gapped(method, text=[True, False, True, False])
    z = method.encode(given)
    states = method.states(z, given)
    whole = method.states(z, replace(given, present={}))
    torch.testing.assert_close(states[2][[1, 3]], states[1][[1, 3]], rtol=0, atol=0)
    torch.testing.assert_close(states[2][[0, 2]], whole[2][[0, 2]], rtol=0, atol=0)


def test_step_is_skipped_has_no_loss_and_denominators_count_it() -> None:
    method = method_of()
    given = gapped(method, image=[True, True, False, True], text=[True, False, True, False])
    z, target = method.encode(given), given.labels["group"]
    states, expected = method.states(z, given), torch.tensor(0.0, dtype=F64)
    for row in range(4):
        there = (True, *(bool(given.present[column][row]) for column in COLUMNS))
        for state, has in zip(states, there, strict=True):
            logits = method.decoder(state[row : row + 1])
            expected = expected + has * F.cross_entropy(logits, target[row : row + 1])
    torch.testing.assert_close(run(method, given)["multimodn"], expected / (4 * 3))


def test_an_example_without_a_class_counts_for_nothing() -> None:
    method = method_of()
    given = batch(method, 4, dtype=F64)
    some = replace(given, labels={"group": torch.tensor([0, -1, 2, -1])})
    kept = Batch(given.ids[::2], {n: v[::2] for n, v in given.views.items()}, {"group": torch.tensor([0, 2])})
    torch.testing.assert_close(run(method, some)["multimodn"], run(method, kept)["multimodn"])


def test_without_any_column_answer_is_that_of_the_first_state() -> None:
    method = build("multimodn")
    p = method.classify({}, {"image": np.zeros(3, dtype=bool)})
    torch.testing.assert_close(p, method.decoder(method.start).softmax(0).expand(3, -1))


def test_what_view_holds_where_column_is_missing_does_not_matter() -> None:
    method = method_of()
    given = gapped(method, image=[True, False, True, True])
    views = {name: view.clone() for name, view in given.views.items()}
    views["image"][1] = torch.nan
    found = []
    for one in (given, replace(given, views=views)):
        method.zero_grad(set_to_none=True)
        run(method, one)["multimodn"].backward()
        found.append({name: p.grad for name, p in method.named_parameters() if "towers" not in name})
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=0, atol=0)
