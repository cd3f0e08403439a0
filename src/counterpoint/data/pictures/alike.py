"""Pictures that look alike: which hashes differ in a few bits, and which of them hang together."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, UInt8
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

MOST_BITS = 8
"""Bits of 144 in which the hashes of near-duplicates differ at most: a copy that was made smaller or saved again."""

_BAND = 2  # bytes
_AT_ONCE = 2**22  # comparisons


def sets(hashes: UInt8[np.ndarray, "n bytes"]) -> Int[np.ndarray, " n"]:
    """Return for each hash the number of its set; hashes of one set are near-duplicates, directly or through others.

    Numbers are those of the sets' first members in the order of the hashes, from 0 on.

    Args:
        hashes: a row each, of more than `MOST_BITS` pairs of bytes.

    >>> sets(np.array([[1] * 18, [0] * 18, [1] * 17 + [3]], np.uint8)).tolist()
    [0, 1, 0]
    """
    unique, number = np.unique(hashes, axis=0, return_inverse=True)
    number = number.reshape(-1)
    pairs = _near(unique)
    edges = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(len(unique),) * 2)
    _, component = connected_components(edges, directed=False)
    whole = component[number]
    _, first, inverse = np.unique(whole, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse.reshape(-1)]


def _near(hashes: UInt8[np.ndarray, "n bytes"]) -> Int[np.ndarray, "m 2"]:
    """Return the pairs that differ in at most `MOST_BITS`.

    Two such hashes have at least one of more bands than that in common, so only those that share a band are compared.
    """
    pairs = [np.zeros((0, 2), np.int64)]
    for band in range(hashes.shape[1] // _BAND):
        values = np.ascontiguousarray(hashes[:, band * _BAND : (band + 1) * _BAND]).view(np.uint16)[:, 0]
        order = np.argsort(values, kind="stable")
        _, starts, counts = np.unique(values[order], return_index=True, return_counts=True)
        for start, count in zip(starts[counts > 1].tolist(), counts[counts > 1].tolist(), strict=True):
            members = order[start : start + count]
            step = max(_AT_ONCE // count, 1)
            for begin in range(0, count, step):
                some = members[begin : begin + step]
                differing = np.bitwise_count(hashes[some][:, None] ^ hashes[members][None]).sum(-1, dtype=int)
                left, right = np.nonzero(differing <= MOST_BITS)
                close = np.stack([some[left], members[right]], 1)
                pairs.append(close[close[:, 0] < close[:, 1]])
    return np.unique(np.concatenate(pairs), axis=0)
