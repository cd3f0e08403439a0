"""Log-probabilities of tokens in tiles: equal to cross-entropy in value and gradient, and no large tensor."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

from counterpoint.networks.token_likelihood import shaped_logits, token_log_p
from counterpoint.networks.towers.chat import Chat
from counterpoint.networks.towers.language import LanguageTower
from counterpoint.raw import Exchange
from counterpoint.testing._memory import LargestTensor, kept_bytes

TOKENS, WIDTH, WORDS = 150, 5, 7
"""Three tiles of 64, the last one smaller."""
TILED = 64 * WORDS


def drawn(bias: bool = True, dtype: torch.dtype = torch.float64) -> tuple[nn.Linear, Tensor, Tensor]:
    """Return a head, states and tokens."""
    random = torch.Generator().manual_seed(0)
    head = nn.Linear(WIDTH, WORDS, bias).to(dtype)
    for p in head.parameters():
        p.data = 2 * torch.randn(p.shape, generator=random).to(dtype)
    states = torch.randn(TOKENS, WIDTH, generator=random).to(dtype).requires_grad_()
    return head, states, torch.randint(WORDS, (TOKENS,), generator=random)


def gradients(log_p: Tensor, weights: Tensor, head: nn.Linear, states: Tensor) -> list[Tensor]:
    moving = [states, *(p for p in head.parameters() if p.requires_grad)]
    return [*torch.autograd.grad((weights * log_p).sum(), moving)]


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize(("bias", "scale", "cap"), [(True, 1.0, None), (False, 0.5, None), (True, 2.0, 3.0)])
def test_tiles_equal_cross_entropy(equal: bool, bias: bool, scale: float, cap: float | None) -> None:
    head, states, tokens = drawn(bias)
    weights = torch.full((TOKENS,), -0.3).double() if equal else torch.linspace(-1, 2, TOKENS).double()
    logits = scale * head(states)
    logits = logits if cap is None else cap * (logits / cap).tanh()
    expected = -F.cross_entropy(logits, tokens, reduction="none")
    found = token_log_p(head, states, tokens, scale=scale, cap=cap, at_once=TILED)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    pairs = zip(
        gradients(found, weights, head, states), gradients(expected, weights, head, states), strict=True
    )
    for mine, its in pairs:
        torch.testing.assert_close(mine, its, rtol=1e-11, atol=1e-12)


def test_one_tile_is_cross_entropy_to_the_last_bit() -> None:
    head, states, tokens = drawn(dtype=torch.float32)
    expected = -F.cross_entropy(head(states), tokens, reduction="none")
    assert torch.equal(token_log_p(head, states, tokens), expected)


def test_a_frozen_head_gets_no_gradient_and_without_gradients_none_is_computed() -> None:
    head, states, tokens = drawn()
    head.requires_grad_(False)
    found = token_log_p(head, states, tokens, at_once=TILED)
    (mine,) = gradients(found, torch.ones(TOKENS).double(), head, states)
    (its,) = gradients(token_log_p(head, states, tokens), torch.ones(TOKENS).double(), head, states)
    torch.testing.assert_close(mine, its)
    with torch.no_grad():
        assert not token_log_p(head, states, tokens, at_once=TILED).requires_grad


def test_half_precision_is_reduced_in_float32() -> None:
    head, states, tokens = drawn(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = token_log_p(head, states, tokens, at_once=TILED)
        expected = token_log_p(head, states, tokens)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)
    weights = torch.ones(TOKENS)
    pairs = zip(
        gradients(found, weights, head, states), gradients(expected, weights, head, states), strict=True
    )
    for mine, its in pairs:
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine, its, rtol=0.05, atol=0.05 * float(its.abs().max()))


def test_no_tensor_is_as_large_as_tokens_times_words() -> None:
    head, states = nn.Linear(8, 512, bias=False), torch.randn(2048, 8, requires_grad=True)
    tokens = torch.randint(512, (2048,))
    kept, largest = [], []
    for at_once in (64 * 512, 2**30):
        with kept_bytes() as held, LargestTensor() as mode:
            log_p = token_log_p(head, states, tokens, at_once=at_once)
            kept.append(held.bytes)
            torch.autograd.backward(log_p.sum())
        largest.append(mode.numel)
    assert largest == [64 * 512, 2048 * 512]
    assert kept[0] < kept[1] / 8


@pytest.mark.parametrize(
    ("kind", "options"),
    [("Gemma2", {"head_dim": 8, "final_logit_softcapping": 0.1}), ("Cohere", {"logit_scale": 0.25})],
)
def test_logits_are_those_of_the_language_model(kind: str, options: dict[str, Any]) -> None:
    chat = Chat.fit([[(Exchange("What is it?", "A cat."),)]], vocabulary=270, context=24)
    config: Any = getattr(transformers, f"{kind}Config")(
        vocab_size=chat.vocabulary,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=chat.padding,
        **options,
    )
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    tower, tokens = LanguageTower(model, chat), chat([(Exchange("What?", "A cat."),)])[:, 0]
    with torch.no_grad():
        states = tower.token_states(tower.embed(tokens))
        expected = model(input_ids=tokens).logits
        torch.testing.assert_close(tower.logits(states), expected)
        own = expected[0, :-1].log_softmax(-1).gather(1, tokens[0, 1:, None])[:, 0]
        torch.testing.assert_close(tower.log_p(states[0, :-1], tokens[0, 1:]), own)


def test_a_cap_bounds_logits() -> None:
    values = torch.tensor([-1e4, 0.0, 1e4])
    assert shaped_logits(values, 2.0, 3.0).tolist() == [-3.0, 0.0, 3.0]
    assert shaped_logits(values).equal(values)
