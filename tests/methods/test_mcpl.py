"""MCPL: masks that are constants, contrast whose positives follow from words, and adjectives that do not learn."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import build
from torch import Tensor

from counterpoint.generation import mask_of_words
from counterpoint.testing._stubs import LATE, batch
from counterpoint.types import Batch

ERRORS, STATES = "errors.image", "states.image"
TWO = {"prompt": "a <one> and <two>", "like": "red+cat"}
BOUND = {"prompt": "small <one> red <two>", "like": "cat", "adjectives": "small+red"}


def prepared(method: Any, rows: int = 16) -> Batch:
    torch.manual_seed(0)
    shown = method.prepare(batch(method), LATE)
    return replace(
        shown,
        ids=shown.ids[:rows],
        views={name: view[:rows] for name, view in shown.views.items()},
        labels={name: label[:rows] for name, label in shown.labels.items()},
        present={name: there[:rows] for name, there in shown.present.items()},
    )


def losses(method: Any, rows: int = 16) -> dict[str, Tensor]:
    shown = prepared(method, rows)
    return method.losses(method.encode(shown), shown, LATE)


def contrast(states: Tensor, words: list[int], temperature: float) -> float:
    """The contrast between states, each with its word, in loops."""
    z = F.normalize(states.double(), dim=1).tolist()
    scores = [[sum(a * b for a, b in zip(x, y, strict=True)) / temperature for y in z] for x in z]
    terms = []
    for i, word in enumerate(words):
        others = [j for j in range(len(z)) if j != i]
        positives = [scores[i][j] for j in others if words[j] == word]
        total = math.log(sum(math.exp(scores[i][j]) for j in others))
        if positives:
            terms.append(total - sum(positives) / len(positives))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("rows", [3, 4])
def test_positives_are_states_of_one_word_for_all_sizes_of_batches(rows: int) -> None:
    method = build("mcpl", contrast=1.0, temperature=0.5, **BOUND)
    shown = prepared(method, rows)
    z = method.encode(shown)
    assert z[STATES].shape[:2] == (rows, 4)  # two words, and the adjective of each
    z[STATES] = z[STATES] + 0.1 * torch.randn_like(z[STATES])  # as if each picture had a text of its own
    expected = contrast(z[STATES].detach().flatten(0, 1), [0, 1, 0, 1] * rows, 0.5)
    assert method.losses(z, shown, LATE)["contrast"].item() == pytest.approx(expected, rel=1e-4)


def test_states_are_those_of_the_words_and_of_their_own_adjectives() -> None:
    method = build("mcpl", **BOUND)
    own = method.encode(prepared(method, 1))[STATES][0]
    tokens = method.learned.words.tokens([method.learned.words.prompt])
    states = method.learned.states([method.learned.words.prompt])[0]
    begins = int(method.learned.words.tokens([""]).shape[1]) - 1
    torch.testing.assert_close(own, states[[begins + k for k in (1, 3, 0, 2)]])
    assert int((tokens >= method.painter.tokenizer.vocabulary).sum()) == 2  # a new word is one token


def test_one_picture_without_adjectives_has_no_positive_and_no_contrast() -> None:
    assert losses(build("mcpl", **TWO), 1)["contrast"] == 0
    assert losses(build("mcpl", **BOUND), 1)["contrast"] > 0


def test_contrast_moves_words_apart_and_to_their_adjectives_which_do_not_move() -> None:
    method = build("mcpl", contrast=1.0, **BOUND)

    def cosines() -> tuple[float, float]:
        states = F.normalize(method.encode(prepared(method, 1))[STATES][0].detach(), dim=1)
        return float(states[0] @ states[1]), float(states[0] @ states[2] + states[1] @ states[3])

    table = method.painter.text.get_input_embeddings().weight.clone()
    optimizer, before = torch.optim.Adam(method.parameters(), lr=0.05), cosines()
    for _ in range(10):
        optimizer.zero_grad()
        losses(method, 2)["contrast"].backward()
        optimizer.step()
    after = cosines()
    assert after[0] < before[0]
    assert after[1] > before[1]
    assert torch.equal(method.painter.text.get_input_embeddings().weight, table)


def test_without_the_three_it_is_textual_inversion() -> None:
    method = build("mcpl", masked=False, contrast=0.0, **TWO)
    other = build("textual-inversion", **TWO)
    own, theirs = losses(method), losses(other)
    assert set(own) == {"noise"}
    assert torch.equal(own["noise"], theirs["noise"])


def test_masked_errors_are_those_of_cells_that_words_attend_to_and_the_mask_has_no_gradient() -> None:
    method = build("mcpl", threshold=0.9, **TWO)
    shown = prepared(method)
    reading = method.read(shown)
    mask = mask_of_words(reading.attended(reading.maps.sides[0]), 8, 0.9)
    assert 0 < mask.float().mean() < 1
    expected = ((reading.gaps * mask[:, None]) ** 2).flatten(1).mean(1)
    errors = method.encode(shown)[ERRORS]
    torch.testing.assert_close(errors, expected)
    gradients = [
        torch.autograd.grad(it.sum(), method.learned.words.vectors, retain_graph=True)[0]
        for it in (errors, ((method.read(shown).gaps * mask[:, None]) ** 2).flatten(1).mean(1))
    ]
    torch.testing.assert_close(*gradients)


def test_both_words_learn() -> None:
    method = build("mcpl", **TWO)
    sum(losses(method).values()).backward()
    gradient = method.learned.words.vectors.grad
    assert gradient.any(1).all()
    assert [name for name, it in method.named_parameters() if it.requires_grad] == ["learned.words.vectors"]


def test_refusals() -> None:
    for adjectives, message in (
        ("small", "are 1, and the prompt has 2"),
        ("small+hill", "must be one token of the prompt"),
        ("red+red", "another one than those"),
        ("small+guitar", "must be one token of the prompt"),
    ):
        with pytest.raises(ValueError, match=message):
            build("mcpl", **{**BOUND, "adjectives": adjectives})
