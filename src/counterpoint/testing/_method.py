"""The properties of a method."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from ..methods import METHODS, Arm, Method, assemble, create
from ..methods.options import options_of, read
from ..modalities import MODALITIES, PAIR_PASSES
from ..networks import Tower
from ..registry import UnknownNameError
from ..training.step import caching
from ..types import Batch
from . import _stubs
from ._checks import Checks, expect, expect_close, expect_equal_states, expect_error, run_checks, same
from ._stubs import LATE, RECIPE

_BY_EXAMPLE = (
    "encode works example by example: move what looks across examples, such as batch statistics, into losses"
)
_STATE = "state that moves belongs into buffers, and moves in after_step"


@dataclass(frozen=True)
class MethodCase:
    """A method with what its checks need, for `check_method`.

    Attributes:
        method: a class, or a registered name with options as an arm has them.
        options: of the method. ``dropout`` is 0 unless given, so that encoding is free of chance.
        towers: a function that returns towers by column; small ones for what the method needs unless given.
        batch: a function of the method, a number of examples, a seed and a dtype that returns a batch; random unless
            given.
        inputs: raw examples by modality, six of each, where the built-in ones do not serve.
    """

    method: str | type[Method]
    options: Mapping[str, Any] = field(default_factory=dict)
    towers: Callable[[], dict[str, Tower]] | None = None
    batch: Callable[..., Batch] = _stubs.batch
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.method if isinstance(self.method, str) else self.method.__name__

    @property
    def kind(self) -> Any:
        """The class of the method, or of the loss that is made a method."""
        if not isinstance(self.method, str):
            return self.method
        return METHODS.get(Arm.parse(self.method).method)

    @property
    def tunable(self) -> Mapping[str, tuple[float, float]]:
        """The options that a search draws."""
        return Arm.parse(self.method).tunable() if isinstance(self.method, str) else self.method.tunable

    def build(self, seed: int = 0, prefix: str = "", **options: Any) -> Any:
        """Return a new method, with weights from a seed.

        Args:
            seed: of the weights.
            prefix: is set before the names of columns that are named like a modality.
            options: before those of the case.
        """
        arm = Arm.parse(self.method) if isinstance(self.method, str) else None
        needs = getattr(self.kind, "needs", Method.needs) if arm is None else arm.kind.needs
        columns = _stubs.columns_for(needs)
        if self.towers is not None:
            towers = _stubs.ready(self.towers(), seed)
        else:
            towers = _stubs.stub_towers(arm.reads(columns) if arm else columns, seed, self.kind)
            if getattr(self.kind, "names", False):
                towers |= _stubs.stub_towers({"text": "text"}, seed)
        towers = {f"{prefix}{name}" if name in MODALITIES else name: tower for name, tower in towers.items()}
        usual = {"dropout": 0.0} if "dropout" in options_of(self.kind) else {}
        options = {**usual, **self.options, **options}
        learns = arm.learns if arm else self.kind.learns
        target = _stubs.OF_KIND[learns[0]] if learns else None
        if arm is None:
            method = assemble(str(self), self.kind, towers, RECIPE, target, **options)
        else:
            options = {**read(arm.method, self.kind, arm.options), **options}
            method = create(arm.method, towers, RECIPE, target=target, **options)
        return _stubs.begun(method, seed)

    def raw(self, method: Any, column: str) -> Any:
        """Return six raw examples of a column."""
        return {**_stubs.INPUTS, **self.inputs}[method.tower(column).modality]


def check_method(method: str | type[Method] | MethodCase, **settings: Any) -> None:
    """Check every property of a method, on towers of a few numbers.

    >>> from counterpoint.methods import CLIP
    >>> check_method(CLIP)

    Args:
        method: a class, a registered name, or a `MethodCase`.
        settings: attributes of `MethodCase`.

    Raises:
        ConformanceError: if a property does not hold; it lists all of them.
        ValueError: if the method cannot be built.
    """
    case = method if isinstance(method, MethodCase) else MethodCase(method, **settings)
    run_checks(str(case), method_checks(case))


def method_checks(method: str | type[Method] | MethodCase, **settings: Any) -> Checks:
    """Yield the properties of a method that apply to it, each with its check; with the arguments of `check_method`."""
    case = method if isinstance(method, MethodCase) else MethodCase(method, **settings)
    built = case.build()
    case.batch(built)  # a batch that cannot be made is an error of the call, and no property
    checks: dict[str, Callable[[MethodCase], None]] = {
        "facts": _facts,
        "tunable options": _tunable,
        "learnt scalars": _scalars,
        "encode by example": _encode,
        "losses": _losses,
        "names of columns": _column_names,
        "gradients": _gradients,
        "descent": _descent,
        "seed": _seed,
        "saved state": _saved,
        "embeddings": _embeddings,
        "mode": _mode,
        "refusals": _refusals,
        "bounds of scales": _bounds,
        "microbatches": _microbatches,
        "resumed training": _resumed,
        "frozen towers": _frozen,
    }
    if built.closed:  # a run of it takes no step
        for name in ("gradients", "descent", "microbatches", "resumed training", "frozen towers"):
            del checks[name]
    if not built.embeds:  # it draws, and embeds nothing
        for name in ("embeddings", "mode", "refusals"):
            del checks[name]
    if built.draws or built.ordered:
        checks["losses"] = _finite_losses
    for name, check in checks.items():
        yield name, partial(check, case)


def _run(method: Any, batch: Batch) -> dict[str, Tensor]:
    """Return the losses of a batch, seeded as the training loop seeds every step."""
    torch.manual_seed(0)
    return _stubs.run(method, batch)


def _total(method: Any, batch: Batch) -> Tensor:
    return torch.stack(list(_run(method, batch).values())).sum()


def _facts(case: MethodCase) -> None:
    method = case.build()
    embeds = [column for column in method.embeds if column not in method.carried]
    embedded = {method.tower(column).modality for column in embeds}
    # Of a column that it takes and does not embed it predicts the content.
    taken = {method.tower(column).modality for column in method.columns if column not in method.carried}
    viewed = {view.modality for view in method.views.values()}
    expect(viewed == taken >= embedded, f"views of the modalities {sorted(taken)}", sorted(viewed))
    if len(embeds) == 2:
        expect(set(embeds) <= set(method.views), "a view named after each column", sorted(method.views))
    heads = method.heads
    expect(len(set(heads)) == len(heads) > 0, "heads with names of their own", heads)
    expect(heads[0] == "global" or "global" not in heads, "the head 'global' first", heads)
    passes = set(method.passes()) - {PAIR_PASSES}
    expect(embedded <= passes <= taken, f"passes() of {sorted(embedded)}", sorted(passes))
    documented = inspect.getdoc(case.kind) not in (None, inspect.getdoc(type(method).__base__))
    expect(documented, "a docstring of the class", "none")


def _tunable(case: MethodCase) -> None:
    for option, (low, high) in case.tunable.items():
        expect(low < high, f"a range of {option} from low to high", (low, high))
        for value in (low, high):
            case.build(0, "", **{option: value})


def _scalars(case: MethodCase) -> None:
    def scalars(method: Any) -> dict[str, float]:
        return {n: float(p.detach()) for n, p in method.named_parameters() if p.requires_grad and not p.ndim}

    start, moved = scalars(case.build()), set[str]()
    for option, (low, _) in case.tunable.items():
        searched = scalars(case.build(0, "", **{option: low}))  # some losses keep a stated τ fixed
        moved |= {name for name, value in start.items() if searched.get(name) != value}
    hint = "add the option that sets the start of the scalar to tunable"
    expect(
        moved == set(start), f"tunable options that move the start of {sorted(start)}", sorted(moved), hint
    )


def _shuffled(batch: Batch) -> tuple[Tensor, Batch]:
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(3))
    return order, batch.map(itemgetter(order))


def _encode(case: MethodCase) -> None:
    method = case.build()
    whole = case.batch(method)
    z = method.encode(whole)
    if set(method.views) <= set(whole.views):  # else the batch was prepared, and holds others
        # Of targets, and of branches beside a method's own, names end in the view that they are of.
        names = [*z, *method.targets(whole)]
        used = {next((v for v in method.views if n.endswith(v)), n) for n in names}
        expect(used == set(method.views), f"features of the views {sorted(method.views)}", sorted(used))
    order, other = _shuffled(whole)
    shuffled, parts = method.encode(other), [method.encode(part) for part in whole.split(5)]
    for view in z:
        expect_close(shuffled[view], z[view][order], f"{view} in the order of the batch", _BY_EXAMPLE)
        joined = torch.cat([part[view] for part in parts])
        expect_close(joined, z[view], f"the same {view} from parts of the batch", _BY_EXAMPLE)


def _finite_losses(case: MethodCase) -> None:
    method = case.build().double()
    for term, loss in _run(method, case.batch(method, dtype=torch.float64)).items():
        expect(loss.shape == (), f"a scalar {term}", f"a tensor of shape {tuple(loss.shape)}")
        expect(loss.isfinite(), f"a finite {term}", float(loss.detach()))


def _losses(case: MethodCase) -> None:
    _finite_losses(case)
    method = case.build().double()
    whole = case.batch(method, dtype=torch.float64)
    losses, shuffled = _run(method, whole), _run(method, _shuffled(whole)[1])
    expect(losses.keys() == shuffled.keys(), f"the terms {sorted(losses)} again", sorted(shuffled))
    hint = "set ordered = True if the order decides which examples meet, draws = True if losses draws"
    for term, loss in losses.items():
        expect_close(shuffled[term], loss, f"the same {term} of a shuffled batch", hint)


def _column_names(case: MethodCase) -> None:
    # An option that names a column by default must name it here too.
    names = [option for option, annotation in options_of(case.kind).items() if annotation is str]
    defaults = [
        p for c in case.kind.__mro__ for p in inspect.signature(c).parameters.values() if p.name in names
    ]
    others = {p.name: f"my_{p.default}" for p in defaults if p.default in MODALITIES.names()}
    method = case.build(0, "my_", **others)
    total = _total(method, case.batch(method))
    expect(total.isfinite(), "a finite loss on columns of other names", float(total.detach()))
    for column in method.embeds[:1]:
        z = method.embed(column, case.raw(method, column))
        expect_close(z.norm(dim=-1), torch.ones(6), "embeddings of unit norm")


def _gradients(case: MethodCase) -> None:
    method = case.build()
    batch = case.batch(method)
    trained = [p for p in method.parameters() if p.requires_grad]
    # Twice: in the first step an output layer that starts from zero gives no gradient to what is below it.
    for optimizer in (torch.optim.SGD(trained, lr=1e-3), None):
        method.zero_grad(set_to_none=True)
        _total(method, batch).backward()  # type: ignore[no-untyped-call] # torch's
        if optimizer is not None:
            optimizer.step()
    lost, wrong, moved = [], [], []
    for name, parameter in method.named_parameters():
        if not parameter.requires_grad:
            moved += [name] if parameter.grad is not None else []
        elif parameter.grad is None or (parameter.ndim > 1 and not parameter.grad.any()):
            lost.append(name)
        elif not parameter.grad.isfinite().all():
            wrong.append(name)
    hint = "detach() and no_grad() cut gradients; a parameter that is not trained needs requires_grad_(False)"
    expect(not lost, "a gradient in every trained parameter", f"none in {', '.join(lost)}", hint)
    expect(not wrong, "finite gradients", f"NaN or infinity in {', '.join(wrong)}")
    expect(not moved, "no gradient in frozen parameters", f"gradients in {', '.join(moved)}")


def _descent(case: MethodCase) -> None:
    # In float64: a small gradient changes the loss by less than float32 can tell.
    method = case.build().double()
    batch = case.batch(method, dtype=torch.float64)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=1e-3)
    before = _total(method, batch)
    before.backward()  # type: ignore[no-untyped-call] # torch's
    optimizer.step()
    other = case.build().double()  # with the state before the step, which the step moves
    other.load_state_dict(dict(method.named_parameters()), strict=False)
    after = _total(other, batch)
    expect(
        after < before,
        f"a loss below {float(before.detach()):.6g} after a step",
        f"{float(after.detach()):.6g}",
    )


def _seed(case: MethodCase) -> None:
    torch.manual_seed(1)
    one = case.build(seed=0).state_dict()
    torch.manual_seed(2)
    again, other = case.build(seed=0).state_dict(), case.build(seed=1).state_dict()
    hint = "do not draw weights in a way that initialise() does not repeat"
    expect_equal_states(again, one, "the same weights from the same seed", hint)
    # State of items is not drawn, nor are counts, which start at 0.
    drawn = [k for k, v in one.items() if v.ndim > 1 and v.any() and not k.startswith("items.")]
    equal = [k for k in drawn if torch.equal(one[k], other[k])]
    expect(drawn, "weights that are drawn", "none")
    expect(not equal, "other weights from another seed", f"the same in {', '.join(equal)}", hint)


def _saved(case: MethodCase) -> None:
    method = case.build()
    batch = case.batch(method)
    _total(method, batch)  # moves the statistics of batch norms
    other = case.build(seed=1)
    other.load_state_dict(method.state_dict())
    what = "the same loss after load_state_dict"
    expect_close(_total(other, batch), _total(method, batch), what, _STATE, rtol=0)


def _embeddings(case: MethodCase) -> None:
    method = case.build()
    _total(method, case.batch(method))
    for head in ("default", *method.heads):
        for column in method.embeds:
            raw = case.raw(method, column)
            z = method.embed(column, raw, head)
            expect_close(z.norm(dim=-1), torch.ones(6), f"embeddings of {column} of unit norm")
            part = method.embed(column, raw[2:4], head)
            expect_close(part, z[2:4], f"the same embedding of {column} in another batch")
            expect(not z.requires_grad, "embeddings without gradient", "a tensor that requires gradients")
    a, b = (method.embed(c, case.raw(method, c)) for c in (method.embeds[0], method.embeds[-1]))
    shape = tuple(method.similarity(a, b).shape)
    expect(shape == (6, 6), "similarities (6, 6) of six embeddings and six others", shape)


def _mode(case: MethodCase) -> None:
    for training in (True, False):
        method = case.build().train(training)
        modes = [module.training for module in method.modules()]
        state = {k: v.clone() for k, v in method.state_dict().items()}
        method.embed(method.embeds[0], case.raw(method, method.embeds[0]))
        after = [module.training for module in method.modules()]
        expect(after == modes, f"train({training}) after embed as before", "another mode")
        expect_equal_states(method.state_dict(), state, "no change of state_dict in embed")


def _refusals(case: MethodCase) -> None:
    method = case.build()
    column, head = method.embeds[0], method.heads[0][:-1]
    raw = case.raw(method, column)
    for what, words in {"an unknown column": ("imag", raw), "an unknown head": (column, raw, head)}.items():
        with expect_error(what, error=UnknownNameError):
            method.embed(*words)
    wrong = {
        "image": [7],
        "text": _stubs.WordTokenizer()(_stubs.INPUTS["text"]),
        "audio": _stubs.INPUTS["audio"].samples,
    }
    for name, inputs in wrong.items():
        with expect_error(f"inputs of {name} that are none"):
            method.embed(name, inputs)
    for column in method.embeds:
        with expect_error(f"no inputs of {column}"):
            method.embed(column, case.raw(method, column)[:0])


def _bounds(case: MethodCase) -> None:
    method = case.build()
    batch = case.batch(method)
    bounded = [m for m in method.modules() if hasattr(m, "clamp_") and m.bounds[0] is not None]
    for value in (100.0, -100.0):
        for temperature in bounded:
            temperature.parameter.data.fill_(value)
        with torch.no_grad():
            method.after_step(method.targets(batch) | method.encode(batch), batch, LATE)
        for temperature in bounded:
            small = (value > 0) != (temperature.form == "direct")
            bound = torch.tensor(temperature.bounds[0 if small else 1])
            hint = "call super().after_step"
            expect_close(
                temperature.value.detach(), bound, f"a temperature of {float(bound):g} after a step", hint
            )


def step(method: Any, batch: Batch, microbatch: int, seed: int = 0) -> float:
    """Compute gradients as the loop does, and let the method's state move on."""
    torch.manual_seed(seed)
    method.zero_grad(set_to_none=True)
    if microbatch:
        losses, z = caching.backward(method, batch, LATE, microbatch)
    else:
        with torch.no_grad():
            z = method.targets(batch)
        z = method.second_round(z | method.encode(batch), batch)
        losses = method.losses(z, batch, LATE)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call] # torch's
    method.after_step({name: value.detach() for name, value in z.items()}, batch, LATE)
    return float(torch.stack(list(losses.values())).sum().detach())


