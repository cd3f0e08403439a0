"""Exports to timm: the features below the head, by timm, and by this package from the folder."""

from __future__ import annotations

import subprocess
import sys

import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import counterpoint as cp
from counterpoint.methods.tower_method import TowerMethod

from .conftest import Made, Round


def features(model: TowerMethod, pictures: Tensor) -> Tensor:
    tower = model.image_tower
    with torch.no_grad():
        return F.normalize(tower(tower.input(pictures)), dim=-1)


@pytest.mark.parametrize(
    "image",
    [
        *("cnn", "vit", "vit-crop", "vit-map", "mlp", "patches", "timm:test_vit", "timm:test_efficientnet"),
        "timm:tf_efficientnet_lite0@package",
    ],
)
def test_towers_of_pictures(image: str, made: Made, exported: Round) -> None:
    model = made(f"clip,image={image}")
    done, again = exported(model, "timm")
    assert set(done.differences) == {"image"}
    ours = ":" not in image
    assert ("the head: what timm gives are the features below it" in done.left_out) == ours
    assert "the tower of the column 'text'" in done.left_out
    pictures = torch.arange(2 * 3 * 50 * 70).remainder(253).to(torch.uint8).view(2, 3, 50, 70)
    assert again.picture_size == model.picture_size
    expected = features(model, pictures) if ours else model.embed("image", pictures)
    torch.testing.assert_close(again.embed("image", pictures), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("layout", ["timm", "open_clip", "safetensors"])
def test_a_tower_of_other_sizes(layout: str, made: Made, exported: Round) -> None:
    model = made("clip,image=vit", **{"towers.image_width": 64, "towers.image_layers": 2})
    _, again = exported(model, layout)
    pictures = torch.arange(2 * 3 * 50 * 70).remainder(253).to(torch.uint8).view(2, 3, 50, 70)
    expected = features(model, pictures) if layout == "timm" else model.embed("image", pictures)
    torch.testing.assert_close(again.embed("image", pictures), expected, rtol=0, atol=1e-5)


def test_an_export_keeps_its_head_whatever_name_it_is_loaded_by(made: Made, exported: Round) -> None:
    done, again = exported(made("clip,image=timm:test_vit"), "timm")
    pictures = torch.arange(2 * 3 * 50 * 70).remainder(253).to(torch.uint8).view(2, 3, 50, 70)
    expected = again.embed("image", pictures)
    for reference in (f"timm:{done.folder}", f"timm:test_vit@{done.folder}"):
        assert torch.equal(cp.load(reference).embed("image", pictures), expected)


def test_timm_itself_reads_it_and_cuts_as_the_tower_does(made: Made, exported: Round) -> None:
    model = made("clip,image=timm:tf_efficientnet_lite0@package")
    done, _ = exported(model, "timm")
    own = timm.create_model(f"local-dir:{done.folder}", pretrained=True).eval()
    data = timm.data.resolve_model_data_config(own)
    assert (data["crop_pct"], *data["input_size"]) == (0.875, 3, 224, 224)
    square = Image.effect_noise((256, 256), 60).convert("RGB")
    pixels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8).view(1, 256, 256, 3)
    with torch.no_grad():
        found = own(timm.data.create_transform(**data)(square)[None])
    expected = model.embed("image", pixels.permute(0, 3, 1, 2))
    torch.testing.assert_close(F.normalize(found, dim=-1), expected, rtol=0, atol=1e-5)
    own = timm.create_model(f"local-dir:{done.folder}", pretrained=True, num_classes=0).eval()
    with torch.no_grad():
        found = own(timm.data.create_transform(**data)(square)[None])
    expected = features(model, pixels.permute(0, 3, 1, 2))
    torch.testing.assert_close(F.normalize(found, dim=-1), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "imports",
    ["import counterpoint, timm", "import timm, counterpoint", "import counterpoint, open_clip, timm"],
)
def test_timm_knows_our_towers_by_import_of_package_in_any_order(imports: str) -> None:
    code = f"{imports}; print(timm.create_model('counterpoint_cnn.32').num_features)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip().isdigit(), done.stderr


def test_the_package_itself_loads_no_timm() -> None:
    code = "import counterpoint, sys; print({'timm', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_a_model_of_texts_is_refused(made: Made, exported: Round) -> None:
    with pytest.raises(ValueError, match=r"cannot be exported to timm: .* has no tower of pictures"):
        exported(made("simcse,on=texts"), "timm")
