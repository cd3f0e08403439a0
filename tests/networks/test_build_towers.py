"""Names to towers: the built-in ones, their shared start, and names that are none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from counterpoint.files import write_yaml, writing_folder
from counterpoint.networks import (
    BytePairTokenizer,
    ConvNet,
    ImageTower,
    TextTransformer,
    VisionTransformer,
    build_towers,
    initialise,
)
from counterpoint.networks.base import INPUTS
from counterpoint.networks.towers.built_in import IMAGE_TOWERS
from counterpoint.networks.weights import TowerSource
from counterpoint.recipes.schema import Towers
from counterpoint.registry import UnknownNameError

CAPTIONS = ["a red car", "a blue car on a red road"]


def equal(a: nn.Module, b: nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def test_sizes_come_from_the_recipe() -> None:
    image, text = build_towers(
        Towers(image_size=64, context=9, vocabulary=270), {"text": CAPTIONS}, 0
    ).values()
    assert isinstance(image, ConvNet)
    assert isinstance(text, TextTransformer)
    assert image.size == 64
    assert (text.tokenizer.context, text.tokenizer.vocabulary) == (9, 270)
    assert isinstance(build_towers(Towers(image="vit"), {"text": CAPTIONS}, 0)["image"], VisionTransformer)


@pytest.mark.parametrize(
    ("image", "text"),
    [(image, "transformer") for image in IMAGE_TOWERS] + [("cnn", "bag"), ("cnn", "reader")],
)
def test_batch_without_examples_no_features_gradients_of_zero(image: str, text: str) -> None:
    names = Towers(image=image, text=text, image_size=32, vocabulary=270)
    for column, tower in build_towers(names, {"text": CAPTIONS}, 0).items():
        raw = torch.zeros(1, 3, 32, 32, dtype=torch.uint8) if column == "image" else CAPTIONS
        features = tower(tower.input(raw)[:0])
        assert features.shape == (0, tower.width)
        features.sum().backward()
        assert all(p.grad is not None and not p.grad.any() for p in tower.parameters())


def test_arms_share_their_towers_start() -> None:
    before = torch.random.get_rng_state()
    image, text = build_towers(Towers(), {"text": CAPTIONS}, 4).values()
    assert torch.equal(before, torch.random.get_rng_state())
    torch.randn(7)
    other_image, other_text = build_towers(Towers(), {"text": CAPTIONS}, 4).values()
    assert equal(image, other_image)
    assert equal(text, other_text)
    initialise(nn.ModuleDict({"somewhere": image, "head": nn.Linear(3, 3)}), 99)
    assert equal(image, other_image), "a method's own start does not redraw its towers"
    assert equal(build_towers(Towers(image="vit"), {"text": CAPTIONS}, 4)["text"], text)
    assert not equal(build_towers(Towers(), {"text": CAPTIONS}, 5)["text"], text)


def test_tokenizer_of_earlier_start_used_and_captions_not_needed(tmp_path: Path) -> None:
    tokenizer = BytePairTokenizer.train(CAPTIONS, 280, 8)
    (tmp_path / INPUTS).mkdir()
    tokenizer.save(tmp_path / INPUTS / tokenizer.file)
    text = build_towers(Towers(), {}, 0, folder=tmp_path)["text"]
    assert torch.equal(text.input(CAPTIONS), tokenizer(CAPTIONS))


def test_towers_of_columns_built_columns_of_modality_share_one() -> None:
    assert list(build_towers(Towers(), {}, 0, columns={"image": "image"})) == [
        "image"
    ]  # no captions are read
    columns = {"question": "text", "answer": "text"}
    towers = build_towers(Towers(), {"question": ["a b"], "answer": [["c d", "e"]]}, 0, columns=columns)
    assert towers["question"] is towers["answer"]


@pytest.mark.parametrize(
    ("towers", "message"),
    [
        ({"image": "cn"}, "unknown image tower 'cn': did you mean 'cnn'"),
        ({"text": "transfromer"}, "unknown text tower 'transfromer': did you mean 'transformer'"),
        ({"image": "transformers:bert"}, "unknown image tower"),
        ({"text": "timm:resnet18"}, "unknown text tower"),
        ({"image": "tim:resnet18"}, "unknown image tower 'tim:resnet18'"),
    ],
)
def test_unknown_names(towers: dict[str, str], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        build_towers(Towers(**towers), {"text": CAPTIONS}, 0)


@pytest.mark.parametrize("name", ["cnn@", "timm:resnet18@"])
def test_an_at_sign_without_weights(name: str) -> None:
    with pytest.raises(ValueError, match="without weights"):
        TowerSource.parse(name)


def test_names_cost_no_torch() -> None:
    code = "import sys; from counterpoint import networks; dir(networks); print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


@pytest.mark.parametrize("column", ["pic.a", "values", "training"])
def test_a_column_that_no_network_can_be_kept_by_is_refused(column: str) -> None:
    with pytest.raises(ValueError, match=f"cannot be called '{column}': give it another name"):
        build_towers(Towers(), {}, 0, columns={column: "image"})


def tower_of_sizes(name: str, **sizes: Any) -> ImageTower:
    tower = build_towers(Towers(image=name, image_size=32, **sizes), {}, 0, columns={"image": "image"})[
        "image"
    ]
    assert isinstance(tower, ImageTower)
    return tower


@pytest.mark.parametrize("name", ["cnn", "vit", "vit-map"])
def test_sizes_of_a_picture_tower_build_it_again(name: str) -> None:
    made = tower_of_sizes(name, image_width=32, image_layers=2, image_patch=16)
    again = tower_of_sizes(name, **made.sizes)
    assert made.width == 32
    assert not IMAGE_TOWERS[name].of_sizes(32).sizes
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in made.state_dict().items()
    }


def test_a_width_that_a_tower_cannot_have_is_refused() -> None:
    for name in ("cnn", "vit"):
        with pytest.raises(ValueError, match="multiple of"):
            tower_of_sizes(name, image_width=33, image_layers=2)


def test_a_run_lends_its_sizes_with_its_weights(tmp_path: Path) -> None:
    made = tower_of_sizes("vit", image_width=32, image_layers=1)
    with writing_folder(tmp_path / "checkpoint" / "step-0000001") as part:
        save_file({f"towers.image.{k}": v for k, v in made.state_dict().items()}, part / "model.safetensors")
    (tmp_path / "run.json").write_text('{"status": "finished"}')
    write_yaml(tmp_path / "recipe.yaml", {"recipe": {"towers": {"image_width": 32, "image_layers": 1}}})
    borrowed = tower_of_sizes(f"vit@{tmp_path}")
    assert equal(borrowed, made)
