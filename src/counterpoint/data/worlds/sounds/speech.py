"""Captions spoken by several voices, with the espeak-ng that the package ``espeakng-loader`` carries.

espeak-ng remembers what it said: the same words sound otherwise later in a process. So a block of utterances is
spoken in its order in a process of its own, and kept in the cache. Voices that are breathy differ from process to
process too (``f2``, ``f5``, ``whisper`` …); those in `VOICES` do not.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from hashlib import blake2b
from importlib.metadata import version

import numpy as np
from jaxtyping import Int16

from ....registry import require, unknown
from ...cache import cache_folder, writing

RATE = 22_050
"""Samples per second of what espeak-ng says."""

VOICES: dict[str, tuple[str, int, int]] = {
    "plain": ("en-us", 50, 175),
    "deep": ("en-us+m1", 35, 160),
    "rough": ("en-us+croak", 45, 165),
    "bright": ("en-us+f1", 60, 175),
    "quick": ("en-us+f4", 65, 210),
    "scottish": ("en-gb-scotland", 50, 170),
}
"""Voices by name: the espeak-ng voice, its pitch (0 to 99), its speed in words a minute. All voices speak English."""


def speak(utterances: Sequence[tuple[str, str]]) -> list[Int16[np.ndarray, " _"]]:
    """Speak waves of 16 bits at `RATE`, one for each utterance: a text and the name of a voice.

    The utterances are one block: the waves are a function of all of them and their order.

    Raises:
        UnknownName: for a voice that is not known.
        ValueError: for an empty text, or one with a character of value zero.
        MissingPackage: if ``espeakng-loader`` is not installed.
        CacheError: if the cache folder cannot be written.
    """
    for text, voice in utterances:
        if voice not in VOICES:
            raise unknown("voice", voice, VOICES)
        if not text.strip() or "\0" in text:
            raise ValueError(f"there is nothing to say in {text!r}: give a text with words")
    require("espeakng_loader", "speech")
    block = json.dumps([(text, *VOICES[voice]) for text, voice in utterances])
    key = blake2b(f"{version('espeakng-loader')} {block}".encode(), digest_size=16).hexdigest()
    path = cache_folder() / "speech" / f"{key}.npz"
    if not path.exists():
        spoken = subprocess.run(
            [sys.executable, "-m", "counterpoint.data.worlds.sounds.espeak"],
            input=block.encode(),
            capture_output=True,
            check=False,
        )
        if spoken.returncode:
            reason = spoken.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(f"espeak-ng failed: {' '.join(reason) or spoken.returncode}")
        with writing(path) as part:
            part.write_bytes(spoken.stdout)
    with np.load(io.BytesIO(path.read_bytes())) as kept:
        return [kept[str(number)] for number in range(len(utterances))]
