"""Texts drawn as pictures, and one tower for both."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint import methods
from counterpoint.data import views
from counterpoint.methods import Arm
from counterpoint.networks import MomentumCopy, build_towers
from counterpoint.networks.towers.drawn import BACKGROUND, LONGEST, DrawnText, RenderedInput, glyph
from counterpoint.networks.towers.transformer import ProbedTransformer
from counterpoint.recipes import Recipe, load, override
from counterpoint.recipes.schema import Augmentation, Towers
from counterpoint.types import Batch, StepInfo

PIXELS = "clip,image=vit-map,text=pixels"


def small() -> Recipe:
    return override(load("seconds"), {"towers.image_size": 16})


def test_letters_are_black_on_grey_and_small() -> None:
    picture = RenderedInput(48)(["A Red Car"])
    assert torch.equal(picture, RenderedInput(48)(["a red car"]))
    assert torch.equal(picture[:, 0], picture[:, 1])
    assert torch.equal(picture[:, 0], picture[:, 2])
    assert picture.max().item() == pytest.approx(BACKGROUND / 255)
    assert picture.min().item() < 0.05
    assert torch.equal(RenderedInput(48)([""]), torch.full((1, 3, 48, 48), BACKGROUND / 255))


@pytest.mark.parametrize(("size", "row"), [(48, 8), (224, 16)])
def test_letters_stand_where_the_reference_puts_them(size: int, row: int) -> None:
    text = "words break at any letter, wherever a line ends"
    widths = [glyph(letter, row).shape[1] for letter in text]
    starts = np.cumsum([0, *widths])[:-1]
    rows = starts // (size - max(widths))
    lefts = [
        start - min(s for s, r in zip(starts, rows, strict=True) if r == own)
        for start, own in zip(starts, rows, strict=True)
    ]
    assert RenderedInput(size).positions(text) == list(zip(rows.tolist(), lefts, strict=True))
    assert all(left + width <= size for left, width in zip(lefts, widths, strict=True))
    drawn = RenderedInput(size)([text])[0, 0]
    assert bool((drawn[:row] < BACKGROUND / 255).any())
    place = text.index("y")
    inside = drawn[rows[place] * row : (rows[place] + 1) * row, lefts[place] : lefts[place] + widths[place]]
    torch.testing.assert_close(inside, torch.from_numpy(glyph("y", row).astype(np.float32)) / 255)


def test_a_letter_has_its_own_width_and_free_pixels_on_its_left() -> None:
    wide, narrow, none = (glyph(letter, 16) for letter in ("m", "i", " "))
    assert wide.shape[1] > narrow.shape[1] >= 4
    assert none.shape == (16, 4)
    for shape in (wide, narrow):
        assert (shape[:, 0] == BACKGROUND).all()
        assert (shape[:, 1] != BACKGROUND).any()


def test_what_does_not_fit_is_cut_and_counted() -> None:
    long = "a green hill " * 100
    drawn = RenderedInput(48)
    assert torch.equal(drawn([long]), drawn([long[:LONGEST]]))
    assert drawn.too_long([long, "a hill"]).tolist() == [True, False]
    assert drawn([long]).shape == (1, 3, 48, 48)


def test_scripts_differ_and_letters_that_the_font_lacks_do_not() -> None:
    cyrillic, greek, one, other = RenderedInput(48)(["дом", "δομ", "日", "本"])
    assert not torch.equal(cyrillic, greek)
    assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["plain", "weak", "strong"])
def test_no_view_mirrors_or_recolours_what_is_drawn(name: str) -> None:
    view = views.text(name, Augmentation(synonyms=False, stop_words=0.0))
    texts = [["rising"]] * 20
    drawn = view(texts, views.key(0, 3, np.arange(20), "text"), RenderedInput(48))
    assert torch.equal(drawn, RenderedInput(48)(["rising"] * 20))


def test_texts_share_the_tower_and_the_head_of_pictures() -> None:
    method = Arm.parse(PIXELS).build(small(), {"text": ["unused"]}, seed=0)
    assert method.columns == {"image": "image", "text": "image"}
    assert not [name for name in method.state_dict() if "text" in name]
    alone = Arm.parse("moco,image=vit-map").build(small(), {}, seed=0)
    weights = sum(p.numel() for p in method.towers.parameters())
    assert weights == sum(p.numel() for p in alone.towers.parameters())
    texts = ["a cat", "a dog"]
    pictures = method.tower("text").input(texts)
    expected = method.embed_prepared("image", pictures)
    assert torch.equal(method.embed("text", texts), expected)


def test_the_order_of_columns_changes_nothing() -> None:
    built = [
        build_towers(
            Towers(image="vit-map", text="pixels", image_size=16), {}, 0, columns={c: c for c in order}
        )
        for order in (("image", "text"), ("text", "image"))
    ]
    for towers in built:
        assert towers["text"].core is towers["image"]
    one, other = (towers["image"].state_dict() for towers in built)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_texts_alone_have_a_tower_of_pictures_of_their_own() -> None:
    method = Arm.parse("simcse,on=text,text=pixels,image=mlp").build(small(), {"text": ["unused"]}, seed=0)
    assert method.embed("text", ["a cat"]).shape == (1, method.width)
    assert list(method.towers) == ["text"]


def test_both_sides_move_the_one_tower_and_it_survives_saving() -> None:
    method = Arm.parse(PIXELS).build(small(), {"text": ["unused"]}, seed=0)
    texts = ["a cat", "a dog", "a hill"]
    given = Batch(
        torch.arange(3), {"image": torch.rand(3, 3, 16, 16), "text": method.tower("text").input(texts)}
    )
    z = method.encode(given)
    gradients = [
        torch.autograd.grad(z[c].sum(), method.towers["image"].probe.weight, retain_graph=True)[0] for c in z
    ]
    assert all(g.abs().sum() > 0 for g in gradients)
    method.losses(z, given, StepInfo(0, 10))["clip"].backward()
    other = Arm.parse(PIXELS).build(small(), {"text": ["unused"]}, seed=1)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.embed("text", texts), method.embed("text", texts))


def test_a_momentum_copy_of_it_follows() -> None:
    tower = DrawnText(ProbedTransformer(16, width=12, depth=1, heads=2))
    slow = MomentumCopy(tower, m=0.0)
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(0.1)
    slow.update()
    pictures = torch.rand(2, 3, 16, 16)
    # Close and not equal: without gradients some processors take other kernels.
    torch.testing.assert_close(slow(pictures), tower(pictures))
    brivl = methods.create("brivl", {"image": tower.image, "text": tower}, small(), queue=8)
    assert brivl.columns["text"] == "image"


def test_a_probed_transformer_is_read_by_one_query() -> None:
    tower = ProbedTransformer(16, patch=8, width=12, depth=1, heads=2).double()
    images = torch.rand(3, 3, 16, 16, dtype=torch.float64)
    states = tower._states(images)
    k, v = tower.kv(states).chunk(2, -1)
    parts = []
    for head in range(2):
        at = slice(6 * head, 6 * head + 6)
        weights = (k[..., at] @ tower.probe.weight[0, at] / 6**0.5).softmax(1)
        parts.append((weights[..., None] * v[..., at]).sum(1))
    attended = tower.out(torch.cat(parts, 1))
    fed = tower.down(torch.nn.functional.gelu(tower.up(tower.norm_2(attended))))
    torch.testing.assert_close(tower(images), attended + fed)
    with pytest.raises(LookupError, match="ProbedTransformer has no features of single places"):
        tower.patches(images)
