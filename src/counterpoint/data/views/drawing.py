"""A sheet of examples under every view, to look at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from ..cache import writing
from .captions import TEXT_VIEWS, CaptionOptions, text
from .keys import key
from .named_pictures import IMAGE_VIEWS, image


def sheet(
    pictures: UInt8[Tensor, "n 3 H W"],
    captions: Sequence[Sequence[str]],
    path: str | os.PathLike[str],
    augmentation: CaptionOptions,
    size: int = 48,
    seed: int = 0,
) -> Path:
    """Draw a row per example: the picture, each image view of it, and each text view of its captions; a PNG.

    Args:
        pictures, captions: the examples; about four fill a sheet.
        augmentation: options of the text views.
        size: height and width of the views.
    """
    from matplotlib.figure import Figure

    ids = np.arange(len(pictures))
    columns = {"picture": pictures.permute(0, 2, 3, 1).numpy()}
    for name in IMAGE_VIEWS:
        view = image(name).apply(pictures, key(seed, 0, ids, f"image {name}"), size)
        columns[name] = view.permute(0, 2, 3, 1).numpy()
    texts = {
        name: text(name, augmentation).apply(captions, key(seed, 0, ids, f"text {name}"))
        for name in TEXT_VIEWS
    }
    n = len(pictures)
    height = 2.0 * n
    figure = Figure(figsize=(1.35 * len(columns), height))
    figure.set_layout_engine(
        "constrained", rect=(0, 0.5 / height, 1, 1 - 0.5 / height)
    )  # room for the last texts
    axes = figure.subplots(n, len(columns), squeeze=False)
    for row in range(n):
        for axis, (name, shown) in zip(axes[row], columns.items(), strict=True):
            axis.imshow(shown[row], interpolation="nearest")
            axis.set_axis_off()
            axis.set_title(name if row == 0 else "", fontsize=9)
        lines = "\n".join(f"{name:<7}{texts[name][row]}" for name in ("plain", "weak", "strong"))
        below = axes[row, 0].text(
            0.0, -0.08, lines, transform=axes[row, 0].transAxes, va="top", family="monospace", fontsize=8
        )
        below.set_in_layout(False)  # it runs on under the other columns
    path = Path(path)
    with writing(path) as part:
        figure.savefig(part, format="png", dpi=120)
    return path
