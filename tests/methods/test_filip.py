"""FILIP as a method: the card's loss written out, late interaction in use, captions of any length, what it refuses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from method_stubs import SIZE, StubImage, WordTokenizer, batch, build, run
from torch import Tensor, nn

from counterpoint import methods
from counterpoint.networks.base import TextTower
from counterpoint.networks.towers.transformer import TextTransformer
from counterpoint.recipes.schema import Recipe, Towers, Widths

F64 = torch.float64
PICTURES = torch.randint(
    0, 256, (5, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
)
CAPTIONS = ["a red cat", "the green hill", "small old", "a cat runs over the hill"]


def towards(own: Tensor, other: Tensor) -> float:
    return float(torch.stack([max(a @ b for b in other) for a in own]).mean().detach())


def test_is_the_loss_of_the_card() -> None:
    method = build("filip", temperature=0.1).double()
    given = batch(method, 6, dtype=F64)
    x = F.normalize(
        method.projections["image"](method.image_tower.patches(given["image"]).flatten(2).mT), dim=-1
    )
    y = F.normalize(method.projections["text"](method.text_tower.states(given["text"])), dim=-1)
    tau = float(method.objective.temperature.value)
    rows = torch.tensor([[towards(a, b) / tau for b in y] for a in x], dtype=F64)
    columns = torch.tensor([[towards(b, a) / tau for a in x] for b in y], dtype=F64)
    own = torch.arange(6)
    expected = (F.cross_entropy(rows, own) + F.cross_entropy(columns, own)) / 2
    torch.testing.assert_close(run(method, given)["filip"], expected, rtol=1e-9, atol=0)


def test_what_is_used_is_the_similarity_that_was_trained() -> None:
    method = build("filip").eval()
    a, b = method.embed("image", PICTURES), method.embed("text", CAPTIONS)
    assert a.shape == (5, 2 * 8)
    assert b.shape == (4, WordTokenizer.context * 8)
    with torch.no_grad():
        maps = method.image_tower.patches(method.image_tower.input(PICTURES))
        x = F.normalize(method.projections["image"](maps.flatten(2).mT), dim=-1)
        states = method.text_tower.states(WordTokenizer()(CAPTIONS))
        y = [F.normalize(method.projections["text"](own[own.ne(0).any(-1)]), dim=-1) for own in states]
    assert [len(own) for own in y] == [4, 4, 3, 6]
    expected = torch.tensor([[towards(i, t) for t in y] for i in x])
    torch.testing.assert_close(method.similarity(a, b), expected, rtol=1e-4, atol=1e-5)
    expected = torch.tensor([[towards(t, i) for i in x] for t in y])
    torch.testing.assert_close(method.similarity(b, a), expected, rtol=1e-4, atol=1e-5)


def test_captions_are_embedded_alike_beside_longer_ones() -> None:
    method = build("filip")
    alone = method.embed("text", CAPTIONS[2:3])
    torch.testing.assert_close(method.embed("text", CAPTIONS)[2:3], alone)


def test_similarities_are_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    method = build("filip")
    a, b = method.embed("image", PICTURES), method.embed("text", CAPTIONS)
    whole = method.similarity(a, b)
    monkeypatch.setattr("counterpoint.methods.filip.PANEL", 1)
    torch.testing.assert_close(method.similarity(a, b), whole)


def test_places_are_compared_with_phrases_by_themselves() -> None:
    method = build("filip")
    places = method.embed_patches(PICTURES)
    assert places.shape == (5, 8, 2, 1)
    flat, b = places.permute(0, 2, 3, 1).flatten(0, 2), method.embed("text", CAPTIONS)
    words = [F.normalize(own[own.ne(0).any(-1)], dim=-1) for own in b.view(4, -1, 8)]
    expected = torch.tensor([[towards(place[None], own) for own in words] for place in flat])
    torch.testing.assert_close(method.similarity(flat, b), expected, rtol=1e-4, atol=1e-5)


def test_the_transformers_states_are_what_it_pools() -> None:
    text = TextTransformer(WordTokenizer(), width=8, depth=1, heads=2)
    tokens = WordTokenizer()(CAPTIONS)
    states = text.states(tokens)
    assert states.shape == (*tokens.shape, 8)
    assert (states[2, 3:] == 0).all()
    torch.testing.assert_close(text(tokens)[2], states[2, 2])


def test_a_tower_with_batch_norms_starts_as_it_was_read() -> None:
    class Normed(StubImage):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(self.width)

        def patches(self, images: Tensor) -> Tensor:
            return self.norm(super().patches(images))

    image, recipe = Normed(), Recipe(towers=Towers(image_size=SIZE), widths=Widths(embedding=8))
    before = {name: value.clone() for name, value in image.state_dict().items()}
    method = methods.create("filip", {"image": image, "text": build("filip").text_tower}, recipe).train()
    assert method.width == 2 * 8
    assert all(torch.equal(value, before[name]) for name, value in image.state_dict().items())
    assert image.norm.training


def test_a_tower_without_tokens_is_refused() -> None:
    class Flat(TextTower):
        width = 4

        def __init__(self) -> None:
            super().__init__()
            self.tokenizer = WordTokenizer()

        def forward(self, tokens: Tensor, dropout: float = 0.0) -> Tensor:
            return torch.zeros(len(tokens), 4)

    recipe = Recipe(towers=Towers(image_size=SIZE), widths=Widths(embedding=8))
    with pytest.raises(LookupError, match="Flat has no features of single tokens"):
        methods.create("filip", {"image": StubImage(), "text": Flat()}, recipe)
