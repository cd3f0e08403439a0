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
UTF8, SSML = 1, 0x10
PHONEMES, IPA, NO_EXIT = 0x1, 0x2, 0x8000
END, WORD, PHONEME = 0, 1, 7  # of espeak_EVENT_TYPE; a list of events ends with the first

Said = tuple[str, str, int, int, bool]
"""A text, its voice, pitch and speed, and whether the text has marks of SSML."""


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """``espeak_EVENT``; ``sample`` is where in the wave it happens, ``text_position`` counts characters from 1."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


def main() -> None:
    """Speak a block of `Said`; the archive has its samples one after the other, their ends, and events as JSON.

    An event of an utterance is ``[sample, character, characters]`` for a word that begins, ``[sample, name]`` for a
    phoneme: its name in IPA, empty for silence.
    """
    block: list[Said] = json.load(sys.stdin)
    waves, events = _spoken(block)
    held = io.BytesIO()
    ends = np.cumsum([len(wave) for wave in waves])
    encoded = np.frombuffer(json.dumps(events).encode(), np.uint8)
    np.savez(held, samples=np.concatenate(waves), ends=ends, events=encoded)
    sys.stdout.buffer.write(held.getvalue())


def _spoken(block: Sequence[Said]) -> tuple[list[np.ndarray], list[list[list[Any]]]]:
    import espeakng_loader

    library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
    options = NO_EXIT | PHONEMES | IPA
    if library.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), options) < 0:
        raise RuntimeError("the library did not start")
    parts: list[np.ndarray] = []
    heard_events: list[list[Any]] = []

    def on_audio(wave: Any, samples: int, events: Any) -> int:
        if wave and samples > 0:
            parts.append(np.ctypeslib.as_array(wave, (samples,)).copy())
        index = 0
        while (event := events[index]).type != END:
            index += 1
            if event.type == WORD:
                heard_events.append([event.sample, event.text_position - 1, event.length])
            elif event.type == PHONEME:
                heard_events.append([event.sample, event.id.string.decode("utf-8", "ignore")])
        return 0

    kind = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
    )
    callback = kind(on_audio)  # kept while the library may call it
    library.espeak_SetSynthCallback(callback)
    waves, events = [], []
    for text, voice, pitch, speed, marked in block:
        if library.espeak_SetVoiceByName(voice.encode()):
            raise RuntimeError(f"there is no voice {voice!r}")
        library.espeak_SetParameter(PITCH, pitch, 0)
        library.espeak_SetParameter(SPEED, speed, 0)
        parts.clear()
        heard_events.clear()
        encoded = text.encode()
        if library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, UTF8 | SSML * marked, None, None):
            raise RuntimeError(f"could not say {text!r}")
        library.espeak_Synchronize()
        waves.append(np.concatenate(parts) if parts else np.zeros(0, np.int16))
        events.append(list(heard_events))
    return waves, events


if __name__ == "__main__":
    main()
