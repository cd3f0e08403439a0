"""The energy-based model: sign, detached samples, what a step costs, the buffer, divergence, use."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, RECIPE, SIZE, StubImage, batch, build, run
from torch import Tensor

from counterpoint import methods
from counterpoint.losses.contrastive_divergence import ContrastiveDivergenceLoss
from counterpoint.methods.ebm import PLACES, SAMPLED, diverged

PICTURES = torch.randint(
    0, 256, (5, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
)


def test_the_loss_pulls_data_down_and_samples_up() -> None:
    positive, negative = (torch.tensor([0.3, -0.1], requires_grad=True) for _ in range(2))
    loss = ContrastiveDivergenceLoss(0.1)(positive, negative)
    assert loss.item() == pytest.approx(0.1 * 2 * (0.09 + 0.01) / 2)
    up, down = torch.autograd.grad(ContrastiveDivergenceLoss(0.0)(positive, negative), (positive, negative))
    assert up.tolist() == [0.5, 0.5]
    assert down.tolist() == [-0.5, -0.5]


def test_is_the_loss_of_the_card() -> None:
    method = build("ebm", weight=0.5)
    given = batch(method)
    torch.manual_seed(0)
    z = method.targets(given)
    x = given["image"]

    def energy(pictures: Tensor) -> Tensor:
        return method.projection(method.image_tower(pictures))[:, 0]

    loss = method.losses(z | method.encode(given), given, LATE)["ebm"]
    positive, negative = energy(x), energy((z[SAMPLED] + 1) / 2)
    expected = positive.mean() - negative.mean() + 0.5 * (positive**2 + negative**2).mean()
    torch.testing.assert_close(loss, expected)


def test_samples_are_of_lower_energy_in_range_and_detached() -> None:
    method = build("ebm", restart=0.0, sampling_noise=0.0, step_size=0.1, steps=30)
    given = batch(method)
    torch.manual_seed(0)
    z = method.targets(given)
    start = method.buffer.samples[z[PLACES]].float()
    assert (method._energy(z[SAMPLED]) < method._energy(start)).all()
    assert z[SAMPLED].abs().max() <= 1
    assert not z[SAMPLED].requires_grad
    assert all(p.grad is None for p in method.parameters())


def test_the_buffer_moves_after_the_step_and_not_before() -> None:
    method = build("ebm", buffer=40)
    given = batch(method)
    before = method.buffer.samples.clone()
    torch.manual_seed(0)
    z = method.targets(given)
    method.losses(z | method.encode(given), given, LATE)
    assert torch.equal(method.buffer.samples, before)
    method.after_step(z, given, LATE)
    moved = (method.buffer.samples != before).flatten(1).any(1).nonzero()[:, 0]
    assert set(moved.tolist()) == set(z[PLACES].tolist())


def test_a_step_costs_its_chain() -> None:
    assert build("ebm", steps=7).passes() == {"image": 9}


def test_noise_is_on_the_data_alone() -> None:
    method = build("ebm", noise=0.1)
    given = batch(method)
    torch.manual_seed(0)
    one, other = method.encode(given)["image"], method.encode(given)["image"]
    assert not torch.allclose(one, other)
    assert torch.equal(method.embed("image", PICTURES), method.embed("image", PICTURES))


def test_energies_are_those_of_evaluation_whatever_the_mode() -> None:
    class Dropping(StubImage):
        def forward(self, images: Tensor) -> Tensor:
            return F.dropout(super().forward(images), 0.5, self.training)

    method = methods.create("ebm", {"image": Dropping()}, RECIPE)
    assert torch.equal(method.train().energy(PICTURES), method.eval().energy(PICTURES))
    method.train().energy(PICTURES)
    assert method.training


def test_energies_are_of_pictures_as_users_have_them() -> None:
    method = build("ebm")
    energies = method.energy(PICTURES)
    assert energies.shape == (5,)
    assert not energies.requires_grad
    torch.testing.assert_close(energies, method.projection(method.image_tower(PICTURES / 255))[:, 0].detach())
    assert not diverged(energies)
    assert diverged(torch.tensor([0.0, torch.inf]))


def test_training_separates_data_from_noise() -> None:
    method = build("ebm", steps=5, step_size=0.1, noise=0.0)
    given = batch(method)
    optimizer = torch.optim.Adam([p for p in method.parameters() if p.requires_grad], 1e-2)
    for step in range(40):
        torch.manual_seed(step)
        with torch.no_grad():
            z = method.targets(given)
        optimizer.zero_grad()
        method.losses(z | method.encode(given), given, LATE)["ebm"].backward()
        optimizer.step()
        method.after_step(z, given, LATE)
    noise = 2 * torch.rand(64, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) - 1
    with torch.no_grad():
        assert method._energy(2 * given["image"] - 1).mean() < method._energy(noise).mean()
    assert run(method, given)["ebm"].isfinite()
