"""Exports of models that reply: a LLaVA that transformers loads, an adapter that peft loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image

import counterpoint as cp
from counterpoint.exporting import _export, possibilities
from counterpoint.interop._vision import TransformersVision
from counterpoint.interop.llava import REQUEST
from counterpoint.methods.arm import Arm
from counterpoint.raw import Exchange
from fixtures import foreign
from fixtures.speaking import PICTURES, RECIPE, TALKS, speaking

Make = Callable[..., Any]
Export = Callable[[Any, str], Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of a language model, a CLIP and a SigLIP of transformers."""
    root = tmp_path_factory.mktemp("models")
    language = speaking("sft", "talk").float().language
    language.model.save_pretrained(root / "language")
    language.chat.tokenizer.save_pretrained(root / "language")
    return {
        "language": root / "language",
        "clip": foreign.clip(root / "clip"),
        "siglip": foreign.siglip(root / "siglip"),
    }


@pytest.fixture
def made(folders: dict[str, Path]) -> Make:
    def make(options: str, image: str = "clip") -> Any:
        """Build an arm whose bridge and updates have moved."""
        seen = f",image=transformers:{image}@{folders[image]}" if image else ""
        arm = Arm.parse(f"sft,lm=transformers:llama@{folders['language']}{seen},{options}")
        examples = {"image": PICTURES, "talk": TALKS["talk"]}
        model = arm.build(RECIPE, examples, 0, columns={"image": "image", "talk": "talk"}).eval()
        for name, weight in model.named_parameters():
            if "bridge" in name or "lora_" in name:
                weight.data.add_(0.05 * torch.randn(weight.shape))
        return model

    return make


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Export:
    def to(model: Any, layout: str) -> Path:
        monkeypatch.setattr(_export, "load", lambda reference: model)
        return cp.export("memory", layout, tmp_path / layout).folder

    return to


@torch.no_grad()
@pytest.mark.parametrize(
    ("options", "image"),
    [("bridge=linear", "clip"), ("bridge=mlp,tune=lora", "clip"), ("bridge=mlp,tune=frozen", "siglip")],
)
def test_a_llava_has_the_logits_of_the_model(options: str, image: str, made: Make, export: Export) -> None:
    model = made(options, image)
    folder = export(model, "llava")
    own = transformers.LlavaForConditionalGeneration.from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder)
    pixels = torch.randint(0, 256, (60, 41, 3), dtype=torch.uint8)
    talk = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": REQUEST}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A red cat."}]},
    ]
    prompt = processor.apply_chat_template(talk)
    inputs = processor(
        images=[Image.fromarray(pixels.numpy())], text=[prompt], add_special_tokens=False, return_tensors="pt"
    )
    logits = own(**inputs).logits
    tokens = model.language.chat([(Exchange(REQUEST, "A red cat."),)])
    tokens = tokens[:, 0, tokens[0, 2] > 0]
    speaker = model.speaker
    given = speaker.given(speaker.patches(model.inputs["image"](pixels.permute(2, 0, 1)[None])))
    expected = model.language.head(speaker.sequence_states(tokens, given))
    torch.testing.assert_close(logits[..., : expected.shape[2]], expected, rtol=0, atol=1e-5)
    card = (folder / "README.md").read_text()
    assert "A model that replies to requests about pictures" in card
    assert "bridge_projections" not in card


def test_what_a_llava_cannot_hold_is_said(made: Make) -> None:
    refusal = {
        "bridge=resampler,tokens=2": "a LLaVA has no place for a ResamplerBridge: take bridge=linear or bridge=mlp",
        "bridge=mlp": "is none of transformers: take image=transformers:NAME@PATH",
    }
    assert possibilities(made("bridge=resampler,tokens=2"))["llava"].refusal == next(iter(refusal.values()))
    assert refusal["bridge=mlp"] in possibilities(made("bridge=mlp", ""))["llava"].refusal


@torch.no_grad()
@pytest.mark.parametrize("options", ["", ",rank=2,alpha=1,dora=true"])
def test_an_adapter_stands_on_its_base(
    options: str, made: Make, export: Export, folders: dict[str, Path]
) -> None:
    peft = pytest.importorskip("peft")
    model = made(f"tune=lora{options}")
    folder = export(model, "peft")
    base = transformers.AutoModelForCausalLM.from_pretrained(folders["language"])
    tokens = model.language.chat(TALKS["talk"])[:, 0, :9]
    before = base(input_ids=tokens).logits
    after = peft.PeftModel.from_pretrained(base, folder).eval()(input_ids=tokens).logits
    torch.testing.assert_close(after, model.language.model(input_ids=tokens).logits, rtol=0, atol=1e-5)
    assert not torch.allclose(after, before, atol=1e-3)
    assert "the picture tower and the bridge" in (folder / "README.md").read_text()


def test_an_adapter_needs_updates_and_a_base(made: Make) -> None:
    assert "train it with tune=lora" in possibilities(made("tune=full"))["peft"].refusal
    assert possibilities(made("tune=lora"))["peft"].refusal == ""


def test_patches_fill_the_grid(folders: dict[str, Path]) -> None:
    kinds = {}
    for name, summary in (("clip", 1), ("siglip", 0)):
        arm = Arm.parse(f"sft,image=transformers:{name}@{folders[name]}")
        examples = {"image": PICTURES, "talk": TALKS["talk"]}
        tower = arm.build(RECIPE, examples, 0, columns={"image": "image", "talk": "talk"}).image_tower
        assert isinstance(tower, TransformersVision)
        assert (tower.summary_tokens, tower.patches(torch.rand(2, 3, 32, 32)).shape) == (
            summary,
            (2, 16, 2, 2),
        )
        kinds[name] = tower
    assert kinds["clip"].name == f"transformers:clip@{folders['clip']}"
