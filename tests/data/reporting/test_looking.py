"""Pictures are looked at by units of work: the report is that of one process, and nothing is seen twice."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterpoint.cli import main
from counterpoint.data.reporting import _looking, report
from counterpoint.data.reporting._looking import FileScan, scan
from counterpoint.data.sources import Asset
from counterpoint.execution import Local, Slurm, WorkHandover, work


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty-one pictures with captions, of which one is a copy and two are no pictures."""
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_looking, "_FEW", 8)
    folder = tmp_path / "pairs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for n in range(21):
        Image.fromarray(rng.integers(0, 256, (40, 30, 3), np.uint8)).save(folder / f"{n:02}.png")
        (folder / f"{n:02}.txt").write_text(f"the {n}th of many things")
    shutil.copy(folder / "03.png", folder / "12.png")
    (folder / "05.png").write_bytes(b"no picture")
    (folder / "06.png").write_bytes((folder / "06.png").read_bytes()[:500])
    return folder


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many pictures are looked at here, each time."""
    counts: list[int] = []

    def counting(files: Sequence[Asset], most: int) -> Iterator[FileScan]:
        counts.append(len(files))
        return scan(files, most)

    monkeypatch.setattr(_looking, "scan", counting)
    return counts


def test_units_see_what_one_process_sees(folder: Path, looked: list[int]) -> None:
    alone = report(str(folder)).plain()
    assert alone["duplicates"]["pictures that are the same file"]["value"]["count"] == 2
    assert report(str(folder), executor=Local()).plain() == alone
    assert looked == [8, 8, 5]
    assert report(str(folder), executor=Local()).plain() == alone
    assert report(str(folder), sample=5, executor=Local()).plain() == report(str(folder), sample=5).plain()
    assert looked == [8, 8, 5, 5]


def test_a_picture_that_changed_is_looked_at_again(folder: Path, looked: list[int]) -> None:
    report(str(folder), executor=Local())
    shutil.copy(folder / "03.png", folder / "05.png")
    assert report(str(folder), executor=Local()).plain() == report(str(folder)).plain()
    assert looked == [8, 8, 5] * 2


def test_what_could_not_be_read_is_looked_at_again(
    folder: Path, looked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Asset.read_bytes

    def failing(asset: Asset) -> bytes:
        if asset.file.endswith("09.png"):
            raise OSError("the server is gone")
        return read(asset)

    with monkeypatch.context() as gone:
        gone.setattr(Asset, "read_bytes", failing)
        first = report(str(folder), executor=Local()).plain()
        assert first == report(str(folder)).plain()
    assert first["left out"]["examples that cannot be used"]["value"]["count"] == 3
    assert report(str(folder), executor=Local()).plain() == report(str(folder)).plain() != first
    assert looked == [8, 8, 5, 8]


def test_others_look_at_what_is_handed_over(
    folder: Path, looked: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    alone = report(str(folder)).plain()
    words = ["data", "describe", str(folder), "--executor", "slurm"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "sbatch" in said
    (place,) = (folder.parent / "cache" / "descriptions").iterdir()
    assert f"the same command shows the report; counterpoint work {place} takes part" in said
    assert not looked
    work(place)
    assert looked == [8, 8, 5]
    assert main(words) == 0
    assert "the same file" in capsys.readouterr().out
    assert report(str(folder), executor=Slurm()).plain() == alone
    assert looked == [8, 8, 5]


def test_only_pictures_in_files_are_looked_at_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "describe", "digits", "--sample", "5", "--executor", "slurm"]) == 0
    assert "looked at by this process" in capsys.readouterr().out


@pytest.mark.slow
def test_two_processes_and_one_more_see_what_one_sees(folder: Path, looked: list[int]) -> None:
    alone = report(str(folder)).plain()
    with pytest.raises(WorkHandover):
        report(str(folder), executor=Slurm())
    (place,) = (folder.parent / "cache" / "descriptions").iterdir()
    helper = subprocess.Popen([sys.executable, "-m", "counterpoint", "work", str(place)])
    assert report(str(folder), jobs=2).plain() == alone
    assert helper.wait() == 0
    assert not looked
    assert len(list(place.glob("*/looks.parquet"))) == 3


_KILLED = """
import os, signal, sys
from counterpoint.data.reporting import _looking, report
from counterpoint.execution import Local
_looking._FEW, real, begun = 8, _looking.scan, []
def dying(files, most):
    begun.append(files)
    for look in real(files, most):
        if len(begun) == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        yield look
_looking.scan = dying
report(sys.argv[1], executor=Local())
"""


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize("moment", [1, 2, 3])
def test_a_describing_that_was_killed_goes_on(moment: int, folder: Path, looked: list[int]) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED, folder, str(moment)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert report(str(folder), executor=Local()).plain() == report(str(folder)).plain()
    assert looked == [8, 8, 5][moment - 1 :]
