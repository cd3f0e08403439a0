"""CoLVA: the loss as a plain loop, masks of places, what moves, and objects that are matched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from method_stubs import LATE, batch, build
from torch import Tensor

from counterpoint.data.base import Rows, Splits
from counterpoint.data.pictured import PairedData
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.evaluation.tasks import SameThing
from counterpoint.methods.colva import OWN, pool_objects, present
from counterpoint.raw import UNKNOWN, Maps
from counterpoint.types import Batch

F64 = torch.float64
MAPS = ("map", "map 2")


def given(first: Tensor, second: Tensor) -> tuple[Any, Batch]:
    method = build("colva").double().eval()
    examples = batch(method, len(first), dtype=F64)
    views = {**examples.views, "map": first, "map 2": second}
    return method, replace(examples, views=views)


def drawn(seed: int, classes: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, classes, (5, 8, 8), generator=generator).to(torch.uint8)


def test_is_the_loss_of_the_card_in_both_directions() -> None:
    first, second = drawn(0), drawn(1)
    second[0][second[0] == 2] = 0  # one view lacks an object
    first[1], second[1] = 1, 1  # one object alone: no negatives
    first[2] = 0  # no object at all
    method, examples = given(first, second)
    z = method.targets(examples) | method.encode(examples)
    terms = []
    for row in range(5):
        ids = [k for k in range(3) if (first[row] == k + 1).any() and (second[row] == k + 1).any()]
        for one, other in (("image", "image 2"), ("image 2", "image")):
            for k in ids:
                scores = {j: z[one][row, k] @ z[OWN + other][row, j] for j in ids}
                terms.append(torch.stack([*scores.values()]).logsumexp(0) - scores[k])
    loss = method.losses(z, examples, LATE)["colva"]
    torch.testing.assert_close(loss, torch.stack(terms).mean())
    loss.backward()
    moved = {name for name, p in method.named_parameters() if p.grad is not None}
    assert {name.split(".")[0] for name in moved} == {"adapter"}
    assert all(p.grad.isfinite().all() for p in method.adapter.parameters())


def test_no_object_in_common_has_no_loss() -> None:
    method, examples = given(torch.ones_like(drawn(0)), 2 * torch.ones_like(drawn(0)))
    loss = method.losses(method.targets(examples) | method.encode(examples), examples, LATE)["colva"]
    assert loss.item() == 0
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


def test_masks_hold_above_the_threshold_and_thin_ones_at_the_nearest_place() -> None:
    features = torch.arange(16.0).view(1, 1, 4, 4)
    maps = torch.zeros(1, 16, 16, dtype=torch.long)
    maps[0, :8, :8] = 1  # four whole places
    maps[0, 15, 13] = 2  # a pixel
    maps[0, 8:12, 0:4] = UNKNOWN
    pooled = pool_objects(features, maps, 3)[0, :, 0]
    torch.testing.assert_close(pooled, torch.tensor([(0 + 1 + 4 + 5) / 4.0001, 15 / 1.0001, 0.0]))
    assert present(maps, 3).tolist() == [[True, True, False]]


class Twice(PairedData):
    """The same picture twice, whose objects are halves."""

    name = "twice"

    def __init__(self) -> None:
        self.columns = {"image": "image", "image 2": "image", "map": "map", "map 2": "map"}
        self.ids = np.arange(3)
        self.splits = Splits(np.arange(0), {}, {"all": self.ids})
        self.pictures = torch.randint(256, (3, 3, 8, 8), generator=torch.Generator().manual_seed(1))

    def images(self, rows: Rows) -> Tensor:
        return self.pictures[rows].to(torch.uint8)

    def captions(self, row: int) -> list[str]:
        return ["halves"]

    def read(self, column: str, rows: Rows) -> Any:
        if column.startswith("image"):
            return self.images(rows)
        halves = torch.ones(len(rows), 8, 8, dtype=torch.uint8)
        halves[:, 4:] = 2
        return Maps(halves, ("background", "cat", "dog", "car"))


def test_best_match_counts_and_the_own_tokens_are_asked_beside() -> None:
    data, method = Twice(), build("colva").eval()
    rows = data.splits.test["all"]
    scores = SameThing()(method, data, rows)
    pictures = torch.stack([data.read(column, rows) for column in ("image", "image 2")], 1)
    maps = torch.stack([data.read(column, rows).values for column in MAPS], 1)
    for name, own in (("accuracy", False), ("own", True)):
        matrix = method.match(pictures, maps, own=own)
        assert bool((matrix[:, 2] == -torch.inf).all())
        best = matrix[:, :2, :2].argmax(2) == torch.arange(2)
        assert scores.value(name) == pytest.approx(float(best.float().mean()))
        assert scores.metrics[name].chance == 0.5
    with pytest.raises(NotApplicableError, match="match objects"):
        SameThing()(build("clip"), data, rows)


def test_model_without_tokens_of_places_is_refused() -> None:
    with pytest.raises(ValueError, match="writes no replies"):
        build("colva", model="a run of clip")
