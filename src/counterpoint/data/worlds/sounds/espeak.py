"""One block of speech, in a process of its own: JSON on standard input, an NPZ archive on standard output."""

from __future__ import annotations

import ctypes
import io
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

SYNCHRONOUS = 2
SPEED, PITCH = 1, 3  # of espeak_PARAMETER
UTF8 = 1
NO_EXIT = 0x8000


def main() -> None:
    """Speak ``[[text, voice, pitch, speed], …]``; the archive's arrays are named 0, 1 …"""
    block: list[tuple[str, str, int, int]] = json.load(sys.stdin)
    held = io.BytesIO()
    np.savez_compressed(held, **{str(k): wave for k, wave in enumerate(_spoken(block))})  # type: ignore[arg-type] # NumPy 1 and 2 differ
    sys.stdout.buffer.write(held.getvalue())


def _spoken(block: Sequence[tuple[str, str, int, int]]) -> list[np.ndarray]:
    import espeakng_loader

    library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
    if library.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), NO_EXIT) < 0:
        raise RuntimeError("the library did not start")
    parts: list[np.ndarray] = []

    def heard(wave: Any, samples: int, events: Any) -> int:
        if wave and samples > 0:
            parts.append(np.ctypeslib.as_array(wave, (samples,)).copy())
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    callback = kind(heard)  # kept while the library may call it
    library.espeak_SetSynthCallback(callback)
    waves = []
    for text, voice, pitch, speed in block:
        if library.espeak_SetVoiceByName(voice.encode()):
            raise RuntimeError(f"there is no voice {voice!r}")
        library.espeak_SetParameter(PITCH, pitch, 0)
        library.espeak_SetParameter(SPEED, speed, 0)
        parts.clear()
        said = text.encode()
        if library.espeak_Synth(said, len(said) + 1, 0, 0, 0, UTF8, None, None):
            raise RuntimeError(f"could not say {text!r}")
        library.espeak_Synchronize()
        waves.append(np.concatenate(parts) if parts else np.zeros(0, np.int16))
    return waves


if __name__ == "__main__":
    main()
