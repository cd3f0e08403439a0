"""SwALIP with and without prototypes against the card."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, batch, build, features, run, through, total
from torch import Tensor

from counterpoint.types import StepInfo

F64 = torch.float64


def sinkhorn(u: Tensor) -> Tensor:
    """Rows are samples, columns centres; three iterations at 0.05."""
    m = torch.exp(u / 0.05).T
    centres, samples = m.shape
    m = m / m.sum()
    for _ in range(3):
        for k in range(centres):
            m[k] = m[k] / m[k].sum() / centres
        for b in range(samples):
            m[:, b] = m[:, b] / m[:, b].sum() / samples
    return (samples * m).T


def entropy(q: Tensor, logits: Tensor) -> Tensor:
    return -(q * (logits - torch.logsumexp(logits, 1, keepdim=True))).sum(1).mean()


def random_views(names: list[str], size: int = 6, width: int = 8) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)
    return {name: torch.randn(size, width, generator=g, dtype=F64) for name in names}


def test_target_of_pair_comes_from_the_other_views_of_both_sides() -> None:
    method = through("swalip-rocket")
    views = random_views(list(method.views))
    h = {name: F.normalize(v, dim=1) for name, v in views.items()}
    other = {1: 2, 2: 1}
    terms = []
    for a, b in product((1, 2), repeat=2):
        u = h[f"image.{a}"] @ h[f"text.{b}"].T
        target = h[f"image.{other[a]}"] @ h[f"text.{other[b]}"].T
        terms.append(entropy(sinkhorn(target), 10 * u) / 2 + entropy(sinkhorn(target.T), 10 * u.T) / 2)
    expected = 0.2 * sum(terms) / 4
    assert run(method, features(**views))["swalip"].item() == pytest.approx(float(expected))


def test_certain_targets_give_the_contrastive_value() -> None:
    method = through("swalip-rocket", reduction="mean")
    losses = run(method, features(**dict.fromkeys(method.views, torch.eye(8, dtype=F64))))
    one = torch.tensor(1 + 7 * torch.exp(torch.tensor(-10.0)).item(), dtype=F64).log()
    assert losses["swalip"].item() == pytest.approx(0.2 * float(one), rel=1e-4, abs=1e-7)


def test_no_gradient_flows_into_the_assignments() -> None:
    method = through("swalip-rocket")
    views = {k: v.requires_grad_() for k, v in random_views(list(method.views)).items()}
    h = {name: F.normalize(v, dim=1) for name, v in views.items()}
    loss = run(method, features(**views))["swalip"]
    other = {1: 2, 2: 1}
    expected = torch.zeros((), dtype=F64)
    for a, b in product((1, 2), repeat=2):
        u = h[f"image.{a}"] @ h[f"text.{b}"].T
        target = (h[f"image.{other[a]}"] @ h[f"text.{other[b]}"].T).detach()
        expected = expected + entropy(sinkhorn(target), 10 * u) + entropy(sinkhorn(target.T), 10 * u.T)
    local = [v for name, v in views.items() if "." in name]
    for ours, theirs in zip(
        torch.autograd.grad(loss, local), torch.autograd.grad(0.2 * expected / 8, local), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)


def test_smoothing_is_forbidden_and_improved_recipes_is_left_out() -> None:
    assert build("swalip-rocket").objective.local.label_smoothing == 0
    build("swalip-rocket", smoothing=0.0)
    with pytest.raises(ValueError, match=r"smoothing=0\.1: SwALIP is trained without label smoothing"):
        build("swalip-rocket", smoothing=0.1)


def test_exactly_two_views_are_swapped() -> None:
    for views in (0, 1, 3):
        with pytest.raises(
            ValueError, match=f"views={views}: SwALIP without prototypes swaps exactly two local views"
        ):
            build("swalip-rocket", views=views)


@pytest.mark.parametrize("separate", [True, False])
def test_student_has_the_temperature_of_the_local_stream(separate: bool) -> None:
    method = build("swalip-rocket", separate_proj=separate)
    assert method.term.objective.temperature is method.objective.local.temperature
    assert float(method.term.objective.temperature.value) == pytest.approx(0.1 if separate else 0.07)


@pytest.mark.parametrize("recipe", ["", "-rocket"])
def test_weight_0_leaves_the_contrastive_loss(recipe: str) -> None:
    method = build(f"swalip{recipe}", ssl_weight=0.0)
    options: dict[str, Any] = {"smoothing": 0.0} if recipe else {}
    parent = build(f"clip{recipe}", **options)
    given = batch(method)
    torch.testing.assert_close(total(method, given), total(parent, given), rtol=0, atol=0)


@pytest.mark.parametrize("shared", [True, False])
def test_scores_predict_the_codes_of_the_other_modality(shared: bool) -> None:
    method = build("swalip", views=1, shared_prototypes=shared).double()
    given = batch(method, dtype=F64)
    term = method.term
    assert set(term.prototypes) == ({"both"} if shared else {"image", "text"})
    scores = {}
    for name, z in method.encode(given).items():
        modality = name.partition(".")[0]
        v = F.normalize(term.projector[modality](z), dim=1)
        scores[name] = v @ F.normalize(term.prototypes["both" if shared else modality].weight, dim=1).T
    terms = []
    for image, text in (("image", "text"), ("image.1", "text.1")):
        a, b = scores[image].detach(), scores[text].detach()
        terms.append((entropy(sinkhorn(b), 10 * a) + entropy(sinkhorn(a), 10 * b)) / 2)
    expected = 0.2 * sum(terms) / 2
    assert run(method, given)["swalip"].item() == pytest.approx(float(expected))


def test_prototypes_do_not_move_in_the_first_steps() -> None:
    for step, moves in ((0, False), (99, False), (100, True)):
        method = build("swalip")
        total(method, batch(method), StepInfo(step, 300)).backward()
        assert (method.term.prototypes["both"].weight.grad is not None) == moves
        assert method.term.projector["image"][0].weight.grad is not None
    assert build("swalip", frozen_steps=0).term.frozen_steps == 0


def test_frozen_prototypes_give_the_same_loss() -> None:
    method = build("swalip")
    given = batch(method)
    torch.testing.assert_close(run(method, given, StepInfo(0, 300)), run(method, given, LATE))


def test_the_length_of_a_prototype_does_not_matter() -> None:
    method = build("swalip")
    given = batch(method)
    before = run(method, given)["swalip"]
    with torch.no_grad():
        method.term.prototypes["both"].weight.mul_(torch.linspace(0.5, 3, 10)[:, None])
    torch.testing.assert_close(run(method, given)["swalip"], before)


def test_scores_temperature_is_fixed_unless_it_is_to_be_learned() -> None:
    def learned(**options: Any) -> bool:
        return any(
            "term.objective.temperature" in n for n, _ in build("swalip", **options).named_parameters()
        )

    assert not learned()
    assert learned(learn_temperature=True)


def test_codes_may_come_from_a_momentum_copy() -> None:
    plain, slow = build("swalip"), build("swalip", momentum=0.9)
    given = batch(plain)
    torch.testing.assert_close(run(plain, given)["swalip"], run(slow, given)["swalip"])  # still an exact copy
    assert slow.passes() == {"image": 2, "text": 2}
    z = slow.targets(given) | slow.encode(given)
    z["momentum.image"], z["momentum.text"] = z["momentum.image"].flip(0), z["momentum.text"].flip(0)
    assert not torch.allclose(slow.losses(z, given, LATE)["swalip"], run(plain, given)["swalip"])


def test_a_term_without_targets_refuses_a_copy() -> None:
    with pytest.raises(ValueError, match="there is none that has any"):
        build("swalip-rocket", momentum=0.9)
