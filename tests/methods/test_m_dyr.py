"""M-DYR and MD-DYR: mixup at their limit, the card's formula, judged labels, and what is stored of them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import FIVE, RECIPE, All, StubImage, build, loaded
from torch import Tensor

from counterpoint import methods
from counterpoint.methods.m_dyr import BELIEF, WRONG
from counterpoint.networks.mixup import PARTNER, SHARE, mixup
from counterpoint.types import Batch, StepInfo

LATER = StepInfo(60, 100, 6)


def made(name: str = "m-dyr", **options: Any) -> tuple[Any, Batch]:
    method = build(name, target=FIVE, **options).double()
    return method, loaded(method, size=24, dtype=torch.float64)


def looked(method: Any, given: Batch, clock: StepInfo = LATER) -> Any:
    method.eval()
    with torch.no_grad():
        method.on_epoch_start(All(given), clock)
    return method.train()


def prepared(method: Any, given: Batch, clock: StepInfo = LATER) -> Batch:
    torch.manual_seed(3)
    with torch.no_grad():
        return method.prepare(given, clock)


def cross_entropy(method: Any, batch: Batch) -> Tensor:
    """Mixup's loss: the cross-entropy of both examples of each mixture."""
    log_h = method.logits(method.encode(batch), batch).log_softmax(1)
    share = batch.labels[SHARE]
    own, other = (F.nll_loss(log_h, batch.labels[p + "group"], reduction="none") for p in ("", PARTNER))
    return (share * own + (1 - share) * other).mean()


def total(method: Any, batch: Batch, clock: StepInfo = LATER) -> dict[str, Tensor]:
    return method.losses(method.encode(batch), batch, clock)


@pytest.mark.parametrize("name", ["m-dyr", "md-dyr"])
def test_it_is_mixup_until_the_warm_up_is_over(name: str) -> None:
    method, given = made(name)
    looked(method, given, StepInfo(10, 100, 1))
    mixed = prepared(method, given, StepInfo(10, 100, 1))
    torch.manual_seed(3)
    expected = mixup(given, 32.0)
    torch.testing.assert_close(mixed["image"], expected["image"])
    losses = total(method, mixed)
    assert losses.keys() == {"bootstrapping"}
    torch.testing.assert_close(losses["bootstrapping"], cross_entropy(method, expected))


def test_it_mixup_where_no_label_wrong_and_nothing_regularised() -> None:
    method, given = made(regulariser=0.0)
    mixed = prepared(looked(method, given), given)
    none = Batch(
        mixed.ids, mixed.views, {**mixed.labels, WRONG: torch.zeros(24), PARTNER + WRONG: torch.zeros(24)}
    )
    losses = total(method, none)
    assert losses.keys() == {"bootstrapping"}
    torch.testing.assert_close(losses["bootstrapping"], cross_entropy(method, none))


@pytest.mark.parametrize("belief", ["hard", "soft"])
def test_it_is_the_formula(belief: str) -> None:
    method, given = made(belief=belief, regulariser=0.5)
    mixed = prepared(looked(method, given), given)
    # What is judged and believed is of the examples themselves.
    own = method.eval().logits(method.encode(given), given)
    method.train()
    wrong = method.mixture.posterior(F.cross_entropy(own, given.labels["group"], reduction="none"))
    torch.testing.assert_close(mixed.labels[WRONG], wrong)
    z = F.one_hot(own.argmax(1), 5).double() if belief == "hard" else own.softmax(1)
    torch.testing.assert_close(mixed.labels[BELIEF].double(), z, rtol=1e-5, atol=1e-6)
    h = method.logits(method.encode(mixed), mixed).softmax(1)
    share, loss = mixed.labels[SHARE], torch.zeros(24, dtype=torch.float64)
    for part, prefix in ((share, ""), (1 - share, PARTNER)):
        w, b = (mixed.labels[prefix + name].double() for name in (WRONG, BELIEF))
        target = (1 - w)[:, None] * F.one_hot(mixed.labels[prefix + "group"], 5) + w[:, None] * b
        loss -= part * (target * h.log()).sum(1)
    mean = h.mean(0)
    losses = total(method, mixed)
    torch.testing.assert_close(losses["bootstrapping"].double(), loss.mean(), rtol=1e-5, atol=1e-6)
    prior = 0.5 * sum((1 / 5) * math.log((1 / 5) / p) for p in mean.tolist())
    assert losses["prior"].item() == pytest.approx(prior, rel=1e-4)


def test_likelier_right_label_has_the_larger_share_of_a_mixture() -> None:
    method, given = made("md-dyr")
    mixed = prepared(looked(method, given), given)
    right, other = 1 - mixed.labels[WRONG], 1 - mixed.labels[PARTNER + WRONG]
    torch.testing.assert_close(mixed.labels[SHARE], right / (right + other))
    share = mixed.labels[SHARE].double()[:, None, None, None]
    partner = {int(i): x for i, x in zip(given.ids, given["image"], strict=True)}
    others = torch.stack([partner[int(i)] for i in mixed.labels[PARTNER + "id"]])
    torch.testing.assert_close(mixed["image"], share * given["image"] + (1 - share) * others)
    assert method.share(mixed).tolist() == [0.5] * 24


def test_beliefs_harden_until_the_end() -> None:
    method, _ = made("md-dyr", warmup=0.5)
    logits = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.5]])
    torch.testing.assert_close(method.believed(logits, StepInfo(50, 100)), logits.softmax(1))
    assert method.believed(logits, StepInfo(100, 100)).max() > 1 - 1e-6
    middle = method.believed(logits, StepInfo(75, 100))
    torch.testing.assert_close(middle, (logits / (1 - 0.5 * 0.999)).softmax(1))


def test_the_posterior_of_every_labelled_item_is_kept() -> None:
    method, given = made()
    given.labels["group"][3] = -1
    looked(method, given)
    losses = F.cross_entropy(
        method.eval().logits(method.encode(given), given).float(),
        given.labels["group"].clamp_min(0),
        reduction="none",
    )
    known = given.labels["group"] >= 0
    torch.testing.assert_close(
        method.wrong(given.ids)[known], method.mixture.posterior(losses)[known].double()
    )
    assert method.wrong(given.ids)[3].isnan()


def test_examples_without_a_class_count_for_nothing() -> None:
    method, given = made(regulariser=0.0)
    looked(method, given)
    given.labels["group"][::2] = -1
    mixed = prepared(method, given)
    mixed.labels[SHARE] = torch.ones(24)  # of mixtures that are wholly the first example
    log_h = method.logits(method.encode(mixed), mixed).log_softmax(1)
    some = torch.arange(1, 24, 2)
    w, b = mixed.labels[WRONG][some], mixed.labels[BELIEF][some]
    own = F.nll_loss(log_h[some], given.labels["group"][some], reduction="none")
    expected = ((1 - w) * own - w * (b * log_h[some]).sum(1)).mean()
    torch.testing.assert_close(
        total(method, mixed)["bootstrapping"].double(), expected.double(), rtol=1e-5, atol=1e-6
    )


def test_an_early_look_learns_nothing_and_dropout_has_no_say() -> None:
    method, given = made()
    looked(method, given, StepInfo(0, 100))
    assert not method.mixture.fitted
    looked(method, given)
    prepared(method, given)
    assert method.training


def test_without_a_label_it_says_what_to_write() -> None:

    with pytest.raises(ValueError, match="--labels NAME"):
        methods.create("m-dyr", {"image": StubImage()}, RECIPE)
