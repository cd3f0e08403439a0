"""AMCL's method: heads of their own, one network of temperatures, what a user gets."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from method_stubs import RECIPE, batch, build, run, total
from torch import nn

from counterpoint.methods import Arm

CAPTIONS = ["a red cat", "the old hill", "a green hill runs"]


def test_pairs_linear_heads_of_towers_and_images_perceptrons() -> None:
    pairs, images = build("amcl"), build("amcl", on="images", heads=2)
    assert {m: len(heads) for m, heads in pairs.projections.items()} == {"image": 3, "text": 3}
    assert all(isinstance(head, nn.Linear) for heads in pairs.projections.values() for head in heads)
    assert {m: len(heads) for m, heads in images.projections.items()} == {"image": 2}
    assert pairs.objective.width == RECIPE.widths.embedding
    assert images.objective.width == RECIPE.widths.ssl_output
    assert set(images.views) == {"image.1", "image.2"}


def test_heads_share_no_weights_and_start_apart() -> None:
    one, other, third = build("amcl").projections["image"]
    assert len({head.weight.data_ptr() for head in (one, other, third)}) == 3
    assert not torch.equal(one.weight, other.weight)


def test_the_loss_is_the_objective_of_the_heads() -> None:
    method = build("amcl")
    given = batch(method)
    z = method.encode(given)
    x, y = (
        [F.normalize(head(z[view]), dim=-1) for head in method.projections[view]]
        for view in ("image", "text")
    )
    torch.testing.assert_close(run(method, given)["amcl"], method.objective(x, y), rtol=0, atol=0)


def test_a_users_cosine_is_the_mean_of_those_of_the_heads() -> None:
    method = build("amcl").eval()
    pictures = torch.randint(
        0, 256, (3, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    ours = method.similarity(method.embed("image", pictures), method.embed("text", CAPTIONS))
    with torch.no_grad():
        h = method.image_tower(method.image_tower.input(pictures))
        t = method.text_tower(method.text_tower.tokenizer(CAPTIONS))
        cosines = [
            F.normalize(f(h), dim=-1) @ F.normalize(g(t), dim=-1).T
            for f, g in zip(*method.projections.values(), strict=True)
        ]
    torch.testing.assert_close(ours, torch.stack(cosines).mean(0))


def test_on_images_user_gets_towers_features_texts_not_trained() -> None:
    method = build("amcl", on="images").eval()
    pictures = torch.randint(
        0, 256, (3, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    features = method.image_tower(method.image_tower.input(pictures))
    torch.testing.assert_close(method.embed("image", pictures), F.normalize(features, dim=-1))
    with pytest.raises(ValueError, match="it has no text embeddings"):
        method.embed("text", CAPTIONS)
    method.train()
    total(method, batch(method)).backward()
    assert set(method.towers) == {"image"}
    assert all(p.grad is not None for p in method.objective.parameters())
    assert Arm.parse("amcl,on=images").reads() == {"image": "image"}
