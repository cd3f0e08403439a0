"""Series from files, as arrays of NumPy."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from ..raw import Series


def read_series(data: bytes, form: int) -> Float32[np.ndarray, "T C"]:
    """Read the bytes of an ``.npy`` file with one series ``(T, C)``, or ``(T,)`` of one channel; NaN is not measured.

    Args:
        data: of the file.
        form: of no meaning; there is one form alone.

    Raises:
        ValueError: for bytes that are no array of numbers, one of other axes, and a series without any value, or with
            an infinite one.
    """
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # whatever a damaged header raises
        raise ValueError(f"no .npy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub" or array.ndim not in (1, 2):
        told = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else "several arrays"
        raise ValueError(f"a series is an array of numbers (T, C), time first, got {told}")
    series = np.ascontiguousarray(array[:, None] if array.ndim == 1 else array, dtype=np.float32)
    if np.isinf(series).any():
        raise ValueError("the series holds infinite values")
    if not (~np.isnan(series)).any():
        raise ValueError("nothing is measured in the series")
    return series


def pack_series(series: Sequence[Float32[np.ndarray, "_ _"]], form: int) -> Series:
    """Return series of the same channels as their raw form.

    Raises:
        ValueError: for series of different channels.
    """
    counts = sorted({one.shape[1] for one in series})
    if len(counts) > 1:
        raise ValueError(
            f"series of {' and '.join(map(str, counts))} channels stand in one column: give each kind its own column"
        )
    return Series.of(series)
