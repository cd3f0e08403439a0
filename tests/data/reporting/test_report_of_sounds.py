"""The report on files that are no pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from counterpoint.cli import main
from counterpoint.data.reporting.whole import report
from counterpoint.data.synthetic.sounds.synthesis import save, tone


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))


def folder(root: Path) -> Path:
    for kind in ("high", "low"):
        for row in range(20):
            path = root / kind / f"{row}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            save(tone((900 if kind == "high" else 200) + row, 800).astype(np.int16), path)
    return root


def test_sounds_with_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder(tmp_path / "tones")
    for path in root.rglob("*.wav"):
        path.with_suffix(".txt").write_text(f"a {path.parent.name} tone, number {path.stem}")
    (root / "low" / "7.wav").write_bytes(b"RIFF and no more")
    (root / "low" / "8.txt").unlink()
    found = report(str(root))
    assert found.seen.columns == {"audio": "audio", "text": "text"}
    assert len(found.seen) == 38
    assert sum(found.seen.sides.values()) == 38
    assert set(found.seen.labels) == {"folder"}
    left = {(row["reason"], Path(row["file"]).name) for row in found.seen.ledger.to_dicts()}
    assert left == {("broken file", "7.wav"), ("sound without a caption", "8.wav")}
    assert found.commands[0][0] == f"counterpoint compare clip siglip --data {root} --seeds 5"
    assert not any("frozen" in command for command, _ in found.commands)
    assert main(["data", "describe", str(root)]) == 0
    assert "audio, text" in capsys.readouterr().out


def test_sounds_in_which_nothing_is_heard_are_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "tones")
    save(np.zeros(800, np.int16), root / "low" / "3.wav")
    found = {finding.name: finding for finding in report(str(root)).sections["lengths"]}
    silent = found["silent, or the same all along"]
    assert silent.value == {"count": 1, "of": 40}
    assert [Path(name).name for name in silent.examples] == ["3.wav"]
    assert silent.warning
    assert set(found) == {"sounds", "silent, or the same all along"}


def test_sounds_alone(tmp_path: Path) -> None:
    root = folder(tmp_path / "tones")
    assert report(str(root)).commands == (
        (
            f'counterpoint compare "dcl,on=audio" "ntxent,on=audio" --data {root} --tasks probe --seeds 5',
            "compare methods on this column alone, by classes",
        ),
    )
    assert [command for command, _ in report(str(root / "high")).commands] == [
        f'counterpoint train "dcl,on=audio" --data {root / "high"}'
    ]


def test_lengths(tmp_path: Path) -> None:
    root = folder(tmp_path / "tones")
    save(tone(300, 6 * 16_000).astype(np.int16), root / "low" / "9.wav")
    sounds, longer = report(str(root)).sections["lengths"]
    assert sounds.value == {"unit": "seconds", "least": 0.05, "median": 0.05, "most": 6.0}
    assert longer.name == "longer than the 5 seconds that a tower hears"
    assert longer.value == 1 / 40
    for row in range(20):
        path = tmp_path / "motions" / f"{row}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, np.arange(20.0 + 2 * row).reshape(-1, 2))
    (steps,) = report(str(tmp_path / "motions")).sections["lengths"]
    assert steps.value == {"unit": "steps", "least": 10.0, "median": 19.5, "most": 29.0}
