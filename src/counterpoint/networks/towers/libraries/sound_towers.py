"""Encoders of sounds of ``transformers``: those of waves and those of spectrograms."""

from __future__ import annotations

from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ....raw import ends
from ....registry import unknown
from ...init import seeded
from ...weights import TowerSource
from ..parts.temporal import before, mean_inside
from ..sound import SoundTower
from .hugging_face import ModelFiles
from .whole_model import whole_model

_WAVES = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio")
_SPECTROGRAMS = ("audio-spectrogram-transformer", "whisper", "clap")


@final
class WaveEncoder(SoundTower):
    """An encoder of waves (Wav2Vec2, HuBERT, WavLM and their kin), read as the mean of its states.

    Sounds of one length go through it together, and no other sound is padded beside them: many of these encoders would
    hear the padding. None of its own augmentation (masked times, dropped layers) happens in training.

    Args:
        model: maps waves to ``last_hidden_state``.
        extractor: transformers' own for it, which knows the rate, and whether waves are standardised.
        seconds: of a sound that it hears.
    """

    def __init__(self, model: Any, extractor: Any, seconds: float) -> None:
        super().__init__()
        model.config.apply_spec_augment, model.config.layerdrop = False, 0.0
        self.model, self.rate, self.seconds = model, int(extractor.sampling_rate), seconds
        self.standardises = bool(extractor.do_normalize)
        self.width = int(model.config.hidden_size)
        self.weights_set = True
        self._least, step = 1, 1
        for kernel, stride in zip(model.config.conv_kernel, model.config.conv_stride, strict=True):
            self._least += (kernel - 1) * step
            step *= stride

    def forward(self, sounds: Float[Tensor, "B T"]) -> Float[Tensor, "B width"]:
        states, counts = self._states(sounds)
        return mean_inside(states.mT, before(counts, states.shape[1]))

    def states(self, sounds: Float[Tensor, "B T"]) -> Float[Tensor, "B t width"]:
        return self._states(sounds)[0]

    def _states(self, sounds: Float[Tensor, "B T"]) -> tuple[Float[Tensor, "B t width"], Int[Tensor, " B"]]:
        lengths = ends(sounds).clamp_min(
            self._least
        )  # with silence behind those of fewer samples than a state
        waves = F.pad(sounds.nan_to_num(0.0), (0, max(self._least - sounds.shape[1], 0)))
        counts = self.model._get_feat_extract_output_lengths(lengths)
        states = waves.new_zeros(len(waves), int(counts.max()), self.width)
        for length in sorted(set(lengths.tolist())):
            rows = torch.nonzero(lengths == length)[:, 0]
            hidden = self.model(self.standardised(waves[rows, :length])).last_hidden_state
            states[rows, : hidden.shape[1]] = hidden.to(states.dtype)
        return states, counts

    def standardised(self, waves: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """Return waves of one length as the model hears them: of mean 0 and variance 1 where it was made for that."""
        if not self.standardises:
            return waves
        variance, mean = torch.var_mean(waves, 1, correction=0, keepdim=True)
        return (waves - mean) / (variance + 1e-7).sqrt()


def small_wav2vec2(rate: int, seconds: float, seed: int) -> WaveEncoder:
    """Build a Wav2Vec2 of some 0.5 million random weights, with a state of every 320 samples, for a CPU."""
    import transformers

    config = transformers.Wav2Vec2Config(
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=384,
        conv_dim=(48, 64, 96, 128, 128),
        conv_kernel=(10, 8, 4, 4, 2),
        conv_stride=(5, 4, 4, 2, 2),
        num_conv_pos_embeddings=32,
        num_conv_pos_embedding_groups=8,
        num_codevectors_per_group=32,
        codevector_dim=64,
        proj_codevector_dim=64,
    )
    extractor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=rate)
    with seeded(seed, "wav2vec2"):
        return WaveEncoder(transformers.Wav2Vec2Model(config), extractor, seconds)


