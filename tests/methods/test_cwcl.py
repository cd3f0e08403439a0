"""CWCL as a method: what is frozen, whose geometry counts, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LOCKED, READ, RECIPE, batch, build, features, run, through, total
from torch import nn

from counterpoint.recipes.schema import Recipe

F64 = torch.float64


@pytest.mark.parametrize(("frozen", "trained"), [("text", "image"), ("image", "text")])
def test_the_frozen_tower_stays_and_the_other_learns(frozen: str, trained: str) -> None:
    method = build("cwcl", frozen=frozen).train()
    before = {k: v.clone() for k, v in method.state_dict().items()}
    optimizer = torch.optim.AdamW(
        [p for p in method.parameters() if p.requires_grad], lr=0.1, weight_decay=0.5
    )
    total(method, batch(method)).backward()
    optimizer.step()
    after = method.state_dict()
    for name in (f"towers.{frozen}.linear.weight", f"towers.{trained}.linear.weight"):
        assert torch.equal(before[name], after[name]) == (f".{frozen}." in name)
    assert not any(m.training for m in method.towers[frozen].modules())
    assert method.towers[trained].training


def test_other_tower_is_mapped_into_the_space_of_the_frozen_one() -> None:
    method = build("cwcl")
    assert isinstance(method.projections["text"], nn.Identity)
    assert method.projections["image"].weight.shape == (method.text_tower.width, method.image_tower.width)


@pytest.mark.parametrize("frozen", ["text", "image"])
def test_weights_are_the_cosines_of_the_frozen_modality(frozen: str) -> None:
    g = torch.Generator().manual_seed(0)
    both = {m: torch.randn(7, 8, generator=g, dtype=F64) for m in ("image", "text")}
    q = F.normalize(both[frozen], dim=1)
    p = F.normalize(both["image" if frozen == "text" else "text"], dim=1)
    w, s = (0.5 + 0.5 * q @ q.T) ** 2, q @ p.T / 0.07
    expected = F.cross_entropy(s, w / w.sum(1, keepdim=True)) + F.cross_entropy(s.T, torch.arange(7))
    method = through("cwcl", recipe=READ, frozen=frozen, gamma=2.0)
    assert total(method, features(**both)).item() == pytest.approx(expected.item())


def test_sharp_weights_are_twice_lit() -> None:
    given = features(
        **{
            m: torch.randn(7, 8, generator=torch.Generator().manual_seed(k), dtype=F64)
            for k, m in enumerate(("image", "text"))
        }
    )
    lit = through("lit", recipe=LOCKED, temperature=0.07)
    sharp = through("cwcl", recipe=READ, frozen="image", gamma=1e6)
    torch.testing.assert_close(total(sharp, given), 2 * total(lit, given))


def test_the_temperature_is_that_of_clip() -> None:
    method = build("cwcl", temperature=0.1)
    assert method.objective.temperature.value.item() == pytest.approx(0.1)
    assert method.objective.temperature.bounds == (0.01, 1.0)
    assert set(run(method, batch(method))) == {"cwcl"}


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        (RECIPE, {}, "text tower pretrained, but it is 'transformer'; name weights as text=NAME@WEIGHTS"),
        (LOCKED, {}, "wants the text tower pretrained"),
        (RECIPE, {"frozen": "image"}, "image tower pretrained, but it is 'cnn'; name weights as image="),
    ],
)
def test_a_frozen_tower_must_be_pretrained(recipe: Recipe, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("cwcl", recipe=recipe, **options)


def test_another_modality_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown frozen column 'audio'"):
        build("cwcl", frozen="audio")
