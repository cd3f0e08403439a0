"""Bilinear operators: their formulas as plain loops, roots at zero, and equal numbers of parameters."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from counterpoint.networks.fusion.operators import (
    BLOCK,
    MCB,
    MFB,
    MFH,
    MLB,
    MUTAN,
    OPERATORS,
    FullBilinear,
    matched,
    signed_root,
    size_of,
)

F64 = torch.float64


def inputs(first: int = 5, second: int = 7, rows: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(rows, width, generator=generator, dtype=F64) for width in (first, second))


def unit(z: Tensor) -> Tensor:
    root = z.sign() * z.abs().sqrt()
    return root / root.norm()


def test_full_bilinear() -> None:
    x, y = inputs()
    operator = FullBilinear(5, 7, 3, 1).double()
    weight, bias = operator.bilinear.weight, operator.bilinear.bias
    for b, row in enumerate(operator(x, y)):
        for k, value in enumerate(row):
            torch.testing.assert_close(value, x[b] @ weight[k] @ y[b] + bias[k])


def test_mcb_is_the_count_sketch_of_the_outer_product() -> None:
    x, y = inputs()
    operator = MCB(5, 7, 3, 11).double()
    pooled = torch.zeros(len(x), 11, dtype=F64)
    for i in range(5):
        for j in range(7):
            index = (operator.first_index[i] + operator.second_index[j]) % 11
            pooled[:, index] += operator.first_sign[i] * x[:, i] * operator.second_sign[j] * y[:, j]
    expected = operator.out(torch.stack([unit(row) for row in pooled]))
    torch.testing.assert_close(operator(x, y), expected, rtol=1e-4, atol=1e-4)
    again = MCB(5, 7, 3, 11).double()
    again.load_state_dict(operator.state_dict())
    torch.testing.assert_close(again(x, y), operator(x, y))


def test_mlb() -> None:
    x, y = inputs()
    operator = MLB(5, 7, 3, 6).double()
    expected = operator.out(torch.tanh(operator.first(x)) * torch.tanh(operator.second(y)))
    torch.testing.assert_close(operator(x, y), expected)


def test_mutan_adds_products_of_slices() -> None:
    x, y = inputs()
    operator = MUTAN(5, 7, 3, 4, rank=2).double()
    a, b = operator.first_slices(operator.first(x)), operator.second_slices(operator.second(y))
    expected = operator.out(sum(a[:, r * 4 : r * 4 + 4] * b[:, r * 4 : r * 4 + 4] for r in range(2)))
    torch.testing.assert_close(operator(x, y), expected)


@pytest.mark.parametrize("kind", [MFB, MFH])
def test_mfb_and_mfh(kind: type[MFB]) -> None:
    x, y = inputs()
    operator = kind(5, 7, 3, 4, factor=2).double()
    rows = []
    for b in range(len(x)):
        pooled, product = [], torch.ones(8, dtype=F64)
        for first, second in zip(operator.first, operator.second, strict=True):
            product = product * first(x[b]) * second(y[b])
            pooled.append(unit(torch.stack([product[2 * i] + product[2 * i + 1] for i in range(4)])))
        rows.append(operator.out(torch.cat(pooled)))
    torch.testing.assert_close(operator(x, y), torch.stack(rows), rtol=1e-4, atol=1e-4)


def test_block_is_a_sum_of_products_in_each_chunk() -> None:
    x, y = inputs()
    operator = BLOCK(5, 7, 3, 7, chunks=3, rank=2).double()
    assert operator.sizes == [3, 2, 2]
    rows = []
    for b in range(len(x)):
        x_chunks, y_chunks = operator.first(x[b]).split([3, 2, 2]), operator.second(y[b]).split([3, 2, 2])
        pooled = []
        for c, size in enumerate((3, 2, 2)):
            products = operator.first_slices[c](x_chunks[c]) * operator.second_slices[c](y_chunks[c])
            pooled.append(unit(products[:size] + products[size:]))
        rows.append(operator.out(torch.cat(pooled)))
    torch.testing.assert_close(operator(x, y), torch.stack(rows), rtol=1e-4, atol=1e-4)


def test_root_has_a_gradient_at_zero() -> None:
    z = torch.zeros(3, requires_grad=True)
    signed_root(z).sum().backward()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("name", OPERATORS)
def test_no_operator_has_more_parameters_than_it_may(name: str) -> None:
    operator = matched(name, 16, 16, 3, 3000)
    assert size_of(operator) <= 3000
    x, y = inputs(16, 16)
    x[0] = 0
    given = [z.clone().requires_grad_() for z in (x, y)]
    operator.double()(*given).sum().backward()
    assert all(z.grad.isfinite().all() for z in given)
