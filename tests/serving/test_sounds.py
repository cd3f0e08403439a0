"""Sounds by the road of pictures: a model trained on them, their vectors, an index, and a search by a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from counterpoint.cli import main

RATE = 8_000


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an index of sounds and their texts, made by the commands."""
    place = tmp_path_factory.mktemp("sounds")
    (place / "tones").mkdir()
    for k in range(40):
        wave = 0.5 * np.sin(2 * np.pi * (200 + 60 * k) * np.arange(2400) / RATE)
        wavfile.write(place / "tones" / f"{k:02}.wav", RATE, np.rint(wave * 32767).astype(np.int16))
        (place / "tones" / f"{k:02}.txt").write_text(f"a tone, number {k}")
    run, vectors, index, tones = (str(place / name) for name in ("run", "vectors", "index", "tones"))
    few = ["--recipe", "seconds", "--steps", "2", "--batch-size", "8"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERPOINT_CACHE", str(place / "cache"))
        assert main(["train", "clip", "--data", tones, "--out", run, *few]) == 0
        assert main(["embed", run, tones, "--out", vectors]) == 0
        assert main(["index", vectors, "--out", index]) == 0
    return place


def found(work: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    capsys.readouterr()
    assert main(["search", str(work / "index"), *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_sound_finds_itself_and_a_text_finds_sounds(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = str(work / "tones" / "07.wav")
    (first, *_) = found(work, capsys, "--file", sound, "--modality", "audio")
    assert first["key"] == "07.wav"
    assert first["score"] == pytest.approx(1, abs=1e-5)
    assert {row["modality"] for row in found(work, capsys, "a tone, number 7", "--modality", "audio")} == {
        "audio"
    }


def test_a_file_that_is_no_sound_is_said(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF and nothing more")
    for name, said in (
        ("broken.wav", "broken.wav cannot be read as a sound: "),
        ("gone.wav", "there is no sound "),
        ("gone.png", "cannot search by image"),
    ):
        assert main(["search", str(work / "index"), "--file", str(tmp_path / name)]) == 1
        assert said in capsys.readouterr().err
