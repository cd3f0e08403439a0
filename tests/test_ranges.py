"""Checks of arguments against the ranges in a signature, however they are passed."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import numpy as np
import pytest
from torch import nn

from counterpoint.forms import Count, Fraction, Positive
from counterpoint.ranges import Checked

if TYPE_CHECKING:
    from decimal import Decimal


class More(TypedDict, total=False):
    share: Fraction


class Module(Checked, nn.Module):
    def __init__(
        self,
        scale: Positive | nn.Module | None = None,
        *rest: float,
        count: Count = 1,
        kind: Literal["a", "b"] = "a",
        **more: Unpack[More],
    ) -> None:
        super().__init__()
        self.scale, self.count, self.kind = scale, count, kind


class Child(Module):
    """Takes its parent's arguments."""


@dataclass(frozen=True)
class Data(Checked):
    share: Fraction = 0.5


@pytest.mark.parametrize(
    ("kind", "args", "options", "message"),
    [
        (Module, (0.0,), {}, "scale of Module must be greater than 0, got 0.0"),
        (Module, (), {"scale": -1}, "scale of Module must be greater than 0, got -1"),
        (Child, (), {"count": 0}, "count of Child must be at least 1, got 0"),
        (Module, (), {"count": "2"}, "count of Module must be a whole number, got '2'"),
        (Module, (), {"count": 4.0}, "count of Module must be a whole number, got 4.0"),
        (Module, (), {"count": True}, "count of Module must be a whole number, got True"),
        (Module, (), {"kind": "c"}, "kind of Module must be one of 'a' or 'b', got 'c'"),
        (Module, (), {"share": 1.5}, "share of Module must be at most 1, got 1.5"),
        (Data, (2.0,), {}, "share of Data must be at most 1, got 2.0"),
    ],
)
def test_a_value_outside_is_refused(kind: Any, args: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        kind(*args, **options)


def test_numbers_of_other_libraries_else_union_names_accepted() -> None:
    assert Module(np.float32(0.5), count=np.int64(3)).count == 3
    assert Module(nn.Identity(), -1.0).scale is not None
    assert Module(None).scale is None


def test_what_the_signature_lacks_is_the_constructors_to_refuse() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'sharp'"):
        Data(sharp=1)  # type: ignore[call-arg] # refused


def test_a_replaced_field_is_checked_and_copies_are_as_before() -> None:
    with pytest.raises(ValueError, match="share of Data must be at least 0"):
        replace(Data(), share=-1.0)
    assert pickle.loads(pickle.dumps(Data(0.3))) == copy.deepcopy(Data(0.3)) == Data(0.3)
    assert copy.deepcopy(Module(2.0)).scale == 2.0


def test_the_signature_stays() -> None:
    assert [*inspect.signature(Module).parameters] == ["scale", "rest", "count", "kind", "more"]
    assert str(inspect.signature(Data)) == "(share: 'Fraction' = 0.5) -> None"


def test_annotations_for_type_checkers_alone_declare_nothing() -> None:
    class Own(Checked):
        def __init__(self, price: Decimal | None, scale: Positive = 1.0) -> None:
            self.scale = scale

    assert Own(None, -1.0).scale == -1.0
