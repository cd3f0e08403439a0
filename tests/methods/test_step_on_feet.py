"""Step-on-feet tuning: examples in front of requests, disjoint parts, replies without examples, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from counterpoint.methods.step_on_feet import StepOnFeet
from counterpoint.raw import Exchange
from counterpoint.types import StepInfo
from fixtures.speaking import RECIPE, TALKS, batch_of, speaking

ROUNDS = [StepInfo(0, 9, stage="round 1"), StepInfo(3, 9, stage="round 2"), StepInfo(6, 9, stage="round 3")]


def begun(options: str = "", pool: int = 1) -> tuple[StepOnFeet, Any]:
    method = speaking(f"step-on-feet,pool={pool},shown=1,length=4{options}", "talk")
    return method, batch_of(method)


def look(method: StepOnFeet, batch: Any, clock: StepInfo, seed: int = 0) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        method.on_epoch_start(SimpleNamespace(ids=batch.ids, labels={}, map=lambda f: f(batch)), clock)


def test_joined_conversations_are_those_that_the_template_writes() -> None:
    chat = speaking("sft", "talk").language.chat
    one, two = Exchange("What is it?", "A red cat."), Exchange("Is it?", "No.")
    joined = chat.join([chat([(one,)])[0], chat([(two,)])[0], chat([(one,)])[0]])
    whole = chat([(one, two, one)])[0]
    assert torch.equal(joined[:, : whole.shape[1]], whole[:, : joined.shape[1]])
    assert joined.shape[1] > chat([(one, two)])[0, 2].count_nonzero()


def test_each_round_has_a_part_of_its_own_and_the_pool_has_none() -> None:
    method, batch = begun()
    used = []
    assert method.groups(batch.ids) is None
    for clock in ROUNDS:
        look(method, batch, clock)
        groups = method.groups(batch.ids)
        assert groups is not None
        used.append((groups == 0).nonzero()[:, 0].tolist())
    assert sorted(row for rows in used for row in rows) == [1, 2, 3]
    assert all(len(rows) == 1 for rows in used)


def test_a_reply_is_that_of_the_model_behind_its_examples_and_is_learned_without_them() -> None:
    method, batch = begun(",rounds=1")
    look(method, batch, ROUNDS[0])
    read = method.prepare(batch, ROUNDS[0])["talk"]
    chat = method.language.chat
    torch.manual_seed(0)
    seed = int(torch.randint(1 << 31, ()))
    for row in (1, 2, 3):
        start = int(batch["talk"][row, 1].argmax())
        assert torch.equal(
            read[row, :, :start], batch["talk"][row, :, :start].where(read[row, :, :start] >= 0, 0)
        )
        assert int(read[row, 2].amax()) == 1  # one exchange, the example is gone
        # An independent loop: the likeliest sum of log-probability and Gumbel noise, a token at a time.
        shown = chat([(TALKS["talk"][0][0], Exchange("What is it?", ""))])[0]
        tokens = shown[0, : int((shown[2] > 0).sum())]
        patches = method.speaker.patches(batch["image"][row : row + 1])
        noise = torch.Generator().manual_seed((row * 1_000_003 + seed) % (1 << 62))
        said: list[int] = []
        while len(said) < 4 and chat.end not in said:
            logits = method.speaker.next_logits(torch.tensor([[*tokens.tolist(), *said]]), patches)[0].float()
            drawn = torch.empty(len(logits)).exponential_(generator=noise)
            said.append(int((logits - drawn.clamp(min=torch.finfo(torch.float32).tiny).log()).argmax()))
        assert read[row, 0][read[row, 1] > 0].tolist() == said
    # The pool learns nothing, and its row would have its own reply.
    assert torch.equal(read[0], batch["talk"][0])


def test_examples_are_drawn_for_each_request_or_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = [(Exchange("What is it?", reply),) for reply in ("A cat.", "A dog.", "A bus.", "A ball.")]
    monkeypatch.setitem(TALKS, "talk", pool)
    for option, expected in (("", True), (",fixed=true", False)):
        method, batch = begun(option, pool=4)
        talk = batch["talk"]
        context = {
            tuple(method._behind_examples(talk[0], talk, identity, 5)[0].tolist()) for identity in range(12)
        }
        assert (len(context) > 1) is expected


def test_easy_rows_come_first() -> None:
    method, batch = begun(",easy=true")
    look(method, batch, ROUNDS[0])
    torch.manual_seed(0)
    seed = int(torch.randint(1 << 31, ()))
    hardness = method._replies(batch, batch["talk"][:1], seed, None)[1:, 0]
    _, part = method.items.recall(batch.ids)
    assert part[1:].argsort().tolist() == hardness.argsort().tolist()


def test_empty_replies_are_left_out_and_replies_that_become_alike_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method, batch = begun(",rounds=1")
    monkeypatch.setattr(StepOnFeet, "_text", lambda self, written: "" if int(written[0]) % 2 else "a cat")
    look(method, batch, ROUNDS[0])
    groups = method.groups(batch.ids)
    assert groups is not None
    assert groups.eq(0).sum() in (0, 3)  # all requests begin alike
    monkeypatch.setattr(StepOnFeet, "_text", lambda self, written: "a cat")
    look(method, batch, ROUNDS[0])
    torch.testing.assert_close(
        torch.tensor([*method.numbers().values()]), torch.tensor([1 / 3, 1.0]), check_dtype=False
    )


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="shown=9 examples are drawn from a pool=4: make the pool larger"):
        speaking("step-on-feet,shown=9,pool=4", "talk")
    method, _ = begun()
    method.check_start(1 + 3 * RECIPE.batch_size)
    with pytest.raises(ValueError, match="make 3 parts of less than a batch"):
        method.check_start(3 * RECIPE.batch_size)
    several = (Exchange("What is it?", "A cat."), Exchange("Why?", "No."))
    monkeypatch.setitem(TALKS, "talk", [several] * 4)
    method, batch = begun()
    with pytest.raises(ValueError, match="replies to one exchange a row"):
        look(method, batch, ROUNDS[0])
