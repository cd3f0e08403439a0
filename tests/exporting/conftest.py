"""Models made on the spot, as a run would have them, and their exports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import counterpoint as cp
from counterpoint.exporting import Exported, _export
from counterpoint.methods.arm import Arm
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.recipes import load, override

TEXTS = ["a red car", "two dogs, playing at the beach!", "a", "", "a red " * 60]
Made = Callable[..., TowerMethod]
Round = Callable[[TowerMethod, str], tuple[Exported, TowerMethod]]


@pytest.fixture
def made() -> Made:
    """Return what builds an arm whose heads, biases and low-rank updates have moved."""

    def make(spec: str, **recipe: Any) -> TowerMethod:
        small = {"towers.image_size": 32, "towers.vocabulary": 300, "widths.embedding": 24, **recipe}
        examples = {"text": ["a red car", "two dogs play at the beach", "a town"] * 5}
        model = Arm.parse(spec).build(override(load("cpu"), small), examples, 0).eval()
        generator = torch.Generator().manual_seed(1)
        for name, weight in model.named_parameters():
            if "projections" in name or "lora_" in name or "bias" in name:
                weight.data.add_(0.05 * torch.randn(weight.shape, generator=generator))
        return model

    return make


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Round:
    """Return what exports a model, runs the lines of its card, and loads the folder again by its name alone."""

    def there_and_back(model: TowerMethod, layout: str) -> tuple[Exported, TowerMethod]:
        monkeypatch.setattr(_export, "load", lambda reference: model)
        done = cp.export("memory", layout, tmp_path / f"exported to {layout}")
        monkeypatch.undo()
        card = (done.folder / "README.md").read_text(encoding="utf-8")
        lines = card.partition("```python\n")[2].partition("```")[0].replace(f'"{done.folder.name}"', "place")
        assert lines.startswith("folder = place\n")
        exec(lines, {"place": str(done.folder)})
        return done, cp.load(done.folder)

    return there_and_back


def same(ours: TowerMethod, again: TowerMethod, columns: Sequence[str] = ("image", "text")) -> None:
    """Check that two models embed alike, pictures that are not square and texts."""
    pictures = np.random.default_rng(0).integers(0, 256, (3, 3, 60, 41), dtype=np.uint8)
    raw = {"image": torch.from_numpy(pictures), "text": TEXTS}
    assert set(again.embeds) == set(columns)
    for column in columns:
        torch.testing.assert_close(
            again.embed(column, raw[column]), ours.embed(column, raw[column]), rtol=0, atol=1e-5
        )
