"""DPO: its loss and gradients by a plain loop, the reference at the start, ties, limits, and rows that do not fit."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoint.methods import Needs
from counterpoint.methods.arm import Arm
from counterpoint.methods.sft import SFT
from counterpoint.raw import Exchange
from counterpoint.types import StepInfo
from fixtures.speaking import GOOD, batch_of, speaking

CLOCK = StepInfo(0, 10)


def begun(arm: str) -> tuple[Any, Any]:
    method = speaking(arm, "talk", "worse")
    batch = batch_of(method)
    with torch.no_grad():
        method.on_epoch_start(SimpleNamespace(ids=batch.ids, labels={}, map=lambda f: f(batch)), CLOCK)
    return method, batch


def moved(method: Any) -> None:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in method.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(noise, alpha=0.02)


def summed(method: Any, picture: Tensor, talk: Tensor) -> Tensor:
    """Return the log-likelihood of one reply, from the logits of all tokens of its conversation."""
    speaker = method.speaker
    length = int((talk[2] > 0).sum())
    tokens = talk[0, :length][None]
    given = speaker.given(speaker.patches(picture[None]))
    log_p = method.language.head(speaker.states(tokens, given)).log_softmax(-1)[0]
    terms = [log_p[t - 1, tokens[0, t]] for t in range(1, length) if talk[1, t]]
    return torch.stack(terms).sum()


@pytest.mark.parametrize("sft", [0.0, 0.5])
def test_loss_and_gradients_are_those_of_a_loop(sft: float) -> None:
    method, batch = begun(f"dpo,beta=0.3,sft={sft}")
    with torch.no_grad():
        reference = [
            [summed(method, batch["image"][i], batch[c][i]) for c in ("talk", "worse")] for i in range(4)
        ]
    moved(method)
    total = sum(method.losses(method.encode(batch), batch, CLOCK).values())
    total.backward()
    gradients = {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}
    method.zero_grad()
    terms, nll, count = [], [], 0
    for i in range(4):
        good, worse = (summed(method, batch["image"][i], batch[c][i]) for c in ("talk", "worse"))
        nll.append(-good)
        count += int(batch["talk"][i, 1].sum())
        if i != 3:  # its replies are equal
            margin = 0.3 * ((good - reference[i][0]) - (worse - reference[i][1]))
            terms.append(torch.log1p(torch.exp(-margin)))
    expected = torch.stack(terms).mean() + sft * torch.stack(nll).sum() / count
    expected.backward()
    torch.testing.assert_close(total, expected)
    assert gradients
    for name, parameter in method.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad)


def test_the_run_begins_at_the_reference_and_says_how_pairs_move() -> None:
    method, batch = begun("dpo")
    loss = method.losses(method.encode(batch), batch, CLOCK)["dpo"]
    assert loss.item() == pytest.approx(math.log(2))
    assert method.numbers()["margin"] == pytest.approx(0)
    assert method.numbers()["left_out"] == 1
    optimizer = torch.optim.Adam(method.parameters(), 1e-3)
    for _ in range(5):
        optimizer.zero_grad()
        method.losses(method.encode(batch), batch, CLOCK)["dpo"].backward()
        optimizer.step()
    numbers = method.numbers()
    assert numbers["good_reward"] > numbers["worse_reward"]
    assert numbers["margin"] == pytest.approx(numbers["good_reward"] - numbers["worse_reward"])
    assert numbers["in_order"] == 1


def test_without_beta_it_is_sft() -> None:
    method, batch = begun("dpo,beta=0,sft=1")
    moved(method)
    z = method.encode(batch)
    terms = method.losses(z, batch, CLOCK)
    (expected,) = SFT.losses(method, z, batch, CLOCK).values()
    torch.testing.assert_close(terms["sft"], expected)
    assert terms["dpo"].item() == pytest.approx(math.log(2))


def test_rows_of_several_exchanges_are_refused() -> None:
    method, batch = begun("dpo")
    other = [(Exchange("Where?", reply),) for reply in GOOD]
    shown = replace(batch, views={**batch.views, "talk": method.inputs["talk"](other)})
    with pytest.raises(ValueError, match="a row has several: take one exchange of each row"):
        method.losses(method.encode(shown), shown, CLOCK)


def test_an_arm_names_the_column_of_worse_replies() -> None:
    columns = {"image": "image", "talk": "talk", "noise": "talk", "blind": "talk"}
    assert Arm.parse("dpo,worse=blind").columns == ("image", "talk", "blind")
    assert [*Arm.parse("dpo,worse=blind").reads(columns)] == ["image", "talk", "blind"]
    assert [*Arm.parse("dpo").reads(columns)] == ["image", "talk", "noise"]
    assert [*Arm.parse("sft").reads(columns)] == ["image", "talk"]
    assert [*Arm.parse("dpo,worse=noise+blind").reads(columns)] == ["image", "talk", "noise", "blind"]
    with pytest.raises(ValueError, match="dpo takes a column of image"):
        Arm.parse("dpo,columns=talk+image+noise+blind").reads(columns)
    with pytest.raises(ValueError, match="worse=blind names columns, and so does another option"):
        Arm.parse("dpo,worse=blind,columns=image+talk")
    with pytest.raises(ValueError, match="dpo takes a column of image and one of talk and one of talk"):
        Needs(3, None, modalities=("image", "talk", "talk")).choose("dpo", {"image": "image", "talk": "talk"})
