"""Fine-tuning with gated cross-attention: parity with Idefics, what the gates let through, levels and experts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers.models.idefics.configuration_idefics import IdeficsConfig
from transformers.models.idefics.modeling_idefics import IdeficsGatedCrossAttentionLayer

from counterpoint.methods import create
from counterpoint.networks import VisionTransformer, initialise
from counterpoint.networks.bridges.base import Seen
from counterpoint.networks.bridges.crossed import CrossedBridge
from counterpoint.networks.experts import MixtureOfExperts, load_balance, recorded_routings
from counterpoint.networks.fusion.gated_cross_attention import GatedCrossAttention
from counterpoint.testing._stubs import RECIPE, stub_towers
from counterpoint.types import StepInfo
from fixtures.speaking import batch_of, speaking

CLOCK = StepInfo(0, 10)


def opened(method: Any) -> Any:
    """Return a method whose gates are open."""
    for name, parameter in method.named_parameters():
        if name.endswith("gate"):
            nn.init.constant_(parameter, 0.7)
    return method


def states_of(method: Any, batch: Any) -> torch.Tensor:
    speaker = method.speaker
    return speaker.states(batch["talk"][:, 0], speaker.given(speaker.patches(batch["image"])))


def test_block_is_that_of_idefics() -> None:
    width, context = 16, 12
    ours = opened(GatedCrossAttention(width, context))
    initialise(ours, 0)
    config = IdeficsConfig(
        hidden_size=width,
        num_attention_heads=4,
        intermediate_size=4 * width,
        vision_config={"embed_dim": context},
        qk_layer_norms=False,
        alpha_type="float",
        attn_implementation="eager",
    )
    theirs = IdeficsGatedCrossAttentionLayer(config, layer_idx=0).eval()
    # The norms and the feed-forward part are Flamingo's, and not those of a Llama.
    theirs.input_layernorm, theirs.post_attention_layernorm = ours.norm, ours.feed_norm
    theirs.mlp = ours.feed_forward
    k, v = ours.kv.weight.chunk(2)
    for part, weight in {"q": ours.q.weight, "k": k, "v": v, "o": ours.out.weight}.items():
        getattr(theirs.cross_attn, f"{part}_proj").weight.data = weight.data
    theirs.alpha_cross_attn.data = ours.attention_gate.data
    theirs.alpha_dense.data = ours.feed_gate.data
    x, seen = torch.randn(2, 5, width), torch.randn(2, 7, context)
    expected = theirs(x, image_hidden_states=seen, cross_attention_gate=torch.ones(2, 5))
    torch.testing.assert_close(ours(x, seen), expected)


def test_closed_gates_change_nothing_and_learn_first() -> None:
    method = speaking("sft,bridge=crossed,tokens=3", "talk")
    batch = batch_of(method)
    speaker = method.speaker
    tokens = speaker.bridge.learned_tokens(4)
    language, opening = method.language, method.language.chat.opening
    text = language.embed(batch["talk"][:, 0])
    whole = torch.cat([text[:, :opening], tokens, text[:, opening:]], 1)
    expected = language.token_states(whole)
    expected = torch.cat([expected[:, :opening], expected[:, opening + 3 :]], 1)
    assert torch.equal(states_of(method, batch), expected)
    method.losses(method.encode(batch), batch, CLOCK)["nll"].backward()
    for block in speaker.bridge.blocks:
        moved = {name for name, p in block.named_parameters() if p.grad is not None and p.grad.any()}
        assert moved == {"attention_gate", "feed_gate"}
        assert block.out.weight.any()


def test_text_in_front_of_the_picture_stays_to_the_last_bit() -> None:
    method = opened(speaking("sft,bridge=crossed,tokens=3", "talk"))
    batch = batch_of(method)
    tokens, opening = batch["talk"][:, 0], method.language.chat.opening
    assert opening > 0
    alone = method.speaker.states(tokens, None)
    assert torch.equal(states_of(method, batch)[:, :opening], alone[:, :opening])
    assert not torch.isclose(states_of(method, batch)[:, opening:], alone[:, opening:]).all(-1).any()


def test_a_hidden_picture_is_read_in_no_layer() -> None:
    method = opened(speaking("sft,bridge=crossed,tokens=3", "talk"))
    batch, speaker = batch_of(method), method.speaker
    one, other = (
        speaker.given(speaker.patches(pictures)) for pictures in (batch["image"], batch["image"].flip(0))
    )
    tokens = batch["talk"][:, 0]
    assert not torch.allclose(speaker.states(tokens, one), speaker.states(tokens, other))
    hidden = (speaker.states(tokens, given, hidden=True) for given in (one, other))
    torch.testing.assert_close(*hidden, rtol=0, atol=0)


def test_levels_of_a_tower_are_the_states_behind_its_blocks() -> None:
    tower = VisionTransformer(16, 8, width=12, depth=3, heads=2)
    initialise(tower, 0)
    pictures = torch.rand(2, 3, 16, 16)
    pixels, positions = tower.pixels_and_positions(pictures)
    x, states = tower.patch_embedding(pixels) + positions, []
    for block in tower.blocks:
        x = block(x)
        states.append(x.mT.unflatten(2, (2, 2)))
    last = tower.patches(pictures)
    torch.testing.assert_close(tower.patch_levels(pictures, 3), (*states[:2], last))
    torch.testing.assert_close(tower.patch_levels(pictures, 2), (states[0], last))
    torch.testing.assert_close(tower.patch_levels(pictures, 1), (last,))


def test_levels_go_to_parts_of_the_depth_with_a_norm_each() -> None:
    bridge = opened(CrossedBridge(4, 8, (2, 2), 2, layers=6, levels=3))
    initialise(bridge, 0)
    assert bridge.level_of == {0: 0, 1: 0, 2: 1, 3: 1, 4: 2, 5: 2}
    levels = torch.randn(3, 2, 4, 4)
    scaled = levels * torch.tensor([100.0, 1.0, 0.1])[:, None, None, None]
    states = torch.randn(2, 7, 8)

    def read(seen: torch.Tensor, layer: int) -> torch.Tensor:
        return bridge(Seen(tuple(seen), (2, 2))).before[layer](states, 1)

    for layer, level in bridge.level_of.items():
        changed = levels.clone()
        changed[level] += torch.randn(4)
        assert not torch.allclose(read(changed, layer), read(levels, layer))
        changed = torch.randn(3, 2, 4, 4)
        changed[level] = levels[level]
        assert torch.equal(read(changed, layer), read(levels, layer))
        torch.testing.assert_close(read(scaled, layer), read(levels, layer), rtol=1e-2, atol=1e-2)
    thinned = CrossedBridge(4, 8, (2, 2), layers=6, first=3, every=2, compression=2)
    assert [*thinned.level_of] == [3, 5]
    assert (thinned.deepest, thinned.tokens) == (5, 16)
    assert thinned.blocks[0].q.out_features == 4


def test_equal_experts_are_the_dense_block() -> None:
    dense, mixed = (opened(GatedCrossAttention(8, 6, experts)) for experts in (1, 4))
    initialise(dense, 0)
    state = dense.state_dict()
    for name in mixed.state_dict():
        dense_name = name if "experts" not in name else f"feed_forward.{name.split('.', 3)[3]}"
        if "router" not in name:
            mixed.state_dict()[name].copy_(state[dense_name])
    x, context = torch.randn(2, 5, 8), torch.randn(2, 3, 6)
    torch.testing.assert_close(mixed(x, context), dense(x, context), rtol=0, atol=1e-6)


def test_balance_counts_tokens_from_the_picture_on_without_padding() -> None:
    method = opened(speaking("sft,bridge=crossed,tokens=3,experts=4,balance=0.5", "talk"))
    batch, chosen, probabilities = batch_of(method), [], []
    balance = method.losses(method.encode(batch), batch, CLOCK)["balance"]
    mixtures = [part for part in method.modules() if isinstance(part, MixtureOfExperts)]
    assert len(mixtures) == 2
    speaker = method.speaker
    for row in range(4):  # read alone, a conversation has no padding
        length = int((batch["talk"][row, 2] > 0).sum())
        given = speaker.given(speaker.patches(batch["image"][row : row + 1]))
        with recorded_routings(mixtures) as seen:
            speaker.states(batch["talk"][row : row + 1, 0, :length], given)
        assert {len(it.chosen) for it in seen} == {3 + length - method.language.chat.opening}
        chosen += [nn.functional.one_hot(it.chosen, 4).sum(1).double() for it in seen]
        probabilities += [it.probabilities for it in seen]
    expected = 0.5 * load_balance(torch.cat(chosen).mean(0), torch.cat(probabilities).mean(0))
    torch.testing.assert_close(balance, expected)
    whole = method.losses(method.encode(batch), batch, CLOCK)
    parts = [method.encode(part) for part in batch.split(2)]
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    torch.testing.assert_close(method.losses(joined, batch, CLOCK), whole)


def test_replies_are_those_of_the_logits_and_options_must_fit() -> None:
    method = opened(speaking("sft,bridge=crossed,tokens=3", "talk"))
    batch, speaker = batch_of(method), method.speaker
    patches = speaker.patches(batch["image"])
    tokens = batch["talk"][:, 0]
    expected = method.language.head(states_of(method, batch)[:, -1])
    torch.testing.assert_close(speaker.next_logits(tokens, patches), expected)
    with pytest.raises(ValueError, match="bridge=linear has no option levels: leave levels=2 out"):
        speaking("sft,levels=2", "talk")
    with pytest.raises(ValueError, match="levels=2: the tower of pictures has 1 blocks"):
        speaking("sft,bridge=crossed,levels=2", "talk")
    with pytest.raises(LookupError, match="no features of patches between its blocks: take image=vit"):
        create("sft", stub_towers({"image": "image", "talk": "talk"}), RECIPE, bridge="crossed", levels=2)
    for options, message in (
        ({"first": 2}, "begins at layer 2, and the language model has 2"),
        ({"latents": 2, "levels": 2}, "levels=2: latents condense one level"),
        ({"compression": 3}, "compression=3 does not divide the width 8"),
    ):
        with pytest.raises(ValueError, match=message):
            CrossedBridge(4, 8, (2, 2), layers=2, **options)
