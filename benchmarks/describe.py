"""A report on pictures against decoding each once with Pillow: seconds, in turns, and their ratio.

The first report finds the traits of every file; the second reads them from the cache.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from counterpoint.data.reporting import report


def photos(folder: Path, count: int, side: int) -> Path:
    """Write JPEGs that compress as photographs do, with a caption each."""
    for n in range(count):
        rng = np.random.default_rng(n)
        coarse = Image.fromarray(rng.integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).astype(float)
        noisy = (smooth + rng.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{n}.jpg", quality=90)
        (folder / f"{n}.txt").write_text(f"the {n}th of many photographs")
    return folder


def decoded(folder: Path) -> None:
    for path in folder.glob("*.jpg"):
        with Image.open(path) as picture:
            picture.convert("RGB")


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "photos"
        folder.mkdir()
        photos(folder, options.pictures, options.side)
        os.environ["COUNTERPOINT_CACHE"] = str(Path(scratch) / "warm")
        report("digits", sample=10)  # imports, and the model of languages
        first, pillow = [], []
        for n in range(options.rounds):
            pillow.append(seconds(lambda: decoded(folder)))
            os.environ["COUNTERPOINT_CACHE"] = str(Path(scratch) / f"cold-{n}")
            first.append(seconds(lambda: report(str(folder))))
        again = seconds(lambda: report(str(folder)))
    ratios = sorted(f / p for f, p in zip(first, pillow, strict=True))
    print(f"{options.pictures} JPEGs of {options.side} pixels, seconds of {options.rounds} rounds in turns")
    print(f"Pillow, each decoded once  {min(pillow):6.2f} to {max(pillow):.2f}")
    print(f"report, first              {min(first):6.2f} to {max(first):.2f}")
    print(f"report, again              {again:6.2f}")
    print(f"first / Pillow             {ratios[len(ratios) // 2]:6.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
