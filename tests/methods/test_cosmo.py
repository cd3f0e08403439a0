"""CoSMo: the state that a text is read from, what its vector depends on, its contrast, and its limit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from counterpoint.networks.bridges.base import Seen
from counterpoint.types import StepInfo
from fixtures.speaking import PICTURES, RECIPE, TALKS, batch_of, speaking

CLOCK = StepInfo(0, 10)


def built(options: str = "", layers: int = 4) -> Any:
    """Return a method with open gates, on a language model of some layers."""
    towers = RECIPE.towers.model_copy(update={"talk_layers": layers})
    method = speaking(
        f"cosmo,latents=3{options}", "talk", recipe=RECIPE.model_copy(update={"towers": towers})
    )
    for name, parameter in method.named_parameters():
        if name.endswith("gate"):
            nn.init.constant_(parameter, 0.7)
    return method


def test_a_text_is_read_one_layer_before_the_half_that_reads_pictures() -> None:
    method = built()
    batch = batch_of(method)
    assert [*method.bridge.level_of] == [2]
    assert [*built(",every=1").bridge.level_of] == [2, 3]
    talk, language = batch["talk"], method.language
    tokens, opening = talk[:, 0], language.chat.opening
    text = language.embed(tokens)
    whole = torch.cat([text[:, :opening], method.bridge.learned_tokens(4), text[:, opening:]], 1)
    hidden = language.model(inputs_embeds=whole, output_hidden_states=True).hidden_states
    z = method.encode(batch)
    for row in range(4):
        length = int((talk[row, 2] > 0).sum()) + method.bridge.tokens
        states = hidden[method.depth - 1][row : row + 1, :length]
        query = method.query.weight[None]
        pooled = method.pooled_norm(method.pooling(query, torch.cat([states, query], 1)))[0, 0]
        torch.testing.assert_close(z["talk"][row], pooled)
    seen = Seen((method.speaker.patches(batch["image"]),), method.bridge.grid)
    torch.testing.assert_close(z["image"], method.bridge.resampler(seen).tokens[:, 0])


def test_no_vector_of_a_text_depends_on_a_picture_and_every_reply_does() -> None:
    method = built()
    batch = batch_of(method)
    other = replace(batch, views={**batch.views, "image": batch["image"].flip(0)})
    one, two = method.encode(batch), method.encode(other)
    torch.testing.assert_close(one["talk"], two["talk"], rtol=0, atol=0)
    spoken = batch["talk"][:, 1] > 0
    assert not torch.isclose(one["likelihood.talk"][spoken], two["likelihood.talk"][spoken]).any()
    # Padding has no part in the vector.
    alone = method.encode(next(iter(batch.split(1))))
    torch.testing.assert_close(alone["talk"][0], one["talk"][0])


def test_losses_are_the_likelihood_and_symmetric_contrast_from_a_flat_softmax() -> None:
    method = built(",contrast=0.5")
    batch = batch_of(method)
    z = method.encode(batch)
    losses = method.losses(z, batch, CLOCK)
    assert method.objective.temperature.inverse().item() == pytest.approx(math.exp(0.2), rel=1e-4)
    x = F.normalize(z["image"] @ method.projections["image"].weight.T, dim=-1)
    y = F.normalize(z["talk"] @ method.projections["talk"].weight.T, dim=-1)
    logits, own = x @ y.T * math.exp(0.2), torch.arange(4)
    expected = 0.25 * (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own))
    torch.testing.assert_close(losses["contrast"], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(method.embed("image", PICTURES).double(), x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(method.embed("talk", TALKS["talk"]), y)
    assert method.width == RECIPE.widths.embedding


def test_without_contrast_it_is_fine_tuning_through_the_same_bridge() -> None:
    method = built(",contrast=0")
    batch, speaker = batch_of(method), method.speaker
    losses = method.losses(method.encode(batch), batch, CLOCK)
    log_p = speaker.log_p(batch["talk"], speaker.given(speaker.patches(batch["image"])))
    torch.testing.assert_close(losses, {"nll": method.mean_over_tokens(log_p, batch["talk"])})
    losses["nll"].backward()
    unused = ("query", "pool", "projections", "objective")
    for name, parameter in method.named_parameters():
        assert parameter.requires_grad != name.startswith(unused), name


def test_a_language_model_of_one_layer_cannot_be_halved() -> None:
    with pytest.raises(ValueError, match="which has one layer"):
        built(layers=1)
