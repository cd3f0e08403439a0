from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score
from torch import Tensor

from counterpoint.diagnostics.inversion import average_precision, to_image, to_text
from counterpoint.methods.arm import Arm
from counterpoint.methods.dual_encoder import DualEncoder, linear_heads
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.networks.init import initialise
from counterpoint.recipes import load, override
from fixtures.open_clip import small_open_clip

CAPTIONS = ["a red car", "a blue car in the rain", "two dogs", "a photo of a cat"]


def model(image: str = "vit") -> TowerMethod:
    recipe = override(
        load("cpu"),
        {"towers.image": image, "towers.image_size": 24, "towers.vocabulary": 300, "widths.embedding": 16},
    )
    built = Arm.parse("clip").build(recipe, {"text": CAPTIONS}, 0)
    assert isinstance(built, TowerMethod)
    return built


def pictures(n: int = 3, size: int = 24) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, size, size), generator=generator, dtype=torch.uint8)


@pytest.fixture(params=["built in", "open_clip"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TowerMethod]:
    if request.param == "built in":
        yield model()
    else:
        towers = dict(zip(("image", "text"), small_open_clip(tmp_path), strict=True))
        dual = DualEncoder(towers, linear_heads(towers, 8), torch.nn.Identity(), "none")
        initialise(dual.projections, 0)
        yield dual


def test_both_ways_come_closer_to_the_target_and_nothing_moves(either: TowerMethod) -> None:
    before = {name: p.clone() for name, p in either.named_parameters()}
    either.train()
    for few, many, target in (
        (
            to_text(either, pictures(), steps=2),
            to_text(either, pictures(), steps=40),
            either.embed("image", pictures()),
        ),
        (
            to_image(either, CAPTIONS, steps=2),
            to_image(either, CAPTIONS, steps=40),
            either.embed("text", CAPTIONS),
        ),
    ):
        assert (many.cosine > few.cosine).all()
        torch.testing.assert_close(many.cosine, (many.features * target).sum(1))
        torch.testing.assert_close(many.features.norm(dim=1), torch.ones(len(target)))
        assert not many.features.requires_grad
    assert either.training
    assert all(p.grad is None and torch.equal(p, before[name]) for name, p in either.named_parameters())
    assert not any(m._forward_hooks for m in either.modules())


def test_a_sample_does_not_depend_on_the_others() -> None:
    clip = model()
    together, alone = to_text(clip, pictures(3), steps=15), to_text(clip, pictures(3)[1:2], steps=15)
    torch.testing.assert_close(together.features[1:2], alone.features, atol=1e-4, rtol=0)
    together, alone = to_image(clip, CAPTIONS, steps=15), to_image(clip, CAPTIONS[2:3], steps=15)
    torch.testing.assert_close(together.features[2:3], alone.features, atol=1e-4, rtol=0)


def test_no_steps_is_the_template_with_vectors_of_the_start() -> None:
    clip = model()
    tower = clip.text_tower
    found = to_text(clip, pictures(), tokens=2, steps=0, seed=5)
    ids = tower.tokenizer(["a photo of"])
    u = 0.02 * torch.randn(2, tower.width, generator=torch.Generator().manual_seed(5))
    longer = torch.cat([ids[:, :-1], ids[:, -2:-1], ids[:, -2:-1], ids[:, -1:]], 1)
    table = tower.token_embedding
    handle = table.register_forward_hook(lambda m, a, out: torch.cat([out[:, :-3], u[None], out[:, -1:]], 1))  # type: ignore[union-attr, operator]
    with torch.no_grad():
        expected = F.normalize(clip.project("text", tower.eval()(longer), "global"), dim=-1)
    handle.remove()
    torch.testing.assert_close(found.features, expected.expand(3, -1))


def test_more_tokens_overfit_the_target() -> None:
    clip = model()
    one, three = (to_text(clip, pictures(), tokens=r, steps=60).cosine.mean() for r in (1, 3))
    assert three > one


def test_each_visual_token_stands_for_a_share_of_the_patches() -> None:
    clip = model()
    seen: list[Tensor] = []
    tower = clip.image_tower
    handle = tower.blocks[0].register_forward_pre_hook(lambda m, args: seen.append(args[0].detach()))  # type: ignore[union-attr, operator, index]
    to_image(clip, CAPTIONS[:1], tokens=2, steps=0)
    handle.remove()
    tokens = seen[-1][0] - tower.position_embedding.weight.detach()  # type: ignore[union-attr, operator]
    assert len(tokens) == 9
    for part in (tokens[:5], tokens[5:]):  # 9 patches for 2 tokens: 5 and 4
        torch.testing.assert_close(part, part[:1].expand_as(part))
    assert not torch.allclose(tokens[0], tokens[-1])


def test_what_cannot_be_inverted_is_named() -> None:
    clip = model()
    with pytest.raises(ValueError, match="no room for 40 more"):
        to_text(clip, pictures(), tokens=40)
    with pytest.raises(ValueError, match="one at least"):
        to_text(clip, pictures(), tokens=0)
    with pytest.raises(ValueError, match="a picture has 9 patches"):
        to_image(clip, CAPTIONS, tokens=10)
    with pytest.raises(ValueError, match="ConvNet has no embedding of patches"):
        to_image(model("cnn"), CAPTIONS)


def test_average_precision_equals_scikit_learn_without_query() -> None:
    z = F.normalize(torch.randn(90, 5, generator=torch.Generator().manual_seed(0)), dim=1)
    classes = torch.arange(90) % 4
    found = average_precision(z, z, lambda part: classes[part, None] == classes, torch.arange(90))
    for i in (0, 7, 89):
        others = torch.arange(90) != i
        expected = average_precision_score(
            (classes == classes[i])[others].numpy(), (z @ z[i])[others].numpy()
        )
        assert float(found[i]) == pytest.approx(expected)
    inflated = average_precision(z, z, lambda part: classes[part, None] == classes)
    assert (inflated > found).all()
    assert average_precision(z[:1], z, lambda part: torch.zeros(1, 90).bool()).isnan().all()
