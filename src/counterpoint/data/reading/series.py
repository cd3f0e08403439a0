"""Series from files: arrays of NumPy, lines of ``.ts`` files, EDF."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from ...raw import Series
from .recordings import is_edf, read_edf

_NUMPY = (b"\x93NUMPY", b"PK\x03\x04")
"""Beginnings of the files of NumPy: of one array, and of several."""
_SHOWN = 20  # characters of what is no number


def read_series(data: bytes, form: int) -> Float32[np.ndarray, "T C"]:
    """Read an ``.npy`` file with one series ``(T, C)``, or ``(T,)`` of one channel, a ``.ts`` line, or an EDF file.

    NaN is not measured; a ``.ts`` file writes ``?``.

    >>> read_series(b"1,2,3:4,?", 0).tolist()
    [[1.0, 4.0], [2.0, nan], [3.0, nan]]

    Args:
        data: of the file, or of the line without its class.
        form: of no meaning; there is one form alone.

    Raises:
        MissingPackageError: for an EDF file, without the package pyedflib.
        ValueError: for bytes that are no array of numbers, one of other axes, and a series without any value, or with
            an infinite one.
    """
    if is_edf(data):
        return read_edf(data)[0]
    if data.startswith(b"["):
        raise ValueError("no list of numbers, or of lists of as many numbers each, time first")
    if not data.startswith(_NUMPY):
        array = _of_line(data)
    else:
        try:
            array = np.load(io.BytesIO(data), allow_pickle=False)
        except Exception as error:  # whatever a damaged header raises
            raise ValueError(f"no .npy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub" or array.ndim not in (1, 2):
        description = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else "several arrays"
        raise ValueError(f"a series is an array of numbers (T, C), time first, got {description}")
    with np.errstate(over="ignore"):  # what is too large for 32 bits is refused as infinite
        series = np.ascontiguousarray(array[:, None] if array.ndim == 1 else array, dtype=np.float32)
    if np.isinf(series).any():
        raise ValueError("the series holds values that are infinite, or above 3e38")
    if not (~np.isnan(series)).any():
        raise ValueError("nothing is measured in the series")
    return series


def rate_of(data: bytes) -> int:
    """Return the steps a second of an EDF file, 0 for other series, which do not say theirs."""
    return read_edf(data)[1] if is_edf(data) else 0


def store_series(series: Series) -> tuple[str, bytes]:
    """Return one series as an ``.npy`` file, with its kind."""
    file = io.BytesIO()
    np.save(file, series.values[0, : int(series.lengths)].numpy())
    return "npy", file.getvalue()


def _of_line(line: bytes) -> Float32[np.ndarray, "T C"]:
    """Return the channels of a line, NaN behind the end of one that is shorter."""
    # Numbers before memory is taken for them: of whatever else a file holds these may be many.
    numbers = [list(map(_number, channel.replace(b"?", b"nan").split(b","))) for channel in line.split(b":")]
    series = np.full((max(map(len, numbers)), len(numbers)), np.nan, np.float32)
    for channel, values in zip(series.T, numbers, strict=True):
        channel[: len(values)] = values
    return series


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        shown = text.strip()[:_SHOWN].decode(errors="replace")
        raise ValueError(
            f"neither an .npy file nor numbers with commas, as lines of .ts files are: {shown!r} is no number"
        ) from None


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
