"""open_clip towers equal encode_image and encode_text, half by half."""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from counterpoint.networks import build_towers, tune
from counterpoint.recipes.schema import Towers
from counterpoint.registry import UnknownNameError

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
MEAN = [0.4, 0.5, 0.6]
CAPTIONS = ["a red car", "two blue cars on a road that is far too long for this context of twelve", ""]


@pytest.fixture(scope="module", params=["CLIP", "CustomTextCLIP"])
def saved(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, torch.nn.Module]:
    """A random small model in a folder, and the same model as open_clip made it."""
    folder = tmp_path_factory.mktemp(request.param)
    config = {**CONFIG, "custom_text": request.param == "CustomTextCLIP"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": {"mean": MEAN}})
    )
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{folder}")
    assert type(model).__name__ == request.param
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return folder, model.eval()


def spec(folder: Path) -> str:
    return f"open_clip:tiny@{folder}"


def test_given_vectors_are_read_up_to_the_longest_caption(saved: tuple[Path, torch.nn.Module]) -> None:
    folder, model = saved
    text = build_towers(Towers(image=spec(folder), text=spec(folder)), {"text": []}, 0)["text"]
    tune(text, "frozen")
    tokens = text.input(["a red car", "a blue"])
    own = model.text.token_embedding if hasattr(model, "text") else model.token_embedding
    positions = torch.tensor([[1, 2], [1, 2]])
    vectors = own(tokens[:, 1:3]).detach().requires_grad_(True)
    lengths: list[int] = []
    handle = text.token_table.register_forward_hook(lambda table, ids, out: lengths.append(out.shape[1]))
    features = text.with_vectors(tokens, vectors, positions)
    handle.remove()
    assert lengths == [5]  # of twelve
    torch.testing.assert_close(features, text(tokens), rtol=1e-5, atol=1e-6)
    features.sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.any()


