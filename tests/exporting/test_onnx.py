"""Graphs of ONNX: onnxruntime, Pillow and tokenizers alone get the same embeddings from the folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer

import counterpoint as cp
from counterpoint.networks.towers.transformer import TextTransformer
from counterpoint.registry import MissingPackageError
from fixtures import foreign
from fixtures.trained import made_run

TEXTS = ["a", "a red car on a road", "one two three " * 20, ""]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("work"), "clip-rocket")


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    return cp.export(run, "onnx", run.with_name("onnx")).folder


@pytest.mark.parametrize("count", [1, 2, 17])
def test_any_number_of_examples_and_of_tokens(count: int, run: Path, exported: Path) -> None:
    model = cp.load(run)
    stated = json.loads((exported / "preprocessing.json").read_text())["graphs"]
    pictures = torch.rand(count, 3, 16, 16)
    graph = onnxruntime.InferenceSession(exported / stated["image"]["file"])
    found = graph.run(None, {"image": pictures.numpy()})
    for (output, head), vectors in zip(stated["image"]["outputs"].items(), found, strict=True):
        own = model.project("image", model.features("image", pictures), head)
        same(own, vectors, f"{output} of {head}")
    graph = onnxruntime.InferenceSession(exported / "text.onnx")
    tokenizer = Tokenizer.from_file(str(exported / stated["text"]["text"]["tokenizer"]))
    for text in TEXTS:
        ids = np.array([encoded.ids for encoded in tokenizer.encode_batch([text] * count)])
        vectors = graph.run(["vectors"], {"text": ids})[0]
        own = torch.from_numpy(vectors)
        torch.testing.assert_close(own, model.embed("text", [text] * count), rtol=0, atol=1e-5)


def same(own: torch.Tensor, vectors: np.ndarray, what: str) -> None:
    unit = torch.nn.functional.normalize(own.detach(), dim=-1)
    torch.testing.assert_close(torch.from_numpy(vectors), unit, rtol=0, atol=1e-5, msg=what)


def test_the_preprocessing_that_is_stated_is_enough(run: Path, exported: Path, tmp_path: Path) -> None:
    """By the file's own words, in plain Pillow: the shorter side to ``side``, the middle ``size`` pixels, 0 to 1."""
    said = json.loads((exported / "preprocessing.json").read_text())
    picture = said["graphs"]["image"]["picture"]
    assert (picture["layout"], picture["range"], picture["normalised"]) == ("NCHW", [0, 1], "in the graph")
    assert (picture["mean"], picture["std"]) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    fit = picture["fit"]
    assert (fit["resize"], picture["crop"], fit["interpolation"], fit["size"]) == (
        "shortest",
        "middle",
        "bicubic",
        16,
    )
    text = said["graphs"]["text"]["text"]
    assert (text["pad"], text["start"], text["end"], text["context"], text["padded_to"]) == (
        0,
        1,
        2,
        24,
        "longest",
    )
    model = cp.load(run)
    assert said["fingerprint"] == model.fingerprint
    assert said["scale"] > 1
    noise = np.random.default_rng(0).integers(0, 256, (16, 48, 3), dtype=np.uint8)
    square = np.asarray(Image.fromarray(noise).crop((16, 0, 32, 16)), np.float32) / 255
    graph = onnxruntime.InferenceSession(exported / "image.onnx")
    vectors = graph.run(["vectors"], {"image": square.transpose(2, 0, 1)[None]})[0]
    own = model.embed("image", torch.from_numpy(noise.transpose(2, 0, 1).copy())[None])
    torch.testing.assert_close(torch.from_numpy(vectors), own, rtol=0, atol=1e-5)


def test_every_head_is_output_and_nothing_embeds_is_left_out(run: Path, exported: Path) -> None:
    said = json.loads((exported / "preprocessing.json").read_text())["graphs"]["text"]["outputs"]
    assert said == {"vectors": "global", "vectors_local": "local"}
    assert {path.name for path in exported.iterdir()} >= {"image.onnx", "text.onnx", "tokenizer.json"}


@pytest.mark.parametrize(
    ("make", "form"),
    [
        pytest.param(foreign.open_clip_folder, "open_clip:tiny@{}", marks=pytest.mark.slow),
        (foreign.sentences, "sentence-transformers:{}"),
        pytest.param(foreign.clip, "transformers:{}", marks=pytest.mark.slow),
        pytest.param(foreign.siglip, "transformers:{}", marks=pytest.mark.slow),
        pytest.param(foreign.dual, "transformers:{}", marks=pytest.mark.slow),
    ],
)
def test_models_of_other_libraries(make: Callable[[Path], Path], form: str, tmp_path: Path) -> None:
    exported = cp.export(form.format(make(tmp_path / "model")), "onnx", tmp_path / "out")
    assert set(exported.differences) <= {"image", "text"}
    assert max(exported.differences.values()) < 1e-5
    assert any("ftfy" in said for said in exported.left_out) == form.startswith("open_clip")


@pytest.mark.slow
def test_a_tower_of_timm(tmp_path: Path) -> None:
    network = timm.create_model("test_vit.r160_in1k", num_classes=0)
    save_file(network.state_dict(), tmp_path / "vit.safetensors")
    name = f"timm:test_vit.r160_in1k@{tmp_path / 'vit.safetensors'}"
    exported = cp.export(name, "onnx", tmp_path / "out")
    assert list(exported.differences) == ["image"]
    assert not (tmp_path / "out" / "tokenizer.json").exists()


def test_what_cannot_be_traced_is_one_sentence_and_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(self: TextTransformer, tokens: torch.Tensor, dropout: float = 0.0) -> torch.Tensor:
        if tokens.sum() > 3:  # another way for other tokens, which a graph has none of
            return torch.zeros(len(tokens), 128)
        return torch.ones(len(tokens), 128)

    monkeypatch.setattr(TextTransformer, "forward", forward)
    with pytest.raises(ValueError, match="the tower of texts cannot be exported to onnx") as raised:
        cp.export(run, "onnx", tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_package_that_is_missing(
    package: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(
        MissingPackageError, match=rf"{package} is not installed; run: pip install 'counterpoint\[onnx\]'"
    ):
        cp.export(run, "onnx", tmp_path / "out")


def test_the_plain_form_of_the_text_tower_is_the_packed_one(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = cp.load(run).text_tower
    ids = tower.input(TEXTS)
    packed = tower.states(ids)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(tower.states(ids), packed, rtol=0, atol=1e-5)