def grads_of(method: Any) -> dict[str, Tensor]:
    return {name: p.grad for name, p in method.named_parameters() if p.grad is not None}


def _microbatches(case: MethodCase) -> None:
    whole = case.build().double().train()
    parts = copy.deepcopy(whole)
    batch = case.batch(whole, 11, dtype=torch.float64)
    measured, expected = step(parts, batch, 4), step(whole, batch, 0)
    what = "of microbatches of 4 as of the whole batch"
    expect_close(measured, expected, f"the loss {what}", _BY_EXAMPLE, rtol=1e-12)
    both = (("gradient", grads_of(parts), grads_of(whole)), ("state", parts.state_dict(), whole.state_dict()))
    for kind, ours, theirs in both:
        expect(ours.keys() == theirs.keys(), f"the same {kind}s {what}", sorted(ours.keys() ^ theirs.keys()))
        for name, value in theirs.items():
            expect_close(
                ours[name], value, f"the {kind} of {name} {what}", _BY_EXAMPLE, rtol=1e-9, atol=1e-12
            )


def _resumed(case: MethodCase) -> None:
    def optimizer_of(method: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=0.01)

    whole, resumed = case.build().train(), case.build(seed=1).train()
    optimizer, other = optimizer_of(whole), optimizer_of(resumed)
    batches = [case.batch(whole, 8, seed=seed) for seed in range(4)]
    for k in (0, 1):
        step(whole, batches[k], 0, k)
        optimizer.step()
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for k in (2, 3):
        measured, expected = step(resumed, batches[k], 0, k), step(whole, batches[k], 0, k)
        expect(measured == expected, f"the loss {expected} of step {k} after a restart", measured, _STATE)
        optimizer.step()
        other.step()
    expect_equal_states(resumed.state_dict(), whole.state_dict(), "the same state after a restart", _STATE)


def _frozen(case: MethodCase) -> None:
    method = case.build().train()
    frozen = [m for m in method.modules() if isinstance(m, Tower) and m.frozen]
    before = [copy.deepcopy(module.state_dict()) for module in frozen]
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=0.1)
    step(method, case.batch(method, 8), 0)
    optimizer.step()
    for module, state in zip(frozen, before, strict=True):
        expect(not module.training, "a frozen tower in evaluation mode", "training mode")
        moved = [key for key, value in module.state_dict().items() if not same(value, state[key])]
        expect(not moved, "weights of a frozen tower that do not move", f"others in {', '.join(moved)}")
