"""The mathematics of the claims about sentence embeddings."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from counterpoint.claims.benches import glosses
from counterpoint.claims.benches.glosses import Encoder, Pairs
from counterpoint.claims.text import simcse, whitened_cse
from counterpoint.networks.init import seeded

HYPERNYMS = {
    "entity": [],
    "animal": ["entity"],
    "dog": ["animal"],
    "puppy": ["dog"],
    "cat": ["animal"],
    "tool": ["entity"],
    "robot dog": ["tool", "dog"],
}
LINE = (
    "02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 004 @ 02083346 n 0000 @ 01317541 n 0000 "
    '#m 02083863 n 0000 ~ 01322604 n 0000 | a member of the genus Canis; domesticated; "the dog barked"  '
)


def test_a_line_of_wordnet_gives_hypernyms_and_the_gloss_without_examples() -> None:
    synset, above, gloss = glosses.parse(LINE)
    assert synset == "02084071"
    assert above == ["02083346", "01317541"]
    assert gloss == "a member of the genus Canis; domesticated"


def test_similarity_is_that_of_wu_and_palmer() -> None:
    names = list(HYPERNYMS)
    found = glosses.similarities(names, HYPERNYMS)
    similarity = {(a, b): found[i, j] for i, a in enumerate(names) for j, b in enumerate(names)}
    assert similarity["dog", "dog"] == 1
    assert similarity["dog", "puppy"] == pytest.approx(2 * 3 / (1 + 2 * 3))
    assert similarity["dog", "cat"] == pytest.approx(
        2 * 2 / (2 + 2 * 2)
    )  # under animal, the second from the top
    assert similarity["puppy", "cat"] == pytest.approx(2 * 2 / (3 + 2 * 2))
    assert similarity["cat", "tool"] == pytest.approx(2 * 1 / (3 + 2 * 1))
    # Two ways up: over dog, which is deep, and over tool.
    assert similarity["puppy", "robot dog"] == pytest.approx(2 * 3 / (2 + 2 * 3))
    assert similarity["tool", "robot dog"] == pytest.approx(2 * 2 / (1 + 2 * 2))
    assert np.array_equal(found, found.T)


def test_pairs_are_drawn_from_every_tenth_of_similarity() -> None:
    similarity = np.full((60, 60), 0.15)
    similarity[:3, :3] = 0.95
    first, second, alike = glosses.some_of_each(similarity)
    near = alike == 0.95
    assert sorted(zip(first[near], second[near], strict=True)) == [(0, 1), (0, 2), (1, 2)]
    assert (~near).sum() == glosses.PER_TENTH
    assert (first < second).all()
    assert (similarity[first, second] == alike).all()


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
