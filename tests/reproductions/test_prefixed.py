"""A small language model that reads what towers see."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.networks.fusion.feature_mixture import InterleavedMixture, visual_projector
from counterpoint.networks.init import seeded
from counterpoint.networks.towers.tokenizer import BytePairTokenizer
from counterpoint_reproductions.lab.prefix_lm import WIDTH, VisualReader
from counterpoint_reproductions.mmvp import told_apart

SAID = ["a red cat", "a blue cat on the left"]


@pytest.fixture
def reader() -> VisualReader:
    with seeded(0, "projector"):
        project = visual_projector(6, WIDTH)
    return VisualReader(project, BytePairTokenizer.train(SAID, 300, 12), 0).eval()


def places(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 4, 6, generator=torch.Generator().manual_seed(seed))


def test_a_statement_is_as_likely_beside_a_longer_one_as_alone(reader: VisualReader) -> None:
    seen = places(2)
    together = reader.likelihoods([seen], SAID)
    alone = torch.cat([reader.likelihoods([seen[k : k + 1]], SAID[k : k + 1]) for k in range(2)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_the_likelihood_is_the_loss_of_the_language_model(reader: VisualReader) -> None:
    seen, words = places(1), reader.tokenizer(SAID[:1])
    visual, told = reader.project(seen), reader.language.get_input_embeddings()(words)
    labels = torch.cat([torch.full(visual.shape[:2], -100), words], 1)
    labels[:, visual.shape[1]] = -100  # the first word is given
    loss = reader.language(inputs_embeds=torch.cat([visual, told], 1), labels=labels).loss
    torch.testing.assert_close(reader.likelihoods([seen], SAID[:1]), -loss[None] * (words.shape[1] - 1))


def test_two_pictures_told_apart_where_second_tower_sees() -> None:
    blind, sees = places(1).expand(2, -1, -1), places(2, seed=1)
    words = BytePairTokenizer.train(SAID, 300, 12)
    first, second = np.array([0]), np.array([1])
    found = []
    for other in (blind, sees):
        with seeded(0, "projector"):
            project = InterleavedMixture((6, 6), WIDTH)
        model = VisualReader(project, words, 0)
        losses = model.train_on([blind, other], SAID, steps=60, batch=2, lr=3e-3, seed=0)
        assert losses[-1] < losses[0] / 2
        found.append(bool(told_apart(model, [blind, other], SAID, first, second)[0]))
    assert found == [False, True]
