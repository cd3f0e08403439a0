"""Brote: the condition by hand, stop of gradients, pictures of a row, controls, and albums that ask about both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from counterpoint.data.items import Questions
from counterpoint.data.source import load_any
from counterpoint.evaluation.tasks.answers import Answers
from counterpoint.evaluation.tasks.likelihood import Likelihood
from counterpoint.methods.arm import Arm
from counterpoint.methods.brote import Brote
from counterpoint.networks.bridges.base import Given
from counterpoint.raw import Exchange
from counterpoint.types import Batch, Prompt, Speaking, StepInfo, Turn
from fixtures.speaking import PICTURES, RECIPE, TALKS

CLOCK = StepInfo(0, 10)
OTHERS = PICTURES.flip(0)
ASKED = [
    (Exchange(f"What is {n}?", reply),)
    for n, reply in zip("abcd", ("A red cat.", "Two.", "No.", "A ball."), strict=True)
]


def begun(options: str = ",tokens=2") -> tuple[Brote, Batch]:
    kinds = {"image": "image", "talk": "talk", "second": "image"}
    examples = {"image": PICTURES, "talk": TALKS["talk"], "second": OTHERS}
    method: Any = Arm.parse(f"brote{options}").build(RECIPE, examples, 0, columns=kinds).double().eval()
    raw = {"image": PICTURES, "talk": ASKED, "second": OTHERS}
    views = {column: method.inputs[column](raw[column]) for column in method.columns}
    views |= {column: views[column].double() for column in ("image", "second")}
    return method, Batch(torch.arange(4), views, {}, {})


@torch.no_grad()
def by_hand(method: Brote, batch: Batch, row: int, browsed_row: int) -> torch.Tensor:
    """Return the log-likelihood of a row's reply, its pictures read under what another row has browsed."""
    bridge, speaker = method.bridge, method.speaker

    def read(of: int, condition: torch.Tensor | None) -> Given:
        tokens = []
        for column in ("image", "second"):
            patches = speaker.patches(batch[column][of : of + 1])
            tokens.append(bridge.out(bridge.query_states(patches, condition=condition)[0]))
        return Given(torch.cat(tokens, 1))

    talk = batch["talk"][browsed_row]
    prompt = talk[0, : int(talk[1].argmax())][None]
    state = speaker.states(prompt, read(browsed_row, None))[:, -1]
    given = read(row, method.condition_projections["talk"](state))
    return speaker.log_p(batch["talk"][row : row + 1], given)[0]


def test_pictures_are_read_again_under_the_state_of_the_prompts_last_token() -> None:
    method, batch = begun()
    z = method.encode(batch)
    for row in range(4):
        torch.testing.assert_close(z["talk"][row], by_hand(method, batch, row, row))
    # The second picture counts, and so does the order of both.
    swapped = replace(batch, views={**batch.views, "image": batch["second"], "second": batch["image"]})
    assert not torch.allclose(method.encode(swapped)["talk"], z["talk"])


def test_no_gradient_goes_through_the_first_pass_and_no_reply_is_read_in_it() -> None:
    method, batch = begun()
    patches = torch.cat([method.speaker.patches(batch[column]) for column in method.pictures], 1)
    assert not method.browsed(patches, batch["talk"]).requires_grad
    # The gradient is that under the same condition as a constant.
    constant = method.browsed(patches, batch["talk"])
    names = dict(method.named_parameters())
    loss: Any = method.losses(method.encode(batch), batch, CLOCK)["nll"]
    loss.backward()
    through = {name: p.grad.clone() for name, p in names.items() if p.grad is not None}
    assert "condition_projections.talk.weight" in through
    method.zero_grad()
    patches = torch.cat([method.speaker.patches(batch[column]) for column in method.pictures], 1)
    log_p = method.speaker.log_p(batch["talk"], method.concentrated(patches, constant))
    again: Any = method.mean_over_tokens(log_p, batch["talk"])
    again.backward()
    for name, gradient in through.items():
        torch.testing.assert_close(gradient, names[name].grad)
    talk = batch["talk"].clone()
    talk[:, 0] = torch.where(talk[:, 1] > 0, talk[:, 0] % 200 + 1, talk[:, 0])
    torch.testing.assert_close(method.browsed(patches, talk), constant)


