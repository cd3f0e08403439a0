"""timm encoders of spectrograms: features as theirs, states of times, weights, and what they cannot take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import counterpoint as cp
from counterpoint.methods.arm import Arm
from counterpoint.networks import build_towers
from counterpoint.networks.towers.sound import LogMel, normalised
from counterpoint.networks.weights import restored
from counterpoint.recipes.schema import Towers
from counterpoint.registry import UnknownNameError

RATE, BANDS = 8000, 32
LENGTHS = (8000, 3000, 400)


def tower(name: str = "test_resnet", seed: int = 0, **sizes: Any) -> Any:
    sizes = {"audio_rate": RATE, "audio_seconds": 1.0, "audio_bands": BANDS, **sizes}
    towers = Towers(audio=f"timm:{name}", **sizes)
    return build_towers(towers, {"audio": None}, seed, columns={"audio": "audio"})["audio"].eval()


def sounds() -> cp.Waves:
    rng = np.random.default_rng(0)
    return cp.Waves.of([rng.normal(0, 0.1, length).astype(np.float32) for length in LENGTHS], RATE)


@torch.no_grad()
def test_features_are_timms_of_the_spectrogram_in_three_colours() -> None:
    ours = tower()
    model = timm.create_model("test_resnet", num_classes=0).eval()
    model.load_state_dict(ours.model.state_dict())
    given = ours.input(sounds()[1:2])
    mel = LogMel(RATE, BANDS)
    levels, frames = normalised(mel, F.pad(given, (0, 64 * mel.hop - 1 - given.shape[1]), value=torch.nan))
    assert levels.shape == (1, 64, BANDS)
    assert frames.tolist() == [19]
    assert abs(float(levels[:, :19].mean())) < 1e-5
    assert (levels[:, 21:] == levels.min()).all()  # silence
    torch.testing.assert_close(ours(given), model(levels.mT[:, None].repeat(1, 3, 1, 1)), rtol=0, atol=1e-5)
    assert ours.sizes == {"audio_rate": RATE, "audio_seconds": 1.0, "audio_bands": BANDS}


@torch.no_grad()
@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
def test_neither_padding_nor_neighbours_change_features_states(name: str) -> None:
    ours, given = tower(name), sounds()
    inputs = ours.input(given)
    features, states = ours(inputs), ours.states(inputs)
    assert states.shape[::2] == (3, ours.width)
    for row, length in enumerate(LENGTHS):
        alone = inputs[row : row + 1, :length]
        torch.testing.assert_close(ours(alone)[0], features[row], rtol=0, atol=2e-5)
        torch.testing.assert_close(ours.states(alone)[0], states[row], rtol=0, atol=2e-5)
    assert (states[2, 1:] == 0).all()  # 400 samples are 50 ms
    assert torch.pdist(features).min() > 0.1


@torch.no_grad()
def test_the_mean_of_states_is_what_a_head_that_averages_returns() -> None:
    ours = tower("test_efficientnet")
    inputs = ours.input(sounds()[:1])  # as long as a picture is wide, but for the windows that fill it up
    whole = F.pad(inputs, (0, 64 * ours.mel.hop - 1 - inputs.shape[1]))
    torch.testing.assert_close(ours.states(whole).mean(1), ours(whole), rtol=0, atol=1e-5)


@torch.no_grad()
def test_weights_of_pictures_go_on_as_they_are(tmp_path: Path) -> None:
    torch.manual_seed(5)
    saved = timm.create_model("test_vit", num_classes=7)
    save_file(saved.state_dict(), tmp_path / "w.safetensors")
    ours = tower(f"test_vit@{tmp_path / 'w.safetensors'}")
    assert ours.pretrained
    torch.testing.assert_close(ours.model.patch_embed.proj.weight, saved.patch_embed.proj.weight)
    torch.testing.assert_close(ours.model.blocks[0].attn.qkv.weight, saved.blocks[0].attn.qkv.weight)
    with restored():
        again = tower(f"test_vit@{tmp_path / 'gone.safetensors'}")
    assert again.state_dict().keys() == ours.state_dict().keys()


def test_a_random_start_depends_on_the_seed_alone() -> None:
    before = torch.random.get_rng_state()
    one, two, three = tower(seed=1), tower(seed=1), tower(seed=2)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), three.parameters(), strict=True))


def test_names_and_sizes_that_it_cannot_take() -> None:
    with pytest.raises(UnknownNameError, match="unknown timm model 'test_resnt': did you mean 'test_resnet'"):
        tower("test_resnt")
    with pytest.raises(
        ValueError, match=r"tower timm:test_vit could not be built: .*height: audio_bands=20; width: 64"
    ):
        tower("test_vit", audio_bands=20)
    with pytest.raises(ValueError, match="no file or folder"):
        tower("test_vit@./nowhere.safetensors")


def test_a_model_of_timm_by_its_name_alone_is_one_of_pictures() -> None:
    assert Arm.parse("timm:test_resnet").towers == {"image": "timm:test_resnet"}
    assert Arm.parse("clip,audio=timm:test_resnet").towers == {"audio": "timm:test_resnet"}
