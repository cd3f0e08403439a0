"""Words made from pictures: their lengths, what they depend on, and updates of a rank."""

from __future__ import annotations

import torch
from torch import nn

from counterpoint.networks.concept_word import ConceptEncoder, LowRankUpdate, matched_norm
from counterpoint.networks.init import initialise


def test_lengths_are_matched_with_gradient_and_the_direction_stays() -> None:
    vectors = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    like = torch.tensor([[3.0, 4, 0, 0, 0], [0, 0, 1, 0, 0]], dtype=torch.float64, requires_grad=True)
    matched = matched_norm(vectors, like)  # a name of two pieces: the mean of 5 and 1
    torch.testing.assert_close(matched.norm(dim=1), torch.full((3,), 3.0, dtype=torch.float64))
    torch.testing.assert_close(torch.cosine_similarity(matched, vectors), torch.ones(3, dtype=torch.float64))
    gradient, of_name = torch.autograd.grad(matched[:, 0].sum(), (vectors, like), allow_unused=True)
    assert of_name is None
    # It changes the direction alone: along the vector itself nothing changes.
    torch.testing.assert_close((gradient * vectors).sum(1), torch.zeros(3, dtype=torch.float64))
    assert gradient.abs().sum() > 0
    assert matched_norm(torch.zeros(5), torch.ones(1, 5)).isfinite().all()


def encoder() -> ConceptEncoder:
    made = ConceptEncoder(8, 6, 20, 4, queries=3)
    initialise(made, 0)
    return made


def test_a_word_follows_from_picture_name_and_queries() -> None:
    made, features = encoder(), torch.randn(2, 9, 6)
    name = torch.tensor([3, 5])
    vectors = made(features, name)
    assert vectors.shape == (2, 8)
    torch.testing.assert_close(made(features[1:], name), vectors[1:], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(vectors[0], vectors[1])
    assert not torch.allclose(made(features, torch.tensor([4])), vectors)
    vectors.square().sum().backward()
    trained = {name: it for name, it in made.named_parameters() if it.requires_grad}
    unmoved = {name for name, it in trained.items() if it.grad is None or not it.grad.abs().max() > 1e-9}
    # Adding a number to all scores changes no attention.
    assert all("key.bias" in it for it in unmoved), unmoved
    gradient = made.transformer.query.weight.grad
    assert gradient is not None
    assert gradient.any(1).all()  # all queries learn


def test_an_update_is_0_at_the_start_and_of_a_rank() -> None:
    update = LowRankUpdate(6, 8, rank=3)
    assert update().shape == (6, 8)
    assert not update().any()
    (gradient,) = torch.autograd.grad(update().sum(), update.up)
    assert gradient.any()
    nn.init.normal_(update.up)
    assert torch.linalg.matrix_rank(update()) == 3
    assert LowRankUpdate(2, 8, rank=16).up.shape == (2, 2)
