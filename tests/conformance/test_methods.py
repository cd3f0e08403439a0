"""Properties that must hold of every registered method, whatever the method is."""

from __future__ import annotations

import inspect
from inspect import signature, unwrap
from operator import itemgetter
from typing import Any

import method_stubs
import numpy as np
import pytest
import torch
from method_stubs import LATE, StubSound, Words, batch, build
from method_stubs import run as run_unseeded
from torch import Tensor

from counterpoint import methods
from counterpoint.methods import Arm, Method
from counterpoint.methods.options import options_of, required
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.modalities import MODALITIES
from counterpoint.raw import Series, Waves
from counterpoint.types import Batch

every = pytest.mark.parametrize("name", methods.names())
WORDS = ["a", "small", "red", "cat", "runs", "over", "the", "old", "green", "hill"]
CAPTIONS = [" ".join(WORDS[k : k + 4]) for k in range(6)]
PICTURES = torch.randint(
    0, 256, (6, 3, 10, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
)
SOUNDS = Waves.of(
    list(torch.randn(6, 40, generator=torch.Generator().manual_seed(1)).numpy()), StubSound.rate
)
MEASURED = Series(torch.randn(6, 40, 3, generator=torch.Generator().manual_seed(1)))
INPUTS: dict[str, Any] = {"image": PICTURES, "text": CAPTIONS, "audio": SOUNDS, "series": MEASURED}


def inputs_of(method: TowerMethod, column: str) -> Any:
    return INPUTS[method.tower(column).modality]


def run(method: TowerMethod, given: Batch) -> dict[str, Tensor]:
    """The losses of a batch, seeded as the training loop seeds every step."""
    torch.manual_seed(0)
    return run_unseeded(method, given)


def total(method: TowerMethod, given: Batch) -> Tensor:
    return torch.stack(list(run(method, given).values())).sum()


def test_what_is_entered_by_hand_is_of_methods_that_there_are() -> None:
    tables = method_stubs.OPTIONS, method_stubs.RECIPES, method_stubs.SOUNDS
    assert {name for table in tables for name in table} <= set(methods.names())
    known = [methods.METHODS.get(name) for name in methods.names()]
    assert set(method_stubs.REQUIRED) <= {o for it in known if issubclass(it, Method) for o in required(it)}


def test_a_method_that_needs_more_than_its_class_says_is_told_where_to_be_entered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(method_stubs, "REQUIRED", {})
    with pytest.raises(ValueError, match="jest needs reference=") as told:
        build("jest")
    assert told.value.__notes__ == [method_stubs.ENTERED]
    assert all(
        table in method_stubs.ENTERED for table in ("OPTIONS", "REQUIRED", "RECIPES", "SOUNDS", "OF_KIND")
    )


@every
def test_declares_its_views_heads_and_papers(name: str) -> None:
    method = build(name)
    modalities = {method.tower(column).modality for column in method.embeds}
    # Of a column that it takes and does not embed it predicts what is there.
    taken = {method.tower(column).modality for column in method.columns}
    assert {view.modality for view in method.views.values()} == taken >= modalities
    if len(method.embeds) == 2:
        assert set(method.embeds) <= set(method.views)
    assert len(set(method.heads)) == len(method.heads) > 0
    assert method.heads[0] == "global" or "global" not in method.heads
    assert method.papers
    assert set(method.passes()) == modalities
    assert inspect.getdoc(methods.METHODS.get(name)) not in (None, inspect.getdoc(type(method).__base__))


@every
def test_every_tunable_option_is_an_option(name: str) -> None:
    for option, (low, high) in Arm.parse(name).tunable().items():
        assert low < high
        for value in (low, high):
            build(name, **{option: value})


@every
def test_a_search_moves_the_start_of_every_scalar_that_a_run_learns(name: str) -> None:
    def scalars(method: TowerMethod) -> dict[str, float]:
        return {n: float(p.detach()) for n, p in method.named_parameters() if p.requires_grad and not p.ndim}

    start, moved = scalars(build(name)), set[str]()
    for option, (low, _) in Arm.parse(name).tunable().items():
        searched = scalars(
            build(name, **{option: low})
        )  # some losses keep a stated τ fixed, and lose the scalar
        moved |= {n for n, value in start.items() if searched.get(n) != value}
    assert moved == set(start)


@every
def test_encodes_every_view_sample_by_sample(name: str) -> None:
    method = build(name)
    whole = batch(method)
    z = method.encode(whole)
    if set(method.views) <= set(whole.views):  # else the batch was prepared, and holds others
        # Of targets, and of branches beside a method's own, names end in the view that they are of.
        names = [*z, *method.targets(whole)]
        assert {next(v for v in method.views if n.endswith(v)) for n in names} == set(method.views)
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(3))
    shuffled = method.encode(whole.map(itemgetter(order)))
    parts = [method.encode(part) for part in whole.split(5)]
    for view in z:
        torch.testing.assert_close(shuffled[view], z[view][order])
        torch.testing.assert_close(torch.cat([part[view] for part in parts]), z[view])


