"""COMIC: tags are put right where the classifier is sure, observed ones never, and all of it without a gradient."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import RECIPE, TAGS, StubImage, batch, build, run
from timm.loss import AsymmetricLossMultiLabel
from torch import Tensor

from counterpoint import methods
from counterpoint.data.loading.sampled import STREAM
from counterpoint.losses import COMICLoss
from counterpoint.losses.comic import company, frequency_weights
from counterpoint.types import Batch, StepInfo

F64 = torch.float64
FIRST, LATER = StepInfo(0, 10, epoch=0), StepInfo(5, 10, epoch=1)


def made(**options: Any) -> tuple[Any, Batch]:
    method = build("comic", **options).double()
    return method, batch(method, 12, dtype=F64)


def looked(method: Any, given: Batch, clock: StepInfo = LATER) -> Any:
    examples = SimpleNamespace(ids=given.ids, labels=given.labels, map=lambda function: function(given))
    with torch.no_grad():
        method.on_epoch_start(examples, clock)
    return method


def sure_of(method: Any, given: Batch) -> Tensor:
    """A classifier that is sure of the first tag of the first half; its scores."""
    with torch.no_grad():
        z = method.encode(given)["image"]
        method.head.weight.copy_(z[:6].mean(0) - z[6:].mean(0))
        return method.logits({"image": z}, given)


def test_equal_weights_no_company_timm_s_asymmetric_loss_without() -> None:
    g = torch.Generator().manual_seed(0)
    z, bank = (torch.randn(n, 8, generator=g) for n in (9, 4))
    targets = torch.rand(9, 4, generator=g) < 0.4
    for focus in (0.0, 1.0):
        peer = AsymmetricLossMultiLabel(4.0, focus, 0.05, disable_torch_grad_focal_loss=True)
        x = z.clone().requires_grad_()
        expected = peer(x @ bank.T, targets)
        loss = COMICLoss(focus)(x, bank, bank.new_ones(4), targets=targets)
        torch.testing.assert_close(loss, expected)
        gradients = (torch.autograd.grad(value, x)[0] for value in (loss, expected))
        torch.testing.assert_close(next(gradients), next(gradients))


def test_rare_tags_weigh_more_one_without_examples_counts_as_one() -> None:
    weights = frequency_weights(torch.tensor([100.0, 10.0, 1.0, 0.0]), 1 / 3)
    expected = [
        1.0,
        (1 + torch.tensor(10.0).log()) ** (1 / 3),
        *[(1 + torch.tensor(100.0).log()) ** (1 / 3)] * 2,
    ]
    torch.testing.assert_close(weights, torch.tensor(expected))


def test_company_is_of_other_tags_and_none_without_tags() -> None:
    together = torch.tensor([[5.0, 2.0, 0.0], [2.0, 4.0, 1.0], [0.0, 1.0, 1.0]])
    given = torch.tensor([[True, False, False], [True, False, True], [False, False, False]])
    # Columns of the counts without their diagonal sum to 2, 3 and 1.
    expected = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(company(given, together), expected)


def test_without_weight_before_first_epochs_nothing_put_right() -> None:
    method, given = made(weight=0.0)
    assert run(method, given, LATER).keys() == {"comic"}
    other, _ = made()
    assert run(other, given, FIRST).keys() == {"comic"}
    early, late = run(other, given, FIRST), run(other, given, LATER)
    assert late.keys() == {"comic", "correction"}
    torch.testing.assert_close(early["comic"], late["comic"])
    torch.testing.assert_close(early["comic"], run(method, given, LATER)["comic"])


def test_sure_tags_put_right_and_observed_or_unknown_ones_stay() -> None:
    method, given = made(threshold=0.6)
    scores = sure_of(method, given)
    tags = given.labels["tags"]
    p = (scores - 1.0 * (tags == 1)).sigmoid()
    found = method.missing(p, tags, p.mean(0))
    assert found.any()
    assert (tags[found] == 0).all()
    # From the definition: observed tags with the margin, those put right without.
    right = (tags == 1) | found
    each = right.sum(1)[(tags >= 0).any(1)].to(F64).mean()
    weight, total = torch.ones(3, dtype=F64), torch.zeros((), dtype=F64)
    for i in range(12):
        for c in range(3):
            if tags[i, c] >= 0:
                q = p[i, c] if right[i, c] else (1 - p[i, c] + 0.05).clamp_max(1)
                gamma = 0 if right[i, c] else 3 + weight[c]
                total -= weight[c] * (1 - q) ** gamma * q.log()
    known = int((tags >= 0).any(1).sum())
    torch.testing.assert_close(run(method, given, LATER)["correction"], 0.2 * total / known / each)
    # A tag that the classifier denies stays where it was observed.
    denied = method.missing(torch.zeros(12, 3), tags, torch.ones(3))
    assert not denied.any()


def test_a_tag_that_is_sure_of_everywhere_is_put_right_nowhere() -> None:
    method, _ = made()
    p = torch.full((12, 3), 0.75)
    assert not method.missing(p, torch.zeros(12, 3, dtype=torch.long), p.mean(0)).any()


def test_all_tags_false_or_unknown_are_defined() -> None:
    method, given = made()
    for value, zero in ((0, False), (-1, True)):
        some = replace(given, labels={"tags": torch.full((12, 3), value)})
        method.zero_grad()
        losses = run(looked(method, some), some, LATER)
        assert all(loss.isfinite() for loss in losses.values())
        assert all((loss == 0) == zero for loss in losses.values())
        sum(losses.values()).backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


def test_two_streams_leave_out_what_features_share() -> None:
    method, given = made()
    method.after_step({"image": method.encode(given)["image"].detach()}, given, FIRST)
    c = F.normalize(method.encode(given)["image"].mean(0), dim=0)
    rows = torch.randn(12, 12, dtype=F64)
    streams = replace(given, labels={**given.labels, STREAM: torch.arange(12) % 3})
    apart = method.apart(rows, streams)
    torch.testing.assert_close(apart[2::3], rows[2::3])
    for stream in (0, 1):
        torch.testing.assert_close(apart[stream::3] @ c, torch.zeros(4, dtype=F64), atol=1e-6, rtol=0)
    torch.testing.assert_close(method.apart(rows, given), rows)


def test_a_look_counts_tags_and_judges_who_lacks_one() -> None:
    method, given = made(threshold=0.6)
    scores = sure_of(method, given)
    tags = given.labels["tags"].clone()
    tags[3] = -1
    given = replace(given, labels={"tags": tags})
    looked(method, given, FIRST)
    assert method.wrong(given.ids).isnan().all()
    looked(method, given)
    true = (tags == 1).to(F64)
    torch.testing.assert_close(method.counts, true.sum(0))
    torch.testing.assert_close(method.together, true.T @ true)
    p = (scores - true).sigmoid()
    torch.testing.assert_close(method.recovered, method.missing(p, tags, p.mean(0)).sum(0).to(F64))
    wrong = method.wrong(given.ids)
    for i in range(12):
        could = [float(p[i, c]) for c in range(3) if tags[i, c] == 0 and p[i, c] > p[:, c].mean()]
        if i == 3:
            assert wrong[i].isnan()
        else:
            assert wrong[i].item() == pytest.approx(max(could, default=0.0), abs=1e-6)


def test_it_learns_tags_alone() -> None:
    assert build("comic").target == TAGS
    with pytest.raises(ValueError, match="--labels NAME"):
        methods.create("comic", {"image": StubImage()}, RECIPE)