def test_the_condition_is_of_its_own_row_and_the_controls_are_not() -> None:
    method, batch = begun()
    order = torch.tensor([2, 0, 3, 1])
    moved = Batch(order, {name: view[order] for name, view in batch.views.items()}, {}, {})
    own = method.encode(batch)["talk"]
    torch.testing.assert_close(method.encode(moved)["talk"], own[order])
    shuffled, _ = begun(",tokens=2,condition=shuffled")
    read = shuffled.encode(shuffled.prepare(batch, CLOCK))["talk"]
    for row in range(4):
        torch.testing.assert_close(read[row], by_hand(method, batch, row, (row - 1) % 4))
    # In use each request has its own.
    torch.testing.assert_close(shuffled.encode(batch)["talk"], own)
    zero, _ = begun(",tokens=2,condition=zero")
    patches = torch.cat([zero.speaker.patches(batch[column]) for column in zero.pictures], 1)
    plain = zero.speaker.log_p(batch["talk"], zero.concentrated(patches, None))
    torch.testing.assert_close(zero.encode(batch)["talk"], plain)
    assert not torch.allclose(plain, own)
    assert zero.passes() == method.passes() == {"image": 2, "talk": 2}
    assert shuffled.passes() == {"image": 4, "talk": 2}


def test_one_picture_is_a_request_too_and_several_are_asked_alone_or_together() -> None:
    method, batch = begun()
    method.float()
    assert isinstance(method, Speaking)
    both = list(torch.stack([PICTURES, OTHERS], 1))
    prompts = [Prompt(row[0].request, pair) for row, pair in zip(ASKED, both, strict=True)]
    replies = [row[0].reply for row in ASKED]
    expected = method.double().encode(batch)["talk"].sum(1).detach()
    method.float()
    torch.testing.assert_close(method.log_p(prompts, replies).double(), expected, rtol=1e-4, atol=1e-4)
    together = method.reply(prompts, max_tokens=4)
    assert together == [method.reply([prompt], max_tokens=4)[0] for prompt in prompts]
    beam = method.reply(prompts[:1], max_tokens=4, beams=2, beginnings=["A red"])
    assert isinstance(beam[0], str)
    assert method.reply([Prompt("What?")], max_tokens=2)
    with pytest.raises(ValueError, match=r"a request is about 2 pictures \(image, second\)"):
        method.reply([Prompt("What?", PICTURES[0])])
    alone = Arm.parse("brote").build(
        RECIPE, {"image": PICTURES, "talk": ASKED}, 0, columns={"image": "image", "talk": "talk"}
    )
    assert isinstance(alone, Brote)
    assert len(alone.reply([Prompt("What?", PICTURES[0])], max_tokens=2)) == 1
    with pytest.raises(ValueError, match="reads the pictures of the last request, and an earlier turn has"):
        alone.reply([Prompt("What?", PICTURES[0], (Turn("Who?", "Me.", PICTURES[1]),))])


def test_tasks_ask_about_both_pictures_of_an_album() -> None:
    data: Any = load_any("scenes:album,train=16,validation=2,test=8,pixels=16,talk=questions", 16)
    rows = np.concatenate(list(data.splits.test.values()))
    asked = data.items(Questions, rows)
    pictures = asked.pictures(np.arange(len(asked)))
    assert pictures.shape[1:] == (2, 3, 16, 16)
    assert torch.equal(pictures[:, 0], data.read("image", asked.rows))
    assert torch.equal(pictures[:, 1], data.read("second", asked.rows))
    world = data.data
    for row, question in zip(asked.rows, asked.questions, strict=True):
        things = [*world.scene(int(row)), *world.second(int(row))]
        (thing,) = [it for it in things if it.concept in question.text]
        assert question.answer in (thing.colour, thing.size, "medium-sized")
    method, _ = begun()
    method.float()
    scores = Likelihood()(method, data, rows)
    assert scores.value("nats") > 0
    assert set(Answers()(method, data, rows).metrics) >= {"accuracy"}
    # The second picture is read: without it the replies are as likely as behind a copy of the first one.
    exchange = [Exchange("What colour is the cat?", "red")]
    one, other = (
        method.log_likelihood_of_words([torch.stack([PICTURES[0], PICTURES[k]])], exchange)[0] for k in (1, 2)
    )
    assert not torch.allclose(one, other)
