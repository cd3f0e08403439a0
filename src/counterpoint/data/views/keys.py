"""Randomness by counter: every draw is a hash of what it is for, whoever asks, and whenever."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import numpy as np
from jaxtyping import Float32, Float64, Int, UInt64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)

Words = UInt64[np.ndarray, "..."]


def _mix(x: Words) -> Words:
    """Apply the output function of SplitMix64: a bijection of 64-bit words that scatters neighbouring ones."""
    x = x + _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * _FIRST
    x = (x ^ (x >> np.uint64(27))) * _SECOND
    return x ^ (x >> np.uint64(31))


@lru_cache(maxsize=1024)
def _word(name: str) -> np.uint64:
    return np.uint64(int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little"))


def _absorb(state: Words, value: Words) -> Words:
    # For one state this is a bijection of the value, so two examples of an epoch never share a key.
    return _mix(state ^ _mix(value))


def key(
    seed: int, epoch: int | Int[np.ndarray, " n"], ids: Int[np.ndarray, " n"], view: str
) -> UInt64[np.ndarray, " n"]:
    """Return one 64-bit key per example: a hash of the seed, the epoch, the view's name and the example's id.

    Args:
        seed: any integer.
        epoch: any integer, or one for each example.
        ids: the examples' stable ids, ``(n,)``.
        view: the view's name in the batch (``"image.1"``); two views of one example draw independently.

    Source: SplitMix64, Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.

    >>> a = key(0, 3, np.array([10, 11, 12]), "image")
    >>> b = key(0, 3, np.array([12, 10]), "image")
    >>> bool(a[2] == b[0] and a[0] == b[1])
    True
    """
    start = np.asarray([_word(view)], dtype=np.uint64)
    for number in (seed, epoch):
        each = number if isinstance(number, np.ndarray) else np.asarray([number % 2**64], dtype=np.uint64)
        start = _absorb(start, each.astype(np.uint64))
    return _absorb(start, np.asarray(ids).astype(np.int64).view(np.uint64))


def uniform(keys: UInt64[np.ndarray, " n"], purpose: str, count: int = 1) -> Float64[np.ndarray, "n count"]:
    """Return numbers uniform on [0, 1), a row per key.

    Number ``j`` of a row is a function of ``(key, purpose, j)``: asking for more of them leaves the first
    ones as they were, and two purposes are independent.

    >>> keys = key(0, 0, np.arange(4), "image")
    >>> uniform(keys, "flip").shape
    (4, 1)
    >>> bool((uniform(keys, "crop", 3)[:, :2] == uniform(keys, "crop", 2)).all())
    True
    """
    streams = _absorb(keys, np.asarray([_word(purpose)], dtype=np.uint64))
    bits = _absorb(streams[:, None], np.arange(count, dtype=np.uint64)[None, :])
    return (bits >> np.uint64(11)) * 2.0**-53


def between(
    key: UInt64[np.ndarray, " 1"], purpose: str, low: float = 0.0, high: float = 1.0, count: int = 1
) -> Float64[np.ndarray, " count"]:
    """Return numbers uniform on [low, high) for one key; see `uniform`."""
    return low + (high - low) * uniform(key, purpose, count)[0]


def white(key: UInt64[np.ndarray, " 1"], count: int) -> Float32[np.ndarray, " count"]:
    """Return uniform white noise of variance 1; of more numbers the first ones are the same."""
    # Made of a generator's words, which no version of numpy may change, four numbers of 16 bits each.
    words = np.random.PCG64(int(uniform(key, "white noise")[0, 0] * 2**53)).random_raw(-(-count // 4))
    bits = np.asarray(words, dtype="<u8").view("<u2")[:count]
    return (bits.astype(np.float32) - np.float32(32767.5)) * np.float32(np.sqrt(12) / 65536)
