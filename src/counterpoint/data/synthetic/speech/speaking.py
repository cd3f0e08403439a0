"""Texts spoken by several voices, with the espeak-ng that the package ``espeakng-loader`` carries.

espeak-ng remembers what it said: the same words sound otherwise later in a process. So a block of utterances is
spoken in its order in a process of its own, and kept in the cache. Voices that are breathy differ from process to
process too (``f2``, ``f5``, ``whisper`` …); those in `VOICES` do not.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int16

from ....files import write_text
from ....registry import require, unknown
from ...cache import CacheError, cache_folder, writing
from ...progress import with_bar
from ...reading.sounds import resampled

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
_STRESS = str.maketrans("", "", "ˈˌ")


class Utterance(NamedTuple):
    """A text and how it is said.

    Attributes:
        text: with words.
        voice: the name of one of `VOICES`.
        speed: in percent of the voice's own.
        pauses: milliseconds of silence before each word of the text, which espeak-ng keeps to about one in fifty; none
            where there are none at all.
        pitch: so much higher than the voice's own, which espeak-ng counts from 0 to 99.
    """

    text: str
    voice: str
    speed: int = 100
    pauses: tuple[int, ...] = ()
    pitch: int = 0


class SpeechSpan(NamedTuple):
    """A stretch of a wave: what is said in it, its first sample, and the sample behind its last one."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class SpokenText:
    """A text that was said.

    Attributes:
        samples: of 16 bits.
        rate: samples a second.
        words: when each word is said. Silence belongs to none; a word that is said in one with the next (``"of the"``)
            is a part of its span.
        phonemes: when each is said, in IPA without stress; ``""`` is silence.
    """

    samples: Int16[np.ndarray, " T"]
    rate: int
    words: tuple[SpeechSpan, ...]
    phonemes: tuple[SpeechSpan, ...]


def speak(utterances: Sequence[Utterance | tuple[str, str]], rate: int = RATE) -> list[SpokenText]:
    """Speak some utterances; a text and the name of a voice is one.

    The utterances are one block: each is a function of itself and of those before it.

    Args:
        utterances: in their order.
        rate: samples a second.

    Raises:
        UnknownNameError: for a voice that is not known.
        ValueError: for an empty text, one with a character of value zero, and pauses that are not one before each word
            or of a text with marks (``<``, ``&``).
        MissingPackageError: if ``espeakng-loader`` is not installed.
        CacheError: if the cache folder cannot be written.
    """
    return speak_blocks([[Utterance(*utterance) for utterance in utterances]], rate)[0]


def speak_blocks(blocks: Sequence[Sequence[Utterance]], rate: int = RATE) -> list[list[SpokenText]]:
    """Speak blocks as `speak` does, those that the cache does not hold on all processors."""
    files = [_Kept(block, rate) for block in blocks]
    recordings = {index: kept for index, file in enumerate(files) if (kept := file.read()) is not None}
    missing = [index for index in range(len(files)) if index not in recordings]
    if missing:
        require("espeakng_loader", "speech")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            spoken = pool.map(lambda index: files[index].make(), missing)
            for index in with_bar(missing, "speaking"):
                recordings[index] = next(spoken)
    return [recordings[index] for index in range(len(files))]


def engine() -> str:
    """Return what speaks, with its version: another one may say the same words otherwise.

    Raises:
        MissingPackageError: if ``espeakng-loader`` is not installed.
    """
    require("espeakng_loader", "speech")
    return f"espeakng-loader {version('espeakng-loader')}"


