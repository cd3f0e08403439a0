"""The properties of a loss."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .. import losses
from ..pairwise import Loss, evaluate_with
from ..pairwise.guard import SecondDerivativeError
from ._checks import Checks, expect, expect_close, expect_equal_states, expect_error, run_checks, same
from ._inputs import Inputs, fixed_of, inputs_of, swapped_order
from ._memory import LargestTensor, kept_bytes

Gradients = tuple[Tensor, list[Tensor]]
_DIFFERENTIATES = (
    "the gradient must be that of the value; where it stops on purpose, set stop_gradient = True"
)
_ONE_MEAN = "take means over the anchors by self.mean, and masks from tile.i and tile.j, not from positions in the tile"


@dataclass(frozen=True)
class LossCase:
    """One setting of one loss, for `check_loss`.

    Attributes:
        loss: a registered name, a class, or a function that returns the loss.
        expected: the formula in plain loops in float64, called as the loss is, with the loss before.
        inputs: a function of a generator, B and d that returns what the loss is called with; a dictionary at the end
            holds keywords. From the signature of ``forward`` unless given.
        options: of the loss; a callable is called again for every loss that is built.
        label: the name of this setting.
        unit: whether the embeddings lie on the sphere.
        fixed: the positions of inputs that do not belong to the batch: without gradient, and the same on every rank.
        stop_gradient: whether the gradient is not that of the value; the loss's own ``stop_gradient`` unless given.
        alone: the beginning of the warning at a batch of one; empty for none, None for any.
        matrices: the number of similarity matrices, and of rows that each has per example; None bounds memory by B × B.
        cells: the number of similarities that make one entry of such a matrix.
        tileable: whether it forms no matrix of B × B.
        swap: exchanges the two sides of inputs; the first two of given inputs, else those whose names say x and y.
    """

    loss: str | Callable[..., nn.Module]
    expected: Callable[..., Tensor] | None = None
    inputs: Callable[[torch.Generator, int, int], Inputs] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    unit: bool = True
    fixed: tuple[int, ...] | None = None
    stop_gradient: bool | None = None
    alone: str | None = None
    matrices: tuple[int, float] | None = None
    cells: int = 1
    tileable: bool = True
    swap: Callable[[Inputs], Inputs] | None = None

    @property
    def name(self) -> str:
        """The name of the loss."""
        return self.loss if isinstance(self.loss, str) else getattr(self.loss, "__name__", repr(self.loss))

    def __str__(self) -> str:
        return f"{self.name}-{self.label}" if self.label else self.name

    def build(self) -> Any:
        """Return a new loss in float64, always with the same weights."""
        options = {k: v() if callable(v) else v for k, v in self.options.items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if isinstance(self.loss, str):
                return losses.create(self.loss, **options).double()
            return self.loss(**options).double()

    def example(self, n: int = 7, d: int = 5, seed: int = 0) -> Inputs:
        """Return random inputs of a batch."""
        generator = torch.Generator().manual_seed(seed)
        if self.inputs is not None:
            return self.inputs(generator, n, d)
        loss = self.build()
        return inputs_of(loss, generator, n, getattr(loss, "width", d))

    def each(self, inputs: Inputs, function: Callable[[Tensor], Tensor]) -> Inputs:
        """Apply a function to every tensor of the batch."""
        fixed = self.fixed
        if fixed is None:
            fixed = () if self.inputs else fixed_of(self.build())
        return tuple(v if k in fixed else apply(v, function) for k, v in enumerate(inputs))

    @cached_property
    def sides(self) -> Callable[[Inputs], Inputs] | None:
        """The exchange of the two sides of inputs; None where none is known."""
        if self.swap is not None:
            return self.swap
        order = (1, 0) if self.inputs else swapped_order(self.build())
        if order is None:
            return None
        return lambda inputs: (*(inputs[k] for k in order), *inputs[len(order) :])

    def leaves(self, inputs: Inputs) -> Inputs:
        """Return copies, those of the batch differentiable."""
        return self.each(inputs, lambda t: t.clone().requires_grad_() if t.is_floating_point() else t)


def check_loss(
    loss: str | Callable[..., nn.Module] | LossCase, *, thorough: bool = False, **settings: Any
) -> None:
    """Check every property of a loss.

    >>> import torch
    >>> class Distance(torch.nn.Module):
    ...     def forward(self, x, y):
    ...         return (x - y).square().sum(1).mean()
    >>> check_loss(Distance)

    Args:
        loss: a class, a function that returns the loss, a registered name, or a `LossCase`.
        thorough: check more tiles, layouts and kinds of numbers.
        settings: attributes of `LossCase`.

    Raises:
        ConformanceError: if a property does not hold; it lists all of them.
        ValueError: if the inputs do not follow from the signature and are not given.
    """
    case = case_of(loss, settings)
    run_checks(str(case), loss_checks(case, thorough=thorough))


def case_of(loss: str | Callable[..., nn.Module] | LossCase, settings: Mapping[str, Any]) -> LossCase:
    """Return the case of a loss."""
    return loss if isinstance(loss, LossCase) else LossCase(loss, **settings)


def loss_checks(
    loss: str | Callable[..., nn.Module] | LossCase, *, thorough: bool = False, **settings: Any
) -> Checks:
    """Yield the properties of a loss that apply to it, each with its check; the arguments are those of `check_loss`."""
    case = case_of(loss, settings)
    built = case.build()
    case.example()  # inputs that cannot be made are an error of the call, and no property
    stops = getattr(built, "stop_gradient", False) if case.stop_gradient is None else case.stop_gradient
    yield "value", partial(_value, case)
    if case.expected is not None:
        yield "formula", partial(_formula, case)
    if not stops:
        yield "finite differences", partial(_finite_differences, case)
    yield "order of the batch", partial(_order, case)
    yield "batch of one", partial(_batch_of_one, case)
    yield "duplicates", partial(_duplicates, case)
    yield "state", partial(_state, case)
    if not isinstance(built, Loss):
        return
    if built.symmetric and case.sides is not None:
        yield "symmetry", partial(_symmetry, case)
    yield "empty batch", partial(_empty_batch, case)
    if len(case.example()) > 1:
        yield "batches of other lengths", partial(_mismatched_batches, case)
    for dtype, evaluator in (_HALF + _MORE_HALF) if thorough else _HALF:
        yield (
            f"{str(dtype).removeprefix('torch.')}, {evaluator}",
            partial(_half_precision, case, dtype, evaluator),
        )
    for evaluator in ("tiled", "dense") if thorough else ("tiled",):
        yield f"autocast, {evaluator}", partial(_autocast, case, evaluator)
    if not built.pairwise:
        return
    for tile, layout in (_TILES + _MORE_TILES) if thorough else _TILES:
        yield f"tiles of {tile}, {layout.__name__.strip('_')}", partial(_tiles, case, tile, layout)
    yield "checkpoint", partial(_checkpoint, case)
    yield "second derivatives", partial(_second_derivatives, case, stops)
    if case.tileable and built.tileable:
        yield "memory", partial(_memory, case)


def apply(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to every tensor in nested lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {name: apply(item, function) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(apply(item, function) for item in value)
    return value


def flatten(value: Any) -> list[Tensor]:
    """Return the tensors in nested lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [t for item in items for t in flatten(item)]