@torch.no_grad()
def test_both_towers_are_exactly_the_model(saved: tuple[Path, torch.nn.Module]) -> None:
    folder, model = saved
    image, text = build_towers(Towers(image=spec(folder), text=spec(folder)), {"text": []}, 0).values()
    tune(image, "frozen")
    tune(text, "frozen")
    x = torch.rand(3, 3, 32, 32)
    std = torch.tensor(open_clip.constants.OPENAI_DATASET_STD)[:, None, None]
    pixels = (x - torch.tensor(MEAN)[:, None, None]) / std
    # To rounding: which kernel multiplies may depend on where in memory a weight lies.
    torch.testing.assert_close(image(x), model.encode_image(pixels), rtol=1e-5, atol=1e-6)
    unit = F.normalize(image(x), dim=-1)
    torch.testing.assert_close(unit, model.encode_image(pixels, normalize=True), rtol=1e-5, atol=1e-6)
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(CAPTIONS)
    assert torch.equal(text.tokenizer(CAPTIONS), tokens)
    torch.testing.assert_close(text(tokens), model.encode_text(tokens), rtol=1e-5, atol=1e-6)
    assert image.width == text.width == 16
    assert image.size == 32
    assert image.projected
    assert text.projected


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_pictures_are_prepared_as_the_model_does(tmp_path: Path, mode: str, interpolation: str) -> None:
    preprocessing = {"resize_mode": mode, "interpolation": interpolation, "fill_color": 200}
    (tmp_path / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": CONFIG, "preprocess_cfg": preprocessing})
    )
    model, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    torch.save(model.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    image = build_towers(Towers(image=spec(tmp_path)), {"text": ["a car"]}, 0)["image"]
    smooth = torch.rand(1, 3, 6, 9, generator=torch.Generator().manual_seed(0))
    for height, width in ((45, 80), (80, 45), (33, 32), (20, 27)):
        picture = (F.interpolate(smooth, (height, width), mode="bicubic").clamp(0, 1) * 255).byte()
        expected = prepare(Image.fromarray(picture[0].permute(1, 2, 0).numpy()))
        ours = image.normalise(image.input(picture))[0]
        # Pillow rounds once more, between the two directions: a level of 255, or 0.015 of a standard deviation.
        assert (ours - expected).abs().max() < 0.035


def test_each_half_holds_its_own_weights_only(saved: tuple[Path, torch.nn.Module]) -> None:
    folder, model = saved
    image, text = build_towers(Towers(image=spec(folder), text=spec(folder)), {"text": []}, 0).values()
    count = lambda *modules: sum(p.numel() for m in modules for p in m.parameters())  # noqa: E731
    assert count(image) == count(model.visual)
    assert count(image, text) + 1 == count(model), "all but the logit scale"
    assert all(p.requires_grad for p in [*image.parameters(), *text.parameters()])
    pointers = [p.data_ptr() for p in [*image.parameters(), *text.parameters()]]
    assert len(set(pointers)) == len(pointers)


def test_every_weight_of_a_half_is_trained(saved: tuple[Path, torch.nn.Module]) -> None:
    image, text = build_towers(Towers(image=spec(saved[0]), text=spec(saved[0])), {"text": []}, 0).values()
    (
        image(torch.rand(4, 3, 32, 32)).square().sum() + text(text.tokenizer(CAPTIONS)).square().sum()
    ).backward()
    assert all(p.grad is not None for p in [*image.parameters(), *text.parameters()])


def test_one_tower_beside_a_built_in_one(saved: tuple[Path, torch.nn.Module]) -> None:
    image, text = build_towers(Towers(text=spec(saved[0])), {"text": ["a car"]}, 0).values()
    assert image(torch.rand(2, 3, 48, 48)).shape == (2, image.width)
    assert text(text.tokenizer(CAPTIONS)).shape == (3, 16)


def test_text_dropout_while_training_only(saved: tuple[Path, torch.nn.Module]) -> None:
    _, text = build_towers(Towers(text=spec(saved[0])), {"text": ["a car"]}, 0).values()
    tokens = text.tokenizer(CAPTIONS)
    plain = text.eval()(tokens)
    assert torch.equal(text(tokens, dropout=0.5), plain)
    dropped = text.train()(tokens, dropout=0.5)
    assert not torch.allclose(dropped, plain)
    assert torch.equal(text(tokens), plain), "no hook stays behind"


def test_copies(saved: tuple[Path, torch.nn.Module]) -> None:
    towers = list(build_towers(Towers(image=spec(saved[0]), text=spec(saved[0])), {"text": []}, 0).values())
    for image, text in (copy.deepcopy(towers), pickle.loads(pickle.dumps(towers))):
        x = torch.rand(1, 3, 32, 32)
        assert torch.equal(image.eval()(x), towers[0].eval()(x))
        assert torch.equal(text.tokenizer(CAPTIONS), towers[1].tokenizer(CAPTIONS))


def test_random_start_by_seed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tiny-model.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(tmp_path)
    name = "open_clip:tiny-model"
    before = torch.random.get_rng_state()
    a = build_towers(Towers(image=name, text=name), {"text": []}, 1)
    b = build_towers(Towers(image=name, text="transformer"), {"text": ["a car"]}, 1)
    c = build_towers(Towers(image=name, text=name), {"text": []}, 2)
    assert torch.equal(before, torch.random.get_rng_state())
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(a["image"](x), b["image"](x))
    assert not torch.allclose(a["image"](x), c["image"](x))


def test_the_depth_of_the_text_tower_can_be_set() -> None:
    towers = Towers(image="cnn", text="open_clip:RN50", text_layers=1)
    _, text = build_towers(towers, {"text": []}, 0).values()
    blocks = [name for name, _ in text.named_modules() if re.fullmatch(r".*resblocks\.\d+", name)]
    assert len(blocks) == 1
    _, built_in = build_towers(Towers(text_layers=3), {"text": CAPTIONS}, 0).values()
    assert len(built_in.blocks) == 3  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="text_layers=1: transformers:bert is as deep as its own"):
        build_towers(Towers(text="transformers:bert", text_layers=1), {"text": CAPTIONS}, 0)


