"""The mathematics of the claims about sentence embeddings."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from counterpoint.claims.benches.data import glosses
from counterpoint.claims.benches.data.glosses import Encoder, Pairs
from counterpoint.claims.text import simcse, whitened_cse
from counterpoint.networks.init import seeded


def test_dropout_makes_the_views_differ_and_nothing_else_does() -> None:
    encoder, tokens = Encoder(0), torch.randint(1, 100, (8, glosses.LENGTH), generator=torch.Generator())
    with seeded(0, "masks"):
        one, two = simcse.dropout(encoder, tokens)
        assert not torch.equal(one, two)
        for views in (simcse.one_mask, simcse.no_dropout):
            one, two = views(encoder, tokens)
            assert torch.equal(one, two)
        one, two = simcse.deletion(encoder, tokens)
        assert not torch.equal(one, two)


def test_an_encoder_takes_the_words_of_a_gloss_in_any_order_and_no_padding() -> None:
    encoder = Encoder(0)
    tokens = torch.tensor([[5, 7, 9, 0], [9, 5, 7, 0], [0, 9, 7, 5]])
    z = encoder(tokens)
    assert torch.allclose(z, z[:1].expand_as(z), atol=1e-6)


def test_a_ranking_that_follows_the_similarity_is_perfect() -> None:
    encoder = Encoder(0)
    with torch.no_grad():
        for layer in (encoder.down, encoder.up):
            layer.weight.zero_()
            layer.bias.zero_()
        for word, angle in enumerate([0.0, 0.1, 0.3, 0.7]):
            encoder.words.weight[word + 1] = 0.0
            encoder.words.weight[word + 1, :2] = torch.tensor([math.cos(angle), math.sin(angle)])
    tokens = torch.arange(1, 5)[:, None]
    pairs = Pairs(tokens, np.array([0, 0, 0]), np.array([1, 2, 3]), np.array([0.95, 0.5, 0.2]))
    found = glosses.judged(encoder, pairs)
    assert found["rank correlation"] == pytest.approx(1.0)
    assert found["alignment"] == pytest.approx(2 - 2 * math.cos(0.1), abs=1e-6)
    assert 0.5 < found["first singular value"] < 1.0
    backwards = Pairs(tokens, pairs.first, pairs.second, pairs.similarity[::-1].copy())
    assert glosses.judged(encoder, backwards)["rank correlation"] == pytest.approx(-1.0)


@pytest.mark.parametrize("name", list(whitened_cse.properties()))
def test_whitening_has_the_properties_of_its_card(name: str) -> None:
    assert whitened_cse.properties()[name] < 1e-4
