"""From a recording to what the devices measure: rotated, amplified, late and noisy copies of one body's motion."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Float64

from ...rng import Rng
from ...views.keys import white
from ...views.time_series import rotation
from .activity import ACTIVITIES, DEVICES, SPEEDS, Motion
from .config import MotionConfig

RATE = 20
"""Steps a second."""
CHANNELS = tuple(f"{kind} {axis}" for kind in ("accelerometer", "gyroscope") for axis in "xyz")
"""Names of the channels; each three are the axes of one sensor."""
_HARMONICS = 3
_LOOSE = 10.0
_USER = 0.12  # by at most such a share users are faster or slower, and move more or less
_DIGITS = 1000  # of a unit, to which devices round


def measure(
    motion: Motion, device: str, config: MotionConfig, seed: int, draws: Rng
) -> Float32[np.ndarray, "T channels"]:
    """Return what a device measures: its acceleration in g, gravity included, and its rate of turning in rad/s.

        x_d(t) = g_d(a) · R_{d,u} m_a(t − τ_d) + R_{d,u} e + σ ε,   rounded to thousandths

    m_a is the motion of the body in activity a: three harmonics of its frequency in each direction; g_d(a) how
    strongly the device's part of the body takes part; R how user u wears it; e gravity; τ the delay of the row.

    Args:
        motion: of the body.
        device: one of `DEVICES`.
        config: how devices are worn, and how good they are.
        seed: of the world: who users are.
        draws: of the row.
    """
    number = DEVICES.index(device)
    late = draws.integer(f"delay of {device}", 0, config.delay)
    time = (np.arange(motion.steps) - late) / RATE
    body = np.zeros((motion.steps, len(CHANNELS)))
    pace, vigour = _user(seed, motion.user)
    for index, (stretch, first, end) in enumerate(motion.spans):
        activity = ACTIVITIES[stretch.activity]
        hertz = activity.hertz * SPEEDS[stretch.speed][1] * pace
        phase = 2 * np.pi * (hertz * time[first:end] + draws.uniform(f"phase {index}"))
        waves = np.sin(phase[:, None, None] * np.arange(1, _HARMONICS + 1) + _phases(stretch.activity))
        strength = activity.strength * vigour * activity.gains[number]
        body[first:end] = strength * (waves * _amplitudes(stretch.activity)).sum(2)
    turn = _worn(seed, motion.user, device, config.turned)
    body[:, 2] += 1.0
    measured = np.concatenate([body[:, :3] @ turn.T, body[:, 3:] @ turn.T], 1)
    noise = config.noise * (_LOOSE if device in config.loose else 1.0)
    if noise:
        key = np.array([draws.word(f"noise of {device}")], np.uint64)
        measured += noise * white(key, measured.size).reshape(measured.shape)
    return (np.rint(measured * _DIGITS) / _DIGITS).astype(np.float32)


@lru_cache(maxsize=64)
def _amplitudes(activity: str) -> Float64[np.ndarray, "channels harmonics"]:
    """Return how much of each harmonic each channel of a body has in an activity; the first has the most."""
    draws = Rng(0, 0, f"amplitudes of {activity}")
    signed = np.array(
        [[2 * draws.uniform(f"{c} {h}") - 1 for h in range(_HARMONICS)] for c in range(len(CHANNELS))]
    )
    return signed / np.arange(1, _HARMONICS + 1)


@lru_cache(maxsize=64)
def _phases(activity: str) -> Float64[np.ndarray, "channels harmonics"]:
    draws = Rng(0, 0, f"phases of {activity}")
    shares = [[draws.uniform(f"{c} {h}") for h in range(_HARMONICS)] for c in range(len(CHANNELS))]
    return 2 * np.pi * np.array(shares)


@lru_cache(maxsize=1024)
def _user(seed: int, user: int) -> tuple[float, float]:
    """Return by what factors a user is faster and moves more than others."""
    draws = Rng(seed, user, "user")
    return tuple(1 + _USER * (2 * draws.uniform(what) - 1) for what in ("pace", "vigour"))  # type: ignore[return-value] # two


@lru_cache(maxsize=1024)
def _worn(seed: int, user: int, device: str, degrees: float) -> Float64[np.ndarray, "3 3"]:
    """Return how a user wears a device: as its place on the body demands, and turned by a further angle."""
    device_draws = Rng(0, 0, f"place of {device}")
    worn = rotation(np.array([device_draws.uniform(f"turn {k}") for k in range(3)]))
    draws = Rng(seed, user, f"wearing the {device}")
    axis = np.array([2 * draws.uniform(f"axis {k}") - 1 for k in range(3)])
    axis /= max(float(np.linalg.norm(axis)), 1e-9)
    angle = np.deg2rad(degrees) * (2 * draws.uniform("angle") - 1)
    across = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    # Rodrigues' formula: a turn by an angle about an axis.
    return (np.eye(3) + np.sin(angle) * across + (1 - np.cos(angle)) * across @ across) @ worn
