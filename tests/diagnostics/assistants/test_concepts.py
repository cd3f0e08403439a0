"""Dictionaries of states: the objective, recovery of known concepts, and their grounding in words."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, minimize

from counterpoint.diagnostics.assistants.concepts import (
    ConceptDictionary,
    Decomposition,
    grounded_words,
    overlap,
    strongest,
    word_states,
)
from counterpoint.diagnostics.assistants.reading import ReplyReading, Unembedding, read
from fixtures.tiny_vlms import KINDS, tiny


def planted(seed: int, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Return unit concepts and states in each of which one or two of them are active, on a scale of 40."""
    rng = np.random.default_rng(seed)
    atoms = np.linalg.qr(rng.normal(size=(8, 3)))[0].T
    codes = np.zeros((count, 3))
    for code in codes:
        code[rng.permutation(3)[: rng.integers(1, 3)]] = rng.uniform(0.5, 1.5)
    return atoms, 40 * codes @ atoms


def test_sparse_concepts_are_recovered() -> None:
    atoms, states = planted(0)
    concepts = ConceptDictionary(states, 3, alpha=0.05)
    cosines = concepts.atoms @ atoms.T / np.linalg.norm(concepts.atoms, axis=1)[:, None]
    assert cosines[linear_sum_assignment(-cosines)].min() > 0.9
    assert concepts.activations.min() >= 0
    assert np.linalg.norm(concepts.atoms, axis=1).max() <= 1 + 1e-9
    assert 1 < concepts.active < 2


def test_activations_minimise_the_objective_with_its_half() -> None:
    _, states = planted(1)
    alpha = 0.1
    concepts = ConceptDictionary(states, 3, alpha=alpha)
    unit = states[0] / concepts.scale

    def objective(v: np.ndarray) -> float:
        return float(0.5 * ((unit - v @ concepts.atoms) ** 2).sum() + alpha * v.sum())

    expected = minimize(objective, np.full(3, 0.1), bounds=[(0, None)] * 3, options={"ftol": 1e-14}).x
    assert concepts.encode(states[:1])[0] == pytest.approx(expected, abs=1e-4)


def test_scale_of_the_states_does_not_matter_and_sparsity_does() -> None:
    _, states = planted(2)
    activations = [ConceptDictionary(scale * states, 3).activations for scale in (1.0, 1e-3)]
    assert activations[0] == pytest.approx(activations[1], abs=1e-6)
    active = [ConceptDictionary(states, 3, alpha=alpha).active for alpha in (0.1, 0.5, 2.0)]
    assert active[0] > active[1] > active[2] == 0


@pytest.mark.parametrize("method", ["k-means", "simple", "pca"])
def test_baselines(method: Decomposition) -> None:
    _, states = planted(3)
    concepts = ConceptDictionary(states, 3, method=method)
    unit = states / np.linalg.norm(states, axis=1).mean()
    if method == "pca":
        expected = (unit - unit.mean(0)) @ concepts.atoms.T
        assert concepts.activations.min() < 0
    else:
        expected = 1 / (1 + np.linalg.norm(unit[:, None] - concepts.atoms, axis=2))
    assert concepts.activations == pytest.approx(expected)
    if method == "simple":
        longest = np.sort(np.linalg.norm(unit, axis=1))[::-1][:3]
        assert np.linalg.norm(concepts.atoms, axis=1) == pytest.approx(longest)


class Letters:
    """A tokenizer whose tokens are these words."""

    words = (" cat", " Cat", "the", "xy", " dog", "red")

    def decode(self, tokens: list[int], **options: Any) -> str:
        return "".join(self.words[token] for token in tokens)


def test_words_are_the_largest_logits_without_norm_filtered() -> None:
    def refuse(states: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the final norm is not applied")

    stack = SimpleNamespace(norm=refuse)
    head = torch.nn.Linear(6, 6, bias=False)
    torch.nn.init.eye_(head.weight)
    unembed = Unembedding(SimpleNamespace(get_decoder=lambda: stack, get_output_embeddings=lambda: head))
    atoms = np.array([[3.0, 2.0, 9.0, 8.0, 1.0, 0.5], [0.0, 0.0, 9.0, 8.0, 1.0, 7.0]])
    assert grounded_words(atoms, unembed, Letters()) == [("cat", "dog", "red"), ("red", "dog", "cat")]
    assert grounded_words(atoms, unembed, Letters(), {"dog", "the"}) == [("dog",), ("dog",)]
    assert grounded_words(atoms, unembed, Letters(), candidates=2) == [(), ()]
    assert grounded_words(atoms, unembed, Letters(), count=1) == [("cat",), ("red",)]


def test_overlap_leaves_out_concepts_without_words() -> None:
    assert overlap([("a", "b"), ("b", "c", "d", "e"), ()]) == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert math.isnan(overlap([("a",), ()]))


def test_strongest_states_of_each_concept() -> None:
    activations = np.array([[0.1, 0.0], [0.7, 0.0], [0.3, 2.0]])
    assert strongest(activations, 2).tolist() == [[1, 2], [2, 0]]


class Spelt:
    """A tokenizer that spells token k as a word of its own."""

    def decode(self, tokens: list[int], **options: Any) -> str:
        return "".join(f" w{token}" for token in tokens)


def test_states_predict_first_occurrence_of_the_word() -> None:
    kind, model = KINDS["Llava"], tiny("Llava")
    readings: list[ReplyReading] = read(
        model, kind.batch([kind.row(0, 3), kind.row(1, 5), kind.row(2, 4)]), [[8, 9, 8], [9, 10], [11]]
    )
    rows, states = word_states(readings, Spelt(), "w9", 1)
    assert rows.tolist() == [0, 1]
    assert states[0] == pytest.approx(
        readings[0].words[1, 0].double().numpy()
    )  # where the token before is read
    assert states[1] == pytest.approx(readings[1].predicting[1, 0].double().numpy())
    p = Unembedding(model)(readings[1].predicting[-1], last=True)
    assert p[[0, 1], [9, 10]].log() == pytest.approx(readings[1].log_probabilities, abs=1e-4)
    assert word_states(readings, Spelt(), "w12", 1).states.shape == (0, 16)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="5 concepts cannot be learned from 3 states"):
        ConceptDictionary(np.ones((3, 2)), 5)
    with pytest.raises(ValueError, match="alpha of ConceptDictionary must be at least 0"):
        ConceptDictionary(np.ones((3, 2)), 2, alpha=-1.0)
