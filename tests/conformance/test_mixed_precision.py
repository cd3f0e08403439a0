"""Mixed precision trains: every method, with and without microbatches, and every shipped recipe."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from loader_jobs import DATA, loader_of, prepared_by_a_worker
from method_stubs import RECIPE, RECIPES, STEPPING, build, columns_of
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from counterpoint import recipes
from counterpoint.data.loading.loader import Loader
from counterpoint.methods.arm import Arm
from counterpoint.methods.base import Method
from counterpoint.recipes import override
from counterpoint.training.loop import TrainingProgress, fit
from counterpoint.training.saving import checkpoint as checkpoints
from counterpoint.training.saving import saver
from counterpoint.training.step.precision import Precision
from counterpoint.types import Batch, StepInfo, TrainingExamples
from fixtures.open_clip import CONFIG
from fixtures.slow import slow
from fixtures.tiny import TinyData

NAMES = [name for name in STEPPING if {*columns_of(name)} <= {*DATA.columns}]
"""Methods that work on the columns of the data here."""
every = pytest.mark.parametrize("name", NAMES)


def looking_exactly(method: Method) -> Method:
    """Return the method, whose looks are in float32: clusters of rounded embeddings may be others."""
    look = method.on_epoch_start

    def exact(examples: TrainingExamples, clock: StepInfo) -> None:
        with torch.autocast("cpu", enabled=False):
            look(examples, clock)

    method.on_epoch_start = exact  # type: ignore[method-assign] # of this method alone, and not of its class
    return method


class OneBatch(Loader):
    """A loader that has prepared its batch before."""

    prepared: Batch

    def batch(self, step: int, steps: int | None = None) -> Batch:
        return self.prepared


def one_step(name: str, given: Batch, **changes: Any) -> tuple[float, dict[str, Tensor | None]]:
    """Return the loss of a step of a method and the gradients that it took."""
    method = looking_exactly(build(name))
    recipe = override(RECIPES.get(name, RECIPE), {"batch_size": 8, "steps": 1, **changes})
    loader, told = loader_of(method, OneBatch), list[TrainingProgress]()
    loader.prepared = given
    fit(method, loader, recipe, accelerator="cpu", on_step=told.append)
    return told[0].loss, {k: p.grad for k, p in method.named_parameters()}


def joined(gradients: dict[str, Tensor | None]) -> Tensor:
    return torch.cat([g.flatten() for g in gradients.values() if g is not None])


@pytest.mark.parametrize(
    ("precision", "microbatch"), [("bf16-mixed", 3), *slow(("32", 3), ("bf16-mixed", 0), ("16-mixed", 0))]
)
@every
def test_a_step_of_every_method_is_that_of_float32(name: str, precision: str, microbatch: int) -> None:
    given = loader_of(build(name)).batch(0)
    loss, gradients = one_step(name, given)
    other, found = one_step(name, given, precision=precision, microbatch=microbatch)
    if precision == "16-mixed":  # its first scale is too large for many: gradients overflow and are not taken
        assert other == pytest.approx(loss, rel=2**-5, abs=2**-5)
        return
    rounding = 2**-12 if precision == "32" else 2**-4  # half of a number's 24 and 8 bits
    # Twice that for whitening, which divides by small variances.
    assert other == pytest.approx(loss, rel=2 * rounding, abs=rounding)
    assert [k for k, g in found.items() if g is None] == [k for k, g in gradients.items() if g is None]
    assert torch.cosine_similarity(joined(found), joined(gradients), dim=0) > 1 - rounding


@pytest.mark.slow
def test_a_worker_prepares_the_batch_of_every_method() -> None:
    loaders = [loader_of(build(name)) for name in NAMES]
    for loader, given in zip(loaders, prepared_by_a_worker(loaders), strict=True):
        own = loader.batch(0)
        assert torch.equal(given.ids, own.ids)
        assert given.views.keys() == own.views.keys()
        assert all(torch.equal(given[view], own[view]) for view in own.views)


class _Waits(TorchDispatchMode):
    """Counter of the numbers that are asked of tensors, each of which would wait for a device."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def tiny_towers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Towers of the kinds that the recipes for GPUs name, of a few thousand weights."""
    import open_clip

    file = tmp_path_factory.mktemp("open_clip") / "tiny-pair.json"
    file.write_text(json.dumps(CONFIG))
    open_clip.add_model_config(file)
    return {"image": "timm:test_resnet", "text": "open_clip:tiny-pair", "image_size": 32}


ROCKETS = sorted(name for name in recipes.names() if name.startswith("rocket"))
"""Recipes that differ in sizes, which are made small here."""


