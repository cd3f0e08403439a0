"""Updates of losses and temperatures after a step of an optimizer, without a call by the user."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from counterpoint.losses import InfoNCELoss, ISogCLRLoss
from counterpoint.pairwise import Loss, Temperature, after_step
from fixtures.vectors import pair


class Running(Loss):
    """A loss that counts the updates of its state."""

    stateful = True

    def __init__(self, factor: Temperature | None = None) -> None:
        super().__init__()
        self.factor, self.updates = factor, 0

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sum()

    def update_state(self) -> None:
        self.updates += 1


def stepped(module: nn.Module | Tensor, gradient: float = 0.0) -> None:
    """Step an optimizer of one tensor, or of all parameters of a module, with the same gradient everywhere."""
    parameters = [module] if isinstance(module, Tensor) else [*module.parameters()]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, gradient)
    torch.optim.SGD(parameters, lr=1.0).step()


def unrelated() -> nn.Parameter:
    return nn.Parameter(torch.zeros(()))


def test_a_learned_temperature_stays_within_its_bounds() -> None:
    objective = InfoNCELoss(Temperature(0.07, bounds=(0.01, 1.0)))
    stepped(objective, gradient=-10.0)
    assert objective.temperature.value.item() == pytest.approx(0.01, rel=1e-5)
    stepped(objective, gradient=10.0)
    assert objective.temperature.value.item() == pytest.approx(1.0, rel=1e-5)


def test_temperature_is_clamped_by_the_step_of_its_own_optimizer() -> None:
    temperature = Temperature(0.07, bounds=(0.01, 1.0))
    with torch.no_grad():
        temperature.parameter.fill_(6.0)  # type: ignore[union-attr] # None of a fixed one
    stepped(unrelated())
    assert temperature.value.item() < 0.01
    stepped(temperature)
    assert temperature.value.item() == pytest.approx(0.01, rel=1e-5)


@pytest.mark.parametrize("explicit", [False, True], ids=["hook alone", "and commit"])
def test_isogclr_learns_of_items_as_with_commit_after_each_step(explicit: bool) -> None:
    ids, by_hook, by_hand = torch.arange(6), ISogCLRLoss(), ISogCLRLoss()
    values: list[list[float]] = [[], []]
    for seed in range(3):
        x, y = pair(6, 4, seed=seed)
        values[0].append(by_hook(x, y, ids).item())
        stepped(unrelated())
        if explicit:
            by_hook.commit()
    for seed in range(3):
        x, y = pair(6, 4, seed=seed)
        values[1].append(by_hand(x, y, ids).item())
        by_hand.commit()
    assert values[0] == values[1]
    torch.testing.assert_close(by_hook.state_dict(), by_hand.state_dict(), rtol=0, atol=0)


def test_state_updated_once_for_each_step_follows_training_call() -> None:
    loss, (x, y) = Running(), pair(3, 2)
    stepped(unrelated())
    assert loss.updates == 0  # it was not called
    loss(x, y)
    loss(x, y)  # accumulated batches
    assert loss.updates == 0
    stepped(unrelated())
    stepped(unrelated())  # a second optimizer of the same step
    loss.commit()
    assert loss.updates == 1
    loss.eval()(x, y)
    stepped(unrelated())
    assert loss.updates == 1
    loss.train()(x, y)
    loss.commit()  # a loop without an optimizer of torch
    assert loss.updates == 2


def test_nested_losses_are_updated_once() -> None:
    class Outer(Running):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Running()

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            value: Tensor = self.inner(x, y)
            return value

    loss = Outer()
    loss(*pair(3, 2))
    stepped(unrelated())
    loss.commit()
    assert (loss.updates, loss.inner.updates) == (1, 1)


@pytest.mark.parametrize("of", [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])
def test_copies_follow_steps_as_well(of: Callable[[ISogCLRLoss], ISogCLRLoss]) -> None:
    loss = of(ISogCLRLoss())
    loss(*pair(3, 2), torch.arange(3))
    stepped(unrelated())
    assert loss.x_items.recall(torch.arange(3))[0].min() > -1e3


def test_a_loss_that_is_gone_is_not_followed() -> None:
    gc.collect()
    before = len(after_step._FOLLOWERS)
    loss = Running(Temperature())
    assert len(after_step._FOLLOWERS) == before + 2
    del loss
    gc.collect()
    assert len(after_step._FOLLOWERS) == before


def test_a_compiled_step_updates_state_too() -> None:
    loss, parameter = Running(), unrelated()
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    parameter.grad = torch.ones(())
    step = torch.compile(optimizer.step, backend="eager")
    for expected in (1, 2, 3):
        loss(*pair(3, 2))
        step()
        assert loss.updates == expected
    assert parameter.item() == -3.0
