"""Base and new classes, each asked by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from counterpoint.data.derived.new_classes import NewClassesData
from counterpoint.evaluation import create
from counterpoint.evaluation.task import NotApplicableError, check_data
from counterpoint.testing._task import RandomClassifier
from counterpoint.types import Target
from fixtures.tiny import TinyData


class Naming(RandomClassifier):
    """A model that always names the first class, of whatever classes."""

    knows = True

    def classify(self, inputs: Any, present: Any = None) -> torch.Tensor:
        assert self.target is not None
        n, k = len(next(iter(present.values()))), len(self.target.classes)
        return torch.eye(k)[:1].expand(n, k)

    def renamed(self, names: Sequence[str]) -> RandomClassifier:
        if not self.knows:
            raise LookupError("more than names")
        return Naming(Target("subgroup", tuple(names)))


@pytest.fixture(scope="module")
def data() -> NewClassesData:
    return NewClassesData(TinyData(), "subgroup", 0.4)


def test_each_part_is_asked_by_itself(data: NewClassesData) -> None:
    model = Naming(Target("subgroup", data.classes["subgroup"].names))
    rows = np.arange(len(data))
    scored = create("new_classes")(model, data, rows)
    base, new = (data.classes[name].values for name in ("subgroup", "new_subgroup"))
    b, n = (values[values >= 0] == 0 for values in (base, new))
    assert scored.value("base") == pytest.approx(b.mean())
    assert scored.value("new") == pytest.approx(n.mean())
    assert scored.value("harmonic") == pytest.approx(2 * b.mean() * n.mean() / (b.mean() + n.mean()))
    assert len(scored.outcomes("harmonic")) == len(rows)


def test_model_that_knows_more_than_names_has_base_alone(data: NewClassesData) -> None:
    model = Naming(Target("subgroup", data.classes["subgroup"].names))
    model.knows = False
    assert set(create("new_classes")(model, data, np.arange(len(data))).metrics) == {"base"}


def test_data_without_new_classes_is_refused() -> None:
    with pytest.raises(NotApplicableError, match="write --labels LABEL,new="):
        check_data(create("new_classes"), TinyData())
