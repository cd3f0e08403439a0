"""Transcripts from files of subtitles: WebVTT and SubRip."""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import UInt8

from ...raw import Sentence, Subtitles

_TIME = r"(?:(\d+):)?([0-5]?\d):([0-5]?\d)[.,](\d{3})"
_INTERVAL = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_LENGTH = re.compile(rf"NOTE\s+length\s+{_TIME}\s*")
_SKIPPED = ("NOTE", "STYLE", "REGION")
_TAG = re.compile(r"</?[^<>]*>|\{\\[^{}]*\}")
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def parse_subtitles(data: bytes) -> Subtitles:
    """Return the sentences in the bytes of a WebVTT or a SubRip file.

    Text is UTF-8, or what a byte order mark says. Tags of style are left out, and captions without text too. Captions
    are put in the order of their starts. Their times may overlap. The length of the clip is that of a line
    ``NOTE length 00:01:30.000``, which this package writes. Without that line, or where a caption ends later, it is the
    end of the last caption.

    Raises:
        ValueError: for bytes that are no text, for a block without times, for a caption that ends before it starts, and
            for a file without captions. The message names the line.

    >>> parse_subtitles(b"1\\n00:00:01,500 --> 00:00:03,000\\n<i>a red cat</i>\\n")
    Subtitles(sentences=(Sentence(start=1.5, end=3.0, text='a red cat'),), seconds=3.0)
    """
    sentences: list[Sentence] = []
    seconds, captions = 0.0, 0
    for line, block in _blocks(_decoded(data)):
        if line == 1 and block[0].startswith("WEBVTT"):
            continue
        if block[0].split(maxsplit=1)[0] in _SKIPPED:
            if length := _LENGTH.fullmatch(block[0]):
                seconds = _seconds(length.groups())
            continue
        # The first line may be a caption's number or name.
        times = next((n for n, text in enumerate(block[:2]) if _INTERVAL.fullmatch(text)), None)
        match = None if times is None else _INTERVAL.fullmatch(block[times])
        if times is None or match is None:
            raise ValueError(
                f"line {line}: expected times as 00:00:01.500 --> 00:00:03.000, got {block[0]!r}"
            )
        start, end = _seconds(match.groups()[:4]), _seconds(match.groups()[4:])
        if end <= start:
            raise ValueError(f"line {line + times}: the caption ends at {end:g} s and starts at {start:g} s")
        captions += 1
        seconds = max(seconds, end)
        if text := " ".join(html.unescape(_TAG.sub("", " ".join(block[times + 1 :]))).split()):
            sentences.append(Sentence(start, end, text))
    if not captions:
        raise ValueError("the file has no captions")
    return Subtitles(tuple(sorted(sentences, key=lambda it: it.start)), seconds)


def write_subtitles(transcript: Subtitles) -> str:
    """Return a transcript as the text of a WebVTT file, times to the millisecond.

    >>> print(write_subtitles(Subtitles((Sentence(1.5, 3, "a < b"),), 4)))
    WEBVTT
    <BLANKLINE>
    NOTE length 00:00:04.000
    <BLANKLINE>
    00:00:01.500 --> 00:00:03.000
    a &lt; b
    <BLANKLINE>
    """
    captions = [
        f"{_written(start)} --> {_written(end)}\n{html.escape(text, quote=False)}\n"
        for start, end, text in transcript.sentences
    ]
    return "\n".join(["WEBVTT\n", f"NOTE length {_written(transcript.seconds)}\n", *captions])


def read_transcript(data: bytes, form: int) -> UInt8[np.ndarray, " n"]:
    """Read a file of subtitles; return the bytes of `write_subtitles`.

    Args:
        data: of the file.
        form: has no effect; it is an argument of every modality's ``read``.

    Raises:
        ValueError: as `parse_subtitles`.
    """
    return np.frombuffer(write_subtitles(parse_subtitles(data)).encode(), np.uint8)


def pack_transcripts(arrays: Sequence[UInt8[np.ndarray, " _"]], form: int = 0) -> list[Subtitles]:
    """Return what was read as transcripts; zeros stand for an empty one."""
    return [parse_subtitles(it.tobytes()) if it.any() else Subtitles((), 0.0) for it in arrays]


def store_transcript(transcript: Subtitles) -> tuple[str, bytes]:
    """Return one transcript as a file, with its kind."""
    return "vtt", write_subtitles(transcript).encode()


def tell_transcript(transcript: Subtitles) -> str:
    """Return a line for each sentence, which begins with its start.

    >>> tell_transcript(Subtitles((Sentence(61, 63, "a red cat"),), 70))
    '00:01:01 a red cat'
    """
    return "\n".join(f"{_written(it.start)[:8]} {it.text}" for it in transcript.sentences)


def _decoded(data: bytes) -> str:
    mark, encoding = next((it for it in _MARKS if data.startswith(it[0])), (b"", "utf-8"))
    try:
        return data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"no text in {encoding.upper()}: {error.reason} at byte {error.start}") from error


def _blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield blocks between empty lines, each with the number of its first line."""
    block: list[str] = []
    lines = re.split(r"\r\n|\r|\n", text)
    for number, line in enumerate([*lines, ""], 1):
        if line.strip():
            block.append(line)
        elif block:
            yield number - len(block), block
            block = []


def _seconds(parts: Sequence[str | None]) -> float:
    hours, minutes, seconds, thousandths = (int(part or 0) for part in parts)
    return (3_600_000 * hours + 60_000 * minutes + 1000 * seconds + thousandths) / 1000


def _written(seconds: float) -> str:
    whole, thousandths = divmod(round(1000 * seconds), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}.{thousandths:03}"
