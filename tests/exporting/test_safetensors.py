"""Exports to safetensors: read back without what they came from, the same but for rounding."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import counterpoint as cp
from counterpoint.exporting import LAYOUTS, possibilities
from counterpoint.files import DamagedFileError
from counterpoint.modalities import MODALITIES, Modality
from counterpoint.models import kind_of
from fixtures import foreign
from fixtures.trained import made_run

PICTURES = torch.arange(2 * 3 * 40 * 50).remainder(251).to(torch.uint8).view(2, 3, 40, 50)
ROUNDING = 1e-6
"""Largest difference that is none: kernels of some processors depend on where in memory a weight lies."""
TEXTS = ["a red car", "A blue car, on a red road!", "", "a red " * 40]


@pytest.mark.parametrize(
    "arm",
    [
        ["clip-rocket", "--towers.image", "vit"],
        pytest.param(["convirt", "--towers.image", "mlp"], marks=pytest.mark.slow),
        pytest.param(["siglip", "--towers.text", "bag", "--towers.image", "patches"], marks=pytest.mark.slow),
    ],
    ids=lambda words: words[0],
)
def test_a_run(arm: list[str], tmp_path: Path) -> None:
    run = made_run(tmp_path, *arm)
    model = cp.load(run)
    exported = cp.export(run, "safetensors", tmp_path / "out")
    assert exported.differences == pytest.approx({"image": 0, "text": 0}, abs=ROUNDING)
    assert exported.needs_counterpoint
    assert possibilities(model)["safetensors"].needs_counterpoint
    shutil.rmtree(run)
    same(model, exported.folder)
    assert kind_of(str(exported.folder)).form == "a folder that was exported to safetensors"


def same(model: cp.methods.TowerMethod, folder: Path) -> None:
    read = cp.load(folder)
    assert (read.embeds, read.width, read.picture_size) == (model.embeds, model.width, model.picture_size)
    assert (read.context, read.heads, read.shares_space) == (model.context, model.heads, model.shares_space)
    for head in model.heads:
        for column in model.embeds:
            raw = PICTURES if model.tower(column).modality == "image" else TEXTS
            there, here = (one.embed(column, raw, head) for one in (read, model))
            torch.testing.assert_close(there, here, rtol=0, atol=ROUNDING, msg=f"{column}, {head}")
    assert not any(weight.requires_grad for weight in read.parameters())


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (foreign.clip, "transformers:{}"),
        (foreign.masked_siglip, "transformers:{}"),
        (foreign.dual, "transformers:{}"),
        (foreign.open_clip_folder, "open_clip:tiny@{}"),
        (foreign.sentences, "sentence-transformers:{}"),
        (foreign.sentences_and_pictures, "sentence-transformers:{}"),
    ],
    ids=lambda it: getattr(it, "__name__", it),
)
def test_a_model_of_another_library(make: Callable[[Path], Path], form: str, tmp_path: Path) -> None:
    folder = make(tmp_path / "model")
    model = cp.load(form.format(folder))
    exported = cp.export(form.format(folder), "safetensors", tmp_path / "out")
    for path in tmp_path.iterdir():
        if path != exported.folder:
            shutil.rmtree(path)
    same(model, exported.folder)
    assert not [path for path in exported.folder.rglob("*") if path.suffix in (".bin", ".pt", ".py", ".pkl")]
    assert str(tmp_path) not in (exported.folder / "counterpoint.json").read_text()


def test_a_tower_of_timm_is_shown_what_it_was(tmp_path: Path) -> None:
    network = timm.create_model("test_vit.r160_in1k", num_classes=0)
    save_file(network.state_dict(), tmp_path / "vit.safetensors")
    name = f"timm:test_vit.r160_in1k@{tmp_path / 'vit.safetensors'}"
    model = cp.load(name)
    exported = cp.export(name, "safetensors", tmp_path / "out")
    (tmp_path / "vit.safetensors").unlink()
    same(model, exported.folder)
    assert cp.load(exported.folder).image_tower.fit == model.image_tower.fit


@pytest.mark.slow
def test_low_rank_updates_are_in_the_weights(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    name = f"open_clip:tiny@{foreign.open_clip_folder(tmp_path / 'model')}"
    run = made_run(tmp_path, f"{name},tune=lora")
    model = cp.load(run)
    exported = cp.export(run, "safetensors", tmp_path / "out")
    shutil.rmtree(tmp_path / "model")
    assert not any("lora" in weight for weight in load_file(exported.folder / "model.safetensors"))
    own = model.embed("text", TEXTS)
    torch.testing.assert_close(cp.load(exported.folder).embed("text", TEXTS), own, rtol=0, atol=1e-6)


def test_the_file_says_what_the_heads_are(tmp_path: Path) -> None:
    exported = cp.export(made_run(tmp_path, "clip-rocket"), "safetensors", tmp_path / "out")
    said = json.loads((exported.folder / "counterpoint.json").read_text())
    assert said["heads"]["global"]["image"] == [{"kind": "linear", "width": 128, "out": 256, "bias": False}]
    assert [layer["kind"] for layer in said["heads"]["local"]["text"]] == [
        *("linear", "batch norm", "relu") * 2,
        "linear",
    ]
    assert said["towers"]["image"]["name"] == "cnn"
    weights = load_file(exported.folder / "model.safetensors")
    assert weights["projections.global.image.0.weight"].shape == (256, 128)
    assert {name.partition(".")[0] for name in weights} == {"towers", "projections"}


def test_a_flipped_bit_of_the_weights(tmp_path: Path) -> None:
    exported = cp.export(made_run(tmp_path, "clip"), "safetensors", tmp_path / "out")
    weights = exported.folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(
        DamagedFileError, match=r"model.safetensors is damaged \(its content is not what was written\): "
    ):
        cp.load(exported.folder)


def test_models_that_are_more_than_towers_and_layers_are_refused(tmp_path: Path) -> None:
    for arm, why in (
        ("filip", "FILIP compares parts of an example"),
        ("amcl", "the head 'global' of AMCL is more"),
    ):
        run = made_run(tmp_path / arm, arm)
        with pytest.raises(ValueError, match=f"cannot be exported to safetensors: {why}"):
            cp.export(run, "safetensors", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", ["safetensors", "onnx"])
def test_a_modality_without_samples_is_refused(
    layout: str, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = cp.load(whole)
    target = LAYOUTS.get(layout)()
    assert target.refusal(model) == ""
    touch = Modality("touch", check="json:dumps", view="json:dumps", build="json:dumps", towers=("none",))
    monkeypatch.setitem(MODALITIES._known, "touch", touch)
    monkeypatch.setattr(type(model.image_tower), "modality", "touch")
    assert target.refusal(model) == (
        "there are no samples of the modality 'touch' to compare its embeddings on"
    )
    monkeypatch.setitem(MODALITIES._known, "touch", replace(touch, sample="json:dumps"))
    assert target.refusal(model) == "", "a modality brings its own samples"


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("counterpoint.json", lambda it: it[:-20], "it is no JSON"),
        ("counterpoint.json", lambda it: it.replace(b'"cnn"', b'"cmm"'), "unknown image tower 'cmm'"),
        ("counterpoint.json", lambda it: it.replace(b'"cnn"', b'"timm:hf-hub:a/b"'), "towers.image.name"),
        ("counterpoint.json", lambda it: it.replace(b'"cnn"', b'"cnn@a.pt"'), "towers.image.name"),
        ("counterpoint.json", lambda it: it.replace(b'"out": 256', b'"out": 255'), "size mismatch"),
        ("model.safetensors", lambda it: it[:-20], "model.safetensors is damaged"),
        ("model.safetensors", None, "model.safetensors is damaged .it is missing"),
        ("tokenizer.json", None, "is damaged"),
    ],
)
def test_a_damaged_folder_names_its_file(
    file: str, change: Callable[[bytes], bytes] | None, message: str, whole: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "out"))
    if change is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(change((folder / file).read_bytes()))
    with pytest.raises(DamagedFileError, match=message) as raised:
        cp.load(folder)
    assert "export the model again" in str(raised.value)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Any = tmp_path_factory.mktemp("whole")
    return cp.export(made_run(folder, "clip"), "safetensors", folder / "out").folder