@final
class SpectrogramEncoder(SoundTower):
    """An encoder of spectrograms, which transformers' own feature extractor makes.

    AST is read at its pooled tokens, the audio half of CLAP behind its projection, and Whisper's encoder as the mean of
    the states that hold sound. Each hears as much as it was made for at most, and what is shorter is padded to that by
    the extractor, whatever stands beside it: a second costs Whisper as much as thirty.

    Args:
        model: maps spectrograms to states.
        extractor: transformers' own for it.
        seconds: of a sound that it hears.
    """

    def __init__(self, model: Any, extractor: Any, seconds: float) -> None:
        super().__init__()
        config = model.config
        config.apply_spec_augment = False
        self.model, self.extractor, self.rate = model, extractor, int(extractor.sampling_rate)
        self.seconds = min(seconds, _most(extractor))
        # AST's extractor makes windows of 25 ms, and fails at less than one.
        self._least = self.rate // 40 if hasattr(extractor, "num_mel_bins") else 1
        self.width = int(getattr(config, "projection_dim", None) or config.hidden_size)
        self.weights_set = True

    def forward(self, sounds: Float[Tensor, "B T"]) -> Float[Tensor, "B width"]:
        output = self._output(sounds)
        if (projected := getattr(output, "audio_embeds", None)) is not None:
            return projected
        if (pooled := getattr(output, "pooler_output", None)) is not None:
            return pooled
        states = output.last_hidden_state
        return mean_inside(states.mT, before(self._counts(sounds, states.shape[1]), states.shape[1]))

    def _output(self, sounds: Float[Tensor, "B T"]) -> Any:
        heard = [
            F.pad(row[:end].nan_to_num(0.0), (0, max(self._least - end, 0))).cpu().numpy()
            for row, end in zip(sounds, ends(sounds).tolist(), strict=True)
        ]
        options: dict[str, Any] = {}
        if hasattr(
            self.extractor, "truncation"
        ):  # what is longer was cut before, so that nothing is drawn at random
            options = {"truncation": "fusion" if self.model.config.enable_fusion else "rand_trunc"}
        with torch.autocast("cpu", enabled=False):  # a power's range is more than 16 bits hold
            made = self.extractor(heard, sampling_rate=self.rate, return_tensors="pt", **options)
        features = made[self.extractor.model_input_names[0]].to(sounds.device, torch.float32)
        longer = {}
        if options.get("truncation") == "fusion":
            longer = {"is_longer": torch.zeros(len(sounds), 1, dtype=torch.bool, device=sounds.device)}
        return self.model(features, **longer)

    def _counts(self, sounds: Float[Tensor, "B T"], states: int) -> Int[Tensor, " B"]:
        """Return how many of so many states, which share what the extractor pads sounds to, hold some of each."""
        whole = int(self.extractor.n_samples)
        return ((ends(sounds) * states + whole - 1) // whole).clamp_min(1)


def _most(extractor: Any) -> float:
    """Return the seconds that an extractor cuts sounds to."""
    if hasattr(extractor, "num_mel_bins"):  # of AST: windows 10 ms apart, of which the last is whole
        return (extractor.max_length * 160 + 240) / 16_000
    return float(getattr(extractor, "chunk_length", None) or extractor.max_length_s)


def sound_encoder(source: TowerSource, seconds: float, seed: int) -> WaveEncoder | SpectrogramEncoder:
    """Build ``transformers:NAME``: random; ``@PATH``: weights of a folder; ``@hub``: those of the hub's NAME.

    Without weights, NAME is a kind of model (``wav2vec2``: its default sizes), or a folder or hub name whose
    configuration is taken.

    Args:
        source: the tower's name.
        seconds: of a sound that it hears, at most as much as it was made for.
        seed: of random weights.

    Raises:
        UnknownNameError: for a kind of model that is no encoder of sounds known here.
        ValueError: for weights that are missing, broken or incomplete.
    """
    import transformers

    kinds, name = (*_WAVES, *_SPECTROGRAMS), source.name
    files = None if source.weights is None and name in kinds else ModelFiles.of(source)
    if files is None and name not in kinds:
        raise unknown("transformers model of sounds", name, kinds)
    with source.reading():
        if files is None:
            config = transformers.AutoConfig.for_model(name)
            extractor: Any = transformers.FEATURE_EXTRACTOR_MAPPING[type(config)]()
        else:
            config = transformers.AutoConfig.from_pretrained(**files.arguments)
            extractor = transformers.AutoFeatureExtractor.from_pretrained(**files.arguments)
        kind = config.model_type
        if kind not in kinds:
            raise ValueError(
                f"{kind} is no encoder of sounds that is known here, which are {', '.join(kinds)}"
            )
        with seeded(seed, f"transformers:{name}"):
            if files is not None and source.weights is not None:
                model = whole_model(files)
            else:
                model = transformers.AutoModel.from_config(config)
        tower = WaveEncoder if kind in _WAVES else SpectrogramEncoder
        return tower(_hearing(model).float(), extractor, seconds)


def _hearing(model: Any) -> Any:
    """Return the part of a model that hears: the encoder of Whisper, the audio half of CLAP with its projection."""
    import transformers

    if model.config.is_encoder_decoder:
        return model.get_encoder()
    if not hasattr(model, "audio_projection"):
        return model
    half: Any = transformers.ClapAudioModelWithProjection(model.config.audio_config)
    half.audio_model, half.audio_projection = model.audio_model, model.audio_projection
    return half
