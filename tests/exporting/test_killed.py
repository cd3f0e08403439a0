"""Exports and pushes that are killed at random moments: whole or not there, and the same command does it anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures import foreign, killed
from fixtures.hub import TOKEN, standing

pytestmark = [pytest.mark.slow, pytest.mark.system]


def carried_out(folder: Path, *words: str, **environment: str) -> list[str]:
    """Run the program that kills; return its lines."""
    model = f"open_clip:tiny@{foreign.open_clip_folder(folder / 'model')}"
    (folder / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-P", killed.__file__, model, str(folder / "place" / "out"), *words],
        env={**os.environ, "TMPDIR": str(folder / "tmp"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


def test_an_export_is_whole_or_absent(tmp_path: Path) -> None:
    states = carried_out(tmp_path)
    assert len(states) == killed.MOMENTS
    assert "absent" in states
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["out"]


def test_a_push_is_one_commit_or_none(tmp_path: Path) -> None:
    with standing() as hub:
        carried_out(tmp_path, "nobody/mine", HF_ENDPOINT=hub.address, HF_TOKEN=TOKEN)
        files = set(hub.repositories["nobody/mine"])
        manifest = json.loads(hub.repositories["nobody/mine"]["manifest.json"])
    assert files == {*manifest["files"], "manifest.json", ".gitattributes"}
    assert 3 <= len(hub.commits) <= killed.MOMENTS + 3