def call(function: Callable[..., Tensor], inputs: Inputs) -> Tensor:
    """Call a function with inputs, of which a dictionary at the end holds keywords."""
    if inputs and isinstance(inputs[-1], dict):
        return function(*inputs[:-1], **inputs[-1])
    return function(*inputs)


def gradients(value: Tensor, loss: nn.Module, inputs: Inputs) -> Gradients:
    """Return a value, and its gradients in all differentiable inputs and parameters, 0 where it has none."""
    wanted = [t for t in [*flatten(inputs), *loss.parameters()] if t.requires_grad]
    grads = torch.autograd.grad(value, wanted, allow_unused=True)
    return value.detach(), [
        torch.zeros_like(t) if g is None else g for t, g in zip(wanted, grads, strict=True)
    ]


def value_and_gradients(case: LossCase, loss: nn.Module, inputs: Inputs) -> Gradients:
    """Return the value of a loss and its gradients."""
    inputs = case.leaves(inputs)
    return gradients(call(loss, inputs), loss, inputs)


def difference(measured: Gradients, expected: Gradients) -> float:
    """Return the largest difference of value and gradients by their norms, which count as 1e-3 at least."""
    pairs = zip([measured[0], *measured[1]], [expected[0], *expected[1]], strict=True)
    return max(float((p - q).norm() / q.norm().clamp_min(1e-3)) for p, q in pairs)


