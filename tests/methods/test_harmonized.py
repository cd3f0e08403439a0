"""Harmonized gradients: what each example's embeddings learn from, and when."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import RECIPE, StubText, batch, build
from torch import Tensor

from counterpoint import methods
from counterpoint.losses import InfoNCELoss
from counterpoint.methods.harmonized import harmonised
from counterpoint.pairwise import evaluate_with
from counterpoint.types import StepInfo

F64 = torch.float64
EARLY, MIDDLE, LATE = StepInfo(0, 100), StepInfo(50, 100), StepInfo(99, 100)


def embeddings(size: int = 9, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        c: torch.randn(size, 8, generator=generator, dtype=F64).requires_grad_()
        for c in ("image", "text", "audio")
    }


def made(**options: Any) -> Any:
    method = build("harmonized", **options).double()
    method.project = lambda column, features, head: features
    return method


def learnt(method: Any, z: dict[str, Tensor], clock: StepInfo) -> dict[str, Tensor]:
    """The gradient of each column's embeddings, and of the temperatures."""
    parameters = [p for o in method.objectives.values() for p in o.parameters()]
    loss = torch.stack(list(method.losses(z, batch(method), clock).values())).sum()
    found = torch.autograd.grad(loss, [*z.values(), *parameters], allow_unused=True)
    return dict(zip([*z, "audio τ", "text τ"], found, strict=True))


def test_a_run_logs_the_share_of_the_batch_that_learns() -> None:
    method, z = made(threshold=0.0), embeddings()
    assert method.numbers() == {"kept": 1.0}
    method.losses(z, batch(method), MIDDLE)
    cosines = method.pull(z).cosines
    assert 0 < method.numbers()["kept"] < 1
    assert method.numbers()["kept"] == pytest.approx((cosines > 0).double().mean().item())
    method.losses(z, batch(method), EARLY)
    assert method.numbers() == {"kept": 1.0}, "nothing is left out before the first remedy"


