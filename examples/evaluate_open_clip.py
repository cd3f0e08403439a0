"""Evaluate a model of open_clip on pairs of your own, beside a second one.

    python examples/evaluate_open_clip.py

The models are tiny and random, in folders as open_clip writes them, so that nothing is downloaded. Published weights
are ``open_clip:ViT-B-32-quickgelu@openai``. Each number has an interval over the examples, and so has each difference.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import open_clip
import torch
from PIL import Image

import counterpoint as cp

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def write_model(folder: Path, seed: int) -> str:
    """Write a random model, and return its name."""
    folder.mkdir()
    config = {"model_cfg": CONFIG, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(seed)
    torch.save(
        open_clip.create_model(f"local-dir:{folder}").state_dict(), folder / "open_clip_pytorch_model.bin"
    )
    return f"open_clip:tiny@{folder}"


def write_pairs(folder: Path) -> Path:
    """Write a table of plain pictures with their colours in numbers as captions."""
    folder.mkdir()
    rows = ["image,text"]
    for number in range(24):
        red, green, blue = 10 * number, 250 - 10 * number, 40 * number % 250
        Image.new("RGB", (32, 32), (red, green, blue)).save(folder / f"{number}.png")
        rows.append(f'{number}.png,"{red} of red, {green} of green, {blue} of blue"')
    (folder / "pairs.csv").write_text("\n".join(rows))
    return folder / "pairs.csv"


def main() -> list[dict[str, Any]]:
    """Evaluate both models on all rows; return the row of the first metric for each."""
    with tempfile.TemporaryDirectory() as scratch:
        names = [write_model(Path(scratch) / f"model-{seed}", seed) for seed in (0, 1)]
        pairs = write_pairs(Path(scratch) / "data")
        scores = cp.study.evaluate(*names, data=str(pairs), tasks=["retrieval"], split="all").scores()
    primary = [row for row in scores if row["role"] == "primary" and row["subset"] == "all"]
    for row in primary:
        print(
            f"{row['metric']}: {row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f}), chance {row['chance']:.3f}"
        )
    return [primary[0], next(row for row in primary[1:] if row["metric"] == primary[0]["metric"])]


if __name__ == "__main__":
    main()
