"""Sounds from a user's own files: a folder or a table, read once at the rate that a tower takes."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import struct
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from counterpoint.cli import main
from counterpoint.data.listed import decoded
from counterpoint.data.listed.stored_rows import StoredRows
from counterpoint.data.reading.sounds import _ratio, read_sound
from counterpoint.data.source import load_any
from counterpoint.networks.towers.sound import Waveform
from counterpoint.raw import Waves
from counterpoint.registry import MissingPackageError

RATE = 8_000


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))


def tone(path: Path, hertz: float, seconds: float = 0.2, rate: int = RATE, channels: int = 1) -> Path:
    """Write a sine of amplitude 0.5, in 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    wavfile.write(path, rate, np.repeat(np.rint(wave * 32767).astype(np.int16)[:, None], channels, 1))
    return path


def folder(root: Path, count: int = 40, above: int = 0) -> Path:
    """Write tones, each with the text that says which it is."""
    for k in range(count):
        hertz = (300, 600, 1200, 2400)[k % 4] + above
        tone(root / f"{k:02}.wav", hertz + k, seconds=0.1 + 0.002 * k)
        (root / f"{k:02}.txt").write_text(f"a tone of about {hertz} hertz, number {k}")
    return root


def test_a_folder_of_sounds_with_texts(tmp_path: Path) -> None:
    data = load_any(str(folder(tmp_path / "tones")))
    assert isinstance(data, StoredRows)
    assert dict(data.columns) == {"audio": "audio", "text": "text"}
    assert len(data) == 40
    waves = data.suited({"audio": Waveform(RATE)}).read("audio", np.array([3, 0]))
    assert isinstance(waves, Waves)
    assert waves.rate == RATE
    assert waves.lengths.tolist() == [round(RATE * 0.106), round(RATE * 0.1)]
    written = wavfile.read(tmp_path / "tones" / "03.wav")[1] / 32768
    np.testing.assert_allclose(waves[0].samples[0, : len(written)], written, atol=1e-7)
    assert data.read("text", np.array([3])) == ["a tone of about 2400 hertz, number 3"]
    assert data.read_training("text", np.array([3])) == [("a tone of about 2400 hertz, number 3",)]
    assert data.key(3) == "03.wav"


@pytest.mark.parametrize("name", ["", "sounds:basic,train=9,validation=2,test=2"])
def test_data_keep_the_label_that_is_learned_in_every_form(name: str, tmp_path: Path) -> None:
    plain = load_any(name or str(folder(tmp_path / "tones")))
    learned = plain.learning("kind")
    for data, label in ((learned, "kind"), (plain, "")):
        for rate in (RATE, 4_000):
            suited = data.suited({"audio": Waveform(rate)})
            assert (suited.learned, suited.read("audio", np.array([0])).rate) == (label, rate)


def test_folders_of_kinds_are_a_label(tmp_path: Path) -> None:
    for k in range(40):
        tone(tmp_path / "sounds" / ("dog", "siren")[k % 2] / f"{k}.wav", 300 + k)
    data = load_any(str(tmp_path / "sounds"))
    assert dict(data.columns) == {"audio": "audio"}
    assert data.labels["folder"].names == ("dog", "siren")


def test_channels_are_mixed_and_rates_are_changed(tmp_path: Path) -> None:
    path = tone(tmp_path / "one.wav", 440, seconds=1.0, rate=44_100, channels=2)
    sound = read_sound(path.read_bytes(), 16_000)
    assert sound.shape == (16_000,)
    inside = slice(800, -800)  # the filter rings at both ends
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(sound[inside], expected[inside], atol=2e-3)


