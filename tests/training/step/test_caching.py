"""Gradient caching gives the gradient of the whole batch, whatever the microbatch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from counterpoint.data.loading.loader import Loader
from counterpoint.data.loading.order import ShuffledOrder
from counterpoint.methods import CLIP
from counterpoint.methods.arm import Arm
from counterpoint.methods.base import Method
from counterpoint.recipes import Recipe, override
from counterpoint.training.loop import fit
from counterpoint.training.speed.memory import MemoryReport, measure
from counterpoint.training.step import caching
from counterpoint.types import Batch, Embeddings, NonFiniteLossError, Pairs, StepInfo
from fixtures.tiny import TinyData

DATA = TinyData()
CAPTIONS = [DATA.captions(row)[0] for row in range(70)]
CLOCK = StepInfo(3, 10)


def method_of(arm: str, recipe: Recipe) -> Any:
    return Arm.parse(arm).build(recipe, {"text": CAPTIONS}, seed=0)


def loader_of(method: Any, recipe: Recipe) -> Loader:
    return Loader(
        DATA,
        ShuffledOrder(DATA.splits.train, recipe.batch_size, 0),
        method.views,
        augmentation=recipe.augmentation,
        inputs=method.inputs,
    )


def double(batch: Batch) -> Batch:
    return replace(
        batch, views={k: v.double() if v.is_floating_point() else v for k, v in batch.views.items()}
    )


def gradients(method: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}


def in_parts(method: Method, batch: Batch, size: int) -> Tensor:
    """The loss of the whole batch with all graphs kept, encoded in the same parts: the slow reference."""
    z = method.targets(batch)
    encoded = [method.encode(part) for part in batch.split(size)]
    z |= {name: torch.cat([part[name] for part in encoded]) for name in encoded[0]}
    return torch.stack(list(method.losses(z, batch, CLOCK).values())).sum()


class Matching(CLIP):
    """CLIP with a second round: each picture with its own and the next text, under dropout."""

    draws = True

    def __init__(self, towers: Any, recipe: Recipe) -> None:
        super().__init__(towers, recipe)
        self.joint = nn.Linear(sum(tower.width for tower in towers.values()), 1)

    def pairs(self, z: Embeddings, batch: Batch) -> Pairs:
        assert not torch.is_grad_enabled()
        rows = torch.arange(len(batch))
        other = (rows + 1 + torch.randint(len(batch) - 1, rows.shape)) % len(batch)
        return {"picture": rows.repeat(2), "words": torch.cat([rows, other])}

    def fuse(self, z: Embeddings, pairs: Pairs) -> Embeddings:
        both = torch.cat([z["image"][pairs["picture"]], z["text"][pairs["words"]]], 1)
        return {"match": self.joint(nn.functional.dropout(both, 0.3, self.training))}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        own = (z["picture"] == z["words"]).to(z["match"])
        match = nn.functional.binary_cross_entropy_with_logits(z["match"][:, 0], own)
        return {**super().losses(z, batch, clock), "match": match}


@pytest.mark.parametrize("size", [3, 5, 16])
def test_pairs_are_a_second_level_with_the_gradient_of_the_whole_batch(size: int, recipe: Recipe) -> None:
    towers = {**method_of("clip", recipe).towers}
    method: Any = Matching(towers, recipe).double().train()
    batch = double(loader_of(method, recipe).batch(0))
    torch.manual_seed(1)
    z = {k: torch.cat([method.encode(part)[k] for part in batch.split(size)]) for k in ("image", "text")}
    with torch.no_grad():
        pairs = method.pairs(z, batch)
    parts = zip(*(torch.split(rows, size) for rows in pairs.values()), strict=True)
    fused = [method.fuse(z, dict(zip(pairs, part, strict=True)))["match"] for part in parts]
    losses = method.losses({**z, **pairs, "match": torch.cat(fused)}, batch, CLOCK)
    torch.stack(list(losses.values())).sum().backward()
    expected, after = gradients(method), torch.get_rng_state()
    method.zero_grad(set_to_none=True)
    torch.manual_seed(1)
    measured, z = caching.backward(method, batch, CLOCK, size)
    assert {"picture", "match"} < set(z)
    torch.testing.assert_close(measured, losses, rtol=1e-12, atol=0)
    for name, gradient in gradients(method).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-10, atol=1e-12)
    assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.parametrize(
    ("arm", "size"),
    [("clip", 1), ("clip", 16), ("byolip", 3), ("clip-rocket", 3), ("m3col", 3), ("clip,image=vit-crop", 5)],
)
def test_gradients_are_those_of_the_whole_batch(arm: str, size: int, recipe: Recipe) -> None:
    # Dropout is drawn per microbatch, so the reference encodes in the same parts; M3CoL draws in its losses too.
    recipe = override(recipe, {"options": {"clip-rocket": {"dropout": 0.2}}, "augmentation.synonyms": False})
    method = method_of(arm, recipe).double().train()
    batch = double(loader_of(method, recipe).batch(0))
    state = {k: v.clone() for k, v in method.state_dict().items()}
    torch.manual_seed(1)
    in_parts(method, batch, size).backward()
    expected, after = gradients(method), torch.get_rng_state()
    method.load_state_dict(state)
    method.zero_grad(set_to_none=True)
    torch.manual_seed(1)
    caching.backward(method, batch, CLOCK, size)
    found = gradients(method)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-10, atol=1e-12)
    assert torch.equal(torch.get_rng_state(), after)


def test_without_dropout_the_microbatch_does_not_matter(recipe: Recipe) -> None:
    found = []
    for size in (2, 5, 16):
        method = method_of("clip", recipe).double().train()
        caching.backward(method, double(loader_of(method, recipe).batch(0)), CLOCK, size)
        found.append(gradients(method))
    for name, gradient in found[0].items():
        for other in found[1:]:
            torch.testing.assert_close(other[name], gradient, rtol=1e-10, atol=1e-12)


def test_accumulating_smaller_batches_is_another_objective(recipe: Recipe) -> None:
    method = method_of("clip", recipe).double().train()
    batch = double(loader_of(method, recipe).batch(0))
    caching.backward(method, batch, CLOCK, 4)
    cached = torch.cat([g.flatten() for g in gradients(method).values()])
    method.zero_grad(set_to_none=True)
    for part in batch.split(4):
        (in_parts(method, part, 4) / 4).backward()
    accumulated = torch.cat([g.flatten() for g in gradients(method).values()])
    assert torch.nn.functional.cosine_similarity(cached, accumulated, dim=0) < 0.99


def test_a_run_with_microbatches_sees_the_same_losses(recipe: Recipe) -> None:
    told: list[list[float]] = []
    for microbatch in (0, 6):
        chosen = override(recipe, {"microbatch": microbatch, "steps": 4})
        method = method_of("clip", chosen)
        told.append([])
        fit(
            method,
            loader_of(method, chosen),
            chosen,
            accelerator="cpu",
            on_step=lambda progress: told[-1].append(progress.loss),
        )
    assert len(set(told[0])) == 4
    assert told[1] == pytest.approx(
        told[0], rel=1e-4
    )  # float32, and Adam's first steps divide by small numbers


def test_one_step_leaves_the_same_parameters(recipe: Recipe) -> None:
    left = []
    for size in (4, 16):
        method = method_of("siglip", recipe).double().train()
        optimizer = torch.optim.AdamW(method.parameters(), lr=1e-2, eps=1e-4)
        caching.backward(method, double(loader_of(method, recipe).batch(0)), CLOCK, size)
        optimizer.step()
        left.append(method.state_dict())
    for name, value in left[0].items():
        torch.testing.assert_close(left[1][name], value, rtol=1e-9, atol=1e-10)


def test_batch_norms_in_a_trained_tower_are_refused(recipe: Recipe) -> None:
    method = method_of("clip", recipe)
    method.image_tower.extra = nn.BatchNorm2d(3)
    batch = loader_of(method, recipe).batch(0)
    with pytest.raises(ValueError, match=r"tower 'towers\.image' has batch norms.*leave --microbatch out"):
        caching.backward(method.train(), batch, CLOCK, 4)
    method.image_tower.requires_grad_(False).frozen = True
    caching.backward(method.train(), batch, CLOCK, 4)


def test_a_loss_that_is_not_finite_stops_before_any_weight_moves(recipe: Recipe) -> None:
    chosen = override(recipe, {"microbatch": 4})
    method = method_of("clip", chosen)
    with torch.no_grad():
        method.projections["image"].weight.fill_(float("nan"))
    before = {name: p.detach().clone() for name, p in method.named_parameters()}
    with pytest.raises(NonFiniteLossError, match="at step 0"):
        fit(method, loader_of(method, chosen), chosen, accelerator="cpu")
    assert all(
        torch.equal(p.nan_to_num(), before[name].nan_to_num()) for name, p in method.named_parameters()
    )


def test_a_microbatch_of_nothing_is_refused(recipe: Recipe) -> None:
    method = method_of("clip", recipe)
    with pytest.raises(ValueError, match="at least 1"):
        caching.backward(method, loader_of(method, recipe).batch(0), CLOCK, 0)


def test_encoder_memory_follows_microbatch_and_loss_memory_batch(recipe: Recipe) -> None:
    method = method_of("clip", recipe)
    report = measure(method, loader_of(method, recipe))
    assert report.weights == sum(p.numel() * 4 for p in [*method.parameters(), *method.buffers()])
    assert report.optimizer == 3 * sum(p.numel() * 4 for p in method.parameters())
    width = method.image_tower.width
    assert report.encoder > 10 * report.loss > 10 * 2 * width * 4
    small, large = report.at(64, microbatch=8), report.at(4096, microbatch=8)
    assert small["encoder"] == large["encoder"] == 8 * report.encoder
    assert large["inputs"] == 64 * small["inputs"]


def test_measuring_changes_nothing(recipe: Recipe) -> None:
    method = method_of("slip", recipe).train()
    before = {k: v.clone() for k, v in method.state_dict().items()}
    generator = torch.get_rng_state()
    measure(method, loader_of(method, recipe))
    assert all(torch.equal(v, before[k]) for k, v in method.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)


def test_the_largest_batch_just_fits() -> None:
    report = MemoryReport(weights=100, optimizer=300, encoder=50, loss=7, tiles=40, inputs=13)
    for microbatch in (0, 4):
        for free in (1_000, 5_000, 100_000):
            largest = report.largest(free, microbatch)
            assert sum(report.at(largest, microbatch).values()) <= free
            assert sum(report.at(largest + 1, microbatch).values()) > free
    assert report.largest(10) == 0
