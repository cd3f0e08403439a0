"""Examples as users have them: paths, pictures of Pillow, arrays and tensors embed as their files do."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import counterpoint as cp
from counterpoint.methods.arm import Arm
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.networks.towers.sound import Waveform
from counterpoint.recipes import load, override

RATE = 8_000


def made(spec: str, columns: dict[str, str] | None = None) -> TowerMethod:
    small = {
        "towers.image_size": 24,
        "towers.vocabulary": 300,
        "widths.embedding": 16,
        "towers.audio_rate": RATE,
    }
    arm = Arm.parse(spec)
    texts = {"text": ["a red car", "two dogs", "a town"] * 5}
    method = arm.build(override(load("cpu"), small), texts, 0, **({"columns": columns} if columns else {}))
    return method.eval()


@pytest.fixture(scope="module")
def model() -> TowerMethod:
    return made("clip")


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_a_picture_is_the_same_in_every_form(model: TowerMethod, pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    forms = [
        *(path, str(path), path.read_bytes(), Image.open(path), Image.fromarray(pixels), pixels),
        torch.from_numpy(pixels.transpose(2, 0, 1).copy()),
    ]
    expected = model.embed("image", path)
    assert expected.shape == (1, 16)
    for form in forms:
        torch.testing.assert_close(model.embed("image", form), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        model.embed("image", forms), expected.expand(len(forms), -1), rtol=0, atol=1e-5
    )
    several = np.stack([pixels, pixels])
    torch.testing.assert_close(model.embed("image", several), expected.expand(2, -1), rtol=0, atol=1e-5)


def test_many_pictures_go_through_in_parts(model: TowerMethod, pixels: np.ndarray) -> None:
    z = model.embed("image", [pixels] * 300)
    torch.testing.assert_close(z, model.embed("image", pixels).expand(300, -1), rtol=0, atol=1e-5)


def test_grey_and_transparent_arrays(model: TowerMethod, pixels: np.ndarray) -> None:
    grey = model.embed("image", pixels[..., 0])
    torch.testing.assert_close(
        grey, model.embed("image", np.repeat(pixels[..., :1], 3, 2)), rtol=0, atol=1e-5
    )
    clear = np.concatenate([pixels, np.zeros_like(pixels[..., :1])], 2)
    white = model.embed("image", np.full_like(pixels, 255))
    torch.testing.assert_close(model.embed("image", clear), white, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("picture", "error", "message"),
    [
        ("nowhere.png", FileNotFoundError, "there is no picture nowhere.png"),
        (Path(__file__), ValueError, "cannot be read as a picture"),
        (np.zeros((4, 4, 3)), ValueError, "uint8 values from 0 to 255, got float64"),
        (
            np.zeros((4, 4, 7), np.uint8),
            ValueError,
            r"is \(H, W\), \(H, W, 3\) or \(H, W, 4\), got \(4, 4, 7\)",
        ),
        ([], ValueError, "pictures must be a uint8 tensor"),
        (7, ValueError, "pictures must be a uint8 tensor"),
    ],
)
def test_what_is_no_picture(
    picture: object, error: type[Exception], message: str, model: TowerMethod
) -> None:
    with pytest.raises(error, match=message):
        model.embed("image", picture)


def test_sounds_from_paths_and_arrays(tmp_path: Path) -> None:
    listener = made("clip", {"audio": "audio", "text": "text"})
    assert isinstance(listener.inputs["audio"], Waveform)
    samples = np.sin(np.arange(RATE) / 9)
    path = tmp_path / "bell.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    expected = listener.embed("audio", cp.Waves.of([samples], RATE))
    for sound in (samples, torch.from_numpy(samples), path, str(path), path.read_bytes()):
        torch.testing.assert_close(listener.embed("audio", sound), expected, rtol=0, atol=1e-3)
    assert listener.embed("audio", [path, samples[:100]]).shape == (2, 16)
    with pytest.raises(FileNotFoundError, match=r"there is no sound nowhere\.wav"):
        listener.embed("audio", "nowhere.wav")


def test_zero_shot_prefers_the_nearest_label(model: TowerMethod, pixels: np.ndarray) -> None:
    labels = ["red car", "two dogs", "town"]
    chances = model.zero_shot([pixels, pixels[:20]], labels)
    assert chances.shape == (2, 3)
    torch.testing.assert_close(chances.sum(1), torch.ones(2))
    near = model.similarity(model.embed("image", pixels), model.embed("text", labels))
    torch.testing.assert_close(chances[:1], (near / 0.07).softmax(-1), rtol=1e-4, atol=1e-5)
    templates = ["a {}", "no {} at all"]
    shown = model.zero_shot(pixels, labels, templates)
    texts = [template.format(label) for label in labels for template in templates]
    near = model.similarity(model.embed("image", pixels), model.embed("text", texts)).view(1, 3, 2).mean(2)
    torch.testing.assert_close(shown, (near / 0.07).softmax(-1), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="two or more labels"):
        model.zero_shot(pixels, "car")
    with pytest.raises(ValueError, match=r"'a car' has no \{\} in the place of the label"):
        model.zero_shot(pixels, labels, ["a car"])
    with pytest.raises(LookupError, match="no tower of texts"):
        made("dcl,on=images").zero_shot(pixels, labels)
