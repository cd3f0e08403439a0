"""Files of subtitles: what is read, what is refused, and folders of subtitled videos."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterpoint.data.reading.subtitles import (
    pack_transcripts,
    parse_subtitles,
    read_transcript,
    store_transcript,
    write_subtitles,
)
from counterpoint.data.source import load_any
from counterpoint.raw import Sentence, Subtitles

VTT = """WEBVTT - a title

STYLE
::cue { color: red }

NOTE length 00:01:00.000

intro
00:01.500 --> 00:03.000 align:start
<v Ann>A red cat</v>
&amp; a dog

01:00:00.000 --> 01:00:01.000
later
"""
SRT = (
    "1\r\n00:00:01,500 --> 00:00:03,000\r\n{\\an8}a <i>red</i> cat\r\n\r\n"
    "2\r\n00:00:02,000 --> 00:00:05,000\r\na dog\r\n"
)


def test_both_formats_are_read() -> None:
    read = parse_subtitles(VTT.encode())
    assert read.sentences == (Sentence(1.5, 3.0, "A red cat & a dog"), Sentence(3600.0, 3601.0, "later"))
    assert read.seconds == 3601.0, "no sentence ends behind the clip"
    assert parse_subtitles(SRT.encode()) == Subtitles(
        (Sentence(1.5, 3.0, "a red cat"), Sentence(2.0, 5.0, "a dog")), 5.0
    )


@pytest.mark.parametrize(
    "encoded", [b"\xef\xbb\xbf" + SRT.encode(), SRT.encode("utf-16"), b"\xfe\xff" + SRT.encode("utf-16-be")]
)
def test_byte_order_marks_are_no_text(encoded: bytes) -> None:
    assert parse_subtitles(encoded) == parse_subtitles(SRT.encode())


def test_times_may_overlap_and_come_in_any_order() -> None:
    read = parse_subtitles(b"00:05.000 --> 00:09.000\nsecond\n\n00:01.000 --> 00:07.000\nfirst\n")
    assert [it.text for it in read.sentences] == ["first", "second"]
    assert read.sentences[0].end > read.sentences[1].start


def test_caption_without_text_is_left_out() -> None:
    assert parse_subtitles(b"00:01.000 --> 00:02.000\n<i></i>\n") == Subtitles((), 2.0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\x00\xfe", "no text in UTF-8"),
        (b"", "no captions"),
        (b"WEBVTT\n", "no captions"),
        (b"WEBVTT\n\n00:01.000 --> 00:02.000\na\n\nno times\nat all\n", "line 6: expected times"),
        (b"1\n00:00:03,000 --> 00:00:01,000\na\n", "line 2: the caption ends at 1 s and starts at 3 s"),
        (b"1\n00:00:03,000 --> 00:00:03,000\na\n", "ends at 3 s and starts at 3 s"),
        (b"00:99.000 --> 01:00.000\na\n", "line 1: expected times"),
    ],
)
def test_damaged_file_is_refused_with_its_line(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_subtitles(data)


def test_what_is_written_is_read_again() -> None:
    given = Subtitles((Sentence(0.25, 1.5, "1 < 2 & <b> --> 'x'"), Sentence(0.5, 7200.125, "b")), 8000.0)
    assert parse_subtitles(write_subtitles(given).encode()) == given
    kind, file = store_transcript(given)
    assert kind == "vtt"
    assert pack_transcripts([read_transcript(file, 0), np.zeros(1, np.uint8)]) == [given, Subtitles((), 0.0)]


def test_subtitles_beside_videos_are_data(tmp_path: Path) -> None:
    for row in range(12):
        file = io.BytesIO()
        frames = [Image.new("RGB", (16, 16), (20 * row, 20 * k, 0)) for k in range(3)]
        frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
        (tmp_path / f"{row}.mp4").write_bytes(file.getvalue())
        (tmp_path / f"{row}.srt").write_text(f"1\n00:00:00,000 --> 00:00:02,000\nnumber {row}\n")
    data = load_any(str(tmp_path))
    assert dict(data.columns) == {"video": "video", "transcript": "transcript"}
    rows = np.arange(len(data))
    assert {it.sentences[0].text for it in data.read("transcript", rows)} == {
        f"number {k}" for k in range(12)
    }
