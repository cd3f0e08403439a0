"""RITUAL's transforms of a picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from counterpoint.decoding import Ritual, VisualContrastive
from fixtures.tiny_vlms import KINDS, tiny


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (24, 32, 3), dtype=np.uint8))


def roughness(array: np.ndarray) -> float:
    """Return how neighbours differ, next to how all differ; the same under a change of brightness or contrast."""
    return float(np.abs(np.diff(array.astype(float), axis=1)).mean() / (array.std() + 1e-9))


def test_a_transform_is_fixed_by_seed_and_picture() -> None:
    torch.manual_seed(7)
    first = Ritual(seed=1).transform(picture(0))
    after = torch.rand(2)
    torch.manual_seed(3)
    assert first.tobytes() == Ritual(seed=1).transform(picture(0)).tobytes()
    torch.manual_seed(7)
    assert torch.equal(after, torch.rand(2)), "torch's random state stays as it is"


def test_a_transform_seeds_no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    Ritual().transform(picture(0))
    assert not seeds, "what is sampled on a GPU would be the same after every picture"


def test_all_six_transforms_occur_equally_often() -> None:
    """Told apart by what they leave: size, exact flips, grey corners, blur, colours."""
    image = picture(0)
    pixels = np.asarray(image)
    counts = {"horizontal": 0, "vertical": 0, "crop": 0, "rotation": 0, "colour": 0, "blur": 0}
    for seed in range(300):
        found = Ritual(seed=seed).transform(image)
        array = np.asarray(found)
        if found.size == (336, 336):
            counts["crop"] += 1
        elif np.array_equal(array, pixels[:, ::-1]):
            counts["horizontal"] += 1
        elif np.array_equal(array, pixels[::-1]):
            counts["vertical"] += 1
        elif (array == 0).all(-1).mean() > 0.01 and (array != 0).any():
            counts["rotation"] += 1
        elif roughness(array) < 0.5 * roughness(pixels):
            counts["blur"] += 1
        else:
            counts["colour"] += 1
    assert min(counts.values()) > 300 / 6 / 2, counts
    assert max(counts.values()) < 300 / 6 * 1.8, counts


def test_ritual_with_vcd_runs_three_branches() -> None:
    kind = KINDS["Llava"]
    inputs, transformed = kind.row(1), kind.row(3)
    transformed["input_ids"] = inputs["input_ids"]
    bound = (VisualContrastive() + Ritual()).on(inputs, transformed=transformed)
    cached, again = (
        tiny("Llava").generate(
            **inputs, do_sample=False, max_new_tokens=6, custom_generate=bound, use_cache=use_cache
        )
        for use_cache in (True, False)
    )
    assert torch.equal(cached, again)
    assert bound.cost is not None
    assert list(bound.cost.passes) == ["own", "noise", "transformed"]