@every
def test_losses_are_finite_and_do_not_depend_on_the_order_of_the_batch(name: str) -> None:
    method = build(name).double()
    whole = batch(method, dtype=torch.float64)
    if method.draws or method.ordered:
        pytest.skip("the order of the batch decides which examples meet, or what is drawn for each")
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(3))
    losses = run(method, whole)
    shuffled = run(method, whole.map(itemgetter(order)))
    assert losses.keys() == shuffled.keys()
    for term, loss in losses.items():
        assert loss.shape == ()
        assert loss.isfinite()
        torch.testing.assert_close(shuffled[term], loss)


@every
def test_columns_may_have_any_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = method_stubs.towers_of

    def renamed(*args: Any) -> dict[str, Any]:
        return {f"my_{column}" if column in MODALITIES else column: it for column, it in usual(*args).items()}

    monkeypatch.setattr(method_stubs, "towers_of", renamed)
    # An option that names a column by default must name it here too.
    kind = methods.METHODS.get(name)
    names = [option for option, annotation in options_of(kind).items() if annotation is str]
    defaults = [p for c in kind.__mro__ for p in signature(c).parameters.values() if p.name in names]
    others = {p.name: f"my_{p.default}" for p in defaults if p.default in MODALITIES.names()}
    method = build(name, **others)
    assert total(method, batch(method)).isfinite()
    column = method.embeds[0]
    z = method.embed(column, inputs_of(method, column))
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(6))


@every
def test_gradients_reach_every_trained_parameter_and_no_other(name: str) -> None:
    method = build(name)
    total(method, batch(method)).backward()
    for parameter_name, parameter in method.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None, parameter_name
            continue
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        if parameter.ndim > 1:
            assert parameter.grad.abs().sum() > 0, parameter_name


@every
def test_a_step_lowers_the_loss_of_its_batch(name: str) -> None:
    method = build(name)
    given = batch(method)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=1e-3)
    before = total(method, given)
    before.backward()
    optimizer.step()
    after = build(name)  # with the state of before the step, which the step moves on
    after.load_state_dict(dict(method.named_parameters()), strict=False)
    assert total(after, given) < before


@every
def test_starts_from_the_seed_alone(name: str) -> None:
    torch.manual_seed(1)
    one = build(name, seed=0).state_dict()
    torch.manual_seed(2)
    again, other = build(name, seed=0).state_dict(), build(name, seed=1).state_dict()
    assert all(torch.equal(one[k], again[k]) for k in one)
    # What belongs to items is not drawn, nor are counts, which start at 0.
    drawn = [k for k, v in one.items() if v.ndim > 1 and v.any() and not k.startswith("items.")]
    assert drawn
    assert not any(torch.equal(one[k], other[k]) for k in drawn)


@every
def test_state_survives_saving(name: str) -> None:
    method = build(name)
    given = batch(method)
    total(method, given)  # moves the statistics of batch norms
    other = build(name, seed=1)
    other.load_state_dict(method.state_dict())
    torch.testing.assert_close(total(other, given), total(method, given), rtol=0, atol=0)


@every
def test_embeddings_have_unit_norm_and_no_memory_of_the_batch(name: str) -> None:
    method = build(name)
    total(method, batch(method))
    for head in ("default", *method.heads):
        for modality in method.embeds:
            inputs = inputs_of(method, modality)
            z = method.embed(modality, inputs, head)
            torch.testing.assert_close(z.norm(dim=-1), torch.ones(6))
            torch.testing.assert_close(method.embed(modality, inputs[2:4], head), z[2:4])
            assert not z.requires_grad
    a, b = (
        method.embed(column, inputs_of(method, column)) for column in (method.embeds[0], method.embeds[-1])
    )
    assert method.similarity(a, b).shape == (6, 6)


