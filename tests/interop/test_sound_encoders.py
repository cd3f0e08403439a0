"""transformers' encoders of sounds: features as theirs, whatever stands beside a sound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import counterpoint as cp
from counterpoint.networks import build_towers
from counterpoint.networks.base import Tower
from counterpoint.recipes.schema import Towers
from counterpoint.registry import UnknownNameError

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
CONVOLUTIONS = {
    "conv_dim": (8, 8),
    "conv_kernel": (10, 4),
    "conv_stride": (8, 4),
    "num_conv_pos_embeddings": 8,
}
CONVOLUTIONS |= {"num_conv_pos_embedding_groups": 2, "num_feat_extract_layers": 2}
KINDS = ("wav2vec2", "wav2vec2-layer", "hubert", "ast", "whisper", "clap")


def save(folder: Path, kind: str) -> tuple[Any, Any]:
    """A random small model of a kind with its feature extractor, as its makers would save them."""
    torch.manual_seed(0)
    model: Any
    extractor: Any = transformers.Wav2Vec2FeatureExtractor(sampling_rate=1000, do_normalize=True)
    if kind.startswith("wav2vec2"):
        norm = "layer" if kind.endswith("layer") else "group"
        config = transformers.Wav2Vec2Config(**SIZES, **CONVOLUTIONS, feat_extract_norm=norm, vocab_size=8)
        model = transformers.Wav2Vec2Model(config)
    elif kind == "hubert":
        model = transformers.HubertModel(transformers.HubertConfig(**SIZES, **CONVOLUTIONS, vocab_size=8))
    elif kind == "ast":
        config = transformers.ASTConfig(**SIZES, max_length=32, num_mel_bins=32)
        model, extractor = (
            transformers.ASTModel(config),
            transformers.ASTFeatureExtractor(max_length=32, num_mel_bins=32),
        )
    elif kind == "whisper":
        config = transformers.WhisperConfig(
            d_model=16,
            encoder_layers=2,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            num_mel_bins=20,
            max_source_positions=50,
            vocab_size=64,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
        )
        model = transformers.WhisperModel(config)
        extractor = transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=1)
    else:
        audio = {
            "spec_size": 32,
            "num_mel_bins": 32,
            "patch_size": 4,
            "patch_stride": (4, 4),
            "patch_embeds_hidden_size": 8,
            "hidden_size": 16,
            "depths": [1, 1],
            "num_attention_heads": [1, 2],
            "window_size": 4,
            "projection_dim": 24,
        }
        text = {**SIZES, "vocab_size": 64, "projection_dim": 24}
        model = transformers.ClapModel(transformers.ClapConfig(audio_config=audio, text_config=text))
        extractor = transformers.ClapFeatureExtractor(
            feature_size=32, sampling_rate=8000, hop_length=400, max_length_s=1, fft_window_size=256,
            frequency_min=50, frequency_max=3500,
        )  # fmt: skip
    model.eval().save_pretrained(folder)
    extractor.save_pretrained(folder)
    return model, extractor


def tower(name: str, seconds: float = 0.4, seed: int = 0) -> Tower:
    return build_towers(Towers(audio=name, audio_seconds=seconds), {}, seed, columns={"audio": "audio"})[
        "audio"
    ]


def noises(rate: int, *seconds: float) -> cp.Waves:
    rng = np.random.default_rng(0)
    return cp.Waves.of([rng.normal(0, 0.1, max(1, int(rate * s))).astype(np.float32) for s in seconds], rate)


@pytest.mark.parametrize("kind", KINDS)
def test_sound_has_library_s_features_whatever_stands_beside_it(tmp_path: Path, kind: str) -> None:
    model, extractor = save(tmp_path, kind)
    net = tower(f"transformers:{kind}@{tmp_path}", seconds=0.3).eval()
    waves = noises(extractor.sampling_rate, 0.3, 0.21, 0.3, 0.1)
    with torch.no_grad():
        together = net(net.input(waves))
        assert together.shape == (4, net.width)
        for row, own in enumerate(together):
            sound = waves[row].samples[0, : int(waves[row].lengths)].numpy()
            torch.testing.assert_close(net(net.input(waves[row]))[0], own, rtol=0, atol=1e-5)
            given = {"truncation": "rand_trunc", "padding": "repeatpad"} if kind == "clap" else {}
            made = extractor(sound, sampling_rate=extractor.sampling_rate, return_tensors="pt", **given)
            features = made[extractor.model_input_names[0]]
            if kind == "clap":
                theirs = model.audio_projection(model.audio_model(features).pooler_output)[0]
            elif kind == "ast":
                theirs = model(features).pooler_output[0]
            elif kind == "whisper":
                states = model.encoder(features).last_hidden_state[0]
                theirs = states[: -(-len(sound) // 320)].mean(0)
            else:
                theirs = model(features).last_hidden_state[0].mean(0)
            torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-5)
    assert torch.pdist(together).min() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_sound_of_few_samples_and_one_is_not_there_have_features(tmp_path: Path, kind: str) -> None:
    _, extractor = save(tmp_path, kind)
    net = tower(f"transformers:{kind}@{tmp_path}", seconds=0.3).eval()
    rate = extractor.sampling_rate
    given = net.input(noises(rate, 0.3, 1 / rate, 9 / rate, 50 / rate))
    with torch.no_grad():
        found = net(torch.cat([given, torch.full_like(given[:1], torch.nan)]))
        assert found.isfinite().all()
        for row in range(4):
            alone = net(given[row : row + 1, : int((~given[row].isnan()).sum())])
            torch.testing.assert_close(alone[0], found[row], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_sound_prepared_full_precision_whatever_models_compute(tmp_path: Path, kind: str) -> None:
    _, extractor = save(tmp_path, kind)
    net = tower(f"transformers:{kind}@{tmp_path}", seconds=0.3).eval()
    given = net.input(noises(extractor.sampling_rate, 0.3, 0.2))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert net(given).isfinite().all()


@pytest.mark.parametrize("kind", ["wav2vec2", "ast", "whisper", "clap"])
def test_weights_learn_and_nothing_is_drawn_outside_of_torch(tmp_path: Path, kind: str) -> None:
    save(tmp_path, kind)
    net = tower(f"transformers:{kind}@{tmp_path}").train()
    given = net.input(noises(net.rate, 0.3, 0.21))  # type: ignore[arg-type]
    state = np.random.get_state()[1].copy()  # type: ignore[union-attr] # noqa: NPY002 # which the library draws from
    net(given).square().sum().backward()
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_states_are_those_of_single_times(tmp_path: Path) -> None:
    save(tmp_path, "wav2vec2")
    net = tower(f"transformers:wav2vec2@{tmp_path}").eval()
    given = net.input(noises(1000, 0.3, 0.1, 0.001))
    states = net.states(given)  # type: ignore[operator]
    torch.testing.assert_close(states[0].mean(0), net(given)[0])
    assert not states[1, 8:].any()
    assert net(given).isfinite().all()


def test_it_hears_no_more_than_it_was_made_for(tmp_path: Path) -> None:
    save(tmp_path, "whisper")
    net = tower(f"transformers:whisper@{tmp_path}", seconds=30.0)
    assert net.input(noises(16_000, 2.0)).shape == (1, 16_000)


def test_a_configuration_alone_is_random_by_seed(tmp_path: Path) -> None:
    save(tmp_path, "hubert")
    one, same, other = (tower(f"transformers:{tmp_path}", seed=seed).eval() for seed in (1, 1, 2))
    given = one.input(noises(1000, 0.2))
    assert torch.equal(one(given), same(given))
    assert not torch.allclose(one(given), other(given))


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownNameError, match="unknown transformers model of sounds 'wav2vec': did you mean 'wav2vec2'"
    ):
        tower("transformers:wav2vec")
    save(tmp_path, "wav2vec2")
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    gone = next(name for name in weights if "layers.1" in name)
    save_file({name: w for name, w in weights.items() if name != gone}, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="the weights lack"):
        tower(f"transformers:wav2vec2@{tmp_path}")
    transformers.BertConfig(**SIZES).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="bert is no encoder of sounds that is known here"):
        tower(f"transformers:bert@{tmp_path}")
