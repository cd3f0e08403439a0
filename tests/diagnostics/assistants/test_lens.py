"""The scores on states whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from counterpoint.diagnostics.assistants.lens import confidence, logit_lens, similarities, support
from counterpoint.diagnostics.assistants.reading import ReplyReading, Unembedding


def reading(places: torch.Tensor, words: torch.Tensor, tokens: list[int] | None = None) -> ReplyReading:
    m = words.shape[1]
    log_p = torch.full((m,), math.log(0.25))
    return ReplyReading(places, words, words.roll(1, 1), torch.tensor(tokens or [0] * m), log_p)


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def loops(it: ReplyReading, centred: bool) -> torch.Tensor:
    layers = len(it.patches)
    found = torch.zeros(layers, layers)
    for i in range(layers):
        common = it.patches[i].flatten(0, 1).mean(0) if centred else torch.zeros(it.patches.shape[-1])
        for t in range(layers):
            a = it.words[t].mean(0) - common
            values = [
                float((v - common) @ a / ((v - common).norm() * a.norm()))
                for v in it.patches[i].flatten(0, 1)
            ]
            found[i, t] = max(values)
    return found


@pytest.mark.parametrize("centred", [False, True])
def test_support_highest_cosine_by_layer_of_places_and_of_words(centred: bool) -> None:
    it = reading(drawn(0, 3, 2, 4, 5), drawn(1, 3, 2, 5))
    found = support(it, centred=centred)
    assert found.shape == (3, 3)
    assert torch.allclose(found, loops(it, centred), atol=1e-5)
    for i in range(3):
        for t in range(3):
            heat = similarities(it.patches[i], it.meaning()[t], centred=centred)
            assert heat.shape == (2, 4)
            assert float(heat.max()) == pytest.approx(float(found[i, t]), abs=1e-5)


def test_planted_place_supports_its_words_and_no_others() -> None:
    places = torch.zeros(1, 2, 2, 4)
    places[0, 0, 1] = torch.tensor([3.0, 0.0, 0.0, 0.0])
    places[0, 1, 0] = torch.tensor([0.0, 0.0, 4.0, 0.0])
    there = reading(places, torch.tensor([[[5.0, 0.0, 0.0, 0.0]]]))
    absent = reading(places, torch.tensor([[[0.0, 1.0, 0.0, 0.0]]]))
    assert support(there).item() == pytest.approx(1.0)
    assert support(absent).item() == pytest.approx(0.0)


def test_a_reply_of_the_same_words_is_judged_by_the_picture() -> None:
    words = drawn(2, 1, 1, 6)
    scores = [support(reading(drawn(seed, 1, 3, 3, 6), words)).item() for seed in range(4)]
    assert len({round(score, 6) for score in scores}) == 4


def test_only_the_tokens_asked_about_count() -> None:
    it = reading(drawn(3, 2, 2, 2, 4), drawn(4, 2, 3, 4))
    one = reading(it.patches, it.words[:, 1:2])
    assert torch.allclose(support(it, slice(1, 2)), support(one))
    with pytest.raises(ValueError, match="nothing to average"):
        support(it, slice(3, 3))


def test_centring_takes_off_a_common_direction() -> None:
    places, words = drawn(5, 1, 3, 3, 8), drawn(6, 1, 1, 8)
    common = 50 * torch.ones(8)
    shifted = reading(places + common, words + common)
    assert support(shifted).item() > 0.99
    own = places[0].flatten(0, 1)
    centred = torch.nn.functional.cosine_similarity(
        own - own.mean(0), words[0, 0] - own.mean(0), dim=-1
    ).max()
    assert support(shifted, centred=True).item() == pytest.approx(float(centred), abs=1e-4)


class TinyLens(Unembedding):
    """Doubling in place of a norm, then a head of three words."""

    def __init__(self) -> None:
        self.norm = lambda states: 2 * states
        self.head = torch.nn.Linear(2, 3, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))


def test_logit_lens_norms_every_layer_but_the_last() -> None:
    places = torch.zeros(2, 1, 2, 2)
    places[:, 0, 0] = torch.tensor([1.0, 0.0])
    before, last = (math.exp(z) / (math.exp(z) + 2) for z in (2.0, 1.0))
    assert logit_lens(places, TinyLens(), [0]).tolist() == pytest.approx([before, last])


def test_logit_lens_takes_the_likeliest_place_and_token() -> None:
    places = torch.zeros(1, 1, 2, 2)
    places[0, 0, 0], places[0, 0, 1] = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 1.0])
    assert logit_lens(places, TinyLens(), [0, 1]).item() == pytest.approx(math.exp(3) / (math.exp(3) + 2))
    assert logit_lens(places, TinyLens(), [1]).item() == pytest.approx(math.e / (math.e + 2))
    with pytest.raises(ValueError, match="no tokens to look for"):
        logit_lens(places, TinyLens(), [])


def test_confidence_is_the_mean_probability() -> None:
    it = reading(torch.zeros(1, 1, 1, 2), torch.zeros(1, 2, 2))
    assert confidence(it) == pytest.approx(0.25)
