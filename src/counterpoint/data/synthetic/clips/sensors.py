"""The measurements that an accelerometer on a thing of a clip would give."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from ...rng import Rng
from ...views.keys import uniform
from .clip import DIRECTIONS, Clip

CHANNELS = ("across", "down")


def path(clip: Clip, index: int, rate: int = 1) -> Float64[np.ndarray, "samples 2"]:
    """Return the places of a thing, ``rate`` times a frame, in thousandths: x and y, moving evenly between frames too.

    The last measurement of every frame is where that frame shows it.

    Raises:
        IndexError: for a place at which there is no thing.
    """
    thing = clip.scene.things[index]
    moments = np.arange(1, clip.frames * rate + 1) / rate
    positions = np.empty((len(moments), 2))
    positions[:] = thing.x, thing.y
    for event in clip.events:
        if event.thing == index and event.action in DIRECTIONS:
            done = np.clip((moments - event.start) / (event.end - event.start), 0, 1)
            positions += event.by * done[:, None] * np.asarray(DIRECTIONS[event.action])
    return positions


def acceleration(
    clip: Clip, index: int, rate: int = 1, noise: float = 0.0, draws: Rng | None = None
) -> Float64[np.ndarray, "samples 2"]:
    """Measure the acceleration of a thing across and down, ``rate`` times a frame, in thousandths per frame².

        a_i = rate² (p_{i+1} − 2 p_i + p_{i−1})

    with the path p still before the first and after the last measurement; so, from rest, summing it up twice gives
    the path back. What moves evenly pushes when it starts and when it stops.

    Args:
        clip: what happens.
        index: of the thing.
        rate: measurements per frame.
        noise: standard deviation of what is added to each number: nearly normal, the sum of twelve uniforms.
        draws: of the noise.

    Raises:
        ValueError: for noise without draws, or a rate below one.
    """
    if rate < 1 or noise < 0:
        raise ValueError(f"rate must be at least 1 and noise at least 0, got {rate} and {noise}")
    positions = path(clip, index, rate)
    padded = np.concatenate([positions[:1], positions, positions[-1:]])
    measured: np.ndarray = rate**2 * (padded[2:] - 2 * padded[1:-1] + padded[:-2])
    if noise:
        if draws is None:
            raise ValueError("noise needs draws, which say what it is")
        keys = np.array([draws.word("sensor noise")], np.uint64)
        twelve = uniform(keys, "sensor noise", 12 * measured.size).reshape(12, *measured.shape)
        measured = measured + noise * (twelve.sum(0) - 6)
    return measured
