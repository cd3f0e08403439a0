"""Exports to open_clip: the same embeddings by open_clip, and by this package from the folder; refusals in words."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file

import counterpoint as cp
from counterpoint.exporting import _export
from counterpoint.networks.towers import transformer
from fixtures import foreign

from .conftest import TEXTS, Made, Round, same


@pytest.mark.parametrize(
    "arm",
    [
        *("clip", "siglip,image=vit", "clip,image=mlp", "clip,image=patches", "lit,mode=uu"),
        *("clip,image=timm:test_efficientnet", "clip,image=timm:test_vit"),
        "clip,image=timm:tf_efficientnet_lite0@package",
        "clip,image=timm:mobilenetv3_small_050",
    ],
)
def test_towers_of_this_package(arm: str, made: Made, exported: Round) -> None:
    model = made(arm)
    done, again = exported(model, "open_clip")
    assert max(done.differences.values()) <= 1e-5
    assert done.differences["text"] <= 1e-7
    same(model, again)


@pytest.mark.parametrize(
    "name", [pytest.param("bert", marks=pytest.mark.slow), "bert@{}", "all-MiniLM-L6-v2@package"]
)
def test_encoders_of_texts_of_transformers(name: str, made: Made, exported: Round, tmp_path: Path) -> None:
    name = name.format(foreign.bert(tmp_path / "model")) if "{}" in name else name
    model = made(f"clip,text=transformers:{name}")
    done, again = exported(model, "open_clip")
    same(model, again)
    moved = tmp_path / "moved"
    done.folder.rename(moved)
    same(model, cp.load(moved))


@pytest.mark.parametrize(
    "arm", ["{},tune=full", "{},tune=lora", "clip,text={}", "siglip,image={}", "{},tune=none"]
)
def test_towers_of_open_clip(arm: str, made: Made, exported: Round, tmp_path: Path) -> None:
    folder = foreign.open_clip_folder(tmp_path / "model", mean=[0.4, 0.5, 0.6])
    model = made(arm.format(f"open_clip:tiny@{folder}"))
    _, again = exported(model, "open_clip")
    same(model, again)


def test_open_clip_itself_reads_it_with_scale_and_bias(made: Made, exported: Round) -> None:
    model = made("siglip")
    done, _ = exported(model, "open_clip")
    name = f"local-dir:{done.folder}"
    own, _, transform = open_clip.create_model_and_transforms(name)
    picture = Image.effect_noise((57, 32), 60).convert("RGB").resize((57, 32))
    square = picture.crop((round(25 / 2), 0, round(25 / 2) + 32, 32))
    pixels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8).view(1, 32, 32, 3)
    with torch.no_grad():
        texts = F.normalize(own.eval().encode_text(open_clip.get_tokenizer(name)(TEXTS)), dim=-1)
        image = F.normalize(own.encode_image(transform(picture)[None]), dim=-1)
    torch.testing.assert_close(texts, model.embed("text", TEXTS), rtol=0, atol=1e-6)
    torch.testing.assert_close(image, model.embed("image", pixels.permute(0, 3, 1, 2)), rtol=0, atol=1e-5)
    weights = load_file(done.folder / "open_clip_model.safetensors")
    assert weights["logit_scale"].item() == pytest.approx(math.log(10.0 / 1.0), abs=0.2)
    assert weights["logit_bias"].item() == pytest.approx(model.objective.bias.item(), abs=1e-6)


@pytest.mark.parametrize(
    ("arm", "why"),
    [
        ("clip,text=bag", "open_clip has no text tower like bag"),
        ("clip,text=transformers:gpt2", "open_clip takes text encoders of the kinds .* this is 'gpt2'"),
        ("clip-rocket,proj=mlp", "its image head is no linear map"),
        ("filip", "its image head is no linear map"),
        ("dcl,on=images", "open_clip's models embed pictures and texts, and this one image"),
    ],
)
def test_refusals(arm: str, why: str, made: Made, exported: Round, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"memory cannot be exported to open_clip: .*{why}"):
        exported(made(arm), "open_clip")
    assert not list(tmp_path.iterdir())


def test_a_wrong_name_is_found_and_leaves_nothing(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {**transformer._OPEN_CLIP, "norm_1": "ln_2", "norm_2": "ln_1"}
    model = made("clip")
    monkeypatch.setattr(transformer, "_OPEN_CLIP", names)
    monkeypatch.setattr(_export, "load", lambda reference: model)
    for block in model.text_tower.blocks:
        block.norm_1.weight.data.mul_(1.5)
    with pytest.raises(ValueError, match=r"open_clip reads back embeds differently \(text by"):
        cp.export("memory", "open_clip", tmp_path / "out", allow_custom_code=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arm", ["clip", "siglip,text=transformers:bert@{}", "clip,image=timm:test_vit"])
def test_an_export_of_an_export_is_the_same_again(
    arm: str, made: Made, exported: Round, tmp_path: Path
) -> None:
    model = made(arm.format(foreign.bert(tmp_path / "model") if "{}" in arm else ""))
    done, _ = exported(model, "open_clip")
    moved = tmp_path / "a@b"
    done.folder.rename(moved)
    further = cp.export(moved, "open_clip", tmp_path / "further", allow_custom_code=True)
    same(model, cp.load(further.folder))
    scale = load_file(moved / "open_clip_model.safetensors")["logit_scale"]
    assert load_file(further.folder / "open_clip_model.safetensors")["logit_scale"].item() == pytest.approx(
        scale.item(), abs=1e-5
    )


def test_parts_without_a_place_are_said(made: Made, exported: Round) -> None:
    done, _ = exported(made("clip-rocket"), "open_clip")
    said = "; ".join(done.left_out)
    assert "the head 'local'" in said
    assert "1 temperature beside the first" in said
    assert "open_clip repairs their characters" in said
    assert "dropout" not in said
    done, _ = exported(made("clip-rocket,dropout=0.1"), "safetensors")
    assert "dropout in the text tower, which only training uses" in done.left_out


_ELSEWHERE = """
import sys
import counterpoint as cp
for folder in sys.argv[1:]:
    print(cp.load(folder).embeds)
"""


def test_another_process_reads_what_timm_holds_of_ours(made: Made, exported: Round) -> None:
    model = made("clip")
    folders = [str(exported(model, layout)[0].folder) for layout in ("open_clip", "timm")]
    # Here timm knows our towers since they were exported.
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE, *folders], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["('image', 'text')", "('image',)"], done.stderr
