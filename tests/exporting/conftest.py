"""Models made on the spot, as a run would have them, and their exports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import counterpoint as cp
from counterpoint.exporting import ExportResult, _export
from counterpoint.methods.arm import Arm
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.recipes import load, override

TEXTS = ["a red car", "two dogs, playing at the beach!", "a", "", "a red " * 60]
Made = Callable[..., TowerMethod]
Round = Callable[[TowerMethod, str], tuple[ExportResult, TowerMethod]]


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
def exported(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Round:
    """Return what exports a model, runs the lines of its card, and loads the folder again by its name alone."""

    def there_and_back(model: TowerMethod, layout: str) -> tuple[ExportResult, TowerMethod]:
        monkeypatch.setattr(_export, "load", lambda reference: model)
        out = tmp_path / f"exported to {layout}"
        done = cp.export("memory", layout, out, allow_custom_code=True)
        monkeypatch.undo()
        card = (done.folder / "README.md").read_text(encoding="utf-8")
        lines = card.partition("```python\n")[2].partition("```")[0].replace(f'"{done.folder.name}"', "place")
        assert "folder = place\n" in lines
        folder = tmp_path_factory.mktemp("files")
        picture = np.random.default_rng(0).integers(0, 256, (60, 41, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder / "picture.jpg")
        monkeypatch.chdir(folder)
        found: dict[str, Any] = {"place": str(done.folder)}
        exec(lines, found)
        for modality, raw in {"text": "a red car", "image": "picture.jpg"}.items():
            if f"{modality}_vectors" in found:
                vectors = torch.as_tensor(found[f"{modality}_vectors"]).detach()
                own = model.embed(modality, raw)
                torch.testing.assert_close(F.normalize(vectors, dim=-1), own, rtol=0, atol=1e-5)
        monkeypatch.undo()
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
