"""Views of sounds by name: which seconds are heard, how loud, in what noise, in what room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import final

import numpy as np
from jaxtyping import Float, Float32, Float64, UInt64
from torch import Tensor

from ...networks.towers.sound import Waveform
from ...raw import Waves
from .keys import between, uniform, white
from .named_pictures import ImageOptions, named

_REFLECTIONS = 24
_DECAY = np.log(1000.0)  # over the time in which a room's sound falls by 60 dB


@final
@dataclass(frozen=True)
class WaveView:
    """Random changes, in this order: window, shift, room, noise, gain; each example's from its own key.

    Attributes:
        window: whether the seconds that a tower hears begin anywhere in a longer sound; else they are its first.
        shift: by at most such a share of the window the sound is turned round, its end before its beginning.
        room_p: probability of a room: reflections at drawn times within the time in which they fall by 60 dB, decaying
            as they come later.
        room: the range of that time in seconds.
        noise_p: probability of white noise.
        noise: the range of how many dB the noise is below the sound.
        gain: by at most so many dB the sound is made louder or quieter.
    """

    window: bool = False
    shift: float = 0.0
    room_p: float = 0.0
    room: tuple[float, float] = (0.05, 0.5)
    noise_p: float = 0.0
    noise: tuple[float, float] = (5.0, 30.0)
    gain: float = 0.0

    def within(self, other: WaveView) -> WaveView:
        """Return the view of the seconds that another view hears."""
        return replace(self, window=other.window)

    def __call__(
        self,
        raw: Waves,
        keys: UInt64[np.ndarray, " n"],
        input: Waveform,
        part: UInt64[np.ndarray, " n"] | None = None,
    ) -> Float[Tensor, "n samples"]:
        """Return sounds as a tower takes them; their seconds are drawn from the keys in ``part`` if given.

        Raises:
            ValueError: if the keys are not one per sound, or the sounds are not of the tower's rate.
        """
        if len(keys) != len(raw):
            raise ValueError(f"keys must be one per sound: got {len(keys)} for {len(raw)} sounds")
        lengths, samples = input.check(raw).lengths.tolist(), raw.samples.numpy()
        part = keys if part is None else part
        sounds = [
            self._transform(sound[:length], keys[row : row + 1], part[row : row + 1], input)
            for row, (sound, length) in enumerate(zip(samples, lengths, strict=True))
        ]
        return input(Waves.of(sounds, raw.rate))

    def _transform(
        self,
        sound: Float32[np.ndarray, " T"],
        key: UInt64[np.ndarray, " 1"],
        part: UInt64[np.ndarray, " 1"],
        input: Waveform,
    ) -> Float32[np.ndarray, " t"]:
        draw = partial(between, key)
        spare = max(len(sound) - input.samples, 0)
        start = int(uniform(part, "window")[0, 0] * (spare + 1)) if self.window else 0
        heard = sound[start : start + input.samples]
        if self.shift:
            heard = np.roll(heard, round(float(draw("shift", -self.shift, self.shift)[0]) * len(heard)))
        if draw("room")[0] < self.room_p:
            seconds = float(draw("room size", *self.room)[0])
            heard = reverberant(heard, seconds * input.rate, draw("reflections", count=2 * _REFLECTIONS))
        if draw("noise")[0] < self.noise_p:
            below = float(draw("noise level", *self.noise)[0])
            heard = heard + 10 ** (-below / 20) * level(heard) * white(key, len(heard))
        if self.gain:
            heard = heard * np.float32(10 ** (float(draw("gain", -self.gain, self.gain)[0]) / 20))
        return heard.astype(np.float32, copy=False)


def level(sound: Float32[np.ndarray, " T"]) -> float:
    """Return the root mean square of a sound, whose gaps count as silence."""
    return float(np.sqrt(np.square(np.nan_to_num(sound)).mean())) if len(sound) else 0.0


def reverberant(
    sound: Float32[np.ndarray, " T"], decay: float, draws: Float64[np.ndarray, " r"]
) -> Float32[np.ndarray, " T"]:
    """Return a sound with its reflections in a room, as loud as before; what comes after its end is not heard.

    Args:
        sound: of any length.
        decay: samples after which a reflection is 60 dB quieter than the sound.
        draws: on [0, 1), half of them the times of reflections as shares of ``decay``, half their signs.
    """
    times, signs = np.split(draws, 2)
    result = sound.copy()
    for time, sign in zip(times.tolist(), signs.tolist(), strict=True):
        delay = 1 + int(time * decay)
        if delay < len(sound):
            amplitude = np.exp(-_DECAY * delay / decay) * (1 if sign < 0.5 else -1)
            result[delay:] += np.float32(amplitude) * sound[:-delay]
    after = level(result)
    return result * np.float32(level(sound) / after) if after > 0 else result


_STRONG = WaveView(window=True, shift=0.1, room_p=0.3, noise_p=0.5, gain=6.0)

WAVE_VIEWS: Mapping[str, WaveView] = {
    "plain": WaveView(),
    "weak": WaveView(window=True, gain=6.0),
    "strong": _STRONG,
    "simclr": _STRONG,
    "noisy": WaveView(window=True, room_p=0.7, noise_p=0.6),
}


def audio(name: str, augmentation: ImageOptions | None = None) -> WaveView:
    """Return a view of sounds by its name; for ``weak`` the plain one where ``augmentation`` names that.

    - ``plain``: the first seconds.
    - ``weak``: seconds from anywhere, up to 6 dB louder or quieter.
    - ``strong``, ``simclr``: turned round by up to a tenth too, in every second one noise 5 to 30 dB below it, in three
      of ten the reflections of a room.
    - ``noisy``: seconds from anywhere, in three of five noise, in seven of ten the reflections of a room.

    >>> audio("weak").gain
    6.0

    Raises:
        UnknownNameError: for any other name.
    """
    return named(WAVE_VIEWS, "sounds", name, augmentation)
