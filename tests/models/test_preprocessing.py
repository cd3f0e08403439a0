"""Embeddings are those of a model's own library, end to end from the files of pictures of every kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import open_clip
import polars as pl
import pytest
import timm
import torch
import torch.nn.functional as F
import transformers
from PIL import Image, ImageOps
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from torch import Tensor

import counterpoint as cp
from counterpoint.data import load
from counterpoint.data.embeddings import EmbeddingCache
from counterpoint.methods.tower_method import TowerMethod
from fixtures import foreign

TEXTS = ["a red car", "A blue car, on a red road!", "car", "a red " * 40]
Opened = Sequence[Image.Image]


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pictures: wide, high, odd, grey, transparent, on their side, of 16 bits, and a palette's."""
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> np.ndarray:
        return rng.integers(0, 256, shape, dtype=np.uint8)

    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(noise(45, 80, 3)).save(folder / "wide.png")
    Image.fromarray(noise(171, 60, 3)).save(folder / "high.png")
    Image.fromarray(noise(33, 32, 3)).save(folder / "odd.png")
    Image.fromarray(noise(50, 61)).save(folder / "grey.png")
    Image.fromarray(noise(41, 40, 4)).save(folder / "transparent.png")
    Image.fromarray(noise(45, 80, 3)).save(folder / "turned.jpg", exif=turned)
    Image.fromarray(rng.integers(0, 2**16, (40, 70), dtype=np.uint16)).save(folder / "deep.png")
    Image.fromarray(noise(40, 52, 3)).quantize(16).save(folder / "palette.png")
    names = sorted(path.name for path in folder.iterdir())
    pl.DataFrame({"file_name": names, "text": [f"the {name}" for name in names]}).write_csv(
        folder / "metadata.csv"
    )
    return folder


