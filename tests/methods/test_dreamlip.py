"""DreamLIP: its limit, its terms as plain code, and the sentences that are drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from counterpoint.data import views
from counterpoint.data.views.captions import TextView, sentences_behind_the_first
from counterpoint.methods.arm import Arm
from counterpoint.methods.dreamlip import DreamLIP
from counterpoint.recipes import load, override
from counterpoint.types import Batch, StepInfo

CLOCK = StepInfo(0, 10, 0)
CAPTIONS = [["a red car", "A red car. It is fast.", "a car on a road"], ["a dog"]]


def small(options: str = "") -> DreamLIP:
    changes = {"towers.image_size": 32, "towers.vocabulary": 280, "widths.embedding": 8}
    model = Arm.parse(f"dreamlip,sentences=2{options}").build(
        override(load("seconds"), {**changes, "towers.image": "cnn"}), {"text": ["a red car"] * 3}, 0
    )
    assert isinstance(model, DreamLIP)
    return model.double()


def batch_of(model: DreamLIP, count: int = 4) -> Batch:
    tokens = model.text_tower.input(["a red car", "a dog", "one", "two cars"][:count])
    pictures = torch.rand(count, 3, 32, 32, dtype=torch.float64)
    given = {name: tokens.roll(shift, 0) for shift, name in enumerate(model.slots)}
    return Batch(torch.arange(count), {"image": pictures, **given})


def test_without_grouping_it_is_text_shearing_of_the_same_texts() -> None:
    plain, grouped = small(",grouping=0"), small()
    given = batch_of(plain)
    alone, both = (model.losses(model.encode(given), given, CLOCK) for model in (plain, grouped))
    assert alone.keys() == {"infonce"}
    torch.testing.assert_close(both["infonce"], alone["infonce"])
    assert torch.isfinite(both["grouping"])


def test_patches_meet_texts_of_their_own_picture() -> None:
    model = small()
    given = batch_of(model)
    z = model.encode(given)
    head, text = model.projections["image"], model.projections["text"]
    groups, texts = [], []
    for i in range(4):
        patches = F.normalize(head(z["image"][i].flatten(0, 1)), dim=-1)
        for name in model.slots:
            t = F.normalize(text(z[name][i]), dim=-1)
            a = patches @ t
            a = (a - a.min()) / (a.max() - a.min() + 1e-10)
            groups.append(F.normalize((a / a.sum()) @ patches, dim=-1))
            texts.append(t)
    logits = torch.stack(groups) @ torch.stack(texts).T / 0.07
    target = torch.arange(len(logits))
    expected = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    torch.testing.assert_close(model.losses(z, given, CLOCK)["grouping"], expected, rtol=1e-5, atol=1e-6)


def test_the_feature_of_a_picture_is_that_of_its_tower() -> None:
    model = small()
    pictures = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(model.features("image", pictures), model.image_tower(pictures))


def test_sentences_are_drawn_without_replacement_and_fall_back() -> None:
    assert sentences_behind_the_first(CAPTIONS[0]) == ["A red car.", "It is fast.", "a car on a road"]
    assert sentences_behind_the_first(CAPTIONS[1]) == ["a dog"]
    keys = views.key(0, 0, np.array([3, 7]), "text")
    drawn = [TextView(piece=number).apply(CAPTIONS, keys, keys) for number in range(4)]
    first = [texts[0] for texts in drawn]
    assert sorted(first[:3]) == sorted(sentences_behind_the_first(CAPTIONS[0]))
    assert first[3] in first[:3]
    assert [texts[1] for texts in drawn] == ["a dog"] * 4


def test_a_tower_without_patches_is_refused() -> None:
    with pytest.raises(ValueError, match="no features of single places"):
        Arm.parse("dreamlip,image=mlp").build(load("seconds"), {"text": ["a red car"] * 3}, 0)
