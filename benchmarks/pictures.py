"""Pictures a second on one core: the whole picture through RGBA, the whole picture in RGB, and as it is done."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageOps

from counterpoint.data.pictures.decode import decode

Decoder = Callable[[bytes, int], np.ndarray]


def through_rgba(data: bytes, size: int) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGBA")
    white = Image.new("RGBA", upright.size, "white")
    white.alpha_composite(upright)
    return np.asarray(ImageOps.fit(white.convert("RGB"), (size, size), Image.Resampling.BICUBIC))


def plain(data: bytes, size: int) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as opened:
        return np.asarray(ImageOps.fit(opened.convert("RGB"), (size, size), Image.Resampling.BICUBIC))


def photo(width: int, height: int, form: str) -> bytes:
    """Make a file that compresses as a photograph does."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 40, width // 40, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    noisy = (smooth + rng.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, form)
    return file.getvalue()


def rates(decoders: dict[str, Decoder], data: bytes, size: int, seconds: float = 0.5) -> dict[str, float]:
    """Time decoders in turns, so that a busy machine is as unkind to each."""
    spent, done = dict.fromkeys(decoders, 0.0), 0
    while done < 3 or max(spent.values()) < seconds:
        done += 1
        for name, decoder in decoders.items():
            began = time.perf_counter()
            decoder(data, size)
            spent[name] += time.perf_counter() - began
    return {name: done / taken for name, taken in spent.items()}


def main() -> None:
    decoders: dict[str, Decoder] = {"through RGBA": through_rgba, "plain RGB": plain, "decode": decode}
    print(f"{'picture':>22}  {'square':>6}  " + "  ".join(f"{n:>14}" for n in decoders) + "  decode / RGBA")
    for width, height, form in [
        (320, 240, "JPEG"),
        (640, 480, "JPEG"),
        (640, 480, "PNG"),
        (2400, 1800, "JPEG"),
        (2400, 1800, "PNG"),
    ]:
        data = photo(width, height, form)
        for size in (64, 256):
            found = rates(decoders, data, size)
            told = "  ".join(f"{found[name]:>12.0f}/s" for name in decoders)
            ratio = found["decode"] / found["through RGBA"]
            print(f"{width:>9} × {height:<5}{form:>5}  {size:>6}  {told}  {ratio:.2f}")


if __name__ == "__main__":
    main()
