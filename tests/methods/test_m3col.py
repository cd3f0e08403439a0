"""M3CoL: its schedule, its mixing, its classifiers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, RECIPE, StubImage, StubText, batch, build, features, run, through, total
from torch import Tensor, nn

from counterpoint import methods
from counterpoint.losses import InfoNCELoss, MultiSClipLoss
from counterpoint.types import Batch, StepInfo, Target

F64 = torch.float64
THREE = Target("group", ("a", "b", "c"))
EARLY = StepInfo(329, 1000)


def two_views(size: int = 7, width: int = 8) -> Batch:
    g = torch.Generator().manual_seed(0)
    return features(**{m: torch.randn(size, width, generator=g, dtype=F64) for m in ("image", "text")})


def unit(given: Batch) -> tuple[Tensor, Tensor]:
    return F.normalize(given["image"], dim=1), F.normalize(given["text"], dim=1)


def test_mixes_for_third_of_steps_and_then_takes_soft_targets() -> None:
    method, given = through("m3col", target=None, mixed=0.0), two_views()
    x, y = unit(given)
    early, late = (total(method, given, clock) for clock in (EARLY, StepInfo(330, 1000)))
    torch.testing.assert_close(early, 0.1 * 2 * InfoNCELoss(0.1)(x, y))  # nothing is mixed
    torch.testing.assert_close(late, 0.1 * MultiSClipLoss()(x, y))
    for clock, value in ((EARLY, late), (LATE, early)):
        other = through("m3col", target=None, mixed=0.0, mixing=float(clock is LATE))
        torch.testing.assert_close(total(other, given, clock), value)


def test_modality_mixed_for_itself_compared_with_unmixed_other() -> None:
    method, given = through("m3col", target=None, mixed=1.0, weight=1.0, beta=2.0), two_views()
    before = {name: view.clone() for name, view in given.views.items()}
    torch.manual_seed(3)
    loss = total(method, given, EARLY)
    assert all(torch.equal(given[name], view) for name, view in before.items())
    torch.manual_seed(3)
    expected, drawn = torch.tensor(0.0, dtype=F64), []
    for mixed, fixed in (("image", "text"), ("text", "image")):
        mixture, partners, shares = method.mix(given[mixed])
        drawn.append((partners, shares))
        target = torch.diag(shares)
        for i, p in enumerate(partners):
            target[i, p] += 1 - shares[i]
        s = F.normalize(mixture, dim=1) @ F.normalize(given[fixed], dim=1).T / 0.1
        rows, columns = s.log_softmax(1) * target, s.log_softmax(0) * target
        expected = expected - (rows.sum() + columns.sum()) / 14
    torch.testing.assert_close(loss, expected)
    assert not torch.equal(drawn[0][0], drawn[1][0])
    assert not torch.equal(drawn[0][1], drawn[1][1])


def test_mixtures_are_made_of_a_row_and_its_partner() -> None:
    method, u = through("m3col", target=None), torch.randn(4000, 3, dtype=F64)
    torch.manual_seed(0)
    mixture, partners, shares = method.mix(u)
    assert sorted(partners.tolist()) == list(range(4000))
    torch.testing.assert_close(mixture, shares[:, None] * u + (1 - shares[:, None]) * u[partners])
    assert shares.ge(0).all()
    assert shares.le(1).all()
    whole = shares == 1
    # Half of the rows are left alone, 2000 ± 5 standard deviations; Beta(0.15, 0.15) lies near 0 and 1.
    assert abs(int(whole.sum()) - 2000) < 160
    parts = shares[~whole]
    assert torch.minimum(parts, 1 - parts).lt(0.05).double().mean() > 0.6
    assert abs(parts.mean() - 0.5) < 0.05


def test_draws_follow_torchs_generator() -> None:
    method, given = through("m3col", target=None, mixed=1.0), two_views()
    torch.manual_seed(0)
    first, second = total(method, given, EARLY), total(method, given, EARLY)
    torch.manual_seed(0)
    assert torch.equal(total(method, given, EARLY), first)
    assert not torch.equal(first, second)


def test_features_meet_without_heads_where_their_widths_agree() -> None:
    alike: Any = methods.create("m3col", {"image": StubImage(10), "text": StubText(10)}, RECIPE)
    assert not list(alike.projections.parameters())
    unlike = build("m3col", target=None)
    assert isinstance(unlike.projections["image"], nn.Identity)
    assert unlike.projections["text"].weight.shape == (12, 10)


# Classifiers


def test_classifiers_learn_from_labelled_examples_alone() -> None:
    method = build("m3col", target=THREE).double()
    given = batch(method, 6, dtype=F64)
    target = torch.tensor([0, 2, -1, 1, -1, 2])
    losses = run(method, replace(given, labels={"group": target}))
    assert set(losses) == {"m3col", "fusion", "image", "text"}
    z = method.encode(given)
    inputs = {"fusion": torch.cat([z["image"], z["text"]], 1), "image": z["image"], "text": z["text"]}
    for name, features_ in inputs.items():
        logits = method.classifiers[name](features_)
        torch.testing.assert_close(losses[name], F.cross_entropy(logits, target, ignore_index=-1))
        kinds = [type(layer).__name__ for layer in method.classifiers[name]]
        assert kinds == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    torch.testing.assert_close(method.logits(z, given), method.classifiers["fusion"](inputs["fusion"]))


def test_without_any_label_the_classifiers_cost_nothing() -> None:
    method = build("m3col", target=THREE)
    losses = run(method, replace(batch(method, 4), labels={"group": torch.full((4,), -1)}))
    assert [losses[name].item() for name in ("fusion", "image", "text")] == [0, 0, 0]


def test_the_weight_is_on_the_contrastive_term() -> None:
    given = two_views()
    one, ten = (total(through("m3col", target=None, weight=w), given) for w in (1.0, 10.0))
    torch.testing.assert_close(ten, 10 * one)


def test_labels_that_data_lacks_or_exceed_classes_are_refused() -> None:
    method = build("m3col", target=THREE)
    given = batch(method, 4)
    with pytest.raises(ValueError, match="unknown label 'group': did you mean 'groups'"):
        run(method, replace(given, labels={"groups": torch.zeros(4, dtype=torch.long)}))
    with pytest.raises(ValueError, match="group has a class 3, and the model was built for 3"):
        run(method, replace(given, labels={"group": torch.arange(4)}))


def test_a_label_needs_two_classes() -> None:
    with pytest.raises(ValueError, match="group has 1 classes: 2 or more"):
        build("m3col", target=Target("group", ("a",)))
