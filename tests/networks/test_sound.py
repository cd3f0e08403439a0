"""The tower of sounds: its input, its spectrogram against transformers', and independence of what stands beside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import ClapFeatureExtractor, WhisperFeatureExtractor

import counterpoint as cp
from counterpoint.networks import build_towers, initialise
from counterpoint.networks.fingerprint import fingerprint
from counterpoint.networks.towers.sound import LogMel, MelTower, Waveform
from counterpoint.raw import check_waves
from counterpoint.recipes.schema import Towers

RATE = 8000


def tower(seconds: float = 1.0) -> MelTower:
    net = MelTower(rate=RATE, seconds=seconds, bands=32, width=24)
    initialise(net, 0)
    return net.eval()


def noises(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, length).astype(np.float32) for length in lengths]


def tone(hertz: float, samples: int, rate: int) -> Tensor:
    return torch.sin(2 * torch.pi * hertz * torch.arange(samples) / rate)[None]


def test_input_is_first_seconds_and_no_longer_than_the_longest() -> None:
    given = cp.Waves.of([np.arange(6, dtype=np.float32), np.ones(2, np.float32)], rate=4)
    cut = Waveform(4, 1.0)(given)
    assert cut[0].tolist() == [0, 1, 2, 3]
    assert cut[1, :2].tolist() == [1, 1]
    assert cut[1, 2:].isnan().all()
    assert Waveform(4, 1.0)(given[1]).shape == (1, 2)
    assert Waveform(4, 9.0)(given).shape == (2, 6)
    assert Waveform(4).form == 4


def test_sounds_of_another_rate_are_refused_with_would_mend_it() -> None:
    with pytest.raises(ValueError, match=r"takes sounds of 8000 .* have 4000: .*rate=8000.*audio_rate=4000"):
        tower().input(cp.Waves.of(noises(10), rate=4000))
    with pytest.raises(ValueError, match="hold no sample"):
        Waveform(10, 0.01)


@pytest.mark.parametrize("hertz", [300, 1000, 3000])
def test_a_tone_lights_its_band(hertz: int) -> None:
    mel = LogMel(RATE, 20)
    lit = int(mel(tone(hertz, RATE, RATE))[0, 10].argmax())
    loudest = mel.filters[:, lit].argmax() * RATE / mel.fft
    others = [mel.filters[:, band].argmax() * RATE / mel.fft for band in range(20)]
    assert abs(loudest - hertz) == min(abs(other - hertz) for other in others)


def test_a_spectrogram_is_that_of_the_library_with_its_settings() -> None:
    theirs = ClapFeatureExtractor(
        feature_size=40,
        sampling_rate=RATE,
        hop_length=80,
        fft_window_size=256,
        max_length_s=1,
        frequency_min=50,
        frequency_max=3500,
        truncation="rand_trunc",
        padding="pad",
    )
    (sound,) = noises(RATE)
    sound[:128] = sound[-128:] = 0  # they mirror the ends, and there is silence here
    ours = 10 * LogMel(RATE, 40, low=50, high=3500, window=256, hop=80)(torch.from_numpy(sound)[None])
    expected = theirs(sound, sampling_rate=RATE, return_tensors="pt")["input_features"]
    torch.testing.assert_close(ours, expected[0].float(), rtol=0, atol=1e-3)


def test_a_spectrogram_is_that_of_whisper_with_its_settings() -> None:
    theirs = WhisperFeatureExtractor(feature_size=80, chunk_length=1)
    fft, hop = theirs.n_fft, theirs.hop_length
    (sound,) = noises(16_000)
    sound[:fft] = sound[-fft:] = 0  # they mirror the ends, and there is silence here
    mel = LogMel(16_000, 80, window=fft, hop=hop, fft=fft)(torch.from_numpy(sound)[None])
    (expected,) = theirs(sound, sampling_rate=16_000, return_tensors="pt")["input_features"]
    # They leave the last window out, and what is 8 powers of ten below the loudest, and rescale.
    ours = (torch.maximum(mel, mel.max() - 8) + 4) / 4
    torch.testing.assert_close(ours[0, :-1].T, expected, rtol=0, atol=1e-4)


def test_bands_that_would_be_empty_are_refused() -> None:
    with pytest.raises(ValueError, match=r"of 200 bands hold no frequency .* fewer bands"):
        LogMel(RATE, 200)


def test_neither_padding_nor_neighbours_nor_order_change() -> None:
    net, sounds = tower(), noises(RATE, 4001, 2000, 300, 1)
    with torch.no_grad():
        together = net(net.input(cp.Waves.of(sounds, RATE)))
        states = net.states(net.input(cp.Waves.of(sounds, RATE)))
        backwards = net(net.input(cp.Waves.of(sounds[::-1], RATE))).flip(0)
        for row, sound in enumerate(sounds):
            one = net.input(cp.Waves.of([sound], RATE))
            torch.testing.assert_close(net(one)[0], together[row], rtol=0, atol=1e-5)
            alone = net.states(one)[0]
            torch.testing.assert_close(states[row, : len(alone)], alone, rtol=0, atol=1e-5)
            assert not states[row, len(alone) :].any()
    torch.testing.assert_close(together, backwards, rtol=0, atol=1e-5)
    assert torch.pdist(together).min() > 0.01


def test_features_are_the_mean_of_states_and_not_of_loudness() -> None:
    net, given = tower(), torch.from_numpy(np.stack(noises(RATE, RATE)))
    torch.testing.assert_close(net.states(given).mean(1), net(given))
    torch.testing.assert_close(net(given / 8), net(given), rtol=0, atol=1e-4)


def test_spectrogram_has_mean_0_and_deviation_1_over_is_of_sound() -> None:
    given = Waveform(RATE, 1.0)(cp.Waves.of(noises(RATE, 2000), RATE))
    mel, frames = tower().spectrograms(given)
    assert frames.tolist() == [51, 13]
    own = mel[1, :, :13]
    assert own.mean().item() == pytest.approx(0, abs=1e-5)
    assert own.std(correction=0).item() == pytest.approx(1, abs=1e-3)
    assert not mel[1, :, 13:].any()


def test_silence_and_nothing_at_all_have_features() -> None:
    given = torch.zeros(2, 400)
    given[1] = torch.nan
    assert tower()(given).isfinite().all()


def test_gradients_reach_weight_and_reduced_precision_finite() -> None:
    net, given = tower().train(), torch.from_numpy(np.stack(noises(2000, 2000)))
    net(given).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        assert net(given).isfinite().all()


def test_it_is_built_from_the_recipe_and_says_how() -> None:
    section = Towers(audio_rate=RATE, audio_seconds=0.5, audio_bands=24)
    net = build_towers(section, {}, 3, columns={"audio": "audio"})["audio"]
    assert isinstance(net, MelTower)
    assert (net.input, net.bands) == (Waveform(RATE, 0.5), 24)
    again = build_towers(section, {}, 3, columns={"audio": "audio"})["audio"]
    assert fingerprint(again, {"audio": again.input}) == fingerprint(net, {"audio": net.input})
    assert fingerprint(net, {"audio": Waveform(RATE, 0.6)}) != fingerprint(net, {"audio": net.input})
    with pytest.raises(ValueError, match="tower mel@/some/run: there is no file or folder /some/run"):
        build_towers(Towers(audio="mel@/some/run"), {}, 0, columns={"audio": "audio"})


def test_it_starts_from_weights(tmp_path: Path) -> None:
    section = Towers(audio_rate=RATE, audio_seconds=0.5, audio_bands=24)
    net = build_towers(section, {}, 3, columns={"audio": "audio"})["audio"]
    save_file(net.state_dict(), tmp_path / "mel.safetensors")
    section = section.model_copy(update={"audio": f"mel@{tmp_path / 'mel.safetensors'}"})
    lent = build_towers(section, {}, 4, columns={"audio": "audio"})["audio"]
    assert lent.pretrained
    assert fingerprint(lent, {"audio": lent.input}) == fingerprint(net, {"audio": net.input})


def test_checks_of_sounds() -> None:
    net = tower()
    assert net.modality == "audio"
    with pytest.raises(ValueError, match="there are no sounds"):
        check_waves(cp.Waves.of([], RATE))
    with pytest.raises(ValueError, match="sound 1 is empty"):
        check_waves(cp.Waves.of([np.ones(3, np.float32), np.full(3, np.nan, np.float32)], RATE))


def test_order_matters_to_mel_and_not_to_spectra() -> None:
    """Two tones between silences that are longer than what a state knows of change places."""
    time, silence = torch.arange(1280) / RATE, torch.zeros(1280)  # in step with the states
    low, high = (torch.sin(2 * torch.pi * hertz * time) for hertz in (300, 900))
    sounds = torch.stack(
        [torch.cat([silence, a, silence, silence, b, silence]) for a, b in ((low, high), (high, low))]
    )
    for name, matters in {"mel": True, "spectra": False}.items():
        tower = build_towers(Towers(audio=name, audio_rate=RATE), {}, 0, columns={"audio": "audio"})["audio"]
        with torch.no_grad():
            one, other = tower(sounds)
        assert ((one - other).abs().max() > 1e-3) == matters
