"""The properties of a tower."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..modalities import MODALITIES
from ..networks import Tower, build_towers, initialise
from ..networks.towers.sound import SoundTower
from ..raw import Waves
from ..recipes.schema import Towers
from ._checks import Checks, expect, expect_close, expect_equal_states, run_checks
from ._stubs import INPUTS

_BY_EXAMPLE = "in evaluation mode an example must not depend on the others: no statistics of the batch"


def check_tower(tower: Callable[[], Tower], *, raw: Any = None) -> None:
    """Check every property of a tower.

    >>> from counterpoint.networks import ConvNet
    >>> check_tower(ConvNet)

    Args:
        tower: a class, or a function that returns a tower.
        raw: six raw examples of its modality, where the built-in ones do not serve.

    Raises:
        ConformanceError: if a property does not hold; it lists all of them.
        ValueError: without raw examples of a modality that has no built-in ones.
    """
    run_checks(getattr(tower, "__name__", repr(tower)), tower_checks(tower, raw=raw))


def tower_checks(tower: Callable[[], Tower], *, raw: Any = None) -> Checks:
    """Yield the properties of a tower, each with its check; the arguments are those of `check_tower`."""
    example = tower()
    modality = example.modality
    if raw is None and modality not in INPUTS:
        raise ValueError(f"there are no built-in examples of {modality}: give raw=, six raw examples")
    if raw is None:
        raw = INPUTS[modality]
        if isinstance(example, SoundTower):
            sounds = torch.randn(6, example.rate, generator=torch.Generator().manual_seed(1))
            raw = Waves.of(list(sounds.numpy()), example.rate)

    def build() -> tuple[Tower, Tensor]:
        built = tower()
        initialise(built, 0)
        return built.eval(), built.input(raw)

    for name, check in _CHECKS.items():
        if name == "seed" and example.weights_set:
            continue  # it starts from weights of its own
        yield name, partial(check, build)


def built_in_towers(name: str) -> dict[str, Callable[[], Tower]]:
    """Return functions that build the towers of a registered name, by modality."""

    def build(modality: str) -> Tower:
        columns, names = {modality: modality}, {modality: name}
        raw = {modality: INPUTS[modality]}
        return build_towers(Towers(), raw, 0, columns=columns, names=names)[modality]

    return {
        modality.name: partial(build, modality.name)
        for modality in MODALITIES
        if ":" not in name and name in modality.towers and modality.name in INPUTS
    }


Build = Callable[[], tuple[Tower, Tensor]]
"""A function that returns a tower in evaluation mode, and inputs of six examples."""


def _features(build: Build) -> None:
    tower, inputs = build()
    expect(len(inputs) == 6, "an input for each of six examples", len(inputs))
    z = tower(inputs)
    expect(z.shape == (6, tower.width), f"features {(6, tower.width)}, as width says", tuple(z.shape))
    expect(z.is_floating_point(), "features that are floating-point numbers", z.dtype)
    expect(z.isfinite().all(), "finite features", "NaN or infinity")
    expect(not torch.equal(z[0], z[1]), "other features of another example", "the same")


def _batches(build: Build) -> None:
    tower, inputs = build()
    z = tower(inputs)
    close = {"rtol": 1e-4, "atol": 1e-5}
    expect_close(tower(inputs.flip(0)).flip(0), z, "the same features in another order", _BY_EXAMPLE, **close)
    expect_close(tower(inputs[2:3]), z[2:3], "the same features of one example alone", _BY_EXAMPLE, **close)


def _repeat(build: Build) -> None:
    tower, inputs = build()
    state = copy.deepcopy(tower.state_dict())
    hint = "in evaluation mode nothing is drawn: follow self.training"
    expect_close(tower(inputs), tower(inputs), "the same features again in evaluation mode", hint, rtol=0)
    expect_equal_states(tower.state_dict(), state, "no change of state_dict in evaluation mode")


def _gradients(build: Build) -> None:
    tower, inputs = build()
    z = tower(inputs)
    (z * torch.linspace(-1, 1, z.numel()).view_as(z).to(z)).sum().backward()
    lost = [n for n, p in tower.named_parameters() if p.requires_grad and p.grad is None]
    expect(
        not lost,
        "a gradient in every parameter",
        f"none in {', '.join(lost)}",
        "remove parameters without use",
    )
    wrong = [n for n, p in tower.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    expect(not wrong, "finite gradients", f"NaN or infinity in {', '.join(wrong)}")


def _saved(build: Build) -> None:
    tower, inputs = build()
    other = build()[0]
    for parameter in other.parameters():
        parameter.data.add_(1)
    other.load_state_dict(tower.state_dict())
    hint = "state belongs into parameters and buffers"
    expect_close(other.eval()(inputs), tower(inputs), "the same features after load_state_dict", hint, rtol=0)


def _pickled(build: Build) -> None:
    tower, inputs = build()
    hint = "define classes and functions at the top of a module"
    try:
        other, input_ = pickle.loads(pickle.dumps(tower)), pickle.loads(pickle.dumps(tower.input))
    except RuntimeError:
        return  # parametrized modules of PyTorch, which it saves by their state alone
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        expect(False, "a tower and an input that can be pickled, for other processes", error, hint)
    expect_close(other(inputs), tower(inputs), "the same features from a pickled copy", rtol=0)
    expect(callable(input_), "an input that can be called", type(input_).__name__)


def _seed(build: Build) -> None:
    (one, _), (again, _), (other, _) = build(), build(), build()
    initialise(other, 1)
    expect_equal_states(again.state_dict(), one.state_dict(), "the same weights from the same seed")
    drawn = [n for n, p in one.named_parameters() if p.ndim > 1]
    moved = [n for n in drawn if not torch.equal(one.get_parameter(n), other.get_parameter(n))]
    expect(moved or not drawn, "other weights from another seed", "the same")


def _numbers(build: Build) -> None:
    tower, inputs = build()
    z = tower.double()(inputs.double() if inputs.is_floating_point() else inputs)
    expect(
        z.dtype == torch.float64,
        "features in float64 after .double()",
        z.dtype,
        "create tensors like their inputs",
    )
    tower, inputs = build()
    with torch.autocast("cpu", torch.bfloat16):
        z = tower(inputs)
    expect(z.isfinite().all(), "finite features under torch.autocast in bfloat16", "NaN or infinity")


def _device(build: Build) -> None:
    tower, inputs = build()
    hint = "create tensors with device=, and register constants as buffers"
    try:
        z = tower.to("meta")(inputs.to("meta"))
    except (RuntimeError, NotImplementedError) as error:
        # Other errors are of operations that need values, which the device meta does not have.
        other = any(words in str(error) for words in ("same device", "expected device", "is on cpu"))
        expect(not other, "features on the device of the inputs", error, hint)
        return
    expect(z.device.type == "meta", "features on the device of the inputs", z.device, hint)


def _frozen(build: Build) -> None:
    tower, _ = build()
    tower.frozen = True
    on = [name for name, module in tower.train().named_modules() if module.training]
    expect(
        not on,
        "a frozen tower that stays in evaluation mode",
        f"training mode of {len(on)} modules",
        "call super().train",
    )


_CHECKS: dict[str, Callable[[Build], None]] = {
    "features": _features,
    "batches": _batches,
    "repetition": _repeat,
    "gradients": _gradients,
    "saved state": _saved,
    "pickle": _pickled,
    "seed": _seed,
    "kinds of numbers": _numbers,
    "device": _device,
    "frozen": _frozen,
}