@pytest.mark.parametrize("training", [True, False])
@every
def test_embedding_leaves_the_mode_as_it_was(name: str, training: bool) -> None:
    method = build(name).train(training)
    modes = [module.training for module in method.modules()]
    state = {k: v.clone() for k, v in method.state_dict().items()}
    method.embed(method.embeds[0], inputs_of(method, method.embeds[0]))
    assert [module.training for module in method.modules()] == modes
    assert all(torch.equal(v, state[k]) for k, v in method.state_dict().items())


@every
def test_embedding_refuses_what_it_does_not_know(name: str) -> None:
    method = build(name)
    with pytest.raises(ValueError, match="unknown column 'imag'"):
        method.embed("imag", PICTURES)
    first = method.heads[0]
    with pytest.raises(ValueError, match=f"unknown head '{first[:-1]}': did you mean '{first}'"):
        method.embed(method.embeds[0], inputs_of(method, method.embeds[0]), first[:-1])
    wrong = {
        "image": ([7], "must be a uint8 tensor .*, got list"),
        "text": (Words()(CAPTIONS), "texts must be a list of texts, or one text, got Tensor"),
        "audio": (SOUNDS.samples, "sounds must be cp.Waves"),
    }
    for modality, (inputs, message) in wrong.items():
        message = message if modality in method.embeds else f"it has no {modality} embeddings|unknown column"
        with pytest.raises(ValueError, match=message):
            method.embed(modality, inputs)
    for modality in method.embeds:
        with pytest.raises(ValueError, match="nothing to embed"):
            method.embed(modality, inputs_of(method, modality)[:0])


@pytest.mark.parametrize(
    ("modality", "inputs", "message"),
    [
        ("image", torch.zeros(2, 3, 8, 8), "of values from 0 to 255, got torch.float32"),
        ("image", torch.zeros(2, 3, 8, 8, dtype=torch.int64), "got torch.int64"),
        ("image", torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "repeat the grey channel"),
        ("image", torch.zeros(2, 4, 8, 8, dtype=torch.uint8), "leave the alpha channel out"),
        ("image", torch.zeros(2, 8, 8, 3, dtype=torch.uint8), "channels come second"),
        ("image", torch.zeros(3, 8, 8), "of values from 0 to 255, got torch.float32"),
        ("image", torch.zeros(2, 3, 0, 8, dtype=torch.uint8), "nothing to embed"),
        ("image", np.zeros((2, 8, 8, 3)), "uint8 values from 0 to 255, got float64"),
        ("text", None, "texts must be a list of texts, or one text, got NoneType"),
        ("text", b"a cat", "got bytes"),
        ("text", ["a cat", None], "text 1 must be a text, got NoneType"),
        ("text", ["a cat", b"a dog"], "text 1 must be a text, got bytes"),
        ("text", ["half \ud83d"], "text 0 is no valid Unicode"),
    ],
)
def test_embedding_refuses_what_cannot_be_a_picture_or_a_text(
    modality: str, inputs: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        unwrap(type(build("clip")).embed)(build("clip"), modality, inputs)


def test_one_text_is_a_list_of_one() -> None:
    method = build("clip")
    assert torch.equal(method.embed("text", CAPTIONS[0]), method.embed("text", CAPTIONS[:1]))


@every
def test_scales_stay_within_their_bounds(name: str) -> None:
    method = build(name)
    given = batch(method)
    bounded = [m for m in method.modules() if hasattr(m, "clamp_") and m.bounds[0] is not None]
    for value in (100.0, -100.0):
        for temperature in bounded:
            temperature.parameter.data.fill_(value)
        with torch.no_grad():
            method.after_step(method.targets(given) | method.encode(given), given, LATE)
        for temperature in bounded:
            small = (value > 0) != (temperature.form == "direct")
            clamped = temperature.bounds[0 if small else 1]
            torch.testing.assert_close(temperature.value.detach(), torch.tensor(clamped))
