"""ILLUME: its loss, what the critic accepts, memory over rounds, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoint.methods._rounds import conversations_of, distinct, rouge_l, sampled_replies
from counterpoint.methods.illume import Illume
from counterpoint.raw import Exchange
from counterpoint.types import StepInfo
from fixtures.speaking import TALKS, batch_of, speaking

CLOCK = StepInfo(0, 10)
WHY = [
    (Exchange("What is it? Why?", reply),) for reply in ("The cat is red.", "A dog.", "It is not.", "Round.")
]


@pytest.fixture(autouse=True)
def reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TALKS, "why", WHY)


def begun(options: str = "") -> tuple[Illume, Any]:
    method = speaking(f"illume,columns=image+talk+why,samples=1,length=6{options}", "talk", "why")
    return method, batch_of(method)


def look(method: Illume, batch: Any, seed: int = 0) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        method.on_epoch_start(SimpleNamespace(ids=batch.ids, labels={}, map=lambda f: f(batch)), CLOCK)


def accept(monkeypatch: pytest.MonkeyPatch, *references: str) -> None:
    """Let the critic accept every sample for these references and none for others."""
    monkeypatch.setattr(
        "counterpoint.methods.illume.rouge_l", lambda text, reference: float(reference in references)
    )


def of_row(method: Illume, batch: Any, column: str, row: int) -> Tensor:
    """Return the negative log-likelihoods of the tokens of a row's replies, read by itself."""
    talk = batch[column][row]
    length = int((talk[2] > 0).sum())
    given = method.speaker.given(method.speaker.patches(batch["image"][row : row + 1]))
    logits = method.language.head(method.speaker.states(talk[None, 0, :length], given))[0].log_softmax(1)
    return torch.stack([-logits[t - 1, talk[0, t]] for t in range(1, length) if talk[1, t]])


def test_the_loss_is_that_of_a_loop_and_rows_without_a_reason_have_no_second_term(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accept(monkeypatch, "A dog.")
    method, batch = begun(",weight=0.5")
    look(method, batch)
    read = method.prepare(batch, CLOCK)
    assert read["why"][:, 1].any(1).tolist() == [False, True, False, False]
    losses = method.losses(method.encode(read), read, CLOCK)
    answers = torch.cat([of_row(method, batch, "talk", row) for row in range(4)])
    torch.testing.assert_close(losses["answer"], answers.mean())
    # Both temperatures gave a reason, which are 2 for 3 rows without; the weight of a round is at least 1.
    assert method.numbers() == {"rows_with_reason": 1, "weight": 1.5}
    torch.testing.assert_close(losses["reason"], 0.5 * 1.5 * of_row(method, read, "why", 1).mean())
    one_without = read.map(lambda it: it[:1])
    assert method.losses(method.encode(one_without), one_without, CLOCK)["reason"].item() == 0


def test_the_reference_is_never_learned_and_reasons_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    accept(monkeypatch, "A dog.")
    method, batch = begun()
    look(method, batch)
    first, second = (method.prepare(batch, StepInfo(step, 10))["why"][1] for step in (0, 1))
    assert not torch.equal(first, second)
    start = int(batch["why"][1, 1].argmax())
    for read in (first, second):
        assert torch.equal(read[0, :start], batch["why"][1, 0, :start])
        assert int(read[1].argmax()) == start
        assert not torch.equal(read[0], batch["why"][1, 0])


def test_reasons_of_earlier_rounds_stay_without_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    accept(monkeypatch, "A dog.", "Round.")
    method, batch = begun()
    look(method, batch)
    (before,) = (it.view(4, 4, -1).clone() for it in method.items.recall(batch.ids))
    look(method, batch)  # the same seed gives the same samples
    (again,) = (it.view(4, 4, -1).clone() for it in method.items.recall(batch.ids))
    assert torch.equal(before, again)
    for seed in (1, 2, 3):
        look(method, batch, seed)
    (after,) = (it.view(4, 4, -1) for it in method.items.recall(batch.ids))
    assert (after != 0).any(2).sum(1).tolist() == [0, 4, 0, 4]
    assert torch.equal(after[:, :2], before[:, :2])


def test_a_sample_follows_from_the_row_the_seed_and_the_temperature() -> None:
    method, batch = begun()
    patches = method.speaker.patches(batch["image"])

    def written(index: list[int], seed: int = 7, temperature: float = 1.0) -> Tensor:
        return sampled_replies(
            method.speaker,
            patches[index],
            batch["why"][index],
            batch.ids[index],
            seed,
            temperature=temperature,
            length=6,
        )

    every = written([0, 1, 2, 3])
    assert torch.equal(written([3, 1]), every[[3, 1]])
    assert not torch.equal(written([0, 1, 2, 3], seed=8), every)
    talk = conversations_of(every, method.language.chat.padding)
    assert torch.equal(talk[:, 1].argmax(1), batch["why"][:, 1].argmax(1))
    assert bool((talk[:, 1].sum(1) <= 6).all())


def test_rouge_and_distinct_by_hand() -> None:
    assert rouge_l("a red cat sits", "red a cat") == pytest.approx(2 * 2 / 7)
    assert rouge_l("The CAT, is red!", "the cat is red.") == 1
    assert rouge_l("ab", "ab") == rouge_l("cat", "") == rouge_l("cat", "dog") == 0
    assert distinct(["a a", "a b"], 2) == 1
    assert distinct(["a a", "a b"]) == 0.5
    assert distinct(["a"], 2) == 0


def test_a_critic_that_accepts_nothing_leaves_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    accept(monkeypatch)
    method, batch = begun()
    look(method, batch)
    read = method.prepare(batch, CLOCK)
    assert method.numbers()["rows_with_reason"] == 0
    losses = method.losses(method.encode(read), read, CLOCK)
    assert losses["reason"].item() == 0
    assert losses["answer"].item() > 0
