"""Fusion before pooling: gaps, padding, two pictures, and blocks that are taken over from a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from method_stubs import RECIPE, begun, build, loaded, ready, tiny_transformer, tiny_vit

from counterpoint import methods
from counterpoint.methods.origin import lend_heads
from counterpoint.networks.fusion.co_encoder import CoEncoder
from counterpoint.networks.fusion.joint_encoder import JointEncoder
from counterpoint.networks.towers.trained import CheckpointWeights
from counterpoint.training.step.optim import optimizer_of
from counterpoint.types import Target

TARGET = Target("group", ("a", "b", "c", "d", "e"), "classes")
FUSIONS = ("joint", "cross", "co")


def fused(*columns: str, **options: Any) -> Any:
    pictures = tiny_vit()
    towers = {c: tiny_transformer() if c == "text" else pictures for c in columns or ("image", "text")}
    return begun(methods.create("fused", ready(towers, 0), RECIPE, target=TARGET, **options), 0).eval()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_what_view_holds_where_column_is_missing_does_not_matter(fusion: str) -> None:
    method = fused(fusion=fusion)
    batch = loaded(method, 5)
    gaps = replace(batch, present={"image": torch.arange(5) != 1, "text": torch.arange(5) != 3})
    other = {name: view.clone() for name, view in batch.views.items()}
    other["image"][1], other["text"][3] = torch.nan, 3
    one, two = (method.logits(method.encode(b), b) for b in (gaps, replace(gaps, views=other)))
    assert torch.equal(one, two)
    assert one.isfinite().all()
    whole = method.logits(method.encode(batch), batch)
    rows = torch.tensor([0, 2, 4])
    torch.testing.assert_close(one[rows], whole[rows])
    assert not torch.isclose(one[[1, 3]], whole[[1, 3]]).all(1).any()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_both_columns_count_in_each_other(fusion: str) -> None:
    """A classifier of pooled features that is linear would be a sum of what each column says; fusion is none."""
    method = fused(fusion=fusion, hidden=0)
    batch = loaded(method, 2)
    swapped = {"image": batch["image"].flip(0), "text": batch["text"]}
    z, other = (method.encode(b) for b in (batch, replace(batch, views=swapped)))
    one, two = (method.logits(x, batch) for x in (z, other))
    assert not torch.allclose(one.sum(0), two.sum(0), atol=1e-6)


def test_two_pictures_share_the_blocks_and_have_vectors_of_their_own() -> None:
    method = fused("image", "second", "text", fusion="co")
    assert isinstance(method.joint, CoEncoder)
    batch = loaded(method, 3)
    z = method.encode(batch)
    first, second = (method.fuse_columns({**z, "second": z[c]}) for c in ("image", "second"))
    width = first.shape[1] // 2
    assert torch.equal(first[:, :width], first[:, width:])
    assert torch.equal(first[:, :width], second[:, :width])
    assert not torch.allclose(second[:, :width], second[:, width:])


@pytest.mark.parametrize("fusion", ["cross", "co"])
def test_columns_of_several_other_towers_are_refused(fusion: str) -> None:
    with pytest.raises(ValueError, match="take fusion=joint"):
        fused("image", fusion=fusion)


@pytest.mark.parametrize("encoder", [JointEncoder, CoEncoder])
def test_masked_patches_count_for_nothing(encoder: Any) -> None:
    torch.manual_seed(0)
    blocks = encoder(8, 12, patches=0, depth=2, heads=2).double()
    words, patches = torch.randn(2, 3, 8).double(), torch.randn(2, 4, 12).double()
    mask = torch.tensor([[True, True, False, False]]).expand(2, -1)
    short = blocks.fused(words, patches[:, :2])
    for one, other in zip(short, blocks.fused(words, patches, mask), strict=True):
        torch.testing.assert_close(one, other[:, : one.shape[1]])


def test_streams_are_updated_at_once() -> None:
    torch.manual_seed(0)
    blocks = CoEncoder(8, 8, patches=0, depth=1, heads=2)
    words, patches = torch.randn(1, 3, 8), torch.randn(1, 4, 8)
    context = blocks.project(patches)
    every = torch.ones(1, 4, dtype=torch.bool), torch.ones(1, 3, dtype=torch.bool)
    expected = blocks.patch_norm(blocks.patch_blocks[0](context, words, every[0], context_mask=every[1]))
    torch.testing.assert_close(blocks.fused(words, patches)[1], expected)


@pytest.mark.parametrize("fusion", ["cross", "co"])
def test_blocks_of_albef_are_taken_over(fusion: str) -> None:
    albef = build("albef", fusion=fusion, queue=0, alpha=0.0)
    towers = {column: albef.tower(column) for column in albef.columns}
    method = begun(methods.create("fused", towers, RECIPE, target=TARGET, fusion=fusion), 1)

    weights = CheckpointWeights(albef.state_dict())
    assert "joint" in lend_heads(weights, method, {column: column for column in towers}, ())
    for name, weight in method.joint.state_dict().items():
        assert torch.equal(weight, albef.joint.state_dict()[name]), name


@pytest.mark.parametrize("name", ["fused", "albef"])
def test_towers_have_a_rate_of_their_own(name: str) -> None:
    method = build(name, backbone=0.2)
    named = {id(parameter): name for name, parameter in method.named_parameters()}
    for group in optimizer_of(method, RECIPE.optimizer, method.rates).param_groups:
        of_towers = {named[id(parameter)].startswith("towers.") for parameter in group["params"]}
        assert of_towers == {group["rate"] == 0.2}


def test_patches_that_read_words_enter_the_match_of_albef() -> None:
    method = build("albef", fusion="co", queue=0, alpha=0.0)
    batch = loaded(method, 4)
    z = method.encode(batch)
    logits = method.fuse(z, method.pairs(z, batch))["pair.match"]
    logits.sum().backward()
    assert method.match_head.weight.shape[1] == 2 * method.text_tower.width
    assert method.joint.patch_blocks[-1].down.weight.grad.any()