@pytest.mark.parametrize("kind", ["flac", "ogg"])
def test_other_formats_are_read_by_soundfile(kind: str, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    wave = 0.5 * np.sin(2 * np.pi * 300 * np.arange(RATE) / RATE)
    soundfile.write(tmp_path / f"one.{kind}", wave, RATE)
    sound = read_sound((tmp_path / f"one.{kind}").read_bytes(), RATE)
    assert len(sound) == RATE
    assert np.sqrt(np.mean((sound - wave) ** 2)) < (1e-4 if kind == "flac" else 0.02)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"RIFF but not a sound", "no whole WAV file"),
        (b"", "no sound that libsndfile reads"),
        ("empty", "the sound has no samples"),
        ("nan", "not finite"),
    ],
)
def test_what_is_no_sound_is_named_and_left_out(content: bytes | str, said: str, tmp_path: Path) -> None:
    folder(tmp_path / "tones", 120)
    bad = tmp_path / "tones" / "03.wav"
    if isinstance(content, bytes):
        bad.write_bytes(content)
    else:
        wavfile.write(bad, RATE, np.full(0 if content == "empty" else 50, np.nan, np.float32))
    with pytest.raises(ValueError, match=said):
        read_sound(bad.read_bytes(), RATE)
    data = load_any(str(tmp_path / "tones"))
    assert len(data) == 119
    assert any("broken file" in title and "03.wav" in told for title, told in data.findings().items())
    for other in ("05", "07"):
        (tmp_path / "tones" / f"{other}.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match="3 of 120 examples cannot be used"):
        StoredRows(str(tmp_path / "tones"))


def a_wav(rate: int, count: int = 400) -> bytes:
    """Return a file of 16 bits."""
    file = io.BytesIO()
    wavfile.write(file, rate, np.arange(count, dtype=np.int16))
    return file.getvalue()


@pytest.mark.parametrize("rate", [0, 1, 99, 10_000_001, 2**31 - 1])
def test_a_rate_that_no_sound_has_takes_neither_memory_nor_time(rate: int) -> None:
    with pytest.raises(ValueError, match=rf"^the file says {rate:,} samples a second; sounds of 100 to"):
        read_sound(a_wav(rate), 16_000)


@pytest.mark.parametrize("rate", [192_001, 999_983, 4_000_001])
def test_rate_shares_no_factor_is_resampled_by_ratio_close_to(rate: int) -> None:
    ratio = _ratio(16_000, rate)
    assert max(ratio.numerator, ratio.denominator) <= 100_000
    assert ratio == pytest.approx(16_000 / rate, rel=1e-5)
    assert _ratio(rate, 16_000) == 1 / ratio
    assert len(read_sound(a_wav(rate, 4000), 16_000)) == -(-4000 * 16_000 // rate)


@pytest.mark.parametrize("rates", [(16_000, 44_101), (48_001, 16_000), (10_000_000, 1)])
def test_other_ratios_of_rates_are_exact(rates: tuple[int, int]) -> None:
    assert _ratio(*rates) == Fraction(*rates)


def test_wav_file_cut_short_refused_one_of_unknown_length_not() -> None:
    whole = a_wav(RATE)
    with pytest.raises(ValueError, match=r"^no whole WAV file: it holds 400 of 800 bytes of samples$"):
        read_sound(whole[:-400], RATE)
    assert len(read_sound(whole[:-2], RATE)) == 399  # as of programs that count some bytes too many
    for unknown in (0xFFFF_FFFF, 0x7FFF_F000):  # as ffmpeg and sox write into a pipe
        piped = whole[:40] + struct.pack("<I", unknown) + whole[44:]
        np.testing.assert_array_equal(read_sound(piped, RATE), read_sound(whole, RATE))


def test_without_soundfile_wav_is_read_and_others_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    assert len(read_sound(a_wav(RATE), RATE)) == 400
    with pytest.raises(MissingPackageError, match=re.escape("pip install 'counterpoint[audio]'")):
        read_sound(b"fLaC and so on", RATE)


def test_a_length_that_a_header_makes_up_is_refused_in_a_line() -> None:
    soundfile = pytest.importorskip("soundfile")
    file = io.BytesIO()
    soundfile.write(file, np.zeros(100), RATE, format="FLAC")
    made_up = bytearray(file.getvalue())
    made_up[21] |= 0x0F  # the number of samples has 36 bits, with those of a sample's width before them
    made_up[22:26] = b"\xff\xff\xff\xff"
    with pytest.raises(ValueError, match=r"^no sound that libsndfile reads: "):
        read_sound(bytes(made_up), RATE)


def test_a_block_is_read_once_and_mended_when_a_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, read = folder(tmp_path / "tones"), list[int]()
    real = read_sound

    def counting(data: bytes, rate: int) -> np.ndarray:
        read.append(rate)
        return real(data, rate)

    monkeypatch.setattr("counterpoint.data.reading.sounds.read_sound", counting)
    monkeypatch.setattr(decoded, "_TOGETHER", 8)
    first = StoredRows(str(root))
    assert len(read) == 40
    again = StoredRows(str(root))
    assert len(read) == 40
    rows = np.arange(40)
    assert np.array_equal(
        first.read("audio", rows).samples, again.read("audio", rows).samples, equal_nan=True
    )
    tone(root / "09.wav", 500)
    StoredRows(str(root))
    assert len(read) == 48  # the block of eight that the file is of
    blocks = list((tmp_path / "cache" / "decoded").glob("*/*.npy"))
    blocks[0].write_bytes(blocks[0].read_bytes()[:-100])
    StoredRows(str(root))
    assert len(read) == 56


def test_the_cache_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path / "tones")
    monkeypatch.setattr(decoded, "_TOGETHER", 10)
    monkeypatch.setenv("COUNTERPOINT_CACHE_SIZE", "200kB")
    data = StoredRows(str(root))
    kept = list((tmp_path / "cache" / "decoded").glob("*/*.npy"))
    assert 0 < sum(path.stat().st_size for path in kept) <= 200_000
    assert len(kept) < 4
    whole = data.read("audio", np.arange(40))
    for path in kept:  # nobody used them since yesterday
        os.utime(path.with_suffix(".json"), (0, time.time() - 100_000))
    other = folder(tmp_path / "others", above=7)
    StoredRows(str(other))
    assert {*kept} - {*(tmp_path / "cache" / "decoded").glob("*/*.npy")}
    assert np.array_equal(data.read("audio", np.arange(40)).samples, whole.samples, equal_nan=True)


def test_a_sound_that_breaks_while_a_model_trains_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(tmp_path / "tones")
    monkeypatch.setenv("COUNTERPOINT_CACHE_SIZE", "1")
    data = StoredRows(str(root))
    first, second, *_ = data.splits.train.tolist()
    (root / data.key(first)).unlink()
    rows = np.array([first, second])
    standing = data.read_training("audio", rows)
    assert np.array_equal(standing[0].samples, standing[1].samples, equal_nan=True)
    assert data.read_training("text", rows)[0] == data.read_training("text", np.array([second]))[0]
    assert [it.row for it in data.replaced()] == [first]


def test_sounds_and_texts_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder(tmp_path / "tones", 60)
    asked = ["--data", str(root), "--steps", "6", "--batch-size", "16", "--out", str(tmp_path / "study")]
    assert main(["compare", "clip", "siglip", *asked, "--seeds", "2", "--jobs", "1"]) == 0
    assert "a2t_R@1" in capsys.readouterr().out
    run = tmp_path / "study" / "runs" / "clip" / "seed-0"
    scores = json.loads((run / "scores.json").read_text())
    assert {row["metric"] for row in scores if row["task"] == "retrieval"} >= {"a2t_R@1", "t2a_R@1"}
    assert main(["evaluate", str(run)]) == 0
    page = (tmp_path / "study" / "report.html").read_text()
    player = re.search(r'<audio controls[^>]* src="data:audio/wav;base64,([^"]*)"', page)
    assert player is not None
    rate, samples = wavfile.read(io.BytesIO(base64.b64decode(player[1])))
    assert rate == 16_000
    assert 0.1 <= len(samples) / rate <= 0.22
    assert np.abs(samples).max() == pytest.approx(0.5 * 32767, rel=0.02)


def clotho(root: Path, count: int = 60) -> Path:
    """Write a table as Clotho's are: a sound, and five captions in columns of their own."""
    rows = ["file_name," + ",".join(f"caption_{n}" for n in range(1, 6))]
    for k in range(count):
        tone(root / "sounds" / f"{k}.wav", 200 + 30 * k)
        rows.append(f"sounds/{k}.wav," + ",".join(f"tone {k} said {n} times" for n in range(1, 6)))
    (root / "clotho.csv").write_text("\n".join(rows))
    return root / "clotho.csv"


def test_a_table_of_sounds_with_captions_in_several_columns(tmp_path: Path) -> None:
    data = load_any(str(clotho(tmp_path)))
    assert dict(data.columns) == {"audio": "audio", "text": "text"}
    assert data.read_training("text", np.array([7])) == [tuple(f"tone 7 said {n} times" for n in range(1, 6))]
    assert data.read("audio", np.array([7])).rate == 16_000
    assert data.labels == {}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_columns_that_the_user_names(kind: str, tmp_path: Path) -> None:
    import polars as pl

    names = [tone(tmp_path / f"{k}.wav", 200 + 30 * k).name for k in range(40)]
    table = pl.DataFrame(
        {"clip": names, "said": [f"tone {k}" for k in range(40)], "meant": [f"sine {k}" for k in range(40)]}
    )
    path = tmp_path / f"table.{kind}"
    {"csv": table.write_csv, "jsonl": table.write_ndjson, "parquet": table.write_parquet}[kind](path)
    data = load_any(f"{path},columns=audio:clip+text:said+text:meant")
    assert dict(data.columns) == {"audio": "audio", "text": "text"}
    assert data.read_training("text", np.array([3])) == [("tone 3", "sine 3")]
    with pytest.raises(ValueError, match="there is no column 'title' for the text"):
        load_any(f"{path},columns=audio:clip+text:said+text:title")


def test_sounds_within_a_table(tmp_path: Path) -> None:
    import polars as pl

    sounds = [tone(tmp_path / f"{k}.wav", 200 + 30 * k).read_bytes() for k in range(40)]
    cells = [{"bytes": sound, "path": None} for sound in sounds]
    pl.DataFrame({"audio": cells, "text": [f"tone {k}" for k in range(40)]}).write_parquet(
        tmp_path / "t.parquet"
    )
    data = load_any(str(tmp_path / "t.parquet"))
    assert dict(data.columns) == {"audio": "audio", "text": "text"}
    assert int(data.read("audio", np.array([5])).lengths[0]) == 3200
