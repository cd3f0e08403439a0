"""timm encoders: their features, their normalisation, their weights or a clear error."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from counterpoint.networks import build_towers
from counterpoint.networks.base import ImageTower
from counterpoint.networks.towers.build import build_image_tower
from counterpoint.networks.weights import restored
from counterpoint.recipes.schema import Towers
from counterpoint.registry import UnknownNameError

NAME = "test_resnet.r160_in1k"
CAPTIONS = ["a red car", "a blue car"]


def tower(name: str, size: int = 32, seed: int = 0) -> ImageTower:
    return build_towers(Towers(image=name, image_size=size), {"text": CAPTIONS}, seed)["image"]


@pytest.fixture(scope="module")
def whole() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model(NAME, num_classes=7).eval()


def test_features_are_timms_without_the_classifier(whole: torch.nn.Module, tmp_path: Path) -> None:
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    image = tower(f"timm:{NAME}@{tmp_path / 'w.pth'}").eval()
    x = torch.rand(3, 3, 32, 32)
    config = timm.data.resolve_model_data_config(whole)
    mean, std = (torch.tensor(config[k])[:, None, None] for k in ("mean", "std"))
    expected = whole.forward_head(whole.forward_features((x - mean) / std), pre_logits=True)
    assert image.width == expected.shape[1]
    assert torch.allclose(image(x), expected, atol=1e-5)


def test_folder_and_safetensors(whole: torch.nn.Module, tmp_path: Path) -> None:
    save_file(whole.state_dict(), tmp_path / "model.safetensors")
    x = torch.rand(2, 3, 32, 32)
    file, folder = (tower(f"timm:{NAME}@{p}").eval()(x) for p in (tmp_path / "model.safetensors", tmp_path))
    assert torch.equal(file, folder)


def test_random_start_depends_on_seed_alone() -> None:
    before = torch.random.get_rng_state()
    one = tower(f"timm:{NAME}", seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.randn(3)
    two, three = tower(f"timm:{NAME}", seed=1), tower(f"timm:{NAME}", seed=2)
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(p, q)
    assert any(not torch.equal(p, q) for p, q in zip(one.parameters(), three.parameters(), strict=True))
    assert one.weights_set


def test_a_transformer_takes_the_size_of_the_recipe() -> None:
    image = tower("timm:test_vit.r160_in1k", size=48)
    assert image.size == 48
    assert image(torch.rand(2, 3, 48, 48)).shape == (2, image.width)


def test_position_embeddings_of_another_size_are_resampled(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_vit", img_size=64).state_dict(), tmp_path / "w.pth")
    image = tower(f"timm:test_vit@{tmp_path / 'w.pth'}", size=32)
    assert image(torch.rand(2, 3, image.size, image.size)).isfinite().all()


def test_weights_keep_the_size_that_they_were_made_for(whole: torch.nn.Module, tmp_path: Path) -> None:
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    assert tower(f"timm:{NAME}", size=32).size == 32
    assert tower(f"timm:{NAME}@{tmp_path / 'w.pth'}", size=32).size == 160
    with restored():  # a trained model, without the file that it started from
        assert tower(f"timm:{NAME}@gone.pth", size=32).size == 160
    assert build_image_tower(f"timm:{NAME}@{tmp_path / 'w.pth'}", 48).size == 48


def test_a_size_the_model_cannot_take() -> None:
    with pytest.raises(ValueError, match="timm:test_vit could not be built"):
        tower("timm:test_vit", size=50)


def test_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'resnet18'") as error:
        tower("timm:resnet_18")
    assert len(str(error.value)) < 400, "a thousand names are no help"


def test_weights_that_are_not_there() -> None:
    for weights in ("nothing.pth", "/nowhere/at/all", "./x", "hubb"):
        with pytest.raises(ValueError, match=f"@{weights}"):
            tower(f"timm:{NAME}@{weights}")


@pytest.mark.parametrize("harm", ["missing", "extra", "shape"])
def test_weights_that_do_not_fit_in_every_layer(whole: torch.nn.Module, tmp_path: Path, harm: str) -> None:
    state = dict(whole.state_dict())
    name = next(k for k, v in state.items() if v.ndim == 4)
    if harm == "missing":
        del state[name]
    elif harm == "extra":
        state["another.weight"] = torch.ones(3)
    else:
        state[name] = state[name][1:]
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(
        ValueError, match=r"(?s)could not be read, and nothing was kept.*(another\.weight|" + name + ")"
    ):
        tower(f"timm:{NAME}@{tmp_path / 'w.pth'}")


def test_broken_file(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"not weights")
    with pytest.raises(ValueError, match="could not be read"):
        tower(f"timm:{NAME}@{tmp_path / 'w.pth'}")


@pytest.mark.parametrize("form", ["numbered", "named", "checkpoint", "of many processes"])
def test_weights_as_users_of_lightly_save_them(form: str, tmp_path: Path) -> None:
    lightly, torchvision = (
        pytest.importorskip("lightly.models.modules"),
        pytest.importorskip("torchvision.models"),
    )
    torch.manual_seed(0)
    whole = torchvision.resnet18(weights=None)
    backbone = nn.Sequential(*list(whole.children())[:-1])
    head = lightly.SimCLRProjectionHead(512, 64, 32)
    learner = nn.ModuleDict({"backbone": backbone, "projection_head": head, "prediction_head": head})
    learner["backbone_momentum"] = copy.deepcopy(backbone).requires_grad_(False)
    for weight in learner["backbone_momentum"].parameters():
        weight.zero_()
    if form == "named":
        whole.fc = nn.Identity()
        learner["backbone"] = whole
    state = learner.state_dict()
    saved = {
        "numbered": backbone.state_dict(),
        "of many processes": {f"module.{name}": weight for name, weight in state.items()},
    }.get(form, {"state_dict": state, "epoch": 3, "optimizer_states": [], "loops": {}})
    torch.save(saved, tmp_path / "w.ckpt")
    image = tower(f"timm:resnet18@{tmp_path / 'w.ckpt'}").eval()
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        own = backbone.eval()(image.normalise(x)).flatten(1)
        torch.testing.assert_close(image(x), own, rtol=0, atol=1e-5)


@pytest.mark.parametrize("harm", ["another stem", "fewer layers"])
def test_numbered_weights_of_another_model_are_refused(harm: str, tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision.models")
    state = nn.Sequential(*list(torchvision.resnet18(weights=None).children())[:-1]).state_dict()
    if harm == "another stem":
        state["0.weight"] = state["0.weight"][..., 2:5, 2:5]
    else:
        state.popitem()
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="nothing was kept: its layers have numbers for names, and are not"):
        tower(f"timm:resnet18@{tmp_path / 'w.pth'}")