def swapped_difference(case: LossCase) -> float:
    """Return how much value and gradients change if the two sides are exchanged."""
    assert case.sides is not None
    loss, inputs = case.build(), case.leaves(case.example())
    swapped = gradients(call(loss, case.sides(inputs)), loss, inputs)
    return difference(swapped, gradients(call(loss, inputs), loss, inputs))


def expect_same(measured: Gradients, expected: Gradients, what: str, hint: str = "") -> None:
    """Raise an AssertionError unless value and gradients agree to 1e-10."""
    other = difference(measured, expected)
    expect(other <= 1e-10, f"{what}, to 1e-10", f"a relative difference of {other:.2g}", hint)


def _value(case: LossCase) -> None:
    loss, inputs = case.build(), case.leaves(case.example())
    value = call(loss, inputs)
    expect(value.shape == (), "a scalar", f"a tensor of shape {tuple(value.shape)}")
    value, grads = gradients(value, loss, inputs)
    expect(
        value.dtype == torch.float64,
        "float64 of inputs in float64",
        value.dtype,
        "create tensors like inputs",
    )
    expect(value.isfinite(), "a finite value", float(value))
    expect(all(g.isfinite().all() for g in grads), "finite gradients", "NaN or infinity")


def _formula(case: LossCase) -> None:
    loss, inputs = case.build(), case.example()
    leaves = case.leaves(inputs)
    assert case.expected is not None
    expected = gradients(call(partial(case.expected, loss), leaves), loss, leaves)
    expect_same(
        value_and_gradients(case, loss, inputs), expected, "value and gradients of the formula in loops"
    )


def _contiguous(t: Tensor) -> Tensor:
    return t


def _transposed(t: Tensor) -> Tensor:
    """Return the same numbers, the last axis outermost in memory."""
    axes = tuple(reversed(range(t.ndim)))
    return t.permute(axes).contiguous().permute(axes)


def _spaced(t: Tensor) -> Tensor:
    """Return the same numbers, with other numbers between them in memory."""
    return torch.stack([t, torch.zeros_like(t)], -1)[..., 0]


_TILES: tuple[tuple[Any, Any], ...] = ((4, _transposed), ((3, 5), _spaced))
_MORE_TILES: tuple[tuple[Any, Any], ...] = (((1, 3), _contiguous), ((7, 2), _contiguous), (64, _transposed))
_HALF: tuple[tuple[torch.dtype, Any], ...] = ((torch.bfloat16, "tiled"), (torch.float16, "dense"))
_MORE_HALF: tuple[tuple[torch.dtype, Any], ...] = ((torch.bfloat16, "dense"), (torch.float16, "tiled"))


def _tiles(case: LossCase, tile: Any, layout: Callable[[Tensor], Tensor]) -> None:
    loss, inputs = case.build(), case.example()
    with evaluate_with("dense"):
        dense = value_and_gradients(case, loss, inputs)
    leaves = case.leaves(inputs)
    with evaluate_with("tiled", tile=tile):
        value = call(loss, case.each(leaves, layout))
    tiled = gradients(value, loss, leaves)
    expect_same(tiled, dense, "value and gradients of the dense evaluation", _ONE_MEAN)


def _checkpoint(case: LossCase) -> None:
    loss, inputs = case.build().evaluated("tiled", 4), case.example()
    plain = value_and_gradients(case, loss, inputs)
    leaves = case.leaves(inputs)
    value = checkpoint(lambda: call(loss, leaves), use_reentrant=False)
    expect_same(gradients(value, loss, leaves), plain, "the same under torch.utils.checkpoint")


