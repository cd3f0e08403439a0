"""Sounds made worse: noise, a narrower band, clipping and too little gain at three strengths, the same in every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...raw import Waves

NOISE = (20.0, 10.0, 0.0)
"""Decibels by which a sound is above the noise, by strength."""
BAND = (4000.0, 2000.0, 1000.0)
"""Highest frequency that is left, in hertz."""
CLIP = (0.5, 0.2, 0.05)
"""Share of a sound's peak at which it is cut off, before the rest is made as loud as the peak was."""
GAIN = (10.0, 20.0, 40.0)
"""Decibels by which a sound is made quieter."""


def noise(waves: Waves, ids: Int[Tensor, " n"], strength: int) -> Waves:
    """Add white noise; an id has the same noise at every strength, scaled."""

    def worse(sound: Float[Tensor, " T"], draws: torch.Generator) -> Float[Tensor, " T"]:
        white = torch.randn(len(sound), generator=draws)
        return sound + white * sound.square().mean().sqrt() * 10 ** (-NOISE[strength] / 20)

    return waves.changed(ids, worse)


def band(waves: Waves, ids: Int[Tensor, " n"], strength: int) -> Waves:
    """Leave out all frequencies above a limit."""

    def worse(sound: Float[Tensor, " T"], draws: torch.Generator) -> Float[Tensor, " T"]:
        spectrum = torch.fft.rfft(sound)
        above = torch.fft.rfftfreq(len(sound), 1 / waves.rate) > BAND[strength]
        return torch.fft.irfft(spectrum.masked_fill(above, 0), n=len(sound))

    return waves.changed(ids, worse)


def clipping(waves: Waves, ids: Int[Tensor, " n"], strength: int) -> Waves:
    """Cut off what is louder than a share of the peak, as a recorder does whose level is too high."""

    def worse(sound: Float[Tensor, " T"], draws: torch.Generator) -> Float[Tensor, " T"]:
        most = float(sound.abs().amax())
        return (sound / CLIP[strength]).clamp(-most, most)

    return waves.changed(ids, worse)


def gain(waves: Waves, ids: Int[Tensor, " n"], strength: int) -> Waves:
    """Make sounds quieter."""
    return waves.with_values(waves.samples * 10 ** (-GAIN[strength] / 20))


CORRUPTIONS: Mapping[str, Callable[[Waves, Tensor, int], Waves]] = {
    "noise": noise,
    "band": band,
    "clipping": clipping,
    "gain": gain,
}
