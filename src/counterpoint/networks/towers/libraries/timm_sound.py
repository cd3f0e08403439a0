"""Any image encoder of ``timm`` on spectrograms of sounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ...weights import TowerSource
from ..parts.temporal import before
from ..sound import LogMel, SoundTower, Waveform, normalised
from .timm_tower import place_features, timm_model

_MULTIPLE = 32
"""Windows of a picture are a multiple of this, which patches and strides of most encoders divide."""


@final
class SpectrogramPictures(SoundTower):
    """A ``timm`` encoder without its classifier, which sees a sound's log-mel spectrogram as a picture.

    Bands are rows and windows columns, the same in all three colours, so that weights of pictures go on as they are;
    mean and deviation are those of `MelTower`, in place of the model's own. All pictures are as wide as ``seconds``
    need, whatever stands beside a sound: behind its end there is silence, which is pooled with the rest.

    Args:
        model: made with ``num_classes=0``.
        rate: samples a second.
        seconds: of a sound that it hears.
        bands: of the spectrogram.
    """

    def __init__(self, model: Any, rate: int, seconds: float, bands: int) -> None:
        super().__init__()
        self.model, self.rate, self.seconds, self.bands = model, rate, seconds, bands
        self.mel = LogMel(rate, bands)
        self.windows = windows_of(self.mel, self.input.samples)
        self.weights_set = True
        was_training = model.training
        with torch.no_grad():  # what a model calls its width differs; what comes out does not
            self.width = int(self.eval()(torch.zeros(1, 1)).shape[1])
        self.train(was_training)

    @property
    def sizes(self) -> Mapping[str, int | float]:
        return {**super().sizes, "audio_bands": self.bands}

    def forward(self, sounds: Float[Tensor, "B T"]) -> Float[Tensor, "B width"]:
        return self.model(self._pictures(sounds)[0])

    def states(self, sounds: Float[Tensor, "B T"]) -> Float[Tensor, "B t width"]:
        """Return features of times, the mean of a time's bands; zero behind a sound's end.

        Raises:
            LookupError: where the model's last states are no map.
        """
        pictures, frames = self._pictures(sounds)
        states = place_features(self.model, pictures).mean(2).mT
        inside = before((frames * states.shape[1] + self.windows - 1) // self.windows, states.shape[1])
        return states * inside[..., None]

    def _pictures(
        self, sounds: Float[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B 3 bands windows"], Int[Tensor, " B"]]:
        """Return the pictures of sounds, and how many windows of each hold some of it."""
        longest = self.windows * self.mel.hop - 1
        heard = F.pad(sounds, (0, longest - sounds.shape[1]), value=torch.nan)
        levels, frames = normalised(self.mel, heard)
        return levels.mT[:, None].expand(-1, 3, -1, -1).contiguous(), frames


def windows_of(mel: LogMel, samples: int) -> int:
    """Return the windows that pictures of sounds of at most so many samples have."""
    return -(-(samples // mel.hop + 1) // _MULTIPLE) * _MULTIPLE


def timm_sound(source: TowerSource, rate: int, seconds: float, bands: int, seed: int) -> SpectrogramPictures:
    """Build ``timm:NAME`` on spectrograms; its weights are named as those of `timm_tower` are.

    Args:
        source: the tower's name and weights.
        rate: samples a second.
        seconds: of a sound that it hears.
        bands: of the spectrogram: rows of the picture.
        seed: of the weights that are not read.

    Raises:
        UnknownNameError: for a name timm does not have.
        MissingPackageError: for weights in a package that is not installed.
        ValueError: for weights that are missing, broken or do not fit the model in every layer, or a picture of bands
            and windows that the model cannot take.
    """
    size = bands, windows_of(LogMel(rate, bands), Waveform(rate, seconds).samples)
    model = timm_model(source, size, seed)
    with source.reading():
        try:
            return SpectrogramPictures(model, rate, seconds, bands)
        except (RuntimeError, ValueError, AssertionError) as error:
            raise ValueError(
                f"{error} (height: audio_bands={bands}; width: {size[1]} windows of the sound)"
            ) from error