def _second_derivatives(case: LossCase, stops: bool) -> None:
    loss, inputs = case.build(), case.leaves(case.example(n=3, d=2))
    wanted = [t for t in [*flatten(inputs), *loss.parameters()] if t.requires_grad]

    def curvature() -> Gradients:
        first = torch.autograd.grad(call(loss, inputs), wanted, create_graph=True, allow_unused=True)
        return gradients(torch.stack([g.square().sum() for g in first if g is not None]).sum(), loss, inputs)

    dense = curvature()
    if not stops:
        _numeric(torch.autograd.gradgradcheck, lambda *_: call(loss, inputs), wanted, "second derivatives")
    loss.evaluated("tiled", 2)
    with suppress(SecondDerivativeError):  # not raised where what tiles compute carries no gradient
        expect_same(curvature(), dense, "the second derivatives of the dense evaluation, or their refusal")


def _numeric(compare: Callable[..., bool], function: Any, inputs: Any, what: str) -> None:
    """Compare derivatives with numeric ones along one random direction of all inputs."""
    try:
        compare(function, inputs, fast_mode=True)
    except (RuntimeError, ValueError) as error:  # of gradcheck
        text = str(error)
        numbers = re.search(r"numerical:\s*(\S+)\s*analytical:\s*(\S+)", text)
        expected = f"the {what} of finite differences" + (f", {float(numbers[1]):.6g}" if numbers else "")
        expect(False, expected, f"{float(numbers[2]):.6g}" if numbers else text, _DIFFERENTIATES)


def _finite_differences(case: LossCase) -> None:
    loss, inputs = case.build(), case.leaves(case.example(n=3, d=2))
    wanted = [t for t in [*flatten(inputs), *loss.parameters()] if t.requires_grad]
    with evaluate_with("tiled", tile=2):
        _numeric(torch.autograd.gradcheck, lambda *_: call(loss, inputs), tuple(wanted), "gradients")


def _symmetry(case: LossCase) -> None:
    other = swapped_difference(case)
    hint = "set symmetric = False on the class if the two sides differ"
    expect(
        other < 1e-12,
        "no change if the two sides are exchanged",
        f"a relative difference of {other:.2g}",
        hint,
    )


def _order(case: LossCase) -> None:
    loss, inputs = case.build(), case.example()
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    value, shuffled = call(loss, inputs), call(loss, case.each(inputs, lambda t: t[order]))
    if getattr(loss, "ordered", False):
        hint = "set ordered = False on the class"
        expect(
            abs(value - shuffled) > 1e-3,
            "a loss that depends on the order, as it declares",
            "no change",
            hint,
        )
    else:
        hint = "set ordered = True on the class if the order decides which examples meet"
        what = "no change if the batch is shuffled"
        expect_close(shuffled, value, what, hint, rtol=1e-12, atol=1e-12)


def _half_precision(case: LossCase, dtype: torch.dtype, evaluator: Any) -> None:
    loss = case.build().float()
    inputs = case.each(case.example(), lambda t: t.to(dtype) if t.is_floating_point() else t)
    raised = case.each(inputs, lambda t: t.float() if t.is_floating_point() else t)
    with evaluate_with(evaluator, tile=3):
        half, half_grads = value_and_gradients(case, loss, inputs)
        single, grads = value_and_gradients(case, loss, raised)
    hint = "raise inputs to float32 first, as counterpoint.pairwise.paired does"
    expect(half.dtype == torch.float32, "a value in float32", half.dtype, hint)
    expect(
        torch.equal(half, single),
        "the value of the same inputs in float32",
        float((half - single).abs()),
        hint,
    )
    for g, h in zip(grads, half_grads, strict=True):
        expect_close(h, g.to(h.dtype), "the gradients of the same inputs in float32", hint)


def _autocast(case: LossCase, evaluator: Any) -> None:
    loss = case.build().float()
    inputs = case.each(case.example(), lambda t: t.float() if t.is_floating_point() else t)
    with evaluate_with(evaluator, tile=3):
        plain = value_and_gradients(case, loss, inputs)
        leaves = case.leaves(inputs)
        with torch.autocast("cpu", torch.bfloat16):
            value = call(loss, leaves)
        cast = gradients(value, loss, leaves)
    equal = torch.equal(plain[0], cast[0]) and all(map(torch.equal, plain[1], cast[1]))
    hint = "compute outside of reduce with torch.autocast turned off"
    expect(
        equal,
        "the same bits under torch.autocast",
        f"a relative difference of {difference(cast, plain):.2g}",
        hint,
    )


