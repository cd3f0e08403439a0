"""iSogCLR: its steps in plain arithmetic, the temperatures it finds, and what it remembers."""

from __future__ import annotations

import math
from inspect import unwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoint.losses import ISogCLRLoss
from counterpoint.networks.state.item_state import ItemState
from counterpoint.training.saving import checkpoint as checkpoints
from counterpoint.training.saving import saver
from fixtures.vectors import F64, pair


def isogclr(**options: Any) -> ISogCLRLoss:
    wide: dict[str, Any] = {"temperature": 0.2, "lowest": 0.02, "highest": 1.0, "rho": 0.5, "eta": 0.02}
    return ISogCLRLoss(**{**wide, **options}).double()


def state_of(objective: ISogCLRLoss, ids: Tensor) -> dict[str, Tensor]:
    return {
        f"{side}.{name}": value
        for side, items in (("x", objective.x_items), ("y", objective.y_items))
        for name, value in zip(items.start, items.recall(ids), strict=True)
    }


def negatives(s: Tensor) -> Tensor:
    """Each row's differences ``h_ij`` to its positive, the diagonal left out."""
    n = len(s)
    return (s - s.diagonal()[:, None])[~torch.eye(n, dtype=torch.bool)].view(n, n - 1)


def test_three_steps_in_plain_arithmetic() -> None:
    gamma, rho, eta, beta = 0.7, 0.6, 0.05, 0.4
    objective = isogclr(gamma=gamma, rho=rho, eta=eta, beta_u=beta)
    memory: dict[tuple[str, int], dict[str, float]] = {}
    for seed, ids in ((0, [3, 1, 4, 15]), (1, [9, 4, 3, 27]), (2, [4, 15, 1, 3])):
        x, y = pair(4, 4, seed=seed)
        loss = objective(x, y, torch.tensor(ids))
        objective.commit()
        expected = 0.0
        for side, s in (("x", x @ y.T), ("y", y @ x.T)):
            for item, h in zip(ids, negatives(s.detach()).tolist(), strict=True):
                old = memory.get((side, item), {"tau": 0.2, "u": 0.0})
                e = [math.exp(v / old["tau"]) for v in h]
                g = sum(e) / 3
                new = (1 - gamma) * old["s"] + gamma * g if "s" in old else g
                ph = sum(v / new * w for v, w in zip(e, h, strict=True)) / 3
                expected += ph / 4
                gradient = min(max(math.log(new) + rho - ph / old["tau"], -5.0), 5.0)
                u = (1 - beta) * old["u"] + beta * gradient
                tau = min(max(old["tau"] - eta * u, 0.02), 1.0)
                memory[side, item] = {"s": new, "u": u, "tau": tau}
        assert loss.item() == pytest.approx(expected, rel=1e-10)
    for (side, item), numbers in memory.items():
        found = {k: v.item() for k, v in state_of(objective, torch.tensor([item])).items()}
        assert found[f"{side}.tau"] == pytest.approx(numbers["tau"], rel=1e-10)
        assert found[f"{side}.u"] == pytest.approx(numbers["u"], rel=1e-10)
        assert found[f"{side}.log_s"] == pytest.approx(math.log(numbers["s"]), rel=1e-9, abs=1e-12)


def test_gradient_is_of_objective_and_number_returned_is_not() -> None:
    x, y = pair(6, 4)
    loss = isogclr(gamma=1.0)(x, y, torch.arange(6))
    robust = torch.stack(
        [0.2 * (negatives(s) / 0.2).exp().mean(1).log().mean() for s in (x @ y.T, y @ x.T)]
    ).sum()
    torch.testing.assert_close(
        torch.autograd.grad(loss, [x, y], retain_graph=True),
        torch.autograd.grad(robust, [x, y], retain_graph=True),
        rtol=1e-10,
        atol=1e-12,
    )
    assert abs(loss - robust) > 1e-2


def test_on_fixed_features_each_temperature_finds_divergence_rho() -> None:
    x, y = pair(8, 4)
    objective, ids = isogclr(gamma=1.0, beta_u=1.0, rho=0.5, eta=0.01), torch.arange(8)
    for _ in range(600):
        objective(x, y, ids)
        objective.commit()
    tau = state_of(objective, ids)["x.tau"]
    h = negatives((x @ y.T).detach())
    for i in range(8):
        low, high = 0.02, 1.0
        for _ in range(60):  # the divergence falls with the temperature
            middle = (low + high) / 2
            p = (h[i] / middle).softmax(0)
            low, high = (middle, high) if (p * (7 * p).log()).sum() > 0.5 else (low, middle)
        assert 0.021 < low < 0.99
        assert tau[i].item() == pytest.approx(low, rel=1e-4)


@pytest.mark.parametrize(("rho", "bound"), [(20.0, 0.02), (0.0, 1.0)])
def test_rho_beyond_log_of_the_negatives_or_at_0_ends_at_a_bound(rho: float, bound: float) -> None:
    x, y = pair(6, 4)
    objective, ids = isogclr(gamma=1.0, rho=rho, eta=0.2), torch.arange(6)
    for _ in range(80):
        objective(x, y, ids)
        objective.commit()
    torch.testing.assert_close(state_of(objective, ids)["x.tau"], torch.full((6,), bound, dtype=F64))


