from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from counterpoint.data import views


@dataclass(frozen=True)
class Options:
    stop_words: float = 1.0
    clean_text: bool = False
    synonyms: bool = False
    captions: str = "each"


def test_a_sheet_shows_the_pictures_it_was_given(tmp_path: Path) -> None:
    pictures = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    pictures[0, 0], pictures[1, 2] = 255, 255
    path = views.sheet(
        pictures, [["a red square"], ["a blue square"]], tmp_path / "sheet.png", Options(), size=32
    )
    shown = np.asarray(Image.open(path).convert("RGB")).astype(int)
    # The plain and weak views and the picture itself are pure red in the first row, pure blue in the second.
    red = (shown == [255, 0, 0]).all(-1)
    blue = (shown == [0, 0, 255]).all(-1)
    assert red.sum() > 3 * 2000
    assert blue.sum() > 3 * 2000
    assert np.nonzero(red)[0].max() < np.nonzero(blue)[0].min()
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]
