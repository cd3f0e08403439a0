"""Encoders of waves: transformers' Wav2Vec2 and its kin, and a small one with random weights."""

from __future__ import annotations

from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ...raw import ends
from ..init import seeded
from .parts.temporal import before, mean_inside
from .sound import SoundTower


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