def plain(z: dict[str, Tensor], weight: float = 1.0) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The gradients of both losses by definition: of all columns, and of the hub for each loss."""
    unit = {c: F.normalize(t, dim=1) for c, t in z.items()}

    def loss(one: str, other: str) -> Tensor:
        logits, own = unit[one] @ unit[other].T / 0.07, torch.arange(len(unit[one]))
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2

    first, second = loss("image", "text"), weight * loss("image", "audio")
    whole = dict(
        zip(z, torch.autograd.grad(first + second, list(z.values()), retain_graph=True), strict=True)
    )
    hub = [torch.autograd.grad(part, z["image"], retain_graph=True)[0] for part in (first, second)]
    return whole, hub[0], hub[1]


def projected(a: Tensor, b: Tensor) -> Tensor:
    rows = []
    for g, h in zip(a, b, strict=True):
        dot = g @ h
        rows.append(g + h if dot >= 0 else g - dot / (h @ h) * h + h - dot / (g @ g) * g)
    return torch.stack(rows)


@pytest.mark.parametrize(("mode", "clock"), [("none", MIDDLE), ("both", EARLY), ("project", EARLY)])
@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_without_remedy_the_gradient_is_that_of_both_losses(
    mode: str, clock: StepInfo, weight: float
) -> None:
    method, z = made(mode=mode, weight=weight), embeddings()
    whole, *_ = plain(z, weight)
    found = learnt(method, z, clock)
    for column, expected in whole.items():
        torch.testing.assert_close(found[column], expected, rtol=1e-6, atol=1e-9)


def test_projection_changes_hub_and_both_parts_by_other_as_it() -> None:
    method, z = made(mode="project", weight=0.7), embeddings()
    whole, a, b = plain(z, 0.7)
    assert bool(((a * b).sum(1) < 0).any())
    assert bool(((a * b).sum(1) >= 0).any())
    found = learnt(method, z, MIDDLE)
    torch.testing.assert_close(found["image"], projected(a, b), rtol=1e-6, atol=1e-9)
    for column in ("text", "audio"):
        torch.testing.assert_close(found[column], whole[column], rtol=1e-6, atol=1e-9)


def test_the_curriculum_takes_an_example_out_of_all_columns() -> None:
    method, z = made(mode="curriculum", threshold=0.1, last=0.1), embeddings()
    whole, a, b = plain(z)
    kept = F.cosine_similarity(a, b) > 0.1
    assert 0 < int(kept.sum()) < len(kept)
    found = learnt(method, z, MIDDLE)
    for column, expected in whole.items():
        torch.testing.assert_close(found[column], expected * kept[:, None], rtol=1e-6, atol=1e-9)


def test_at_random_as_many_learn_as_under_curriculum_not_same() -> None:
    method, cosines = made(mode="random", threshold=0.1, last=0.1), torch.linspace(-1, 1, 1000)
    assert method.draws
    assert not made(mode="curriculum").draws
    torch.manual_seed(0)
    kept, by_gradients = method.learning_mask(cosines, MIDDLE), cosines > 0.1
    assert kept.sum() == by_gradients.sum()
    # A draw without regard to cosines shares 0.45² of all; 5 standard deviations.
    assert abs((kept & by_gradients).double().mean() - by_gradients.double().mean() ** 2) < 0.04
    assert method.learning_mask(cosines, EARLY).all()


def test_both_remedies_leave_out_and_then_project() -> None:
    method, z = made(threshold=-0.2, last=-0.2), embeddings()
    _, a, b = plain(z)
    kept = F.cosine_similarity(a, b) > -0.2
    found = learnt(method, z, MIDDLE)
    torch.testing.assert_close(found["image"], projected(a, b) * kept[:, None], rtol=1e-6, atol=1e-9)


def test_temperatures_learn_from_plain_losses_whatever_left_out() -> None:
    z = embeddings()
    found = [
        learnt(made(mode=mode, threshold=threshold, last=threshold), z, MIDDLE)
        for mode, threshold in (("none", 0.0), ("both", 0.2), ("curriculum", 1.0))
    ]
    for name in ("audio τ", "text τ"):
        for other in found[1:]:
            torch.testing.assert_close(other[name], found[0][name])
            assert other[name].abs() > 0


def test_batch_left_out_whole_reaches_no_tower_schedule_goes_on() -> None:
    method, z = made(mode="curriculum", threshold=1.0, last=1.0), embeddings()
    found = learnt(method, z, MIDDLE)
    assert [found[column] for column in z] == [None] * 3
    rising = made(plain=0.1)
    assert [rising.gamma(StepInfo(step, 100)) for step in (0, 10, 55, 100)] == pytest.approx(
        [-0.3, -0.3, -0.15, 0.0]
    )


def test_the_values_are_those_of_the_plain_losses() -> None:
    z = embeddings()
    losses = made(weight=0.5).losses(z, batch(build("harmonized")), LATE)
    unit = {c: F.normalize(t, dim=1) for c, t in z.items()}
    torch.testing.assert_close(
        losses["text"], InfoNCELoss(0.07)(unit["image"], unit["text"]), rtol=1e-6, atol=0
    )
    torch.testing.assert_close(
        losses["audio"], 0.5 * InfoNCELoss(0.07)(unit["image"], unit["audio"]), rtol=1e-6, atol=0
    )


def test_tiles_change_nothing() -> None:
    z = embeddings()
    dense = learnt(made(), z, LATE)
    with evaluate_with("tiled", tile=4):
        tiled = learnt(made(), z, LATE)
    for name, value in dense.items():
        torch.testing.assert_close(tiled[name], value, rtol=1e-10, atol=1e-12)


def test_opposite_gradients_vanish_orthogonal_ones_stay_none() -> None:
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [2.0, 1.0]])
    b = torch.tensor([[-3.0, 0.0], [0.0, 2.0], [0.0, 0.0], [-1.0, 1.0]])
    one, other = harmonised(a, b)
    torch.testing.assert_close(one[:3], torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]]))
    torch.testing.assert_close(other[:3], torch.tensor([[0.0, 0.0], [0.0, 2.0], [0.0, 0.0]]))
    # Neither is projected on what the other has become: each is orthogonal to the other as it was.
    assert (one[3] @ b[3]).item() == pytest.approx(0, abs=1e-6)
    assert (other[3] @ a[3]).item() == pytest.approx(0, abs=1e-6)


def test_any_column_can_be_the_hub() -> None:
    assert build("harmonized").hub == "image"
    assert build("harmonized", hub="audio").partners == ("image", "text")
    with pytest.raises(ValueError, match="unknown hub 'pictures'"):
        build("harmonized", hub="pictures")
    tower = StubText()
    method = methods.create("harmonized", dict.fromkeys(("question", "answer", "hint"), tower), RECIPE)
    assert list(method.projections) == ["question"]


def test_fewer_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="Harmonized takes 3 columns, and there are 2"):
        methods.create("harmonized", {"a": StubText(), "b": StubText()}, RECIPE)
