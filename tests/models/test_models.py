"""References to models: what a user writes becomes an embedder that says what it is, or one line that says why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import counterpoint as cp
from counterpoint.cli import main
from counterpoint.data import load
from counterpoint.methods.arm import Arm
from counterpoint.models import KINDS
from counterpoint.networks import build_towers
from counterpoint.networks.weights import restored
from counterpoint.recipes import Recipe
from counterpoint.recipes.schema import Towers
from counterpoint.registry import UnknownNameError
from counterpoint.training.run import Run
from counterpoint.training.start import build
from fixtures import foreign
from fixtures.files import write_pairs

PICTURES = torch.arange(2 * 3 * 40 * 50).remainder(251).to(torch.uint8).view(2, 3, 40, 50)
PAIRS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "clip": (foreign.clip, "transformers:{}"),
    "siglip": (foreign.siglip, "transformers:{}"),
    "dual": (foreign.dual, "transformers:{}"),
    "saved by sentence-transformers": (foreign.sentences_and_pictures, "sentence-transformers:{}"),
    "open_clip": (foreign.open_clip_folder, "open_clip:tiny@{}"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    words = [
        "train",
        "clip",
        "--data",
        str(write_pairs(folder / "pairs").parent),
        "--out",
        str(folder / "run"),
    ]
    words += ["--steps", "4", "--batch-size", "16", "--towers.image-size", "16", "--towers.vocabulary", "300"]
    assert main([*words, "--checkpoint-every", "2", "--tasks", "retrieval"]) == 0
    return folder / "run"


@pytest.mark.parametrize("kind", PAIRS)
def test_a_pair_says_what_it_is(kind: str, tmp_path: Path) -> None:
    make, form = PAIRS[kind]
    model = cp.load(form.format(make(tmp_path / "model")))
    assert model.embeds == ("image", "text")
    assert model.picture_size == 32
    assert model.context in (12, 20, 24)
    assert model.shares_space
    pictures, texts = model.embed("image", PICTURES), model.embed("text", foreign.CAPTIONS)
    assert pictures.shape == (2, model.width)
    assert texts.shape == (3, model.width)
    assert not any(weight.requires_grad for weight in model.parameters())


def test_models_of_one_modality_say_so(tmp_path: Path) -> None:
    network = timm.create_model("test_vit.r160_in1k", num_classes=0)
    save_file(network.state_dict(), tmp_path / "vit.safetensors")
    pictures = cp.load(f"timm:test_vit.r160_in1k@{tmp_path / 'vit.safetensors'}")
    texts = cp.load(f"sentence-transformers:{foreign.sentences(tmp_path / 'model')}")
    assert (pictures.embeds, pictures.picture_size, pictures.context, pictures.shares_space) == (
        ("image",),
        160,
        None,
        False,
    )
    assert (texts.embeds, texts.picture_size, texts.context, texts.width) == (("text",), None, 24, 16)
    with pytest.raises(ValueError, match="has no image embeddings"):
        texts.embed("image", PICTURES)


def test_a_run_and_its_checkpoints(run: Path) -> None:
    model = cp.load(run)
    assert (model.embeds, model.width, model.picture_size, model.context) == (("image", "text"), 256, 16, 24)
    first, last = sorted((run / "checkpoint").glob("step-*"))
    assert torch.equal(cp.load(last).embed("text", ["a"]), model.embed("text", ["a"]))
    assert not torch.equal(cp.load(str(first)).embed("text", ["a"]), model.embed("text", ["a"]))
    assert cp.load(f"run:{run}").fingerprint == model.fingerprint == cp.load(last).fingerprint
    assert cp.load(first).fingerprint != model.fingerprint


def test_a_model_knows_its_name_from_the_root(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = foreign.clip(tmp_path / "model")
    monkeypatch.chdir(run.parent)
    assert cp.load(run.name).reference == str(run)
    assert cp.load(f"run:{run.name}").reference == f"run:{run}"
    monkeypatch.chdir(tmp_path)
    assert cp.load("transformers:model").reference == f"transformers:{folder}"
    assert cp.load("transformers:clip@model").reference == f"transformers:clip@{folder}"
    assert (
        cp.load("transformers:all-MiniLM-L6-v2@package").reference == "transformers:all-MiniLM-L6-v2@package"
    )


def test_fingerprint_tells_weights_preprocessing_tokenizers(tmp_path: Path) -> None:
    folder = foreign.clip(tmp_path / "model")

    def changed(file: str, change: Callable[[Any], object]) -> str:
        before = (folder / file).read_text()
        values = json.loads(before)
        change(values)
        (folder / file).write_text(json.dumps(values))
        try:
            return cp.load(f"transformers:{folder}").fingerprint
        finally:
            (folder / file).write_text(before)

    model = cp.load(f"transformers:{folder}")
    before = model.fingerprint
    model.embed("text", foreign.CAPTIONS)
    prints = [
        cp.load(f"transformers:clip@{folder}").fingerprint,
        changed("preprocessor_config.json", lambda it: it.update(image_mean=[0.4, 0.5, 0.5])),
        changed("preprocessor_config.json", lambda it: it.update(size={"shortest_edge": 40})),
        changed("config.json", lambda it: it["text_config"].update(hidden_act="gelu")),
        changed("config.json", lambda it: it["vision_config"].update(layer_norm_eps=1e-6)),
        changed("config.json", lambda it: it["text_config"].update(num_attention_heads=4)),
        changed("tokenizer.json", lambda it: it.update(normalizer=None)),
        changed("tokenizer_config.json", lambda it: it.update(model_max_length=10)),
    ]
    state = load_file(folder / "model.safetensors")
    state["text_projection.weight"][0, 0] += 1e-3
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    prints.append(cp.load(f"transformers:{folder}").fingerprint)
    assert prints[0] == before == model.fingerprint
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize("kind", ["siglip", "saved by sentence-transformers"])
def test_a_pair_is_an_arm_that_starts_as_it_is(kind: str, tmp_path: Path) -> None:
    make, form = PAIRS[kind]
    folder = make(tmp_path / "model")
    reference = form.format(folder)
    model = cp.load(reference)
    arm = Arm.parse(f"{reference}@{folder},tune=none").build(Recipe(), {}, 0)
    for column, inputs in (("image", PICTURES), ("text", foreign.CAPTIONS)):
        torch.testing.assert_close(arm.embed(column, inputs), model.embed(column, inputs), rtol=0, atol=1e-6)
    tuned = Arm.parse(f"{reference}@{folder},tune=lora").build(Recipe(), {}, 0)
    assert {
        name.split(".")[1] for name, it in tuned.named_parameters() if it.requires_grad and "lora" in name
    } == {
        "image",
        "text",
    }


@pytest.mark.parametrize("form", ["", "{}"])
@pytest.mark.parametrize("kind", PAIRS)
def test_an_arm_takes_the_names_that_models_have(kind: str, form: str, tmp_path: Path) -> None:
    make, of_kind = PAIRS[kind]
    reference = (form or of_kind).format(make(tmp_path / "mo@del"))
    model, arm = cp.load(reference), Arm.parse(f"{reference},tune=none").build(Recipe(), {}, 0)
    assert arm.width == model.width
    for column, inputs in (("image", PICTURES), ("text", foreign.CAPTIONS)):
        torch.testing.assert_close(arm.embed(column, inputs), model.embed(column, inputs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", PAIRS)
def test_trained_arm_is_built_again_from_folder_that_it_names(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    PAIRS[kind][0](tmp_path / "mine")
    arm = Arm.parse("mine,tune=none")
    trained = arm.build(Recipe(), {}, 0)
    with restored():
        again = arm.build(Recipe(), {}, 1)
    again.load_state_dict(trained.state_dict())
    assert torch.equal(again.embed("text", ["a"]), trained.embed("text", ["a"]))


@pytest.mark.parametrize("form", ["{}", "timm:{}"])
def test_a_folder_of_timm_is_the_image_tower_of_an_arm(form: str, tmp_path: Path) -> None:
    network = timm.create_model("test_vit.r160_in1k", num_classes=0)
    timm.models.save_for_hf(network, tmp_path / "vit", safe_serialization=True)
    towers = Arm.parse(form.format(tmp_path / "vit")).towers
    assert towers == {"image": f"timm:test_vit@{tmp_path / 'vit'}"}
    built = build_towers(Towers(**towers), {}, 0, columns={"image": "image"})["image"]
    model = cp.load(form.format(tmp_path / "vit"))
    assert isinstance(built.input, type(model.inputs["image"]))
    torch.testing.assert_close(
        built.eval()(built.input(PICTURES)), model.image_tower(model.inputs["image"](PICTURES))
    )


def test_a_pretrained_tower_as_it_is_is_an_arm_of_pictures_alone(tmp_path: Path) -> None:
    network = timm.create_model("test_vit.r160_in1k", num_classes=0)
    save_file(network.state_dict(), tmp_path / "vit.safetensors")
    name = f"timm:test_vit.r160_in1k@{tmp_path / 'vit.safetensors'}"
    arm = Arm.parse(f"{name},tune=none").build(Recipe(), {}, 0, columns={"photo": "image"})
    assert (arm.embeds, [*arm.projections["photo"].parameters()]) == (("photo",), [])
    assert not any(parameter.requires_grad for parameter in arm.parameters())
    torch.testing.assert_close(arm.embed("photo", PICTURES), cp.load(name).embed("image", PICTURES))


def test_folder_of_sentence_encoder_is_the_text_tower_of_an_arm(tmp_path: Path) -> None:
    folder = foreign.sentences(tmp_path / "model")
    for reference in (str(folder), f"sentence-transformers:{folder}"):
        arm = Arm.parse(reference)
        assert arm.towers == {"text": f"sentence-transformers:{folder}@{folder}"}


def test_a_folder_of_a_configuration_alone_is_a_random_start(tmp_path: Path) -> None:
    folder = foreign.clip(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    arm = Arm.parse(f"transformers:{folder}")
    assert arm.towers == dict.fromkeys(("image", "text"), f"transformers:{folder}")
    assert arm.build(Recipe(), {}, 0).width == Recipe().widths.embedding


def test_folder_bears_name_of_model_or_method_changes_no_arm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("clip", "resnet18"):
        (tmp_path / name).mkdir()
        save_file({"x": torch.ones(1)}, tmp_path / name / "model.safetensors")
    assert (Arm.parse("clip").method, Arm.parse("clip").towers) == ("clip", {})
    assert Arm.parse("timm:resnet18").towers == {"image": "timm:resnet18"}


def test_what_no_arm_begins_with_is_one_line(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    cp.export(run, "safetensors", tmp_path / "exported")
    last = max((run / "checkpoint").glob("step-*"))
    for reference, message in (
        (run, f"is a run, which an arm goes on from: write clip,from={run}"),
        (f"run:{run}", f"write clip,from={run}"),
        (last, f"write clip,from={last}"),
        (tmp_path / "exported", "name the run that it was exported from, as clip,from=RUN"),
        (tmp_path / "empty", "is not a run folder: it has no recipe.yaml"),
    ):
        with pytest.raises(ValueError, match=f"^arm '{reference},tune=none': .*{message}") as error:
            Arm.parse(f"{reference},tune=none")
        assert "\n" not in str(error.value)


def test_a_run_is_an_arm_by_the_words_that_its_error_gives(run: Path) -> None:
    method = build(
        Run(f"clip,from={run},tune=none", Run.read(run).data, Recipe(), 0).on(load(Run.read(run).data)), {}
    )
    model = cp.load(run)
    for column, inputs in (("image", PICTURES), ("text", foreign.CAPTIONS)):
        torch.testing.assert_close(
            method.embed(column, inputs), model.embed(column, inputs), rtol=0, atol=1e-5
        )


def test_the_text_half_of_a_pair_is_a_tower_of_texts_as_before(tmp_path: Path) -> None:
    name = f"transformers:clip@{foreign.clip(tmp_path / 'model')}"
    half = build_towers(Towers(text=name, context=12), {"text": []}, 0)["text"]
    assert (half.width, half.projected) == (16, False)
    assert Arm.parse("clip,text=transformers:bert").towers == {"text": "transformers:bert"}


def broken(change: str, tmp_path: Path) -> str:
    folder = foreign.clip(tmp_path / "model")
    if change == "other weights":
        other = foreign.siglip(tmp_path / "other")
        (other / "model.safetensors").replace(folder / "model.safetensors")
    else:
        (folder / change).unlink()
    return f"transformers:{folder}"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nowhere", "nowhere is not a run folder: there is no such folder. Models are written"),
        ("clap:x", "no kind of model 'clap'; write .*open_clip:NAME@TAG"),
        ("open_clip:", "open_clip: names no model; write open_clip:NAME@TAG or open_clip:NAME@PATH"),
        ("transformers:", "transformers: names no model; write transformers:PATH"),
        ("timm:resnet18", "timm:resnet18 names no weights; write timm:NAME@hub"),
        ("timm:resnet18@", "ends in @ without weights"),
        ("open_clip:ViT-B-32", "names no weights; write @PATH, or @TAG, one of .*openai"),
        ("open_clip:ViT-B-99@openai", "unknown open_clip model 'ViT-B-99'"),
        ("open_clip:ViT-B-32@openai", "trained with QuickGELU, .* write open_clip:ViT-B-32-quickgelu@openai"),
        ("timm:resnet18@/gone.pth", "there is no file or folder /gone.pth"),
        ("transformers:a/b", "there is no folder a/b; to fetch it from the hub, write transformers:a/b@hub"),
        ("timm:resnet18@elsewhere", "the weights are neither a path that exists nor 'hub'"),
    ],
)
def test_what_names_no_model_is_one_line(reference: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        cp.load(reference)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "reference", ["runs/mistyped", "nobody/nothing", "transformers:a/b", "run:runs/mistyped"]
)
def test_what_is_not_there_is_asked_of_no_hub(reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[object] = []
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *of: asked.append(of))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *of: asked.append(of) or "/gone")
    with pytest.raises(ValueError, match=r"is not a run folder|there is no"):
        cp.load(reference)
    assert not asked


@pytest.mark.parametrize("tower", ["image", "text"])
def test_a_tower_in_a_folder_that_is_missing_is_asked_of_no_hub(
    tower: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    asked: list[object] = []
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *of: asked.append(of))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *of: asked.append(of) or "/gone")
    with pytest.raises(ValueError, match="there is no folder runs/mistyped"):
        build_towers(Towers(**{tower: "transformers:runs/mistyped"}), {tower: []}, 0, columns={tower: tower})
    assert not asked


def test_kinds_are_files_and_the_unknown_is_told_by_name() -> None:
    assert {"run", "open-clip", "timm", "transformers", "sentence-transformers"} <= set(KINDS.names())
    with pytest.raises(UnknownNameError):
        cp.load("onnx:x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("config.json", "it has no config.json"),
        ("model.safetensors", "could not be read"),
        ("preprocessor_config.json", "could not be read"),
        ("tokenizer.json", "could not be read"),
        ("other weights", "could not be read"),
    ],
)
def test_half_a_folder_and_weights_of_another_model(change: str, message: str, tmp_path: Path) -> None:
    reference = broken(change, tmp_path)
    with pytest.raises(ValueError, match=message):
        cp.load(reference)


def test_folders_that_are_no_models(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for reference in (str(tmp_path / "empty"), f"transformers:{tmp_path / 'empty'}"):
        with pytest.raises(ValueError, match=r"not a run folder|is no folder of a model"):
            cp.load(reference)
    with pytest.raises(ValueError, match=r"it has no modules.json"):
        cp.load(f"sentence-transformers:{foreign.bert(tmp_path / 'bert')}")
    (tmp_path / "young").mkdir()
    (tmp_path / "young" / "recipe.yaml").write_text((run / "recipe.yaml").read_text())
    with pytest.raises(ValueError, match="has no checkpoint yet"):
        cp.load(tmp_path / "young")


@pytest.mark.parametrize(
    ("reference", "command"),
    [
        ("open_clip:ViT-B-32-quickgelu@openai", "hf download timm/vit_base_patch32_clip_224.openai"),
        ("timm:test_vit.r160_in1k@hub", "hf download timm/test_vit.r160_in1k"),
        ("transformers:nobody/nothing@hub", "hf download nobody/nothing"),
        ("sentence-transformers:nobody/nothing@hub", "hf download nobody/nothing"),
    ],
)
def test_offline_the_error_is_the_command_that_fetches_it(
    reference: str, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="is not on this machine") as error:
        cp.load(reference)
    assert command in str(error.value)


def test_weights_of_texts_of_another_length_are_found(tmp_path: Path) -> None:
    folder = foreign.open_clip_folder(tmp_path / "model")
    file = folder / "open_clip_pytorch_model.bin"
    state: dict[str, Tensor] = torch.load(file, weights_only=True)
    state["positional_embedding"] = torch.cat([state["positional_embedding"]] * 2)
    torch.save(state, file)
    with pytest.raises(ValueError, match="texts of 24 tokens, and this one reads 12"):
        cp.load(f"open_clip:tiny@{folder}")


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run",)


def test_code_beside_weights_never_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = foreign.clip(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}, "model_type": "evil"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("print('run')")
    torch.save({"x": Evil()}, tmp_path / "evil.pth")
    other = foreign.open_clip_folder(tmp_path / "other")
    torch.save({"x": Evil()}, other / "open_clip_pytorch_model.bin")
    for reference in (
        f"transformers:{folder}",
        f"timm:resnet18@{tmp_path / 'evil.pth'}",
        f"open_clip:tiny@{other}",
    ):
        with pytest.raises(ValueError, match="could not be read"):
            cp.load(reference)
    assert "run" not in capsys.readouterr().out.splitlines()


def test_texts_that_are_padded_on_the_left_are_refused(tmp_path: Path) -> None:
    folder = foreign.siglip(tmp_path / "model")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"padding_side": "left"}))
    with pytest.raises(ValueError, match="ends or pads texts in a way that is not known here"):
        cp.load(f"transformers:{folder}")
