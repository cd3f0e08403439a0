"""Heads as linear maps within the last linear map of a tower."""

from __future__ import annotations

import pytest
import torch

from counterpoint.networks.exported import Head, NotExportableError, with_head


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("biased", [True, False])
def test_a_head_after_a_layer_is_one_layer(own: bool, biased: bool) -> None:
    torch.manual_seed(0)
    layer, head = torch.nn.Linear(5, 4, bias=own), torch.nn.Linear(4, 3, bias=biased)
    x = torch.randn(7, 5)
    whole = Head(head.weight, head.bias).after(layer.weight, layer.bias)
    assert (whole.bias is not None) == (own or biased)
    torch.testing.assert_close(torch.nn.functional.linear(x, whole.weight, whole.bias), head(layer(x)))


def test_a_matrix_and_a_layer_take_a_head_in_their_own_order() -> None:
    torch.manual_seed(0)
    x, matrix, head = torch.randn(7, 5), torch.randn(5, 4), Head(torch.randn(3, 4))
    found = with_head({"proj": matrix, "other": x}, head, ("gone", "proj"), "a tower")
    torch.testing.assert_close(x @ found["proj"], x @ matrix @ head.weight.T)
    assert found["other"] is x
    layer = {"proj.weight": matrix.T, "proj.bias": torch.randn(4)}
    found = with_head(layer, head, ("proj",), "a tower")
    expected = (x @ matrix + layer["proj.bias"]) @ head.weight.T
    torch.testing.assert_close(x @ found["proj.weight"].T + found["proj.bias"], expected)


def test_the_identity_changes_no_number() -> None:
    weights = {"proj": torch.randn(5, 4)}
    assert with_head(weights, Head(torch.eye(4)), (), "a tower")["proj"] is weights["proj"]


def test_a_head_without_a_place_is_refused() -> None:
    head = Head(torch.randn(3, 4), torch.ones(3))
    with pytest.raises(
        NotExportableError, match="a tower ends in a linear map without bias, and the head has one"
    ):
        with_head({"proj": torch.randn(5, 4)}, head, ("proj",), "a tower")
    with pytest.raises(NotExportableError, match="a tower ends in no linear map"):
        with_head({}, head, ("proj",), "a tower")
