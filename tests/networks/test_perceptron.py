from __future__ import annotations

import pytest
import torch

from counterpoint.networks import BytePairTokenizer, build_towers
from counterpoint.networks.towers.perceptron import BagOfWords, PatchPerceptron, PixelPerceptron
from counterpoint.recipes import load, override

CAPTIONS = ["a bold three, upright", "a thin nine, slanted"]


def test_the_recipe_seconds_builds_them() -> None:
    image, text = build_towers(load("seconds").towers, {"text": CAPTIONS}, seed=0).values()
    assert isinstance(image, PixelPerceptron)
    assert isinstance(text, BagOfWords)
    assert image(torch.rand(2, 3, 16, 16)).shape == (2, image.width)


def test_places_of_patches_see_their_patch_alone() -> None:
    tower = PatchPerceptron(size=32)
    pictures = torch.rand(2, 3, 32, 32)
    changed = pictures.clone()
    changed[:, :, 12:16, 20:24] = 0  # of the patches at rows 8 and 12, columns 16 and 20
    moved = (tower.patches(pictures) != tower.patches(changed)).any(1)
    expected = torch.zeros(7, 7, dtype=torch.bool)
    expected[2:4, 4:6] = True
    assert torch.equal(moved, expected.expand(2, 7, 7))
    assert torch.allclose(tower(pictures), tower.patches(pictures).mean((2, 3)))
    with pytest.raises(ValueError, match="multiple of 8"):
        PatchPerceptron(size=30)


def test_a_bag_knows_no_order_and_no_padding() -> None:
    tokenizer = BytePairTokenizer.train(CAPTIONS, 300, context=8)
    bag = BagOfWords(tokenizer).double().eval()
    one = torch.tensor([[1, 7, 8, 9, 2]])
    other = torch.tensor([[1, 9, 7, 8, 2, 0, 0]])
    assert torch.allclose(bag(one), bag(other), rtol=1e-12)
    assert not torch.allclose(bag(one), bag(torch.tensor([[1, 7, 8, 2]])))


def test_dropout_acts_while_training_alone() -> None:
    bag = BagOfWords(BytePairTokenizer.train(CAPTIONS, 300, context=8))
    tokens = bag.tokenizer(CAPTIONS)
    assert not torch.equal(bag(tokens, dropout=0.5), bag(tokens, dropout=0.5))
    assert torch.equal(bag(tokens), bag(tokens))
    bag.eval()
    assert torch.equal(bag(tokens, dropout=0.5), bag(tokens))


def test_layers_are_refused_where_there_are_none() -> None:
    towers = override(load("seconds"), {"towers.text_layers": 3}).towers
    with pytest.raises(ValueError, match="text_layers=3: bag has no layers"):
        build_towers(towers, {"text": CAPTIONS}, seed=0)
