"""Recordings in the formats of physicians: EDF and BDF, and the records of PhysioNet (WFDB)."""

from __future__ import annotations

from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
from jaxtyping import Float32

from ...registry import require
from .sounds import resampled

_BEGINS = (b"0       ", b"\xffBIOSEMI")


def is_edf(data: bytes) -> bool:
    """Return whether bytes begin as those of an EDF or a BDF file."""
    return data.startswith(_BEGINS)


def read_edf(data: bytes) -> tuple[Float32[np.ndarray, "T C"], int]:
    """Read an EDF or BDF file: its channels in physical units, and the steps a second of the fastest of them.

    Slower channels are resampled to the rate of the fastest; annotations are no channel.

    Raises:
        MissingPackageError: without the package pyedflib.
        ValueError: for a file that is cut short or damaged, one without channels, or of rates that are not whole.
    """
    pyedflib = require("pyedflib", "ecg")
    with NamedTemporaryFile(suffix=".edf") as file:  # the package reads files alone
        file.write(data)
        file.flush()
        try:
            with pyedflib.EdfReader(file.name) as reader:
                channels = [reader.readSignal(number) for number in range(reader.signals_in_file)]
                rates = [reader.getSampleFrequency(number) for number in range(len(channels))]
        except Exception as error:  # whatever a damaged header raises
            message = " ".join(str(error).replace(file.name, "").split()).lstrip(": ")
            raise ValueError(f"no whole EDF file: {message}") from error
    if not channels:
        raise ValueError("the EDF file has no channels")
    if any(rate != round(rate) or rate < 1 for rate in rates):
        raise ValueError(f"the EDF file has channels of {', '.join(f'{r:g}' for r in rates)} steps a second")
    most = max(map(round, rates))
    return _together(channels, [round(rate) for rate in rates], most), most


def _together(channels: list[Any], rates: list[int], rate: int) -> Float32[np.ndarray, "T C"]:
    """Return channels at one rate side by side, NaN behind the end of one that is shorter."""
    columns = [
        # Beyond its ends a sound is silent; a temperature is not zero there.
        resampled(np.asarray(one, np.float32), channel_rate, rate, beyond="line")
        for one, channel_rate in zip(channels, rates, strict=True)
    ]
    whole = np.full((max(map(len, columns)), len(columns)), np.nan, np.float32)
    for column, values in zip(whole.T, columns, strict=True):
        column[: len(values)] = values
    return whole


def read_record(header: str) -> Float32[np.ndarray, "T C"]:
    """Read a record of PhysioNet by its header: its channels in physical units, NaN where nothing was measured.

    Raises:
        MissingPackageError: without the package wfdb.
        OSError: for a header or a file of samples that is missing, cut short or damaged.
    """
    wfdb = require("wfdb", "ecg")
    try:
        record = wfdb.rdrecord(str(Path(header).with_suffix("")))
        return np.asarray(record.p_signal, np.float32)
    except Exception as error:  # whatever a damaged header raises
        message = " ".join(str(error).split()) or type(error).__name__
        raise OSError(f"no whole record of WFDB: {message}") from error