def test_a_file_of_weights_must_fit(tmp_path: Path, saved: tuple[Path, torch.nn.Module]) -> None:
    (tmp_path / "tiny-file.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(tmp_path)
    state = open_clip.create_model("tiny-file").state_dict()
    file, name = tmp_path / "w.pt", f"open_clip:tiny-file@{tmp_path / 'w.pt'}"
    torch.save(state, file)
    build_towers(Towers(image=name, text=name), {"text": []}, 0)
    del state["visual.proj"]
    torch.save(state, file)
    with pytest.raises(ValueError, match=r"(?s)could not be read, and nothing was kept.*visual\.proj"):
        build_towers(Towers(image=name, text=name), {"text": []}, 0)
    file.write_bytes(b"junk")
    with pytest.raises(ValueError, match="could not be read"):
        build_towers(Towers(image=name, text=name), {"text": []}, 0)


def test_a_pickle_is_refused_in_one_line(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    file = tmp_path / "w.bin"
    file.write_bytes(pickle.dumps({"visual.proj": os.getcwd}))
    with pytest.raises(
        ValueError, match=r"could not be read.*: .* can run code; save the state_dict"
    ) as refused:
        build_towers(Towers(image=f"open_clip:ViT-B-32@{file}"), {"text": []}, 0)
    assert "\n" not in str(refused.value)
    assert not [warning for warning in recwarn if "pickle" in str(warning.message)]


def scripted(state: dict[str, torch.Tensor]) -> torch.jit.ScriptModule:
    """Weights as OpenAI publishes its own: an archive of code, with three numbers among them."""

    class Whole(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    whole = Whole()
    for name, weight in state.items():
        *parts, last = name.split(".")
        part: nn.Module = whole
        for each in parts:
            if each not in part._modules:
                part.add_module(each, nn.Module())
            part = part.get_submodule(each)
        part.register_buffer(last, weight)
    for name in ("input_resolution", "context_length", "vocab_size"):
        whole.register_buffer(name, torch.tensor(32))
    return torch.jit.script(whole)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_openais_own_archive_is_told_from_other_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # OpenAI's models have heads of 64 numbers.
    vision, text = ({**CONFIG[part], "width": 64} for part in ("vision_cfg", "text_cfg"))  # type: ignore[dict-item] # these two are mappings
    config = {
        **CONFIG,
        "vision_cfg": {**vision, "head_width": 64},
        "text_cfg": {**text, "heads": 1},
        "quick_gelu": True,
    }
    (tmp_path / "tiny-gelu.json").write_text(json.dumps({**config, "quick_gelu": False}))
    (tmp_path / "tiny-gelu-quickgelu.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path)
    monkeypatch.chdir(tmp_path)
    own = open_clip.create_model("tiny-gelu-quickgelu").eval()
    for weight in own.parameters():
        weight.data = weight.data.half().float()  # as OpenAI's are
    torch.jit.save(scripted(dict(own.state_dict())), "openai.pt")
    for name in ("tiny-gelu", "tiny-gelu-quickgelu"):
        name = f"open_clip:{name}@openai.pt"
        with pytest.raises(ValueError, match="write open_clip:tiny-gelu-quickgelu@openai, or save") as error:
            build_towers(Towers(image=name, text=name), {"text": []}, 0)
        assert "\n" not in str(error.value)
    line = re.search(r'python -c "(.*?)"', str(error.value))
    assert line is not None
    exec(line[1])
    name = "open_clip:tiny-gelu-quickgelu@weights.pt"
    image, text_tower = build_towers(Towers(image=name, text=name), {"text": []}, 0).values()
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(image.eval()(x), own.encode_image(image.normalise(x)), rtol=0, atol=1e-5)
        tokens = text_tower.tokenizer(CAPTIONS)
        torch.testing.assert_close(text_tower.eval()(tokens), own.encode_text(tokens), rtol=0, atol=1e-5)


def test_a_folder_without_weights_or_configuration(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="config file missing"):
        build_towers(Towers(image=spec(tmp_path)), {"text": ["a"]}, 0)
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG}))
    with pytest.raises(ValueError, match="pretrained weights"):
        build_towers(Towers(image=spec(tmp_path)), {"text": ["a"]}, 0)


def test_names() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ViT-B-32'"):
        build_towers(Towers(image="open_clip:VitB-32"), {"text": ["a"]}, 0)
    with pytest.raises(UnknownNameError, match="did you mean 'openai'"):
        build_towers(Towers(image="open_clip:ViT-B-32@openia"), {"text": ["a"]}, 0)
    with pytest.raises(ValueError, match=r"no file or folder .*w\.pt"):
        build_towers(Towers(image="open_clip:ViT-B-32@/nowhere/w.pt"), {"text": ["a"]}, 0)


def test_captions_that_the_context_cuts(saved: tuple[Path, torch.nn.Module]) -> None:
    tokenizer = build_towers(Towers(text=spec(saved[0])), {"text": []}, 0)["text"].tokenizer
    fits, cut = "a" + " red" * 9, "a" + " red" * 10  # ten and eleven words, and a begin and an end token
    assert tokenizer.too_long([*CAPTIONS, fits, cut]).tolist() == [False, True, False, False, True]
