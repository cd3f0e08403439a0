"""Methods that use rows with gaps do so on any number of ranks; methods of two columns know none but by modality."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from incomplete_jobs import ROWS, WHOLE, job_with_gaps, with_gaps
from method_stubs import (
    LATE,
    RECIPE,
    RECIPES,
    StubSound,
    StubText,
    batch,
    build,
    options_for,
    prepared,
    run,
    target_for,
)
from rank_pool import RankPool
from torch import Tensor

from counterpoint import methods
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.networks.base import Tower
from counterpoint.networks.init import initialise
from counterpoint.networks.towers.series import DilatedTower, Standardised
from counterpoint.types import Batch
from fixtures.slow import slow


def classes() -> dict[str, type[TowerMethod]]:
    """Return the methods by name."""
    return {
        name: kind
        for name in methods.names()
        if isinstance(kind := methods.METHODS.get(name), type) and issubclass(kind, TowerMethod)
    }


USING = [name for name, kind in classes().items() if kind.incomplete == "use"]


def pairs() -> list[Any]:
    """Return the methods that take any two columns, on sounds and on series with texts."""
    cases = []
    for name, kind in classes().items():
        for first in ("audio", "series"):
            try:
                kind.needs.check(name, {first: first, "text": "text"})
            except ValueError:
                continue
            # Those of the recipes with pretrained towers are about towers that have learned, and so is a teacher.
            if name not in RECIPES and name not in ("diht-distilled", "jest") and not kind.closed:
                cases.append((name, first))
    return cases


@pytest.mark.parametrize("name", USING)
@pytest.mark.parametrize("microbatch", [3, *slow(0)])
def test_a_rank_may_have_no_complete_row(
    name: str, microbatch: int, rank_pool: Callable[[int], RankPool]
) -> None:
    losses, gradients = job_with_gaps(0, 1, name, [0, ROWS], 0)
    assert gradients
    for found, averaged in rank_pool(2).run(job_with_gaps, name, [0, WHOLE, ROWS], microbatch):
        for term, loss in losses.items():
            torch.testing.assert_close(found[term], loss)
        assert averaged.keys() == gradients.keys()
        for parameter, gradient in gradients.items():
            torch.testing.assert_close(averaged[parameter], gradient)


@pytest.mark.parametrize("name", USING)
def test_what_stands_in_a_gap_does_not_matter(name: str) -> None:
    method = build(name).double().train()
    given = with_gaps(method)
    column = list(method.columns)[-1]
    views: dict[str, Tensor] = dict(given.views)
    for view, of in method.views.items():
        if of.column == column:
            views[view] = torch.cat([views[view][:WHOLE].flip(0) * 0 + 1, views[view][WHOLE:]])
    losses = run(method, prepared(method, given))
    other = build(name).double().train()  # a method may remember what it prepared
    filled = Batch(given.ids, views, given.labels, given.present)
    for term, loss in run(other, prepared(other, filled)).items():
        torch.testing.assert_close(loss, losses[term])


@pytest.mark.parametrize(("name", "first"), pairs())
def test_methods_of_two_columns_train_on_sounds_and_on_series(name: str, first: str) -> None:
    sound_or_series = StubSound() if first == "audio" else _series()
    towers: dict[str, Tower] = {first: sound_or_series, "text": StubText()}
    for column, tower in towers.items():
        initialise(tower, 0, column)
    method: Any = methods.create(name, towers, RECIPE, target=target_for(name), **options_for(name))
    initialise(method, 0)
    given = _batch(method, first)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=1e-3)
    torch.manual_seed(0)
    before = torch.stack(list(run(method, given, LATE).values())).sum()
    before.backward()
    trained = [p for p in sound_or_series.parameters() if p.ndim > 1 and p.requires_grad]
    assert all(float(p.grad.abs().sum()) > 0 for p in trained)
    optimizer.step()
    torch.manual_seed(0)
    assert torch.stack(list(run(method, given, LATE).values())).sum() < before


def _series() -> DilatedTower:
    return DilatedTower(Standardised(12, (), (0.0, 0.0), (1.0, 1.0)), width=10, dilations=(1,))


def _batch(method: TowerMethod, first: str) -> Batch:
    if first == "audio":
        return batch(method)
    generator = torch.Generator().manual_seed(0)
    views = {
        name: torch.randn(16, 12, 2, generator=generator)
        if view.modality == "series"
        else torch.randint(1, 63, (16, 5), generator=generator)
        for name, view in method.views.items()
    }
    return Batch(torch.arange(16), views, {"group": torch.arange(16) % 5})