def _batch_of_one(case: LossCase) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value, grads = value_and_gradients(case, case.build(), case.example(n=1))
    messages = [str(warning.message) for warning in caught]
    if case.alone:
        expect(
            any(m.startswith(case.alone) for m in messages), f"a warning {case.alone!r}", messages or "none"
        )
    elif case.alone is not None:
        expect(not messages, "no warning", messages)
    finite = value.isfinite() and all(g.isfinite().all() for g in grads)
    expect(
        finite,
        "finite value and gradients",
        float(value),
        "a mean over no pairs is 0 / 0",
    )


def _duplicates(case: LossCase) -> None:
    inputs = case.each(case.example(), lambda t: t[torch.tensor([0, 1, 2, 3, 4, 4, 4])])
    loss = case.build()
    value, grads = value_and_gradients(case, loss, inputs)
    if case.expected is not None:
        expect_close(value, call(partial(case.expected, loss), inputs), "the value of the formula in loops")
    finite = value.isfinite() and all(g.isfinite().all() for g in grads)
    expect(finite, "finite value and gradients for an example that occurs three times", float(value))


def _mismatched_batches(case: LossCase) -> None:
    loss = case.build()
    first, *others = case.example()
    shorter = apply(first, lambda t: t[:-1])
    hint = "begin forward with x, y = counterpoint.pairwise.paired(x=x, y=y)"
    with expect_error("sides of 6 and 7 examples", hint):
        # Without the shape annotations that tests may enforce.
        call(partial(unwrap(type(loss).forward), loss), (shorter, *others))


def _empty_batch(case: LossCase) -> None:
    with expect_error("a batch without examples", "self.mean and counterpoint.pairwise.paired refuse it"):
        call(case.build(), case.each(case.example(), lambda t: t[:0]))


def _memory(case: LossCase) -> None:
    # With known matrices, tiles are as large as n (d + 2): the fewer tiles, the faster.
    n, d, tile = (256 if case.matrices else 512), 16, (64, 72)
    loss, inputs = case.build(), case.leaves(case.example(n=n, d=d))
    largest = LargestTensor()  # type: ignore[no-untyped-call] # torch's
    with evaluate_with("tiled", tile=tile), largest:
        with kept_bytes() as kept:
            value = call(loss, inputs)
        value.backward()  # type: ignore[no-untyped-call] # torch's
    most, most_bytes = n * n // 2, 8 * n * n
    if case.matrices:
        matrices, stacked = case.matrices
        most = int(max(stacked * n * (d + 2), case.cells * tile[0] * tile[1]))
        # For each matrix: a few copies of both sides and a few vectors, and never a tile.
        most_bytes = int(matrices * 8 * stacked * n * (6 * d + 16))
    hint = "set tileable = False on the class if it needs a matrix of B × B"
    expect(largest.numel <= most, f"no tensor of more than {most} elements at B = {n}", largest.numel, hint)
    expect(kept.bytes <= most_bytes, f"at most {most_bytes} bytes kept for backward", kept.bytes, hint)


def _state(case: LossCase) -> None:
    loss, inputs = case.build(), case.example()

    def state() -> dict[str, Tensor]:
        return {name: apply(value, Tensor.clone) for name, value in loss.state_dict().items()}

    before = state()
    call(loss, inputs)
    what = "no change of state_dict in forward"
    expect_equal_states(
        state(), before, what, "change state in update_state, which runs after an optimizer step"
    )
    if not isinstance(loss, Loss):
        return
    torch.optim.SGD([nn.Parameter(torch.zeros(()))]).step()
    after = state()
    if loss.stateful:
        moved = any(not same(after[name], value) for name, value in before.items())
        expect(moved, "another state after an optimizer step, as stateful declares", "the same state")
    other = case.build()
    for name, value in after.items():  # buffers that grow are loaded by the loss itself
        if name in before and before[name].shape != value.shape:
            return
    other.load_state_dict(after)
    expect_close(
        call(other, inputs), call(loss, inputs), "the same value after load_state_dict", rtol=0, atol=0
    )