@pytest.mark.parametrize("name", [*sorted({*recipes.names()} - {*ROCKETS}), *slow(*ROCKETS)])
def test_a_step_of_every_recipe(name: str, tiny_towers: dict[str, Any]) -> None:
    recipe = recipes.load(name)
    changes: dict[str, Any] = {f"widths.{key}": max(value // 64, 4) for key, value in recipe.widths}
    # Under float16 the first steps find a scale that does not overflow, and move nothing.
    changes |= {"steps": 6 if recipe.precision == "16-mixed" else 1, "batch_size": 8, "workers": 0}
    if recipe.towers.image != "cnn":
        changes |= {f"towers.{key}": value for key, value in tiny_towers.items()}
    small = override(recipe, changes)
    data, told = TinyData(), list[TrainingProgress]()
    arm = "clip-rocket" if name.startswith("rocket") else "slip"  # those of the recipes' own commands
    captions = [data.captions(row)[0] for row in data.splits.train]
    method = Arm.parse(arm).build(small, {"text": captions}, seed=0)
    before = {k: p.detach().clone() for k, p in method.named_parameters() if p.requires_grad}
    loader = loader_of(method, augmentation=small.augmentation)
    fit(method, loader, small, accelerator="cpu", on_step=told.append)
    assert len(told) == small.steps
    after = dict(method.named_parameters())
    assert not any(torch.equal(value, after[k]) for k, value in before.items() if value.ndim > 1)


def step(precision: Precision, optimizer: torch.optim.Optimizer, clip_norm: float = 0.0) -> bool:
    """Take a step, unless gradients overflow; return whether it was taken."""
    overflow = bool(precision.unscale(optimizer, clip_norm))
    precision.step(optimizer, overflow)
    return not overflow


@pytest.mark.parametrize("microbatch", [0, 3])
@pytest.mark.parametrize("precision", ["32", "16-mixed"])
def test_a_step_waits_once_for_the_device(
    precision: str, microbatch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, waits, counts = build("clip"), _Waits(), list[int]()
    changes = {"batch_size": 8, "steps": 4, "precision": precision, "microbatch": microbatch, "log_every": 9}
    # AdamW reads the number of its step from a tensor, the processor's.
    recipe = override(RECIPES.get("clip", RECIPE), {**changes, "optimizer.name": "sgd"})
    loader = loader_of(method, OneBatch)
    loader.prepared = loader_of(method).batch(0)

    def listed(tensor: Tensor, real: Any = Tensor.tolist) -> Any:
        waits.count += tensor.is_floating_point()  # ids stay with the processor
        return real(tensor)

    monkeypatch.setattr(Tensor, "tolist", listed)
    with waits:
        fit(method, loader, recipe, accelerator="cpu", on_step=lambda _: counts.append(waits.count))
    assert [after - before for before, after in pairwise(counts[:-1])] == [1, 1]


class TestPrecision:
    def test_overflow_of_float16_is_not_taken_and_lowers_the_scale(self) -> None:
        weight = nn.Parameter(torch.ones(1))
        optimizer, precision = torch.optim.SGD([weight], lr=1.0), Precision("16-mixed", torch.device("cpu"))
        scale = precision.scaler.get_scale()
        for factor, expected in ((1.0, 0.0), (1e-6, 1.0)):
            optimizer.zero_grad()
            with precision.autocast():
                loss = (weight.half() * 60_000.0 * factor).float().sum()
            precision.backward(loss)
            before = weight.item()
            assert step(precision, optimizer) == (expected == 1.0)
            assert weight.item() == pytest.approx(before - expected * 60_000.0 * factor, rel=1e-3)
            assert precision.scaler.get_scale() == scale / 2

    def test_step_asks_nothing_device_but_whether_gradients_overflow(self) -> None:
        weight = nn.Parameter(torch.zeros(2))
        optimizer, precision = torch.optim.SGD([weight], lr=1.0), Precision("16-mixed", torch.device("cpu"))
        for factor, taken in ((0.3, True), (torch.inf, False), (0.3, True)):
            optimizer.zero_grad()
            precision.backward((weight * factor).sum())
            with _Waits() as waits:
                assert step(precision, optimizer, 1.0) is taken
            assert waits.count == 1

    def test_gradients_are_clipped_by_own_norm_and_not_scaled_one(self) -> None:
        weight = nn.Parameter(torch.zeros(2))
        optimizer, precision = torch.optim.SGD([weight], lr=1.0), Precision("16-mixed", torch.device("cpu"))
        precision.backward((weight * torch.tensor([0.3, 0.4])).sum())
        step(precision, optimizer, 1.0)
        torch.testing.assert_close(weight.detach(), torch.tensor([-0.3, -0.4]))
        optimizer.zero_grad()
        precision.backward((weight * torch.tensor([3.0, 4.0])).sum())
        step(precision, optimizer, 1.0)
        torch.testing.assert_close(weight.detach(), torch.tensor([-0.9, -1.2]), rtol=1e-5, atol=0)

    def test_the_scale_is_part_of_a_checkpoint(self, tmp_path: Path) -> None:
        module, cpu = nn.Linear(1, 1), torch.device("cpu")
        stopped, goes_on = Precision("16-mixed", cpu), Precision("16-mixed", cpu)
        optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
        stopped.backward(module(torch.tensor([1e38])).sum())
        step(stopped, optimizer)
        saver.save(tmp_path, 1, module, optimizer, stopped.scaler)
        saved = checkpoints.load(tmp_path)
        assert saved is not None
        checkpoints.restore(saved, module, optimizer, goes_on.scaler)
        assert (
            goes_on.scaler.get_scale()
            == stopped.scaler.get_scale()
            < Precision("16-mixed", cpu).scaler.get_scale()
        )
