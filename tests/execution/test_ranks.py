"""Failures of a launcher's processes, one after another: the first one's reason is the one that is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from counterpoint.execution.lease import holder, leased
from counterpoint.execution.ranks import first_to_fail


def test_without_a_launcher_every_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    assert first_to_fail("one")
    assert first_to_fail("two")


def test_the_first_process_speaks_and_its_peers_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank in ("0", "1"):
        (tmp_path / rank).mkdir()
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "0" / "error.json"))
    assert first_to_fail("out of data")
    assert first_to_fail("out of data"), "as often as it asks"
    peer = "from counterpoint.execution.ranks import first_to_fail; print(first_to_fail('a peer has gone'))"
    environment = {**os.environ, "TORCHELASTIC_ERROR_FILE": str(tmp_path / "1" / "error.json")}
    done = subprocess.run(
        [sys.executable, "-c", peer], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
    assert json.loads((tmp_path / "0" / "error.json").read_text())["message"]["message"] == "out of data"
    assert not (tmp_path / "1" / "error.json").exists()


def test_the_first_process_alone_holds_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    with leased(tmp_path):
        assert holder(tmp_path) is not None
        monkeypatch.setenv("RANK", "1")
        with leased(tmp_path):
            pass
        assert holder(tmp_path) is not None