class _Kept:
    """A block of speech in the cache: its samples, and beside them, written last, a file that speaks of them."""

    def __init__(self, block: Sequence[Utterance], rate: int) -> None:
        self.rate, self.texts = rate, [_marked(utterance) for utterance in block]
        self.block: list[tuple[str, str, int, int, bool]] = []
        for utterance, text in zip(block, self.texts, strict=True):
            voice, pitch, speed = VOICES[utterance.voice]
            pitch = min(max(pitch + utterance.pitch, 0), 99)
            self.block.append(
                (text, voice, pitch, round(speed * utterance.speed / 100), bool(utterance.pauses))
            )
        key = blake2b(json.dumps([engine(), rate, self.block]).encode(), digest_size=16).hexdigest()
        self.samples = cache_folder() / "speech" / f"{key}.npy"

    @property
    def notes_file(self) -> Path:
        return self.samples.with_suffix(".json")

    def read(self) -> list[SpokenText] | None:
        """Return what was said; None where it was not, or the files are damaged."""
        try:
            notes = json.loads(self.notes_file.read_text(encoding="utf-8"))
            samples = np.load(self.samples, mmap_mode="r")
            if len(samples) != notes["ends"][-1]:
                return None
            starts = [0, *notes["ends"]]
            return [
                self._spoken(number, samples[starts[number] : starts[number + 1]], events)
                for number, events in enumerate(notes["events"])
            ]
        except (OSError, ValueError, LookupError, TypeError):
            return None  # whatever is wrong with them, the block is spoken again

    def make(self) -> list[SpokenText]:
        """Speak the block, and keep it."""
        spoken = subprocess.run(
            [sys.executable, "-m", "counterpoint.data.synthetic.speech.espeak"],
            input=json.dumps(self.block).encode(),
            capture_output=True,
            check=False,
        )
        if spoken.returncode:
            reason = spoken.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(f"espeak-ng failed: {' '.join(reason) or spoken.returncode}")
        with np.load(io.BytesIO(spoken.stdout)) as made:
            waves = np.split(made["samples"], made["ends"][:-1])
            events: list[list[list[Any]]] = json.loads(made["events"].tobytes())
        waves = [_at_rate(wave, self.rate) for wave in waves]
        for event in (event for of_one in events for event in of_one):
            event[0] = round(event[0] * self.rate / RATE)
        with writing(self.samples) as part, part.open("wb") as file:
            np.save(file, np.concatenate(waves))
        ends = np.cumsum([len(wave) for wave in waves]).tolist()
        try:
            write_text(self.notes_file, json.dumps({"ends": ends, "events": events}))
        except OSError as error:
            raise CacheError(f"cannot write {self.notes_file}: {error.strerror or error}") from error
        kept = self.read()  # from the file, so that no more is in memory than is looked at
        if kept is None:
            raise CacheError(f"{self.samples} was written, and cannot be read")
        return kept

    def _spoken(self, number: int, samples: np.ndarray, events: Sequence[Sequence[Any]]) -> SpokenText:
        text, last = self.texts[number], len(samples)
        phonemes = [event for event in events if len(event) == 2]
        ends = [*(min(start, last) for start, _ in phonemes[1:]), last]
        sounding = [
            SpeechSpan(name.translate(_STRESS), min(start, last), end)
            for (start, name), end in zip(phonemes, ends, strict=True)
        ]
        sounding = [span for span in sounding if span.end > span.start]
        word_events = [event for event in events if len(event) == 3]
        words = []
        for index, (start, character, length) in enumerate(word_events):
            limit = word_events[index + 1][0] if index + 1 < len(word_events) else last
            phones = [span for span in sounding if span.text and start <= span.start < limit]
            # Up to the silence behind it; a word of which no phoneme is told has none.
            end = phones[-1].end if phones else limit
            words.append(
                SpeechSpan(text[character : character + length], min(start, last), min(end, limit, last))
            )
        return SpokenText(samples, self.rate, tuple(words), tuple(sounding))


def _at_rate(wave: Int16[np.ndarray, " T"], rate: int) -> Int16[np.ndarray, " t"]:
    if rate == RATE:
        return wave
    samples = resampled(wave.astype(np.float32), RATE, rate)
    return np.clip(np.rint(samples), -(2**15), 2**15 - 1).astype(np.int16)


def _marked(utterance: Utterance) -> str:
    """Return the text of an utterance, with marks of SSML where it has pauses."""
    if utterance.voice not in VOICES:
        raise unknown("voice", utterance.voice, VOICES)
    words = utterance.text.split()
    if not words or "\0" in utterance.text:
        raise ValueError(f"there is nothing to say in {utterance.text!r}: give a text with words")
    if not utterance.pauses:
        return utterance.text
    if len(utterance.pauses) != len(words):
        raise ValueError(
            f"there are {len(utterance.pauses)} pauses before {len(words)} words of {utterance.text!r}"
        )
    if set("<&") & set(utterance.text):
        raise ValueError(f"pauses are said by marks, which < and & would be too, in {utterance.text!r}")
    return " ".join(
        f'<break time="{pause}ms"/> {word}' if pause else word
        for pause, word in zip(utterance.pauses, words, strict=True)
    )
