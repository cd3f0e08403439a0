"""The built-in tower of sounds: its input, the log-mel spectrogram, and a small network over time for a CPU."""

from __future__ import annotations

import warnings
from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ...raw import Waves, ends
from ..base import Tower
from .parts.temporal import TimeConvolution, TimeNorm, TimeResidual, before, mean_inside

_QUIETEST = 1e-10
"""Power of a band below which nothing is told apart, as in librosa and transformers."""
_RANGE = 8.0
"""Powers of ten below a sound's loudest band that are told apart, as in Whisper."""
_EPS = 1e-5
"""Summand of a spectrogram's variance, which silence has none of."""


@dataclass(frozen=True)
class Waveform:
    """The input of a tower of sounds: the first seconds of each, at one rate.

    >>> Waveform(rate=8, seconds=0.5)(Waves(torch.arange(6.0)[None] / 10, rate=8))
    tensor([[0.0000, 0.1000, 0.2000, 0.3000]])

    Attributes:
        rate: samples a second.
        seconds: of a sound that are read; a shorter one goes on as NaN.

    Raises:
        ValueError: for seconds without a sample.
    """

    rate: int = 16_000
    seconds: float = 5.0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"{self.seconds} seconds at a rate of {self.rate} hold no sample")

    @property
    def samples(self) -> int:
        """The most samples of a sound that are read."""
        return round(self.rate * self.seconds)

    @property
    def form(self) -> int:
        return self.rate

    @property
    def window(self) -> int:
        return self.samples

    def stated(self) -> str:
        return repr(self)

    def check(self, waves: Waves) -> Waves:
        """Return sounds that are of the rate.

        Raises:
            ValueError: for others.
        """
        if waves.rate != self.rate:
            raise ValueError(
                f"the tower takes sounds of {self.rate} samples a second, and these have {waves.rate}: read them with "
                f"cp.Waves.read(paths, rate={self.rate}), or train with towers.audio_rate={waves.rate}"
            )
        return waves

    def __call__(self, waves: Waves) -> Float[Tensor, "B T"]:
        samples = self.check(waves).samples[:, : self.samples]
        longest = int(ends(samples).max()) if len(samples) else 0
        return samples[:, : max(longest, 1)].float()


