"""MIL as a method: the card's loss written out, its limits, and the pooled similarity in use."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, SIZE, WordTokenizer, batch, build, run
from torch import Tensor

from counterpoint import methods
from counterpoint.networks import ConvNet
from counterpoint.networks.base import ImageTower
from counterpoint.networks.towers.transformer import TextTransformer
from counterpoint.recipes.schema import Recipe, Towers

F64 = torch.float64
POOLINGS = ("mean", "max", "lse", "attention", "noisy_or")
PICTURES = torch.randint(
    0, 256, (5, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
)
CAPTIONS = ["a red cat", "the green hill", "small old", "a cat runs over the hill"]


def pooled(h: Tensor, pooling: str, gamma: float = 5.0) -> Tensor:
    """Pool similarities ``(..., N)``."""
    if pooling == "mean":
        return h.mean(-1)
    if pooling == "max":
        return h.amax(-1)
    if pooling == "lse":
        return (gamma * h).exp().mean(-1).log() / gamma
    if pooling == "attention":
        return ((gamma * h).softmax(-1) * h).sum(-1)
    return 1 - (1 - h.clamp_min(0)).prod(-1)


@pytest.mark.parametrize("non_local", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_is_the_loss_of_the_card(pooling: str, non_local: bool) -> None:
    method = build("mil", pooling=pooling, sentences=2, non_local=non_local, temperature=0.1).double()
    given = batch(method, 6, dtype=F64)
    maps = method.image_tower.patches(given["image"])
    x = F.normalize(method.projections["image"](maps.flatten(2).mT), dim=-1)
    y = torch.stack(
        [
            F.normalize(method.projections["text"](method.text_tower(given[n])), dim=-1)
            for n in ("text", "text.1")
        ],
        1,
    )
    bags = {"mil": x}
    if non_local:
        seen = method.non_local
        attention = (seen.theta(x) @ seen.phi(x).mT).softmax(-1)
        bags["mil_global"] = F.normalize((x + attention @ seen.g(x)).mean(1, keepdim=True), dim=-1)
    losses, tau = run(method, given), method.objective.temperature.value.detach()
    assert losses.keys() == bags.keys()
    for name, bag in bags.items():
        scores = torch.zeros(6, 6, dtype=F64)
        for i in range(6):
            for j in range(6):
                scores[i, j] = torch.stack([pooled(bag[i] @ y[j, m], pooling) for m in range(2)]).mean() / tau
        own = torch.arange(6)
        expected = (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2
        torch.testing.assert_close(losses[name], expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("non_local", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_what_is_used_is_the_similarity_that_was_trained(pooling: str, non_local: bool) -> None:
    method = build("mil", pooling=pooling, non_local=non_local).eval()
    a, b = method.embed("image", PICTURES), method.embed("text", CAPTIONS)
    assert a.shape == (5, (2 + non_local) * 8)
    prepared = method.image_tower.input(PICTURES)
    with torch.no_grad():
        x = F.normalize(
            method.projections["image"](method.image_tower.patches(prepared).flatten(2).mT), dim=-1
        )
        y = F.normalize(method.projections["text"](method.text_tower(WordTokenizer()(CAPTIONS))), dim=-1)
        expected = pooled(torch.einsum("rnd,cd->rcn", x, y), pooling)
        if non_local:
            g = F.normalize(method.non_local(x).mean(1), dim=-1)
            expected = expected + pooled((g @ y.T)[..., None], pooling)
        scores = method.similarity(a, b)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(method.similarity(b, a), scores.T)


def test_the_plain_product_of_embeddings_is_mean_pooling() -> None:
    method = build("mil", pooling="mean")
    a, b = method.embed("image", PICTURES), method.embed("text", CAPTIONS)
    torch.testing.assert_close(method.similarity(a, b), a @ b.T)


def test_places_are_compared_with_phrases_by_themselves() -> None:
    method = build("mil", pooling="lse", non_local=True)
    places = method.embed_patches(PICTURES)
    assert places.shape == (5, 3 * 8, 2, 1)
    flat = places.permute(0, 2, 3, 1).flatten(0, 2)
    b = method.embed("text", CAPTIONS)
    near = (flat[:, :8] @ b[:, :8].T) * 3  # each vector is a third of the squared norm
    torch.testing.assert_close(method.similarity(flat, b), 2 * near, rtol=1e-4, atol=1e-5)


def test_one_place_and_one_caption_are_clips_loss() -> None:
    words = WordTokenizer()
    recipe = Recipe(towers=Towers(image_size=16))
    towers = {"image": ConvNet(16), "text": TextTransformer(words)}
    mil = methods.create("mil", towers, recipe, temperature=0.07)
    assert mil.places == 1  # 16 pixels: a map of one place
    clip = methods.create("clip", towers, recipe)
    clip.projections.load_state_dict(mil.projections.state_dict())
    g = torch.Generator().manual_seed(0)
    given = batch(mil, 6)
    views = {**given.views, "image": torch.rand(6, 3, 16, 16, generator=g)}
    given = type(given)(given.ids, views, given.labels)
    ours = mil.losses(mil.encode(given), given, LATE)["mil"]
    theirs = clip.losses(clip.encode(given), given, LATE)["clip"]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_tower_without_places_is_refused() -> None:
    class Flat(ImageTower):
        width, size = 4, SIZE

        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(3, 4)

        def forward(self, images: Tensor) -> Tensor:
            return self.linear(images.mean((2, 3)))

    with pytest.raises(LookupError, match="Flat has no features of single places"):
        methods.create("mil", {"image": Flat(), "text": TextTransformer(WordTokenizer())}, Recipe())
