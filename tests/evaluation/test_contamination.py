"""Contamination: plain loops, exact copies, captions that answer, no matrix of everything."""

from __future__ import annotations

from inspect import unwrap

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from counterpoint.evaluation import contamination as room
from counterpoint.evaluation import task
from counterpoint.evaluation.contamination import contamination


def unit(n: int, d: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.mark.parametrize("panel", [1 << 22, 1])
def test_is_the_definition_in_plain_loops(panel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "PANEL", panel)
    tested, trained = unit(7, 4, 0), unit(9, 4, 1)
    asked: list[tuple[int, int]] = []

    def answered(item: int, row: int) -> bool:
        asked.append((item, row))
        return row % 2 == 0

    found = contamination(3 * tested, 5 * trained, answered, threshold=0.6)
    near = [[float(x @ y) for y in trained] for x in tested]
    for k, row in enumerate(near):
        assert found.nearest[k] == int(np.argmax(row))
        assert found.cosine[k] == pytest.approx(max(row), abs=1e-6)
        assert found.image[k] == (max(row) > 0.6)
        assert found.image_text[k] == any(s > 0.6 and j % 2 == 0 for j, s in enumerate(row))
    assert all(near[item][row] > 0.6 for item, row in asked)


def test_exact_copies_are_found_and_nothing_else() -> None:
    tested = torch.eye(10)
    trained = torch.cat([torch.eye(20)[10:, :10] + 0.3, tested[[2, 5]]])
    assert contamination(tested, trained).image.nonzero()[0].tolist() == [2, 5]


def test_without_captions_no_question_is_answered() -> None:
    found = contamination(torch.eye(3), torch.eye(3))
    assert found.image.all()
    assert not found.image_text.any()


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="must have one width"):
        unwrap(contamination)(torch.eye(3), torch.eye(4))
    with pytest.raises(ValueError, match="must have one width"):
        contamination(torch.zeros(0, 3), torch.eye(3))
    for tested, trained in ((torch.eye(3) / 0, torch.eye(3)), (torch.eye(3), torch.eye(3) * torch.nan)):
        with pytest.raises(ValueError, match="NaN or infinite"):
            contamination(tested, trained)
    with pytest.raises(ValueError, match="threshold is a cosine"):
        contamination(torch.eye(3), torch.eye(3), threshold=2.0)
    assert room.THRESHOLD == 0.9
