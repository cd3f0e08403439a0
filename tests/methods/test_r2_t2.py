"""R2-T2: forced weights, neighbours with the weights of the request, who is a neighbour, and what stays as it was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from counterpoint.methods.r2_t2 import R2T2
from counterpoint.networks.experts import MixtureOfExperts, forced_routings, recorded_routings
from counterpoint.networks.towers.chat import TOKEN
from counterpoint.raw import Exchange
from counterpoint.types import Batch, Prompt, StepInfo
from fixtures.speaking import PICTURES, batch_of, speaking

OPTIONS = "tokens=2,experts=3"
NEW = Prompt("Is it a cat?", PICTURES[0])
PROMPTS = [NEW, Prompt("What?", PICTURES[1])]


def fitted(patch: pytest.MonkeyPatch, right: tuple[bool, ...] = (True,) * 4, **options: object) -> R2T2:
    stated = ",".join(f"{name}={value}" for name, value in {"k": 2, "memory": 4, **options}.items())
    method = speaking(f"r2-t2,{OPTIONS},{stated}", "talk")
    assert isinstance(method, R2T2)
    with torch.no_grad():
        for block in method.speaker.bridge.blocks:  # the gates are closed at the start
            block.attention_gate.fill_(1)
            block.feed_gate.fill_(1)
    batch = batch_of(method)

    def got(self: R2T2, talk: torch.Tensor, given: Any) -> torch.Tensor:
        every = batch["talk"]
        numbers = [(every == row).flatten(1).all(1).int().argmax() for row in talk]
        return torch.tensor([right[int(number)] for number in numbers])

    patch.setattr(R2T2, "_got_right", got)
    examples: Any = SimpleNamespace(ids=batch.ids, labels={}, map=lambda f: f(batch))
    torch.manual_seed(0)
    with torch.no_grad():
        method.on_epoch_start(examples, StepInfo(0, 1))
    return method


def request_of(method: R2T2, prompt: Prompt = NEW, reply: str = "") -> tuple[Any, Any]:
    talk = method.language.chat([(Exchange(prompt.text, reply),)])
    assert prompt.picture is not None
    return talk, method.given(method._patches([prompt.picture]), talk)


def test_forced_weights_are_those_of_all_experts_and_get_gradients() -> None:
    torch.manual_seed(0)
    mixture = MixtureOfExperts(4, lambda: torch.nn.Linear(4, 4), 3, choices=2, renormalise=True).double()
    torch.nn.init.normal_(mixture.router.weight)
    x = torch.randn(6, 4, dtype=torch.float64)
    weights = torch.rand(2, 1, 3, dtype=torch.float64).softmax(2).requires_grad_()
    with forced_routings([mixture], weights):
        output, routing = mixture(x)
    for token in range(6):
        own = weights[token // 3, 0]
        expected = sum(w * expert(x[token]) for w, expert in zip(own, mixture.experts, strict=True))
        torch.testing.assert_close(output[token], expected)
    assert routing.chosen.shape == (6, 3)
    output.sum().backward()
    assert weights.grad is not None
    assert mixture.forced is None
    own_output, own = mixture(x)
    one_row = torch.zeros(6, 1, 3, dtype=torch.float64)
    one_row[:, 0] = torch.zeros_like(own.logits).scatter(1, own.chosen, own.weights)
    with forced_routings([mixture], one_row):
        torch.testing.assert_close(mixture(x)[0], own_output)


def test_the_routing_is_the_mean_over_picture_and_request(monkeypatch: pytest.MonkeyPatch) -> None:
    method = fitted(monkeypatch)
    talk, given = request_of(method, reply="A red cat.")
    routing_of_request = method._routing(talk, given)
    prompt, given = request_of(method)
    length = int((prompt[0, 2] > 0).sum())
    with recorded_routings(method.mixtures) as routings:
        method.speaker.states(prompt[:, TOKEN, :length], given)
    for number, routing in enumerate(routings):
        dense = torch.zeros_like(routing.logits).scatter(1, routing.chosen, routing.weights)
        torch.testing.assert_close(routing_of_request[0, number], dense.mean(0))
    torch.testing.assert_close(routing_of_request.sum(2), torch.ones_like(routing_of_request[..., 0]))


def test_neighbours_run_with_the_weights_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    method = fitted(monkeypatch, lr=0.1, steps=1)
    talk, given = request_of(method)
    start = method._routing(talk, given)
    index, likeness = method._nearest(talk, given)
    weights, total = start.clone().requires_grad_(), torch.zeros((), dtype=torch.float64)
    for row, k in zip(index[0], likeness[0], strict=True):
        own = method.talks[row][None]
        with forced_routings(method.mixtures, weights / weights.sum(2, keepdim=True)):
            log_p = method.speaker.log_p(own, method.given(method.pictures_read[row][None], own))
        total = total - k * log_p.sum() / (log_p != 0).sum() / likeness.sum()
    (grad,) = torch.autograd.grad(total, weights)
    stepped = (start - 0.1 * grad.sign()).clamp_min(0)  # the first step of Adam
    expected = stepped / stepped.sum(2, keepdim=True)
    torch.testing.assert_close(method._rerouted(talk, given), expected, atol=1e-4, rtol=0)


def test_descent_lowers_the_loss_of_the_neighbours_and_stays_a_distribution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for strategy, neighbours in (("descent", "near"), ("regression", "near"), ("descent", "random")):
        method = fitted(monkeypatch, lr=0.05, strategy=strategy, neighbours=neighbours)
        talk, given = request_of(method)
        index, likeness = method._nearest(talk, given)
        flat = method.talks[index].flatten(0, 1)
        loss = method._loss(flat, method.given(method.pictures_read[index][0], flat), likeness)
        start, moved = method._routing(talk, given), method._rerouted(talk, given)
        assert float(loss(moved)) <= float(loss(start))
        assert moved.min() >= 0
        torch.testing.assert_close(moved.sum(2), torch.ones_like(moved[..., 0]))


def test_only_right_rows_and_no_row_of_the_request_are_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    method = fitted(monkeypatch, right=(True, False, True, False))
    index, _ = method._nearest(*request_of(method))
    every = batch_of(method)["talk"]
    known = {tuple(every[number, TOKEN].tolist()) for number in (0, 2)}
    assert {tuple(method.talks[row, TOKEN].tolist()) for row in index[0]} == known
    # Row 0 is asked about itself: its K is 0, and row 2 alone decides.
    asked, given = request_of(method, Prompt("What is it?", PICTURES[0]))
    index, likeness = method._nearest(asked, given)
    for row, k in zip(index[0], likeness[0], strict=True):
        assert (float(k) > 0) == (not torch.equal(method.talks[row], every[0]))
    alone = fitted(monkeypatch, right=(True, False, False, False))
    asked, given = request_of(alone, Prompt("What is it?", PICTURES[0]))
    torch.testing.assert_close(alone._rerouted(asked, given), alone._routing(asked, given))
    none = fitted(monkeypatch, right=(False,) * 4)
    assert none.numbers() == {"remembered": 0.0}
    torch.testing.assert_close(
        none.log_p(PROMPTS, ["No.", "It."]), fitted(monkeypatch, steps=0).log_p(PROMPTS, ["No.", "It."])
    )


def test_equal_requests_are_ordered_by_their_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    method = fitted(monkeypatch, k=1)
    asked, given = request_of(method, Prompt("What is it?", PICTURES[2]))
    index, _ = method._nearest(asked, given)
    read = method.pictures_read.mean(1)
    near = F.normalize(read, dim=1) @ F.normalize(given.summary[0], dim=0)
    near[(read - given.summary).abs().amax(1) < 1e-4] = -1  # the row itself
    assert int(index) == int(near.argmax())


def test_nothing_of_the_model_moves_and_no_request_changes_another(monkeypatch: pytest.MonkeyPatch) -> None:
    method = fitted(monkeypatch, lr=0.3)
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    with torch.inference_mode():
        both = method.log_p(PROMPTS, ["No.", "A cat."])
        replies = method.reply(PROMPTS, max_tokens=4)
        alone = torch.cat([method.log_p(PROMPTS[:1], ["No."]), method.log_p(PROMPTS[1:], ["A cat."])])
        assert replies == [method.reply([one], max_tokens=4)[0] for one in PROMPTS[::-1]][::-1]
    torch.testing.assert_close(both, alone)
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.state_dict().items())
    assert not any(parameter.requires_grad for parameter in method.parameters())


def test_without_steps_it_is_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    method = fitted(monkeypatch, steps=0)
    plain = speaking(f"sft,bridge=crossed,{OPTIONS}", "talk")
    plain.load_state_dict(
        {name: tensor for name, tensor in method.state_dict().items() if name in plain.state_dict()}
    )
    assert method.reply(PROMPTS, max_tokens=6) == plain.reply(PROMPTS, max_tokens=6)
    torch.testing.assert_close(method.log_p(PROMPTS, ["No.", "It."]), plain.log_p(PROMPTS, ["No.", "It."]))
    moved = fitted(monkeypatch, lr=0.3)
    assert not torch.allclose(moved.log_p(PROMPTS, ["No.", "It."]), plain.log_p(PROMPTS, ["No.", "It."]))
    blind = [Prompt("What?", None)]
    torch.testing.assert_close(moved.log_p(blind, ["No."]), plain.log_p(blind, ["No."]))


def test_a_reply_is_written_under_the_weights_that_likelihoods_have(monkeypatch: pytest.MonkeyPatch) -> None:
    method = fitted(monkeypatch, lr=0.3)
    score, total = float(method.log_p([NEW], ["No."])[0]), 0.0
    ((_, tokens, shown, at),) = method._prompted([NEW])
    talk = method.language.chat([(Exchange(NEW.text, "No."),)])[0]
    for token in talk[0, talk[1] > 0]:
        total += float(method.next_logits(tokens, shown, at).log_softmax(1)[0, token])
        tokens = torch.cat([tokens, token.view(1, 1)], 1)
    assert score == pytest.approx(total, rel=1e-4)  # the weights travel in single precision


def test_other_strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    uniform = fitted(monkeypatch, strategy="uniform")
    assert torch.allclose(uniform._rerouted(*request_of(uniform)), torch.tensor(1 / 3, dtype=torch.float64))
    modes = fitted(monkeypatch, strategy="modes", k=1, steps=1, pull=1.0)
    moved = modes._rerouted(*request_of(modes))
    assert min(float((moved[0] - one).abs().max()) for one in modes.weights) < 1e-6
    plain, oracle = fitted(monkeypatch, steps=0), fitted(monkeypatch, strategy="oracle", lr=0.1)
    assert float(oracle.log_p([NEW], ["No."])) > float(plain.log_p([NEW], ["No."]))
    with pytest.raises(ValueError, match="needs the true reply"):
        oracle.reply([NEW], max_tokens=2)


def test_right_means_every_token_and_the_end() -> None:
    method = speaking(f"r2-t2,{OPTIONS},memory=4", "talk")
    batch: Batch = batch_of(method)
    talk = batch["talk"]
    given = method.given(method.speaker.patches(batch["image"]), talk)
    head = method.language.head
    states, tokens, where = method.speaker.reply_states(talk, given)
    right = head(states).argmax(1) == tokens
    expected, at = [], 0
    for row in where:
        expected.append(bool(right[at : at + int(row.sum())].all()))
        at += int(row.sum())
    assert method._got_right(talk, given).tolist() == expected


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="bridge=linear,experts=4 has no experts"):
        speaking("r2-t2,bridge=linear", "talk")
    with pytest.raises(ValueError, match="tune_bridge=routers: bridge=linear has no experts"):
        speaking("sft,tune_bridge=routers", "talk")
    method = fitted(monkeypatch)
    with pytest.raises(ValueError, match="one picture of a request"):
        method.given(method.pictures_read[:2].flatten(0, 1)[None], batch_of(method)["talk"][:1])


def test_routers_move_alone() -> None:
    method = speaking(f"sft,bridge=crossed,{OPTIONS},tune_bridge=routers", "talk")
    moving = {name for name, it in method.bridge_projections.named_parameters() if it.requires_grad}
    assert moving
    assert all("router" in name for name in moving)
