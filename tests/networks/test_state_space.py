"""State-space layers: a loop in float64, parity with the mixers of transformers, and routed projections."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import transformers
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

from counterpoint.networks.init import initialise
from counterpoint.networks.state_space import (
    DualMixer,
    SelectiveMixer,
    SplitLinear,
    linear_recurrence,
    routed,
)
from counterpoint.networks.towers.chat import Chat
from counterpoint.networks.towers.language import RANDOM, LanguageTower, Mamba
from counterpoint.raw import Exchange

PICTURE = torch.tensor([False, True, True, True, False, False, False])


@pytest.fixture(scope="module")
def chat() -> Chat:
    return Chat.fit([[(Exchange("what runs?", "a cat runs"),)]], vocabulary=280, context=24)


def of_transformers(width: int = 8) -> Any:
    torch.manual_seed(0)
    config = transformers.MambaConfig(hidden_size=width, state_size=4, num_hidden_layers=1, vocab_size=9)
    return transformers.MambaForCausalLM(config).backbone.layers[0].mixer


def test_the_recurrence_is_a_loop_with_exact_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    decay, x = (torch.rand(5, 2, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    expected = [x[0]]
    for t in range(1, 5):
        expected.append(decay[t] * expected[-1] + x[t])
    torch.testing.assert_close(linear_recurrence(decay, x), torch.stack(expected))
    assert torch.autograd.gradcheck(linear_recurrence, (decay.requires_grad_(), x.requires_grad_()))


def test_the_mixer_is_that_of_transformers() -> None:
    theirs = of_transformers()
    ours = SelectiveMixer(copy.deepcopy(theirs))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    h = torch.randn(2, 7, 8)
    torch.testing.assert_close(ours(h), theirs(h), atol=1e-5, rtol=1e-4)
    ours(h).square().sum().backward()
    theirs(h).square().sum().backward()
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, atol=1e-4, rtol=1e-3, msg=name)


def test_equal_weights_of_both_kinds_are_the_dense_mixer() -> None:
    dense = SelectiveMixer(of_transformers())
    split = copy.deepcopy(dense)
    split.split(("in", "x", "dt", "out"))
    h = torch.randn(2, 7, 8)
    layers = [layer for layer in split.modules() if isinstance(layer, SplitLinear)]
    assert len(layers) == 4
    for kinds in (None, PICTURE, ~PICTURE):
        with routed(layers, kinds):
            torch.testing.assert_close(split(h), dense(h))


def test_each_token_is_read_by_the_weights_of_its_kind() -> None:
    layer = SplitLinear(torch.nn.Linear(3, 2))
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 7, 3)
    with routed([layer], PICTURE):
        output = layer(x)
    for t, of_picture in enumerate(PICTURE.tolist()):
        expected = x[:, t] @ layer.weight[int(of_picture)].T + layer.bias[int(of_picture)]
        torch.testing.assert_close(output[:, t], expected)
    assert layer.of_pictures is None


def test_the_bias_of_step_sizes_is_split_too() -> None:
    mixer = SelectiveMixer(of_transformers())
    mixer.split(("dt",))
    h = torch.randn(1, 7, 8)
    with routed([mixer.dt_proj], PICTURE):
        before = mixer(h)
        torch.nn.init.constant_(mixer.dt_proj.bias[1], -20.0)  # steps of size 0
        after = mixer(h)
    assert torch.equal(after[:, :1], before[:, :1])
    assert not torch.allclose(after[:, 1:4], before[:, 1:4])


def test_the_quadratic_form_is_the_chunked_scan_of_transformers() -> None:
    config = transformers.Mamba2Config(
        hidden_size=16, state_size=4, num_heads=4, head_dim=8, n_groups=1, chunk_size=4, num_hidden_layers=1
    )
    theirs, ours = Mamba2Mixer(config, 0), DualMixer(16, size=4, head=8)
    initialise(ours, 0)
    theirs.load_state_dict(ours.state_dict())
    h = torch.randn(3, 11, 16)
    torch.testing.assert_close(ours(h), theirs(h), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["mamba", "mamba2"])
def test_a_state_space_model_refuses_masks_and_positions(name: str, chat: Chat) -> None:
    tower = RANDOM[name](chat, 16, 2, 0)
    tower.name = name
    embedded = torch.randn(2, 5, 16)
    plain = tower.token_states(embedded)
    torch.testing.assert_close(plain[:, :3], tower.token_states(embedded[:, :3]), msg="causal")
    shifted = tower.token_states(embedded, before={0: lambda x: x + 1})
    torch.testing.assert_close(shifted, tower.token_states(embedded + 1))
    with pytest.raises(ValueError, match=f"{name}' reads tokens in their order into a state"):
        tower.token_states(embedded, mask=torch.ones(2, 5, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="take a Transformer, such as llama"):
        tower.token_states(embedded, positions=torch.arange(5).expand(2, -1))
    assert not RANDOM["llama"](chat, 16, 1, 0).recurrent


def test_a_mamba_is_that_of_transformers(chat: Chat) -> None:
    tower = Mamba(chat, 16, 2, 0)
    theirs = transformers.MambaForCausalLM(tower.model.config)
    theirs.load_state_dict(tower.model.state_dict())
    tokens = torch.randint(0, chat.vocabulary, (2, 9))
    states = tower.token_states(tower.embed(tokens))
    torch.testing.assert_close(tower.head(states), theirs(tokens).logits, atol=1e-4, rtol=1e-4)


def test_a_split_mamba_begins_as_it_was(chat: Chat) -> None:
    tower = Mamba(chat, 16, 2, 0)
    embedded = torch.randn(2, 7, 16)
    dense = tower.token_states(embedded)
    tower.split(("x", "out"))
    torch.testing.assert_close(tower.token_states(embedded, of_pictures=PICTURE), dense)
    with pytest.raises(ValueError, match="unknown projection of a Mamba"):
        tower.split(("gate",))


@pytest.mark.parametrize("name", list(RANDOM))
def test_weights_follow_the_seed(name: str, chat: Chat) -> None:
    def weights(seed: int) -> torch.Tensor:
        tower: LanguageTower = RANDOM[name](chat, 16, 1, seed)
        return torch.cat([p.detach().flatten() for p in tower.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))
