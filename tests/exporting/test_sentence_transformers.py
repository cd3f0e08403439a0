"""Exports to sentence-transformers: its own modules where they can hold a model, else one of this package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer

from fixtures import foreign

from .conftest import TEXTS, Made, Round, same


@pytest.mark.parametrize("pooling", ["mean", "first", "end"])
def test_an_encoder_of_texts_in_its_own_modules(
    pooling: str, made: Made, exported: Round, tmp_path: Path
) -> None:
    model = made(f"simcse,on=texts,text=transformers:bert@{foreign.bert(tmp_path / 'model')}")
    model.text_tower.pooling = pooling
    done, again = exported(model, "sentence-transformers")
    assert set(done.differences) == {"text"}
    same(model, again, ["text"])
    found = SentenceTransformer(str(done.folder), device="cpu").encode(TEXTS)
    torch.testing.assert_close(torch.from_numpy(found), model.embed("text", TEXTS), rtol=0, atol=1e-5)


def test_a_head_becomes_a_dense_module(made: Made, exported: Round, tmp_path: Path) -> None:
    model = made(f"simcse,on=texts,text=transformers:bert@{foreign.bert(tmp_path / 'model')}")
    head = torch.nn.Linear(16, 6)
    model.project = lambda column, features, name: head(features)
    done, again = exported(model, "sentence-transformers")
    same(model, again, ["text"])
    assert again.width == 6
    back = tmp_path / "again"
    SentenceTransformer(str(done.folder), device="cpu").save(str(back))
    assert (back / "2_Dense").is_dir()


def test_a_pair_in_its_own_modules(made: Made, exported: Round, tmp_path: Path) -> None:
    model = made(f"transformers:pair@{foreign.clip(tmp_path / 'model')},tune=full")
    done, again = exported(model, "sentence-transformers")
    assert set(done.differences) == {"image", "text"}
    same(model, again)
    assert not (done.folder / "parts").exists()


@pytest.mark.parametrize(
    ("arm", "columns"),
    [
        ("clip,image=timm:test_resnet", ["image", "text"]),
        ("siglip,image=timm:test_vit,text=transformers:bert@{}", ["image", "text"]),
        ("dcl,on=images,image=timm:test_resnet", ["image"]),
        ("simcse,on=texts", ["text"]),
    ],
)
def test_a_tower_of_timm_in_its_own_modules(
    arm: str, columns: list[str], made: Made, exported: Round, tmp_path: Path
) -> None:
    model = made(arm.format(foreign.bert(tmp_path / "model")) if "{}" in arm else arm)
    done, again = exported(model, "sentence-transformers")
    assert not done.needs_counterpoint
    assert set(done.differences) == set(columns)
    same(model, again, columns)


@pytest.mark.parametrize(
    "arm", ["clip,text=bag", "clip-rocket,proj=mlp", "siglip,text=transformers:all-MiniLM-L6-v2@package"]
)
def test_any_pair_in_a_module_of_this_package(arm: str, made: Made, exported: Round) -> None:
    model = made(arm)
    done, again = exported(model, "sentence-transformers")
    same(model, again)
    own = SentenceTransformer(str(done.folder), device="cpu", trust_remote_code=True)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    mixed = own.encode([picture, "a red car", picture, "https://example.org/picture.png"])
    assert np.allclose(mixed[0], mixed[2])
    texts = model.embed("text", ["a red car", "https://example.org/picture.png"])
    torch.testing.assert_close(torch.from_numpy(mixed[[1, 3]]), texts, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("arm", "column"), [("dcl,on=images", "image"), ("simcse,on=texts,text=bag", "text")]
)
def test_one_modality_in_a_module_of_this_package(arm: str, column: str, made: Made, exported: Round) -> None:
    model = made(arm)
    done, again = exported(model, "sentence-transformers")
    same(model, again, [column])
    own = SentenceTransformer(str(done.folder), device="cpu", trust_remote_code=True)
    other = "a text" if column == "image" else Image.new("RGB", (40, 40))
    with pytest.raises(ValueError, match=r"this model has no|is not supported by"):
        own.encode([other])
