"""One temperature for all losses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from counterpoint.pairwise import Temperature


@pytest.mark.parametrize("form", ["log", "scale", "direct"])
@pytest.mark.parametrize("learnable", [True, False])
def test_divides_by_tau(form: Any, learnable: bool) -> None:
    temperature = Temperature(0.25, form=form, learnable=learnable)
    torch.testing.assert_close(temperature.scale(torch.tensor([1.0, -2.0])), torch.tensor([4.0, -8.0]))
    assert temperature.value.item() == pytest.approx(0.25)
    assert len(list(temperature.parameters())) == learnable


def test_the_log_form_learns_the_logarithm_of_the_scale() -> None:
    temperature = Temperature(0.07)
    assert isinstance(temperature.parameter, nn.Parameter)
    assert temperature.parameter.item() == pytest.approx(math.log(1 / 0.07))
    temperature.scale(torch.tensor(2.0)).backward()
    # d(x e^p)/dp = x e^p
    assert temperature.parameter.grad is not None
    assert temperature.parameter.grad.item() == pytest.approx(2 / 0.07)


def test_the_direct_form_learns_tau_itself() -> None:
    temperature = Temperature(0.07, form="direct")
    assert temperature.parameter is not None
    assert temperature.parameter.item() == pytest.approx(0.07)
    temperature.scale(torch.tensor(2.0)).backward()
    # d(x / t)/dt = -x / t²
    assert temperature.parameter.grad is not None
    assert temperature.parameter.grad.item() == pytest.approx(-2 / 0.07**2)


@pytest.mark.parametrize("form", ["log", "scale", "direct"])
@pytest.mark.parametrize(("moved_to", "expected"), [(1e-4, 0.01), (0.5, 0.5), (7.0, 1.0)])
def test_clamping_brings_tau_back_between_its_bounds(form: Any, moved_to: float, expected: float) -> None:
    temperature = Temperature(0.07, form=form, bounds=(0.01, 1.0))
    assert temperature.parameter is not None
    with torch.no_grad():
        temperature.parameter.fill_(
            {"log": math.log(1 / moved_to), "scale": 1 / moved_to, "direct": moved_to}[form]
        )
    temperature.clamp_()
    assert temperature.value.item() == pytest.approx(expected)


def test_the_bounds_of_clip_are_those_of_its_log_scale() -> None:
    temperature = Temperature(0.07, bounds=(0.01, 1.0))
    assert temperature.parameter is not None
    for start, end in ((9.0, 4.6052), (-3.0, 0.0)):
        with torch.no_grad():
            temperature.parameter.fill_(start)
        temperature.clamp_()
        assert temperature.parameter.item() == pytest.approx(end, abs=1e-4)


def test_one_sided_and_absent_bounds() -> None:
    free = Temperature(0.1)
    below = Temperature(0.1, bounds=(0.05, None))
    for temperature, expected in ((free, 1e-3), (below, 0.05)):
        assert temperature.parameter is not None
        with torch.no_grad():
            temperature.parameter.fill_(math.log(1e3))
        temperature.clamp_()
        assert temperature.value.item() == pytest.approx(expected)


def test_a_fixed_temperature_is_exact_in_double_precision() -> None:
    x = torch.tensor([1.0], dtype=torch.float64)
    assert Temperature(0.1, learnable=False).scale(x).item() == 10.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": 0.001, "bounds": (0.01, 1.0)}, "hold init=0.001"),
        ({"init": 2.0, "bounds": (None, 1.0)}, "hold init=2.0"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Temperature(**options)
