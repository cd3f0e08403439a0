"""Towers of pictures that are joined: their patches stay apart, and a bridge gives as many tokens as for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from counterpoint.files import writing_folder
from counterpoint.methods.arm import Arm
from counterpoint.networks import ConvNet, VisionTransformer, build_towers
from counterpoint.networks.bridges.base import Seen
from counterpoint.networks.bridges.resampler import ResamplerBridge
from counterpoint.networks.heads import Linear
from counterpoint.networks.init import initialise
from counterpoint.networks.towers.joined import JoinedTower
from counterpoint.networks.towers.parts.regions import grid
from counterpoint.networks.weights import joined_names, restored
from counterpoint.raw import Exchange
from counterpoint.recipes import Recipe
from counterpoint.recipes.schema import Towers
from counterpoint.types import Fit

SIZES = Towers(
    image_size=16,
    image_width=8,
    image_layers=1,
    image_patch=8,
    vocabulary=300,
    talk="llama",
    talk_width=16,
    talk_layers=1,
)
TALKS = [(Exchange("What is it?", "a red car"),), (Exchange("What is it?", "a blue car"),)]


def run_of(arm: str, folder: Path, seed: int) -> Path:
    """The folder of a run at its start, as far as its weights are concerned."""
    method = Arm.parse(arm).build(Recipe(towers=SIZES), {"text": ["a red car", "a blue car"]}, seed=seed)
    with writing_folder(folder / "checkpoint" / "step-0000002") as part:
        tensors = {name: tensor.contiguous() for name, tensor in method.state_dict().items()}
        save_file(tensors, part / "model.safetensors")
    (folder / "run.json").write_text(json.dumps({"status": "finished"}))
    return folder


def built(name: str, **changes: Any) -> Any:
    sizes = SIZES.model_copy(update={"image": name, **changes})
    return build_towers(sizes, {}, 0, columns={"image": "image"})["image"]


def test_features_are_those_of_both_towers() -> None:
    towers = [VisionTransformer(16, 8, 8, 1, 2), ConvNet(32)]
    tower = JoinedTower(towers)
    initialise(tower, 0)
    tower.eval()
    images = torch.rand(2, 3, 32, 32)
    small = torch.nn.functional.interpolate(images, (16, 16), mode="bilinear", antialias=True)
    # Each tower gets pictures of its own size.
    first, second = towers[0](small), towers[1](images)
    assert tower.size == 32
    assert torch.equal(tower(images), torch.cat([first, second], 1))
    patches = tower.patches(images)
    assert patches.shape == (2, 8 + 128, 4 + 4, 1)
    assert grid(tower) == (8, 1)
    assert torch.equal(patches[:, :8, :4, 0], towers[0].patches(small).flatten(2))
    assert torch.equal(patches[:, 8:, 4:, 0], towers[1].patches(images).flatten(2))
    assert not patches[:, 8:, :4].any()
    assert not patches[:, :8, 4:].any()


def test_a_linear_layer_on_joined_patches_is_one_for_each_tower() -> None:
    towers = [VisionTransformer(16, 8, 8, 1, 2), VisionTransformer(16, 4, 12, 1, 2)]
    tower, linear = JoinedTower(towers), Linear(20, 5)
    initialise(tower, 0)
    initialise(linear, 0)
    images = torch.rand(2, 3, 16, 16)
    parts = [
        of.patches(images).flatten(2).mT @ weight.mT
        for of, weight in zip(towers, linear.weight.split([8, 12], 1), strict=True)
    ]
    torch.testing.assert_close(linear(tower.patches(images).flatten(2).mT), torch.cat(parts, 1))


def test_random_towers_of_one_kind_start_at_other_weights() -> None:
    first, second = built("vit+vit").experts
    weights = dict(second.named_parameters())
    matrices = [(name, weight) for name, weight in first.named_parameters() if weight.ndim > 1]
    assert matrices
    assert all(not torch.equal(weight, weights[name]) for name, weight in matrices)


def test_pictures_are_made_as_for_the_largest_tower() -> None:
    small, large = ConvNet(16), ConvNet(32)
    small.fit, large.fit = Fit(16, 20), Fit(32, 36)
    assert JoinedTower([small, large]).input.evaluation_fit == Fit(32, 36)


def test_a_resampler_gives_as_many_tokens_and_reads_both_towers() -> None:
    tower = built("vit+vit")
    bridge = ResamplerBridge(tower.width, 16, grid(tower), 6)
    initialise(bridge, 0)
    patches = tower.patches(torch.rand(2, 3, 16, 16)).detach().flatten(2).mT.requires_grad_()
    tokens = bridge(Seen((patches,), grid(tower))).tokens
    assert tokens.shape == (2, 6, 16)
    tokens.square().sum().backward()
    assert patches.grad is not None
    assert patches.grad[:, :4, :8].any()
    assert patches.grad[:, 4:, 8:].any()


def test_runs_lend_their_towers(tmp_path: Path) -> None:
    first, second = (run_of("clip,image=vit", tmp_path / f"run+{seed}", seed) for seed in (1, 2))
    name = f"vit@{first}+vit@{second}"
    tower = built(name)
    assert tower.name == name
    assert tower.pretrained
    images = torch.rand(2, 3, 16, 16)
    parts = [built(f"vit@{folder}")(images) for folder in (first, second)]
    assert torch.equal(tower(images), torch.cat(parts, 1))
    with pytest.raises(ValueError, match=r"all pretrained, or none: give vit weights \(NAME@RUN\)"):
        built(f"vit@{first}+vit")
    with pytest.raises(ValueError, match="towers of pictures alone are joined"):
        build_towers(
            SIZES.model_copy(update={"talk": "llama+llama"}), {"talk": TALKS}, 0, columns={"talk": "talk"}
        )


def test_an_arm_joins_towers_which_do_not_move(tmp_path: Path) -> None:
    first, second = (run_of("clip,image=vit", tmp_path / str(seed), seed) for seed in (1, 2))
    recipe, columns = Recipe(towers=SIZES), {"image": "image", "talk": "talk"}
    arm = Arm.parse(f'sft,image="vit@{first}+vit@{second}",bridge=resampler,tokens=6')
    method: Any = arm.build(recipe, {"talk": TALKS}, seed=0, columns=columns)
    one: Any = Arm.parse(f'sft,image="vit@{first}",bridge=resampler,tokens=6').build(
        recipe, {"talk": TALKS}, seed=0, columns=columns
    )
    assert method.speaker.bridge.tokens == one.speaker.bridge.tokens == 6
    assert method.image_tower.frozen
    assert not any(p.requires_grad for p in method.image_tower.parameters())
    # A checkpoint's weights replace those of the runs, which may be gone by then.
    with restored():
        again: Any = Arm.parse(f'sft,image="vit@{tmp_path / "gone"}+vit@{second}",bridge=resampler').build(
            recipe, {"talk": TALKS}, seed=0, columns=columns
        )
    again.image_tower.load_state_dict(method.image_tower.state_dict())


def test_a_path_with_a_plus_is_one_tower(tmp_path: Path) -> None:
    (tmp_path / "a+cnn").mkdir()
    known = ("vit", "cnn", "timm:NAME")
    assert joined_names(f"vit@{tmp_path / 'a+cnn'}", known) == (f"vit@{tmp_path / 'a+cnn'}",)
    assert joined_names("vit@a+cnn", known) == ("vit@a", "cnn")
    assert joined_names("timm:resnet18@f.pt+vit@b+c", known) == ("timm:resnet18@f.pt", "vit@b+c")
    assert joined_names("vit", known) == ("vit",)
