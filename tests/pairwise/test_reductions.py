"""Reductions: tiled equals dense equals plain PyTorch, in value and gradient, masks and all."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from counterpoint.pairwise import NEG, Gather, LogSumExp, Sum, Tile, TopK, WeightedMean, WholeRow
from counterpoint.pairwise.exponential import exponential
from counterpoint.pairwise.reduce import ReductionResults, reduce

F64 = torch.float64
Terms = Callable[[Tile], dict[str, dict[str, Any]]]


def problem(n: int = 9, m: int = 13, d: int = 4, seed: int = 0, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(k, d, generator=g, dtype=F64) * scale for k in (n, m))
    return x.requires_grad_(), y.requires_grad_()


def gradients(out: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """Return the gradients of a fixed random functional of the result, so that every entry counts differently."""
    g = torch.Generator().manual_seed(7)
    weights = torch.randn(out.shape, generator=g, dtype=out.dtype)
    return list(torch.autograd.grad((out.masked_fill(out == NEG, 0.0) * weights).sum(), inputs))


def assert_all_agree(
    terms: Terms,
    pick: Callable[[ReductionResults], Tensor],
    plain: Callable[[Tensor, Tensor], Tensor],
    **sizes: Any,
) -> None:
    x, y = problem(**sizes)
    expected = plain(x, y)
    results = {"plain": (expected.detach(), gradients(expected, [x, y]))}
    for evaluator, tile in (
        ("dense", None),
        ("tiled", 1),
        ("tiled", (4, 3)),
        ("tiled", (2, 13)),
        ("tiled", 50),
    ):
        out = pick(reduce(terms, rows={"z": x}, columns={"z": y}, evaluator=evaluator, tile=tile))  # type: ignore[arg-type]
        results[f"{evaluator} {tile}"] = (out.detach(), gradients(out, [x, y]))
    for value, grads in results.values():
        torch.testing.assert_close(value, expected.detach(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(grads, results["plain"][1], rtol=1e-10, atol=1e-12)


def positive(tile: Tile) -> Tensor:
    """A mask under which row 2 and column 2 are empty."""
    return ((tile.i + tile.j) % 3 == 0) & (tile.i != 2) & (tile.j != 2)


def mask(n: int, m: int) -> Tensor:
    i, j = torch.arange(n)[:, None], torch.arange(m)[None]
    return ((i + j) % 3 == 0) & (i != 2) & (j != 2)


@pytest.mark.parametrize(("per", "dim"), [("row", 1), ("column", 0), ("total", (0, 1))])
def test_log_sum_exp(per: str, dim: Any) -> None:
    assert_all_agree(
        lambda tile: {per: {"a": LogSumExp(3 * tile.dot())}},
        lambda r: getattr(r, per).a,
        lambda x, y: (3 * x @ y.T).logsumexp(dim),
    )


@pytest.mark.parametrize(("per", "dim"), [("row", 1), ("column", 0)])
def test_log_sum_exp_of_nothing_minus_infinity_without_gradient(per: str, dim: int) -> None:
    def plain(x: Tensor, y: Tensor) -> Tensor:
        s = (x @ y.T).masked_fill(~mask(9, 13), NEG)
        empty = (s == NEG).all(dim)
        # PyTorch's own gradient at an empty row is NaN.
        safe = s.movedim(dim, 1).masked_fill(empty[:, None], 0.0).logsumexp(1)
        return torch.where(empty, NEG, safe)

    def terms(tile: Tile) -> dict[str, dict[str, Any]]:
        return {per: {"a": LogSumExp(tile.dot().masked_fill(~positive(tile), NEG))}}

    assert_all_agree(terms, lambda r: getattr(r, per).a, plain)


@pytest.mark.parametrize("scale", [1.0, 8.0, 30.0])
def test_row_and_column_from_shared_logits_at_any_range(scale: float) -> None:
    # At scale 30 logits span thousands: one exponential cannot serve both directions there.
    def terms(tile: Tile) -> dict[str, dict[str, Any]]:
        everything = LogSumExp(tile.dot())
        return {"row": {"a": everything}, "column": {"a": everything}}

    def plain(x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([(x @ y.T).logsumexp(1), (x @ y.T).logsumexp(0)])

    assert_all_agree(terms, lambda r: torch.cat([r.row.a, r.column.a]), plain, scale=scale)


def test_extreme_logits_in_float32_do_not_underflow() -> None:
    # Row 1 lies 180 below row 0 in the same tile: exp(-180) is 0 in float32.
    x = torch.tensor([[100.0], [-80.0]]).requires_grad_()
    y = torch.ones(3, 1)

    def terms(tile: Tile) -> dict[str, dict[str, Any]]:
        everything = LogSumExp(tile.dot())
        return {"row": {"a": everything}, "column": {"a": everything}}

    r = reduce(terms, rows={"z": x}, columns={"z": y}, evaluator="tiled")
    torch.testing.assert_close(r.row.a, torch.tensor([100.0, -80.0]) + math.log(3))
    (grad,) = torch.autograd.grad(r.row.a[1], x)
    torch.testing.assert_close(grad, torch.tensor([[0.0], [1.0]]))


@pytest.mark.parametrize("spread", [0.0, 20.0, 50.0, 90.0, 200.0])
@pytest.mark.parametrize("share_removed", [0.0, 0.9])
def test_float32_is_exact_however_far_rows_and_columns_lie_apart(spread: float, share_removed: float) -> None:
    # Of one number for all, a number that changes on the way, and a number for each row and column, all are needed.
    g = torch.Generator().manual_seed(int(spread))
    n, m = 23, 31
    offsets = [spread * (2 * torch.rand(k, 1, generator=g) - 1) for k in (n, m)]
    x = torch.cat([torch.randn(n, 4, generator=g), offsets[0], torch.ones(n, 1)], 1)
    y = torch.cat([torch.randn(m, 4, generator=g), torch.ones(m, 1), offsets[1]], 1)
    keep = torch.rand(n, m, generator=g) >= share_removed
    keep[0], keep[:, 1] = False, False
    # Added, so that no mask hides a gradient that should be 0.
    removed = torch.zeros(n, m).masked_fill(~keep, NEG)

    def terms(tile: Tile) -> dict[str, dict[str, Any]]:
        everything = LogSumExp(tile.dot() + removed[tile.i, tile.j])
        return {"row": {"a": everything}, "column": {"a": everything}}

    def found(dtype: torch.dtype, evaluator: Any) -> list[Tensor]:
        left, right = (t.detach().to(dtype, copy=True).requires_grad_() for t in (x, y))
        r = reduce(terms, rows={"z": left}, columns={"z": right}, evaluator=evaluator, tile=(5, 7))
        values = torch.cat([r.row.a, r.column.a])
        assert (values == NEG)[[0, n + 1]].all()
        values.masked_fill(values == NEG, 0.0).square().sum().backward()
        assert left.grad is not None
        assert right.grad is not None
        return [values, left.grad, right.grad]

    for ours, exact in zip(found(torch.float32, "tiled"), found(torch.float64, "dense"), strict=True):
        # Logits of up to 400 are rounded to 3e-5 in float32, and so are their softmaxes.
        scale = exact[exact.isfinite()].abs().max()
        torch.testing.assert_close(ours.double() / scale, exact / scale, rtol=0, atol=3e-5)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("low", [-20.0, -90.0, -200.0, -800.0])
def test_exponentials_zero_in_place_of_is_small_for_all_digits(dtype: torch.dtype, low: float) -> None:
    values = torch.linspace(low, 0.0, 4001, dtype=dtype)
    before, smallest = values.clone(), torch.finfo(dtype).tiny
    for found in (exponential(values), exponential(values + 3, torch.tensor(3.0, dtype=dtype))):
        assert ((found == 0) | (found >= smallest)).all()
        torch.testing.assert_close(found, values.exp(), rtol=2e-5, atol=1.3 * smallest)
    assert torch.equal(values, before)
    ends = exponential(torch.tensor([NEG, low, math.nan, 0.0, math.inf], dtype=dtype))
    assert ends[0] == 0
    assert ends[2].isnan()
    assert ends[3:].tolist() == [1.0, math.inf]


def test_masked_pairs_are_nothing_in_16_bits_too() -> None:
    assert exponential(torch.tensor([NEG, -200.0, 0.0], dtype=torch.bfloat16)).tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("trained", ["rows", "both"])
@pytest.mark.parametrize("tile", [(2, 3), (8, 64)])
def test_scores_far_below_largest_underflow_to_float64_finds(tile: tuple[int, int], trained: str) -> None:
    # A row without any pair, one of a single score with the others 90 to 200 below it, and ordinary ones.
    g = torch.Generator().manual_seed(0)
    scores = torch.randn(5, 40, generator=g)
    scores[0] = NEG
    scores[1] = -torch.linspace(90, 200, 40)
    scores[1, 17] = 0.0
    scores[2, ::2] = NEG
    x, y = torch.randn(5, 4, generator=g), torch.randn(40, 4, generator=g)

    def found(dtype: torch.dtype, evaluator: Any) -> list[Tensor]:
        left, right = (t.to(dtype, copy=True).requires_grad_() for t in (x, y))
        columns = {"z": right if trained == "both" else right.detach()}
        added = scores.to(dtype)
        r = reduce(
            lambda t: {"row": {"a": LogSumExp(t.dot() + added[t.i, t.j])}},
            rows={"z": left},
            columns=columns,
            evaluator=evaluator,
            tile=tile,
        )
        assert r.row.a[0] == NEG
        leaves = [left, right] if trained == "both" else [left]
        return [r.row.a[1:].detach(), *torch.autograd.grad(r.row.a[1:].sum(), leaves)]

    for ours, exact in zip(found(torch.float32, "tiled"), found(F64, "dense"), strict=True):
        torch.testing.assert_close(ours.double(), exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("per", "dim"), [("row", 1), ("column", 0), ("total", (0, 1))])
def test_sum(per: str, dim: Any) -> None:
    assert_all_agree(
        lambda tile: {per: {"a": Sum(tile.dot().tanh())}},
        lambda r: getattr(r, per).a,
        lambda x, y: (x @ y.T).tanh().sum(dim),
    )


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("names", ["at", "at all", "all at", "sum at", "mean at", "all at sum", "total at"])
def test_one_column_of_each_row_alone_and_beside_others(names: str, scale: float) -> None:
    # Global numbers; row 2 has none, and row 4 one that does not exist.
    columns = torch.tensor([12, 0, -1, 7, 13, 7, 3, 11, 1])
    there = (columns >= 0) & (columns < 13)

    def terms(tile: Tile) -> dict[str, dict[str, Any]]:
        s = tile.dot()
        every: dict[str, tuple[str, Any]] = {
            "at": ("row", Gather(s, columns[tile.i[:, 0]])),
            "all": ("row", LogSumExp(s)),
            "sum": ("row", Sum(s)),
            "mean": ("row", WeightedMean(s, s)),
            "total": ("total", Sum(s)),
        }
        found: dict[str, dict[str, Any]] = {}
        for name in names.split():
            per, reduction = every[name]
            found.setdefault(per, {})[name] = reduction
        return found

    def pick(r: ReductionResults) -> Tensor:
        parts = {**vars(r.row), **vars(r.total)}
        return torch.cat([parts[name].reshape(-1) for name in names.split()])

    def plain(x: Tensor, y: Tensor) -> Tensor:
        s = x @ y.T
        every = {
            "at": s[torch.arange(9), columns.clamp(0, 12)] * there,
            "all": s.logsumexp(1),
            "sum": s.sum(1),
            "mean": (s.softmax(1) * s).sum(1),
            "total": s.sum()[None],
        }
        return torch.cat([every[name] for name in names.split()])

    assert_all_agree(terms, pick, plain, scale=scale)


@pytest.mark.parametrize(("per", "dim"), [("row", 1), ("column", 0)])
def test_weighted_mean_is_zero_where_there_is_no_weight(per: str, dim: int) -> None:
    def terms(tile: Tile) -> dict[str, dict[str, Any]]:
        s = tile.dot()
        weights = (2 * s).masked_fill(~positive(tile), NEG)
        return {per: {"a": WeightedMean(weights, s.square())}}

    def plain(x: Tensor, y: Tensor) -> Tensor:
        s = x @ y.T
        weights = (2 * s).exp() * mask(9, 13)
        return (weights * s.square()).sum(dim) / weights.sum(dim).clamp_min(1e-300)

    assert_all_agree(terms, lambda r: getattr(r, per).a, plain)


@pytest.mark.parametrize(("per", "dim"), [("row", 1), ("column", 0)])
def test_top_k_values_and_their_gradients(per: str, dim: int) -> None:
    def plain(x: Tensor, y: Tensor) -> Tensor:
        s = (x @ y.T).movedim(dim, 1)
        return s.square().gather(1, s.topk(3, 1).indices)

    assert_all_agree(
        lambda tile: {per: {"a": TopK(tile.dot(), 3, tile.dot().square())}},
        lambda r: getattr(r, per).a.values,
        plain,
    )


@pytest.mark.parametrize("n", [1025, 2049])
def test_top_k_is_in_order_whatever_the_number_of_rows(n: int) -> None:
    x, y = problem(n, 30, 3)
    r = reduce(
        lambda tile: {"row": {"a": TopK(tile.dot(), 9)}},
        rows={"z": x.detach()},
        columns={"z": y.detach()},
        evaluator="tiled",
        tile=(700, 8),
    )
    assert torch.equal(r.row.a.indices, (x @ y.T).topk(9, 1).indices)
    assert (r.row.a.values.diff(dim=1) <= 0).all()


def test_top_k_indices_are_global() -> None:
    x, y = problem()
    for tile in (1, 4, (3, 7)):
        r = reduce(
            lambda t: {"row": {"a": TopK(t.dot(), 2)}, "column": {"a": TopK(t.dot(), 2)}},
            rows={"z": x},
            columns={"z": y},
            evaluator="tiled",
            tile=tile,
        )
        assert torch.equal(r.row.a.indices, (x @ y.T).topk(2, 1).indices)
        assert torch.equal(r.column.a.indices, (y @ x.T).topk(2, 1).indices)


def test_whole_rows_are_complete_whatever_the_tile() -> None:
    assert_all_agree(
        lambda tile: {"row": {"a": WholeRow(lambda s: s.sort(1).values[:, ::2].prod(1), tile.dot())}},
        lambda r: r.row.a,
        lambda x, y: (x @ y.T).sort(1).values[:, ::2].prod(1),
    )


def test_complete_rows_in_total_are_their_sum() -> None:
    assert_all_agree(
        lambda tile: {"total": {"a": WholeRow(lambda s: s.logsumexp(1) ** 2, tile.dot())}},
        lambda r: r.total.a[None],
        lambda x, y: (x @ y.T).logsumexp(1).square().sum()[None],
    )


def test_complete_rows_in_total_beside_other_totals() -> None:
    assert_all_agree(
        lambda tile: {
            "total": {"a": WholeRow(lambda s: s.logsumexp(1) ** 2, s := tile.dot()), "b": Sum(s.sin())}
        },
        lambda r: torch.stack([r.total.a, r.total.b]),
        lambda x, y: torch.stack([(x @ y.T).logsumexp(1).square().sum(), (x @ y.T).sin().sum()]),
    )


def test_several_reductions_of_one_tensor_add_their_gradients() -> None:
    def terms(tile: Tile) -> dict[str, dict[str, Any]]:
        s = tile.dot()
        return {
            "row": {"lse": LogSumExp(s), "sum": Sum(s), "mean": WeightedMean(s, s)},
            "column": {"sum": Sum(s * s)},
            "total": {"lse": LogSumExp(2 * s)},
        }

    def pick(r: ReductionResults) -> Tensor:
        return torch.cat([r.row.lse, r.row.sum, r.row.mean, r.column.sum, r.total.lse[None]])

    def plain(x: Tensor, y: Tensor) -> Tensor:
        s = x @ y.T
        mean = (s.softmax(1) * s).sum(1)
        return torch.cat([s.logsumexp(1), s.sum(1), mean, (s * s).sum(0), (2 * s).logsumexp((0, 1))[None]])

    assert_all_agree(terms, pick, plain)


@given(
    n=st.integers(1, 12),
    m=st.integers(1, 12),
    tile=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    seed=st.integers(0, 1000),
)
def test_any_sizes_and_any_tile(n: int, m: int, tile: tuple[int, int], seed: int) -> None:
    x, y = problem(n, m, seed=seed)

    def terms(t: Tile) -> dict[str, dict[str, Any]]:
        s = t.dot()
        return {"row": {"a": LogSumExp(t.off_diagonal(s))}, "column": {"a": LogSumExp(s), "b": Sum(s.sin())}}

    results = []
    for evaluator in ("dense", "tiled"):
        r = reduce(terms, rows={"z": x}, columns={"z": y}, evaluator=evaluator, tile=tile)  # type: ignore[arg-type]
        out = torch.cat([r.row.a, r.column.a, r.column.b])
        results.append([out.detach(), *gradients(out, [x, y])])
    torch.testing.assert_close(results[0], results[1], rtol=1e-10, atol=1e-12)


def test_nan_is_passed_on_not_hidden() -> None:
    x, y = problem()
    bad = x.detach().clone()
    bad[3, 0] = float("nan")
    for evaluator in ("dense", "tiled"):
        r = reduce(
            lambda t: {
                per: {"a": LogSumExp(t.dot()), "b": WeightedMean(t.dot(), t.dot())}
                for per in ("row", "column")
            },
            rows={"z": bad},
            columns={"z": y},
            evaluator=evaluator,  # type: ignore[arg-type]
            tile=4,
        )
        for name in "ab":
            assert getattr(r.row, name).isnan().nonzero().flatten().tolist() == [3]
            assert getattr(r.column, name).isnan().all()


@given(
    n=st.integers(1, 12),
    m=st.integers(1, 12),
    tile=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    scale=st.sampled_from([0.1, 3.0, 60.0, 900.0]),
    trained=st.sampled_from(["rows", "both"]),
    seed=st.integers(0, 1000),
)
def test_one_log_sum_exp_of_each_row_at_any_range(
    n: int, m: int, tile: tuple[int, int], scale: float, trained: str, seed: int
) -> None:
    # Where rows alone are trained their gradient is taken in the forward sweep, by running maxima.
    x, y = problem(n, m, seed=seed)
    y = y if trained == "both" else y.detach()
    weight = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=x.dtype).requires_grad_()

    def terms(t: Tile) -> dict[str, dict[str, Any]]:
        logits = scale * t.row.weight[:, None] * t.dot()
        return {"row": {"all": LogSumExp(logits.masked_fill((t.i + t.j) % 3 == 0, float("-inf")))}}

    results = []
    for evaluator in ("dense", "tiled"):
        rows = {"z": x, "weight": weight}
        out = reduce(terms, rows=rows, columns={"z": y}, evaluator=evaluator, tile=tile).row.all  # type: ignore[arg-type] # one of two
        shares = torch.linspace(-1, 2, n, dtype=x.dtype)
        there = out.detach() > float("-inf")
        leaves = [x, weight, *([y] if trained == "both" else [])]
        results.append(
            [out.detach(), *torch.autograd.grad((out * shares)[there].sum(), leaves, allow_unused=True)]
        )
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-11)