def opened(folder: Path) -> list[Image.Image]:
    """The pictures as whoever opens them with Pillow for a library would: upright, on white, of eight bits."""
    found = []
    for name in pl.read_csv(folder / "metadata.csv")["file_name"]:
        picture = ImageOps.exif_transpose(Image.open(folder / name))
        if picture.mode.startswith("I"):
            values = np.asarray(picture).astype(np.int64)
            picture = Image.fromarray(((values * 255 + 2**15) // (2**16 - 1)).astype(np.uint8))
        if picture.mode == "RGBA":
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        found.append(picture.convert("RGB"))
    return found


def from_files(model: TowerMethod, folder: Path) -> Tensor:
    """Embeddings of the pictures of a folder, as every task gets them."""
    data = load(str(folder)).suited(model.inputs)
    return EmbeddingCache.of(model, data).images(np.arange(len(data)))


def same(ours: Tensor, own: Tensor) -> None:
    torch.testing.assert_close(ours, F.normalize(own.detach(), dim=-1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [foreign.clip, foreign.siglip, foreign.masked_siglip, foreign.dual])
def test_transformers(make: Callable[[Path], Path], pictures: Path, tmp_path: Path) -> None:
    folder = make(tmp_path / "model")
    model = cp.load(f"transformers:{folder}")
    own = transformers.AutoModel.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    pixels = processor(opened(pictures), return_tensors="pt")
    padding = "max_length" if own.config.model_type == "siglip" else True
    words = tokenizer(TEXTS, return_tensors="pt", truncation=True, max_length=model.context, padding=padding)
    words = {key: value for key, value in words.items() if key != "token_type_ids"}
    with torch.no_grad():
        same(from_files(model, pictures), vectors(own.get_image_features(**pixels)))
        same(model.embed("text", TEXTS), vectors(own.get_text_features(**words)))


def test_a_folders_own_eps_of_transformers(tmp_path: Path) -> None:
    folder = foreign.clip(tmp_path / "model")
    pictures, found = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8), list[list[Tensor]]()
    for eps in (1e-5, 0.1):
        config = json.loads((folder / "config.json").read_text())
        for half in ("text_config", "vision_config"):
            config[half]["layer_norm_eps"] = eps
        (folder / "config.json").write_text(json.dumps(config))
        model, own = cp.load(f"transformers:{folder}"), transformers.AutoModel.from_pretrained(folder).eval()
        pixels = transformers.AutoImageProcessor.from_pretrained(folder)(list(pictures), return_tensors="pt")
        words = transformers.AutoTokenizer.from_pretrained(folder)(
            TEXTS, return_tensors="pt", truncation=True, max_length=model.context, padding=True
        )
        words = {key: value for key, value in words.items() if key != "token_type_ids"}
        found.append([model.embed("image", pictures), model.embed("text", TEXTS)])
        with torch.no_grad():
            same(found[-1][0], vectors(own.get_image_features(**pixels)))
            same(found[-1][1], vectors(own.get_text_features(**words)))
    assert all((one - other).abs().max() > 1e-3 for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("side", [36, 39, 40, 47])
def test_every_cut_of_a_processor(side: int, pictures: Path, tmp_path: Path) -> None:
    folder = foreign.clip(tmp_path / "model")
    crop = {"height": 32, "width": 32}
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": side}, crop_size=crop)
    processor.save_pretrained(folder)
    model = cp.load(f"transformers:{folder}")
    own = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        pixels = processor(opened(pictures), return_tensors="pt")
        same(from_files(model, pictures), vectors(own.get_image_features(**pixels)))


def test_a_processor_that_does_something_else_is_refused(tmp_path: Path) -> None:
    folder = foreign.clip(tmp_path / "model")
    transformers.CLIPImageProcessor(size={"shortest_edge": 36}, do_center_crop=False).save_pretrained(folder)
    with pytest.raises(ValueError, match=r"makes of a picture of 97 × 61 pixels one of \(3, 36, 57\)"):
        cp.load(f"transformers:{folder}")


def vectors(found: object) -> Tensor:
    return found if isinstance(found, Tensor) else found.pooler_output  # type: ignore[attr-defined]


def test_sentence_transformers(pictures: Path, tmp_path: Path) -> None:
    folder = foreign.sentences_and_pictures(tmp_path / "model")
    model, own = cp.load(f"sentence-transformers:{folder}"), SentenceTransformer(str(folder), device="cpu")
    same(from_files(model, pictures), torch.from_numpy(own.encode(opened(pictures))))
    same(model.embed("text", TEXTS), torch.from_numpy(own.encode(TEXTS)))


def test_sentences(tmp_path: Path) -> None:
    folder = foreign.sentences(tmp_path / "model")
    model, own = cp.load(f"sentence-transformers:{folder}"), SentenceTransformer(str(folder), device="cpu")
    same(model.embed("text", TEXTS), torch.from_numpy(own.encode(TEXTS)))


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
def test_open_clip(mode: str, pictures: Path, tmp_path: Path) -> None:
    folder = foreign.open_clip_folder(tmp_path / "model", resize_mode=mode, mean=[0.4, 0.5, 0.6])
    model = cp.load(f"open_clip:tiny@{folder}")
    own, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    with torch.no_grad():
        same(
            from_files(model, pictures),
            own.eval().encode_image(torch.stack([*map(transform, opened(pictures))])),
        )
        same(model.embed("text", TEXTS), own.encode_text(tokenizer(TEXTS)))


def test_a_folders_own_eps_of_open_clip(tmp_path: Path) -> None:
    folder = foreign.open_clip_folder(tmp_path / "model")
    pictures, found = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8), list[list[Tensor]]()
    for eps in (1e-5, 0.1):
        config = json.loads((folder / "open_clip_config.json").read_text())
        for half in ("text_cfg", "vision_cfg"):
            config["model_cfg"][half]["norm_kwargs"] = {"eps": eps}
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        model = cp.load(f"open_clip:tiny@{folder}")
        own, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
        seen = [transform(Image.fromarray(picture.permute(1, 2, 0).numpy())) for picture in pictures]
        found.append([model.embed("image", pictures), model.embed("text", TEXTS)])
        with torch.no_grad():
            same(found[-1][0], own.eval().encode_image(torch.stack(seen)))
            same(found[-1][1], own.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)))
    assert all((one - other).abs().max() > 1e-3 for one, other in zip(*found, strict=True))


def test_timm(pictures: Path, tmp_path: Path) -> None:
    own = timm.create_model("test_vit.r160_in1k", num_classes=0).eval()
    save_file(own.state_dict(), tmp_path / "vit.safetensors")
    model = cp.load(f"timm:test_vit.r160_in1k@{tmp_path / 'vit.safetensors'}")
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(own), is_training=False)
    with torch.no_grad():
        same(from_files(model, pictures), own(torch.stack([*map(transform, opened(pictures))])))
