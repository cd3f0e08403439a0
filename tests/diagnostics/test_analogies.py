from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.diagnostics import arithmetic
from fixtures.tiny import COLOURS, SHAPES, SIZES, Oracle, TinyData

COLOURED = np.array([row for row in range(70) if (row // 2) % 5])


def additive(data: TinyData, strength: float = 1.0) -> Oracle:
    """A picture is the sum of its shape, colour and size, so that arithmetic is exact."""
    names = [*SHAPES, *COLOURS, *SIZES]
    axis = {name: torch.eye(len(names))[i] for i, name in enumerate(names)}
    images = torch.stack(
        [F.normalize(axis[s] + strength * axis[c] + axis[z], dim=0) for s, c, z in data._combinations]
    )
    texts: dict[str, Tensor] = {
        template.format(name): axis.get(name, torch.ones(len(names)))
        for labels in data.labels.values()
        for template in labels.templates
        for name in labels.names
    }
    return Oracle(data, images, texts)


def test_additive_embeddings_exchange_perfectly(tiny_data: TinyData) -> None:
    model = additive(tiny_data)
    assert arithmetic(model, tiny_data, COLOURED, "tone") == 1.0
    assert arithmetic(model, tiny_data, COLOURED, "gender") == 1.0


def test_words_that_say_nothing_find_the_nearest_other_picture(tiny_data: TinyData) -> None:
    model = additive(tiny_data)
    images, texts = model._answers["global"]
    deaf = Oracle(tiny_data, images, dict.fromkeys(texts, torch.ones(14)))
    # The nearest others differ in one factor: 3 colours, 1 size and 6 shapes tie, and one of ten is right.
    assert arithmetic(deaf, tiny_data, COLOURED, "tone") == pytest.approx(1 / 10)
    assert arithmetic(deaf, tiny_data, COLOURED, "gender") == pytest.approx(1 / 10)


def test_only_exchanges_that_a_row_would_answer_count(tiny_data: TinyData) -> None:
    model = additive(tiny_data)
    # Red and green small circles: two exchanges. A lone grey circle has no tone to exchange.
    assert arithmetic(model, tiny_data, np.array([2, 4]), "tone") == 1.0
    assert math.isnan(arithmetic(model, tiny_data, np.array([0, 2]), "tone"))
    assert math.isnan(arithmetic(model, tiny_data, np.array([2, 15]), "tone"))


def test_other_labels_must_stay(tiny_data: TinyData) -> None:
    model = additive(tiny_data)
    images, texts = model._answers["global"]
    moved = images.clone()
    # Of six coloured pictures of two shapes, swap the two green ones: right colour, wrong shape.
    rows = np.array([2, 4, 12, 14])
    moved[[4, 14]] = images[[14, 4]]
    assert arithmetic(model, tiny_data, rows, "tone") == 1.0
    assert arithmetic(Oracle(tiny_data, moved, texts), tiny_data, rows, "tone") == 0.0


def test_rows_without_a_picture_are_not_exchanged(tiny_data: TinyData) -> None:
    class Gaps(TinyData):
        def present(self, column: str, rows: np.ndarray) -> np.ndarray:
            return (rows != 4) | (column != "image")

    model = additive(tiny_data)
    assert arithmetic(model, Gaps(), np.array([2, 4, 6]), "tone") == arithmetic(
        model, tiny_data, np.array([2, 6]), "tone"
    )
    assert math.isnan(arithmetic(model, Gaps(), np.array([2, 4]), "tone"))
