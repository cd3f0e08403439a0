"""A pretrained pair is trained and judged on pictures of its own size, whatever the recipe says of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from counterpoint.data.base import stored_size
from counterpoint.data.pictured import PairedData
from counterpoint.recipes import load, override
from counterpoint.study.training import runner
from counterpoint.training.run import Run
from fixtures import foreign

SIDE = 96


def pictures(folder: Path) -> Path:
    """Pictures larger than those of the recipe, whose details go when they are made small and large again."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for row in range(24):
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(folder / f"{row}.png")
        (folder / f"{row}.txt").write_text(f"picture number {row}")
    return folder


def test_pretrained_pair_under_recipe_cpu_is_judged_at_own_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = foreign.open_clip_folder(tmp_path / "tiny")
    arm = f"clip,image=open_clip:tiny@{tower},text=bag"
    judged: dict[str, np.ndarray] = {}

    def evaluated(method: Any, data: PairedData, **options: Any) -> Any:
        judged["pictures"] = data.images(np.arange(len(data))).numpy()
        judged["size"] = np.array(method.inputs["image"].size)
        return evaluate(method, data, **options)

    evaluate = runner.evaluate
    monkeypatch.setattr(runner, "evaluate", evaluated)
    recipe = override(load("cpu"), {"steps": 1, "batch_size": 4, "towers.image_size": 8})
    folder = pictures(tmp_path / "pictures")
    assert (
        runner.run(Run(arm, str(folder), recipe), tmp_path / "run", tasks=("retrieval",)).status == "finished"
    )
    size = int(judged["size"])
    assert size != recipe.towers.image_size
    assert judged["pictures"].shape[-1] in (size, stored_size(size))
    # Each is the file itself, resized once: one that was small meanwhile would have lost its details.
    details = np.abs(np.diff(judged["pictures"].astype(float), axis=3)).mean()
    once = np.stack([np.asarray(Image.open(folder / f"{row}.png").resize((size, size))) for row in range(24)])
    assert details > 0.8 * np.abs(np.diff(once.astype(float), axis=2)).mean()
