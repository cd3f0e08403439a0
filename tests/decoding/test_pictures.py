"""Noisy, empty and missing pictures."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from counterpoint.decoding.pictures import blank, diffuse, patches, pixels, signal, spell
from counterpoint.decoding.running import BranchCall
from fixtures.tiny_vlms import END_VISION, IMAGE, KINDS, START_VISION, tiny

KEPT = {100: 0.99659, 300: 0.96233, 500: 0.74480, 700: 0.35127, 900: 0.13314, 999: 0.08125}


@pytest.mark.parametrize("step", KEPT)
def test_noise_schedule_of_the_card(step: int) -> None:
    assert signal(step) == pytest.approx(KEPT[step], abs=5e-6)
    kept = 1.0
    for i in range(step + 1):
        kept *= 1 - (0.005 - 1e-5) / (1 + math.exp(-(-6 + 12 * i / 999))) - 1e-5
    assert signal(step) == pytest.approx(kept, rel=1e-9)


def test_noise_is_that_of_the_forward_diffusion() -> None:
    picture = torch.randn(1, 3, 100, 100)
    noise = (diffuse(picture, 500, 0) - math.sqrt(signal(500)) * picture) / math.sqrt(1 - signal(500))
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.03)
    assert float(noise.std()) == pytest.approx(1.0, abs=0.03)


def test_noise_belongs_to_the_picture_not_to_its_place() -> None:
    a, b = torch.randn(2, 1, 3, 8, 8)
    together = diffuse(torch.cat([a, b]), 500, 0)
    torch.testing.assert_close(together, torch.cat([diffuse(a, 500, 0), diffuse(b, 500, 0)]), rtol=0, atol=0)
    assert torch.equal(diffuse(a, 500, 0), diffuse(a, 500, 0))
    assert not torch.equal(diffuse(a, 500, 0), diffuse(a, 500, 1))
    tiles = torch.cat([a, b])[None]
    assert torch.equal(diffuse(tiles, 500, 0)[0], together)
    noises = (together - math.sqrt(signal(500)) * torch.cat([a, b])).unbind()
    assert not torch.allclose(*noises), "two pictures get two noises"


def test_padding_pictures_stay_padding() -> None:
    """Idefics pads the pictures of a row with zeros, and takes all that is not zero for a picture."""
    padded = torch.stack([torch.randn(3, 8, 8), torch.zeros(3, 8, 8)])[None]
    assert not diffuse(padded, 500, 0)[0, 1].any()
    assert not blank(padded)[0, 1].any()
    assert blank(padded)[0, 0].any()
    assert float(blank(padded).abs().max()) < 1e-30


def test_copies_in_time_of_a_still_picture_get_one_noise() -> None:
    kind = KINDS["Qwen2_5_VL"]
    rows = [kind.row(1), kind.row(2)]
    inputs = kind.batch(rows)
    told = patches("pixel_values", inputs, tiny(kind.name).config)
    assert told == {"sizes": [16, 16], "copies": 2}
    noisy = diffuse(inputs["pixel_values"], 500, 0, **told)
    first, second = noisy.reshape(32, 3, 2, 16).unbind(2)
    assert torch.equal(first, second)
    alone = torch.cat([diffuse(row["pixel_values"], 500, 0, sizes=[16], copies=2) for row in rows])
    assert torch.equal(noisy, alone)


def call(inputs: dict[str, Any], name: str = "Llava") -> BranchCall:
    return BranchCall(tiny(name), tiny(name), inputs, {}, None, 1)


def test_words_take_the_place_of_each_run_of_picture_tokens() -> None:
    ids = torch.tensor([[0, 0, 5, IMAGE, IMAGE, 7], [5, IMAGE, IMAGE, 9, IMAGE, 8]])
    inputs = {"input_ids": ids, "attention_mask": torch.tensor([[0, 0, 1, 1, 1, 1], [1] * 6])}
    removed = spell(call(inputs), "text", lambda row, last: [])
    assert removed["input_ids"].tolist() == [[0, 5, 7], [5, 9, 8]]
    assert removed["attention_mask"].tolist() == [[0, 1, 1], [1, 1, 1]]
    unknown = spell(call(inputs), "unk", lambda row, last: [3])
    assert unknown["input_ids"].tolist() == [[0, 0, 5, 3, 7], [5, 3, 9, 3, 8]]
    described = spell(call(inputs), "text", lambda row, last: [10, 11, 12][: row + 2] if last else [])
    assert described["input_ids"].tolist() == [[0, 0, 5, 10, 11, 7], [5, 9, 10, 11, 12, 8]]
    assert ids[0].tolist() == [0, 0, 5, IMAGE, IMAGE, 7], "the user's inputs stay"


def test_the_frame_of_a_picture_goes_with_it() -> None:
    ids = torch.tensor([[5, START_VISION, IMAGE, IMAGE, END_VISION, 7]])
    removed = spell(call({"input_ids": ids}, "Qwen2VL"), "text", lambda row, last: [])
    assert removed["input_ids"].tolist() == [[5, 7]]


def test_right_padding_of_the_user_does_not_matter() -> None:
    inputs = {
        "input_ids": torch.tensor([[5, IMAGE, 7, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 0]]),
    }
    assert spell(call(inputs), "text", lambda row, last: [])["input_ids"].tolist() == [[5, 7]]


def test_inputs_without_a_picture_are_errors() -> None:
    with pytest.raises(ValueError, match=r"hold no tensor pixel_values \(only input_ids"):
        pixels({"input_ids": torch.zeros(1, 1)}, "noise")
    with pytest.raises(ValueError, match="return_tensors='pt'"):
        pixels({"pixel_values": [[1.0]]}, "noise")
    with pytest.raises(ValueError, match="row 0 of input_ids has no picture token"):
        spell(call({"input_ids": torch.tensor([[5, 7]])}), "text", lambda row, last: [])
    with pytest.raises(ValueError, match="nothing is left of row 0"):
        spell(call({"input_ids": torch.tensor([[IMAGE]])}), "text", lambda row, last: [])
    with pytest.raises(ValueError, match="needs input_ids; the inputs hold only pixel_values"):
        spell(call({"pixel_values": torch.zeros(1)}), "text", lambda row, last: [])
