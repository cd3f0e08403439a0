"""The call around the reductions: named tensors, guards, evaluators, chains."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from counterpoint.pairwise import Gather, LogSumExp, PairwiseLoss, Sum, Tile, TopK, WholeRow, evaluate_with
from counterpoint.pairwise import reduce as reduce_module
from counterpoint.pairwise.guard import SecondDerivativeError
from counterpoint.pairwise.ranks import Ranks
from counterpoint.pairwise.reduce import reduce

EVALUATORS = ["dense", "tiled", "distributed"]
every_evaluator = pytest.mark.parametrize("evaluator", EVALUATORS)


def tensors(*sizes: int, d: int = 3) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(n, d, generator=g, dtype=torch.float64).requires_grad_() for n in sizes]


@every_evaluator
def test_a_captured_parameter_is_an_error_that_names_it(evaluator: Any) -> None:
    (x,) = tensors(5)
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)

    def terms(tile: Tile) -> Any:
        return {"row": {"a": LogSumExp(tile.dot() * scale.exp())}}

    with pytest.raises(ValueError, match="'scale', which requires grad but is not named"):
        reduce(terms, rows={"z": x}, columns={"z": x}, evaluator=evaluator, tile=2)


@every_evaluator
def test_a_captured_module_parameter_is_named_by_its_path(evaluator: Any) -> None:
    class Careless(PairwiseLoss):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 1).double()

        def forward(self, x: Tensor) -> Tensor:
            def terms(tile: Tile) -> Any:
                return {"total": {"a": Sum(tile.dot() + self.head.bias)}}

            total: Tensor = self.reduce(terms, rows={"z": x}, columns={"z": x}).total.a
            return total

    with pytest.raises(ValueError, match=r"'self\.head\.bias'"), evaluate_with(evaluator, tile=2):
        Careless()(*tensors(5))


def test_gradient_tiles_refuses_differentiated_again_says_does() -> None:
    x, y = tensors(5, 5)
    for terms in (
        lambda tile: {"row": {"a": LogSumExp(tile.dot())}, "column": {"b": LogSumExp(tile.dot())}},
        lambda tile: {"total": {"a": Sum(tile.dot().exp())}},  # its gradients are taken in the forward sweep
    ):
        r = reduce(terms, rows={"z": x}, columns={"z": y}, evaluator="tiled", tile=2)
        loss = r.row.a.sum() + r.column.b.sum() if vars(r.row) else r.total.a
        with pytest.raises(
            SecondDerivativeError, match=r'create_graph=True asks for: .*evaluate_with\("dense"\)'
        ):
            torch.autograd.grad(loss, x, create_graph=True)


@every_evaluator
def test_a_captured_parameter_that_is_itself_reduced_is_found(evaluator: Any) -> None:
    (x,) = tensors(5)
    table = nn.Parameter(torch.zeros(1, 2, dtype=torch.float64))

    def terms(tile: Tile) -> Any:
        return {"total": {"a": Sum(table)}}

    with pytest.raises(ValueError, match="'table', which requires grad but is not named"):
        reduce(terms, rows={"z": x}, columns={"z": x}, evaluator=evaluator, tile=2)


@every_evaluator
def test_a_captured_result_of_a_parameter_is_found_too(evaluator: Any) -> None:
    x, y = tensors(5, 5)
    weights = y.square()
    with pytest.raises(ValueError, match="requires grad but is not named"):
        reduce(
            lambda t: {"row": {"a": Sum(t.dot() * weights.sum())}},
            rows={"z": x},
            columns={"z": x},
            evaluator=evaluator,
            tile=2,
        )


@every_evaluator
def test_whole_rows_are_guarded_too(evaluator: Any) -> None:
    (x,) = tensors(5)
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    with pytest.raises(ValueError, match="requires grad but is not named"):
        reduce(
            lambda t: {"row": {"a": WholeRow(lambda s: (s * scale).sum(1), t.dot())}},
            rows={"z": x},
            columns={"z": x},
            evaluator=evaluator,
            tile=2,
        )


@every_evaluator
def test_captured_constants_are_fine(evaluator: Any) -> None:
    (x,) = tensors(5)
    r = reduce(
        lambda t: {"row": {"a": Sum(t.dot() * torch.tensor(2.0))}},
        rows={"z": x},
        columns={"z": x},
        evaluator=evaluator,
        tile=2,
    )
    torch.testing.assert_close(r.row.a, 2 * (x @ x.T).sum(1))


@every_evaluator
def test_side_and_shared_tensors_receive_gradients(evaluator: Any) -> None:
    x, y = tensors(5, 7)
    tau = torch.rand(5, dtype=torch.float64).requires_grad_()
    bias = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(7) % 2

    def terms(tile: Tile) -> Any:
        odd = tile.column.label[None] == 1
        return {"row": {"a": LogSumExp(tile.dot() * tile.row.tau[:, None] + odd * tile.bias)}}

    r = reduce(
        terms,
        rows={"z": x, "tau": tau},
        columns={"z": y, "label": labels},
        shared={"bias": bias},
        evaluator=evaluator,
        tile=(2, 3),
    )
    plain = (x @ y.T * tau[:, None] + (labels == 1) * bias).logsumexp(1)
    ours = torch.autograd.grad(r.row.a.square().sum(), [x, y, tau, bias])
    theirs = torch.autograd.grad(plain.square().sum(), [x, y, tau, bias])
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@every_evaluator
def test_a_result_of_one_call_enters_the_next_with_gradient(evaluator: Any) -> None:
    x, y = tensors(6, 6)

    def first(tile: Tile) -> Any:
        s = LogSumExp(tile.off_diagonal(tile.dot()))
        return {"row": {"n": s}, "column": {"n": s}}

    def second(tile: Tile) -> Any:
        return {"row": {"p": Sum(torch.sigmoid(tile.dot() - tile.row.n[:, None] + tile.column.n[None]))}}

    a = reduce(first, rows={"z": x}, columns={"z": y}, evaluator=evaluator, tile=4)
    rows, columns = {"z": x, "n": a.row.n}, {"z": y, "n": a.column.n}
    b = reduce(second, rows=rows, columns=columns, evaluator=evaluator, tile=4)
    s = x @ y.T
    off = s.masked_fill(torch.eye(6, dtype=torch.bool), float("-inf"))
    plain = torch.sigmoid(s - off.logsumexp(1)[:, None] + off.logsumexp(0)[None]).sum(1)
    ours = torch.autograd.grad(b.row.p.square().sum(), [x, y])
    theirs = torch.autograd.grad(plain.square().sum(), [x, y])
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@every_evaluator
def test_distances_and_indices_of_a_tile(evaluator: Any) -> None:
    x, y = tensors(6, 4)
    r = reduce(
        lambda t: {"row": {"d": Sum(t.squared_distance() * (10 * t.i + t.j))}},
        rows={"z": x},
        columns={"z": y},
        evaluator=evaluator,
        tile=(4, 3),
    )
    weights = 10 * torch.arange(6)[:, None] + torch.arange(4)[None]
    torch.testing.assert_close(r.row.d, (torch.cdist(x, y).square() * weights).sum(1))


def test_backward_twice_with_a_kept_graph() -> None:
    x, y = tensors(5, 5)
    for terms in (
        lambda t: {"total": {"a": Sum(t.dot().exp())}},
        lambda t: {"total": {"a": LogSumExp(t.dot())}},
    ):
        out = reduce(terms, rows={"z": x}, columns={"z": y}, evaluator="tiled", tile=2).total.a  # type: ignore[arg-type]
        once = torch.autograd.grad(out, x, retain_graph=True)
        assert torch.equal(once[0], torch.autograd.grad(2 * out, x)[0] / 2)


@every_evaluator
def test_no_gradient_is_computed_where_none_is_wanted(evaluator: Any) -> None:
    x, y = tensors(5, 5)
    with torch.no_grad():
        r = reduce(
            lambda t: {"total": {"a": Sum(t.dot())}}, rows={"z": x}, columns={"z": y}, evaluator=evaluator
        )
    assert not r.total.a.requires_grad
    frozen = y.detach()
    r = reduce(
        lambda t: {"row": {"a": Sum(t.dot())}}, rows={"z": x}, columns={"z": frozen}, evaluator=evaluator
    )
    r.row.a.sum().backward()
    assert frozen.grad is None
    torch.testing.assert_close(x.grad, frozen.sum(0).expand(5, -1))


def test_auto_is_dense_when_small_and_tiled_when_large(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reduce_module, "DENSE_PAIRS", 30)
    monkeypatch.setattr(reduce_module, "_logged", set())
    shapes: list[tuple[int, int]] = []

    def terms(tile: Tile) -> Any:
        shapes.append(tile.shape)
        return {"row": {"a": LogSumExp(tile.dot())}}

    x, y = (t.detach() for t in tensors(5, 6))
    with caplog.at_level(logging.INFO, logger="counterpoint.pairwise.reduce"):
        for _ in range(2):
            reduce(terms, rows={"z": x}, columns={"z": y}, tile=4)
            reduce(terms, rows={"z": x}, columns={"z": torch.cat([y, y])}, tile=4)
    assert shapes[0] == (5, 6)
    assert max(shapes[1:7]) == (4, 4)
    assert [record.getMessage() for record in caplog.records] == [
        "pairwise: 5 anchors, each against 6 candidates, are evaluated dense",
        "pairwise: 5 anchors, each against 12 candidates, are evaluated tiled",
    ]


@every_evaluator
def test_one_of_several_ranks_may_have_no_rows_for_columns_have(
    monkeypatch: pytest.MonkeyPatch, evaluator: Any
) -> None:
    monkeypatch.setattr(Ranks, "present", classmethod(lambda cls: cls(0, 2)))

    def terms(tile: Tile) -> Any:
        return {"row": {"a": LogSumExp(tile.dot()), "top": TopK(tile.dot(), 2)}}

    x, y = tensors(0, 6)
    call = {"rows": {"z": x}, "columns": {"z": y.detach()}, "same_columns": True, "evaluator": evaluator}
    if evaluator != "distributed":  # of this process alone
        with pytest.raises(ValueError, match="rows must not be empty"):
            reduce(terms, **call)
        return
    r = reduce(terms, **call).row
    assert (r.a.shape, r.top.values.shape) == ((0,), (0, 2))
    (r.a.sum() + r.top.values.sum()).backward()
    assert x.grad is not None


def test_the_context_overrules_the_objective() -> None:
    shapes = []

    def terms(tile: Tile) -> Any:
        shapes.append(tile.shape)
        return {"row": {"a": LogSumExp(tile.dot())}}

    x = tensors(4)[0].detach()
    with evaluate_with("tiled", tile=2):
        reduce(terms, rows={"z": x}, columns={"z": x}, evaluator="dense")
    assert set(shapes) == {(1, 2), (2, 2)}  # a first row tells what is reduced


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": {}}, "rows must name at least one tensor"),
        ({"columns": {"z": torch.ones(3, 2), "y": torch.ones(4)}}, "all columns must have the same length"),
        ({"rows": {"z": torch.ones(0, 2)}}, "rows must not be empty"),
        ({"tile": 0}, "tile must be at least 1"),
        ({"terms": lambda t: {}}, "declare no reduction"),
        ({"terms": lambda t: {"diagonal": {}, "rows": {"a": Sum(t.dot())}}}, "per 'row', per 'column'"),
        ({"terms": lambda t: {"row": {"a": TopK(t.dot(), 4)}}}, "'a' takes the top k=4 of only 3"),
        ({"terms": lambda t: {"total": {"a": TopK(t.dot(), 1)}}}, "not in total"),
        ({"terms": lambda t: {"column": {"a": WholeRow(torch.sum, t.dot())}}}, "defined per row or in total"),
        ({"terms": lambda t: {"column": {"a": Gather(t.dot(), t.i[:, 0])}}}, "defined per row alone"),
        ({"terms": lambda t: {"row": {"a": Sum(t.scale)}}}, "no 'scale'; shared tensors: none"),
    ],
)
@pytest.mark.parametrize("evaluator", ["dense", "tiled"])
def test_bad_calls_say_what_is_wrong(change: dict[str, Any], message: str, evaluator: Any) -> None:
    if "tile" in change and evaluator == "dense":
        pytest.skip("dense has no tile")
    call = {
        "terms": lambda t: {"row": {"a": Sum(t.dot())}},
        "rows": {"z": torch.ones(3, 2)},
        "columns": {"z": torch.ones(3, 2)},
        **change,
    }
    with pytest.raises((ValueError, AttributeError), match=message):
        reduce(**call, evaluator=evaluator)
