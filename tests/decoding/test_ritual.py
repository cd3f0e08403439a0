"""RITUAL's transforms of a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from counterpoint.decoding import Plain, Ritual, VisualContrastive, plausibility_only
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


def test_ritual_of_weight_zero_is_its_rule_alone() -> None:
    kind, model = KINDS["Llava"], tiny("Llava")
    inputs = kind.batch([kind.row(1, length=5), kind.row(2, length=3)])
    transformed = kind.batch([kind.row(3, length=5), kind.row(4, length=3)])

    def decode(bound: Any, **options: Any) -> list[list[int]]:
        torch.manual_seed(3)
        out = model.generate(**inputs, max_new_tokens=12, custom_generate=bound, **options)
        tokens: list[list[int]] = out[:, -12:].tolist()
        return tokens

    ritual = Ritual(alpha=0.0, beta=0.2)
    rule = plausibility_only(ritual)
    assert rule == Plain(beta=0.2)
    for options in ({"do_sample": False}, {"do_sample": True, "temperature": 2.0}):
        found = decode(ritual.on(inputs, transformed=transformed), **options)
        assert found == decode(rule.on(inputs), **options)
        assert found != decode(Ritual(beta=0.2).on(inputs, transformed=transformed), **options)
    assert found != decode(None, **options), "the rule must leave something out for this to be a test"
