"""DistiLLM-2: divergences by hand, roles, replies of rounds, and teachers that do not fit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import SkewedDivergenceLoss
from counterpoint.methods.arm import Arm
from counterpoint.methods.distillm_2 import DistiLLM2
from counterpoint.raw import Exchange
from counterpoint.types import StepInfo
from fixtures.speaking import PICTURES, RECIPE, TALKS, batch_of, speaking

CLOCK = StepInfo(0, 10)
TEACHER = speaking("sft", "talk", seed=5)


@pytest.fixture(autouse=True)
def loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every name be that of one teacher."""
    monkeypatch.setattr("counterpoint.models.load", lambda name: TEACHER)


def begun(options: str = "") -> tuple[DistiLLM2, Any]:
    method = speaking(f"distillm-2,teacher=big,length=6{options}", "talk")
    batch = batch_of(method)
    return method, batch.__class__(batch.ids, {**batch.views, "talk.own": batch["talk"]}, {}, {})


def look(method: DistiLLM2, batch: Any, clock: StepInfo = CLOCK, seed: int = 0) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        method.on_epoch_start(
            SimpleNamespace(ids=batch.ids, labels={}, map=lambda f: f(batch)),
            clock,
        )


def distributions(method: Any, batch: Any, column: str, row: int) -> Tensor:
    """Return the log-probabilities of all tokens at each token of a reply ``(t, V)``."""
    talk = batch[column][row]
    length = int((talk[2] > 0).sum())
    given = method.speaker.given(method.speaker.patches(batch["image"][row : row + 1]))
    logits = method.language.head(method.speaker.states(talk[None, 0, :length], given))[0]
    return logits[[t - 1 for t in range(1, length) if talk[1, t]]].log_softmax(1)


def run(method: DistiLLM2, batch: Any, clock: StepInfo = CLOCK) -> dict[str, Tensor]:
    return method.losses({**method.targets(batch), **method.encode(batch)}, batch, clock)


@pytest.mark.parametrize("swapped", [False, True])
def test_loss_and_gradient_are_those_of_a_loop_over_replies(swapped: bool) -> None:
    method, batch = begun(",on_teacher=reverse,on_student=forward" if swapped else "")
    look(method, batch)
    batch = method.prepare(batch, CLOCK)
    a, terms = 0.1, []
    for column in ("talk", "talk.own"):
        for row in range(4):
            q = distributions(method, batch, column, row)
            p = distributions(TEACHER, batch, column, row).detach()
            if (column == "talk") != swapped:
                each = p.exp() * (p - (a * p.exp() + (1 - a) * q.exp()).log())
            else:
                each = q.exp() * (q - ((1 - a) * p.exp() + a * q.exp().detach()).log())
            terms.append(each.sum(1).mean() / 4)
    losses = run(method, batch)
    torch.testing.assert_close(losses["teacher"], torch.stack(terms[:4]).sum())
    torch.testing.assert_close(losses["student"], torch.stack(terms[4:]).sum())
    weights = list(method.language.parameters())
    expected = torch.autograd.grad(torch.stack(terms).sum(), weights)
    for found, own in zip(
        torch.autograd.grad(torch.stack([*losses.values()]).sum(), weights), expected, strict=True
    ):
        torch.testing.assert_close(found, own)


def test_the_students_term_grows_in_the_first_half() -> None:
    method, batch = begun(",gradual=true")
    plain = run(method, batch)
    later = [run(method, batch, StepInfo(step, 10)) for step in (2, 5, 9)]
    for losses, own in zip(later, (1.2, 1.5, 1.5), strict=True):
        torch.testing.assert_close(losses["student"], own * plain["student"])
        torch.testing.assert_close(losses["teacher"], (2 - own) * plain["teacher"])


def test_the_limits_of_alpha_are_the_plain_divergences_and_nothing() -> None:
    g = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 7, 5, generator=g, dtype=torch.float64)
    q, p = student.log_softmax(1), teacher.log_softmax(1)
    torch.testing.assert_close(
        SkewedDivergenceLoss(0.0)(student, teacher), F.kl_div(q, p, reduction="batchmean", log_target=True)
    )
    torch.testing.assert_close(
        SkewedDivergenceLoss(0.0, reverse=True)(student, teacher),
        F.kl_div(p, q, reduction="batchmean", log_target=True),
    )
    for reverse in (False, True):
        student.requires_grad_()
        loss = SkewedDivergenceLoss(1.0, reverse=reverse)(student, teacher)
        assert loss.item() == pytest.approx(0, abs=1e-12)
        assert torch.autograd.grad(loss, student)[0].isfinite().all()


def test_replies_follow_from_the_row_and_the_round_and_the_teacher_speaks_once() -> None:
    method, batch = begun()
    look(method, batch)
    taught, own = (it.clone() for it in method.items.recall(batch.ids))
    prepared = method.prepare(batch, CLOCK)
    for view in ("talk", "talk.own"):
        talk = prepared[view]
        asked, first = batch["talk"][:, 1].argmax(1), talk[:, 1].argmax(1)
        assert torch.equal(asked, first)
        for row in range(4):
            assert torch.equal(talk[row, 0, : asked[row]], batch["talk"][row, 0, : asked[row]])
            count = int(talk[row, 1].sum())
            tokens = talk[row, 0, asked[row] : asked[row] + count]
            assert 0 < count <= 6
            assert count == 6 or int(tokens[-1]) == method.language.chat.end
    # A row by itself, in another order, says the same.
    other, _ = begun()
    torch.manual_seed(0)
    seed = int(torch.randint(1 << 31, ()))
    back = batch.__class__(batch.ids.flip(0), {n: v.flip(0) for n, v in batch.views.items()}, {}, {})
    assert torch.equal(other._written(other, back, seed + 1).flip(0), own)
    look(method, batch, StepInfo(4, 10, epoch=1), seed=1)
    again, new = method.items.recall(batch.ids)
    assert torch.equal(again, taught)
    assert not torch.equal(new, own)


def test_rows_that_are_new_have_the_replies_of_the_data_and_one_term_can_be_left_out() -> None:
    method, batch = begun(",on_student=none,alpha=0")
    prepared = method.prepare(batch, CLOCK)
    assert torch.equal(prepared["talk"], batch["talk"])
    losses = run(method, prepared)
    assert [*losses] == ["teacher"]
    kl = [
        F.kl_div(
            distributions(method, batch, "talk", row),
            distributions(TEACHER, batch, "talk", row),
            reduction="batchmean",
            log_target=True,
        )
        for row in range(4)
    ]
    torch.testing.assert_close(losses["teacher"], torch.stack(kl).mean())
    assert method.passes() == {"image": 2, "talk": 2}


def test_teachers_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="on_teacher=none leaves nothing to learn from"):
        speaking("distillm-2,teacher=big,on_teacher=none,on_student=none", "talk")
    silent = Arm.parse("ntxent,on=image").build(RECIPE, {"image": PICTURES}, 0, columns={"image": "image"})
    monkeypatch.setattr("counterpoint.models.load", lambda name: silent)
    with pytest.raises(ValueError, match="teacher='big' writes no replies; name a run of sft"):
        speaking("distillm-2,teacher=big", "talk")
    monkeypatch.setitem(TALKS, "talk", [(Exchange("Quite other words?", "Indeed so."),)] * 4)
    other = speaking("sft", "talk")
    monkeypatch.undo()
    monkeypatch.setattr("counterpoint.models.load", lambda name: other)
    with pytest.raises(ValueError, match="teacher='big' has another tokenizer than the student"):
        speaking("distillm-2,teacher=big", "talk")