class LogMel(nn.Module):
    """The decimal logarithm of a sound's power in mel bands, in windows of 32 ms that begin 20 ms apart.

    The first and the last window are centred on the ends of a sound, around which there is silence.

    Args:
        rate: samples a second.
        bands: of equal width on Slaney's mel scale, each weighted by its width.
        low, high: the range of frequencies in Hz; up to half of the rate unless given.
        window, hop: samples of a window, and from one to the next.
        fft: samples of the transform, of which the window is the middle; the next power of two unless given.

    Raises:
        ValueError: for bands so narrow that they hold no frequency of the transform.
    """

    filters: Tensor
    shape: Tensor

    def __init__(
        self,
        rate: int = 16_000,
        bands: int = 64,
        *,
        low: float = 0.0,
        high: float | None = None,
        window: int | None = None,
        hop: int | None = None,
        fft: int | None = None,
    ) -> None:
        from transformers.audio_utils import mel_filter_bank  # takes a second

        super().__init__()
        self.window, self.hop = window or max(rate * 4 // 125, 1), hop or max(rate // 50, 1)
        self.fft = fft or 2 ** (self.window - 1).bit_length()
        high = rate / 2 if high is None else high
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bands that are empty, which are refused here
            weights = mel_filter_bank(
                self.fft // 2 + 1, bands, low, high, rate, norm="slaney", mel_scale="slaney"
            )
        filters = torch.from_numpy(weights).float()
        if empty := int((filters.amax(0) == 0).sum()):
            raise ValueError(
                f"{empty} of {bands} bands hold no frequency at a rate of {rate}: give fewer bands (towers.audio_bands)"
            )
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("shape", torch.hann_window(self.window), persistent=False)

    def frames(self, lengths: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        """Return the number of windows of sounds of so many samples."""
        return lengths // self.hop + 1

    def forward(self, sounds: Float[Tensor, "B T"]) -> Float[Tensor, "B F bands"]:
        """Return what a sound holds in each band: ``F = T // hop + 1`` windows."""
        return self.power(sounds).clamp_min(_QUIETEST).log10()

    def power(self, sounds: Float[Tensor, "B T"]) -> Float[Tensor, "B F bands"]:
        """Return the power itself, without its logarithm."""
        spectrum = torch.stft(
            sounds,
            self.fft,
            self.hop,
            self.window,
            self.shape,
            center=True,
            pad_mode="constant",  # so that a sound ends alike whether silence or nothing follows it
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return power.mT @ self.filters


def normalised(
    mel: LogMel, sounds: Float[Tensor, "B T"]
) -> tuple[Float[Tensor, "B F bands"], Int[Tensor, " B"]]:
    """Return spectrograms of mean 0 and deviation 1 over what is of a sound, and the number of windows of each.

    They are taken from 8 powers of ten below a sound's loudest band on. Behind a sound's end there is silence.
    """
    frames = mel.frames(ends(sounds))
    with torch.autocast(sounds.device.type, enabled=False):  # a power's range is more than 16 bits hold
        levels = mel(sounds.nan_to_num(0.0))
        mask = before(frames, levels.shape[1])[..., None]
        loudest = levels.masked_fill(~mask, -torch.inf).amax((1, 2), keepdim=True)
        levels = torch.maximum(levels, loudest - _RANGE)
        count = frames[:, None, None] * levels.shape[2]
        centred = levels - (levels * mask).sum((1, 2), keepdim=True) / count
        deviation = ((centred * mask).square().sum((1, 2), keepdim=True) / count + _EPS).sqrt()
        return centred / deviation, frames


def inside_sound(states: Float[Tensor, "B T W"]) -> Bool[Tensor, "B T"]:
    """Return which states are of a sound: all but those behind its end, which are zero, and the first one always."""
    own = (states != 0).any(-1)
    return own | (torch.arange(states.shape[1], device=states.device) == 0)


def mean_of_states(states: Float[Tensor, "B T W"]) -> Float[Tensor, "B W"]:
    """Return the mean of the states of each sound, without those behind its end.

    >>> mean_of_states(torch.tensor([[[1.0], [3.0], [0.0]]])).item()
    2.0
    """
    return states.sum(1) / inside_sound(states).sum(1, keepdim=True)


class SoundTower(Tower, ABC):
    """Sounds to features.

    Attributes:
        rate: samples a second of the sounds that it takes.
        seconds: of a sound that it hears.
    """

    modality: ClassVar[str] = "audio"
    rate: int
    seconds: float

    @property
    def input(self) -> Waveform:
        return Waveform(self.rate, self.seconds)

    @property
    def sizes(self) -> Mapping[str, int | float]:
        return {"audio_rate": self.rate, "audio_seconds": self.seconds}

    def states(self, sounds: Float[Tensor, "B T"]) -> Float[Tensor, "B t width"]:
        """Return features of times, in the space of `forward`'s, before they are pooled; zero behind a sound's end.

        Raises:
            LookupError: for a tower without them.
        """
        raise LookupError(f"{type(self).__name__} has no features of single times of a sound")


class MelTower(SoundTower):
    """A residual network over time on log-mel spectrograms, read as the mean of its states.

    A spectrogram is taken from 8 powers of ten below its loudest band on, and has mean 0 and deviation 1 over all that
    is of the sound: how loud it is does not matter. Its bands are the channels of the first convolution, which makes a
    state of every 80 ms; blocks whose three times lie 1, 2 and 4 states apart follow. It works sound by sound, so that
    neither padding nor the sounds beside it change its features.

    Args:
        rate: samples a second.
        seconds: of a sound that it hears.
        bands: of the spectrogram.
        width: of states and features.
        dilations: of the blocks; without any a state knows of 170 ms of the sound alone, and features of no order.

    >>> tower = MelTower(rate=8000, seconds=1.0)
    >>> tower(tower.input(Waves.of([torch.rand(8000).numpy(), torch.rand(500).numpy()], rate=8000))).shape
    torch.Size([2, 128])
    """

    _STRIDE = 4

    def __init__(
        self,
        rate: int = 16_000,
        seconds: float = 5.0,
        bands: int = 64,
        width: int = 128,
        dilations: Sequence[int] = (1, 2, 4),
    ) -> None:
        super().__init__()
        self.rate, self.seconds, self.bands, self.width = rate, seconds, bands, width
        self.mel = LogMel(rate, bands)
        self.stem = TimeConvolution(bands, width, 2 * self._STRIDE, self._STRIDE, padding=self._STRIDE // 2)
        self.blocks = nn.ModuleList(TimeResidual(width, dilation) for dilation in dilations)
        self.norm = TimeNorm(width)

    @property
    def sizes(self) -> Mapping[str, int | float]:
        return {**super().sizes, "audio_bands": self.bands}

    def forward(self, sounds: Float[Tensor, "B T"]) -> Float[Tensor, "B width"]:
        return mean_inside(*self._states(sounds))

    def states(self, sounds: Float[Tensor, "B T"]) -> Float[Tensor, "B t width"]:
        states, inside = self._states(sounds)
        return states.mT * inside[..., None]

    def spectrograms(
        self, sounds: Float[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B bands F"], Int[Tensor, " B"]]:
        """Return the normalised spectrograms of sounds, zero behind their ends, and the number of windows of each."""
        levels, frames = normalised(self.mel, sounds)
        return (levels * before(frames, levels.shape[1])[..., None]).mT, frames

    def _states(self, sounds: Float[Tensor, "B T"]) -> tuple[Float[Tensor, "B width t"], Tensor]:
        mel, frames = self.spectrograms(sounds)
        x = self.stem(F.pad(mel, (0, -mel.shape[2] % self._STRIDE)))
        inside = before((frames + self._STRIDE - 1) // self._STRIDE, x.shape[2])
        for block in self.blocks:
            x = block(x, inside)
        return F.gelu(self.norm(x)), inside