def test_more_of_same_negatives_do_not_change_what_is_remembered() -> None:
    # s is a mean over negatives: a sum would shift rho by the log of their number.
    x, y = pair(2, 4)
    few, many = isogclr(), isogclr()
    few(x, y, torch.tensor([1, 2]))
    # Anchor 0 with the one negative, and with it four times.
    many(x[[0, 1, 1, 1, 1]], y[[0, 1, 1, 1, 1]], torch.tensor([1, 2, 3, 4, 5]))
    few.commit()
    many.commit()
    one = torch.tensor([1])
    torch.testing.assert_close(state_of(many, one), state_of(few, one), rtol=1e-12, atol=1e-12)


def test_state_follows_ids_and_not_places_in_the_batch() -> None:
    x, y = pair(6, 4)
    ids, order = torch.tensor([5, -3, 10**17, 0, 2, 8]), torch.tensor([3, 0, 5, 1, 4, 2])
    one, other = isogclr(), isogclr()
    for k in range(2):
        one(x, y, ids)
        shuffled = order if k else torch.arange(6)
        other(x[shuffled], y[shuffled], ids[shuffled])
        one.commit()
        other.commit()
    torch.testing.assert_close(state_of(one, ids), state_of(other, ids), rtol=1e-12, atol=1e-12)


def test_state_moves_once_per_step_and_not_in_evaluation() -> None:
    x, y = pair(6, 4)
    once, twice, ids = isogclr(), isogclr(), torch.arange(6)
    for objective, calls, commits in ((once, 1, 1), (twice, 3, 2)):
        for _ in range(calls):
            objective(x, y, ids)
        for _ in range(commits):
            objective.commit()
    torch.testing.assert_close(state_of(once, ids), state_of(twice, ids), rtol=0, atol=0)
    before = state_of(once, ids)
    once.eval()(y, x, ids)
    once.commit()
    torch.testing.assert_close(state_of(once, ids), before, rtol=0, atol=0)


def test_sogclr_remembers_and_keeps_its_temperature() -> None:
    x, y = pair(6, 4)
    objective, ids = isogclr(adapt=False), torch.arange(6)
    objective(x, y, ids)
    objective.commit()
    state = state_of(objective, ids)
    assert state["x.tau"].tolist() == [0.2] * 6
    assert state["x.log_s"].isfinite().all()


def test_no_optimiser_can_touch_a_temperature() -> None:
    assert not list(ISogCLRLoss().parameters())


def test_differences_that_overflow_an_exponential_are_no_trouble() -> None:
    x = torch.eye(3).requires_grad_()
    objective, ids = ISogCLRLoss(temperature=0.005), torch.arange(3)
    for _ in range(2):
        loss = objective(x, -x, ids)  # h = 1, h/τ = 200: exp is beyond float32
        objective.commit()
    assert loss.item() == pytest.approx(2.0)
    assert torch.autograd.grad(loss, x)[0].isfinite().all()
    torch.testing.assert_close(state_of(objective, ids)["x.log_s"], torch.full((3,), 200.0))


def test_a_batch_of_one_moves_nothing() -> None:
    x, y = pair(1, 4)
    objective, ids = isogclr(), torch.tensor([4])
    loss = objective(x, y, ids)
    objective.commit()
    assert loss.item() == 0
    assert state_of(objective, ids)["x.log_s"].item() == -math.inf


def test_state_survives_checkpoint_into_objective_another_length(tmp_path: Path) -> None:
    x, y = pair(6, 4)
    ids = torch.tensor([5, -3, 10**17, 0, 2, 8])
    objective, resumed = isogclr(), isogclr()
    objective(x, y, ids)
    objective.commit()
    resumed(x[:2], y[:2], ids[:2])
    resumed.commit()
    saver.save(tmp_path, 1, objective, None)
    saved = checkpoints.load(tmp_path)
    assert saved is not None
    checkpoints.restore(saved, resumed, None)
    for each in (objective, resumed):
        each(y, x, ids)
        each.commit()
    more = torch.cat([ids, torch.tensor([7])])
    torch.testing.assert_close(state_of(resumed, more), state_of(objective, more), rtol=0, atol=0)
    fresh = isogclr()
    fresh.load_state_dict(objective.state_dict())
    torch.testing.assert_close(state_of(fresh, more), state_of(objective, more), rtol=0, atol=0)


def test_of_an_id_that_occurs_twice_the_first_counts() -> None:
    items = ItemState(tau=1.0)
    items.store(torch.tensor([2, 9, 2]), tau=torch.tensor([0.5, 0.25, 0.125]))
    items.store(torch.tensor([9, 4, 9]), tau=torch.tensor([0.75, 0.375, 0.0]))
    (tau,) = items.recall(torch.tensor([2, 4, 9, 11, torch.iinfo(torch.int64).max]))
    assert tau.tolist() == [0.5, 0.375, 0.75, 1.0, 1.0]


@pytest.mark.parametrize("ids", [torch.arange(5), torch.zeros(6)])
def test_bad_ids_are_refused(ids: Tensor) -> None:
    x, y = pair(6, 4)
    with pytest.raises(ValueError, match=r"ids must be one integer per row, \(6,\)"):
        unwrap(ISogCLRLoss.forward)(ISogCLRLoss(), x, y, ids)
