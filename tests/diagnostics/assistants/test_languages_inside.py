"""Alignment of languages by layer, the direction between them, and the language a layer would speak."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from counterpoint.diagnostics.assistants.languages import (
    alignment_by_layer,
    direction,
    language_shares,
    opening_tokens,
)
from counterpoint.diagnostics.assistants.reading import Unembedding


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_alignment_1_up_rotation_scale_shift_about_0_strangers() -> None:
    x = drawn(0, 200, 2, 6)
    rotation = torch.linalg.qr(drawn(1, 6, 6)).Q
    turned = torch.stack([3 * x[:, 0] @ rotation + 5, drawn(2, 200, 6)], 1)
    found = alignment_by_layer({"en": x, "de": turned})
    assert found.shape == (2, 2, 2)
    assert found[0].flatten().tolist() == pytest.approx([1.0] * 4, abs=1e-5)
    assert abs(float(found[1, 0, 1])) < 0.05


def test_few_examples_of_many_dimensions_do_not_look_alike() -> None:
    x, y = drawn(3, 20, 1, 400), drawn(4, 20, 1, 400)
    a, b = (z[:, 0] - z[:, 0].mean(0) for z in (x, y))
    biased = (b.T @ a).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm())
    assert float(biased) > 0.8
    found = torch.stack(
        [
            alignment_by_layer({"x": drawn(k, 20, 1, 400), "y": drawn(50 + k, 20, 1, 400)})[0, 0, 1]
            for k in range(20)
        ]
    )
    assert abs(float(found.mean())) < 0.1


def test_direction_is_the_difference_of_means() -> None:
    english, german = drawn(5, 30, 3, 4), drawn(6, 30, 3, 4)
    found = direction(german, english)
    for layer in range(3):
        assert torch.allclose(found[layer], german[:, layer].mean(0) - english[:, layer].mean(0), atol=1e-6)
    assert torch.allclose(direction(english + 2.0, english), torch.full((3, 4), 2.0), atol=1e-5)
    with pytest.raises(ValueError, match="same prompts"):
        direction(german[:20], english)


class Letters:
    """A token a letter; capitals and spaces are tokens of their own."""

    def __call__(self, texts: Sequence[str], add_special_tokens: bool) -> dict[str, list[list[int]]]:
        return {"input_ids": [[ord(c) for c in text] for text in texts]}


def test_only_tokens_of_one_language_count() -> None:
    found = opening_tokens(Letters(), {"en": ["cat", "dog"], "de": ["katze", "das"]})
    assert found == {"en": [ord("C"), ord("c")], "de": [ord("K"), ord("k")]}
    with pytest.raises(ValueError, match="'en' begins with a token"):
        opening_tokens(Letters(), {"en": ["cat"], "de": ["chat"]})


class Lens(Unembedding):
    def __init__(self) -> None:
        self.norm = torch.nn.Identity()
        self.head = torch.nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(3))


def test_shares_are_of_the_languages_own_tokens() -> None:
    states = torch.tensor([[[0.0, 0.0, 9.0], [2.0, 0.0, 0.0]]])
    shares = language_shares(states, Lens(), {"en": [0], "de": [1]})
    e = torch.e**2
    assert shares.flatten().tolist() == pytest.approx([0.5, 0.5, e / (1 + e), 1 / (1 + e)])
