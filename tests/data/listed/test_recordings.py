"""EDF, WFDB and PTB-XL: as the reference libraries read them, and one line for what is damaged."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from counterpoint.cli import main
from counterpoint.data.reading.recordings import read_edf, read_record
from counterpoint.data.reading.series import rate_of, read_series
from counterpoint.data.source import load_any
from counterpoint.data.sources import Asset
from counterpoint.registry import MissingPackageError

pyedflib = pytest.importorskip("pyedflib")
wfdb = pytest.importorskip("wfdb")
RATE, SECONDS = 50, 2


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))


def waves(seed: int, channels: int = 2, rate: int = RATE) -> np.ndarray:
    time = np.arange(SECONDS * rate) / rate
    return np.stack([np.sin(2 * np.pi * (1 + seed % 5 + channel) * time) for channel in range(channels)], 1)


def edf(path: Path, *channels: tuple[np.ndarray, int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pyedflib.EdfWriter(str(path), len(channels), file_type=pyedflib.FILETYPE_EDFPLUS) as writer:
        for number, (_, rate) in enumerate(channels):
            limits = {"physical_min": -2.0, "physical_max": 2.0, "digital_min": -32768, "digital_max": 32767}
            writer.setSignalHeader(
                number, {"label": f"c{number}", "dimension": "mV", "sample_frequency": rate, **limits}
            )
        writer.writeSamples([np.ascontiguousarray(values) for values, _ in channels])
    return path


def record(folder: Path, name: str, seed: int = 0, channels: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"c{number}" for number in range(channels)]
    units = ["mV"] * channels
    wfdb.wrsamp(name, RATE, units, names, waves(seed, channels), fmt=["16"] * channels, write_dir=str(folder))
    return folder / f"{name}.hea"


@pytest.mark.parametrize("package", ["pyedflib", "wfdb"])
def test_without_its_package_a_recording_names_the_extra(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = edf(tmp_path / "it.edf", (waves(0)[:, 0], RATE))
    header = record(tmp_path, "r0")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=re.escape("pip install 'counterpoint[ecg]'")):
        read_edf(path.read_bytes()) if package == "pyedflib" else read_record(str(header))


def test_an_edf_file_is_what_pyedflib_reads(tmp_path: Path) -> None:
    path = edf(tmp_path / "it.edf", (waves(0)[:, 0], RATE), (waves(0)[:, 1], RATE))
    series = read_series(path.read_bytes(), 0)
    with pyedflib.EdfReader(str(path)) as reader:
        reference = np.stack([reader.readSignal(0), reader.readSignal(1)], 1)
    np.testing.assert_allclose(series, reference, atol=1e-6)
    np.testing.assert_allclose(series, waves(0), atol=1e-4)
    assert rate_of(path.read_bytes()) == RATE


def test_slower_channels_of_an_edf_file_are_resampled(tmp_path: Path) -> None:
    slow = waves(0, 1, RATE // 2)[:, 0]
    series = read_series(edf(tmp_path / "it.edf", (waves(0)[:, 0], RATE), (slow, RATE // 2)).read_bytes(), 0)
    assert series.shape == (SECONDS * RATE, 2)
    inside = slice(20, -20)  # the filter rings at both ends
    np.testing.assert_allclose(series[inside, 0], series[inside, 1], atol=0.02)


def test_a_slow_channel_that_is_constant_stays_so_to_both_ends(tmp_path: Path) -> None:
    warm = np.full(SECONDS, 1.5)
    series = read_series(edf(tmp_path / "it.edf", (waves(0)[:, 0], RATE), (warm, 1)).read_bytes(), 0)
    np.testing.assert_allclose(series[:, 1], 1.5, atol=0.005)  # the ripple of the filter


@pytest.mark.parametrize("length", [8, 200, 300, 700])
def test_a_damaged_edf_header_is_one_line(length: int, tmp_path: Path) -> None:
    whole = edf(tmp_path / "it.edf", (waves(0)[:, 0], RATE)).read_bytes()
    with pytest.raises(ValueError, match=r"^no whole EDF file: ") as told:
        read_series(whole[:length], 0)
    assert "\n" not in str(told.value)


def test_a_record_is_what_wfdb_reads(tmp_path: Path) -> None:
    header = record(tmp_path, "one", seed=3)
    reference = wfdb.rdrecord(str(header.with_suffix(""))).p_signal
    series = read_series(Asset.of(header).read_bytes(), 0)
    np.testing.assert_allclose(series, reference, atol=1e-6)


@pytest.mark.parametrize("damage", ["header", "samples", "gone"])
def test_a_damaged_record_is_one_line(damage: str, tmp_path: Path) -> None:
    header = record(tmp_path, "one")
    if damage == "header":
        header.write_text("one 2 fifty\n")
    elif damage == "samples":
        header.with_suffix(".dat").write_bytes(b"1")
    else:
        header.with_suffix(".dat").unlink()
    with pytest.raises(OSError, match=r"^no whole record of WFDB: ") as told:
        Asset.of(header).read_bytes()
    assert "\n" not in str(told.value)


def test_folders_of_recordings_are_series_with_labels(tmp_path: Path) -> None:
    for k in range(40):
        edf(tmp_path / "eeg" / ("sleep", "wake")[k % 2] / f"{k}.edf", (waves(k)[:, 0] / (k + 1), RATE))
    data = load_any(str(tmp_path / "eeg"))
    assert dict(data.columns) == {"series": "series"}
    assert data.labels["folder"].names == ("sleep", "wake")
    assert data.read("series", np.array([1])).measured.shape == (1, SECONDS * RATE, 1)


def ptbxl(root: Path) -> Path:
    """Write forty records as PTB-XL is unpacked, four of each fold."""
    codes = ("{'NORM': 100.0, 'SR': 0.0}", "{'IMI': 100.0}", "{'ASMI': 50.0, 'NDT': 50.0}", "{'SR': 0.0}")
    rows = []
    for k in range(40):
        folder = root / "records100" / "00000"
        record(folder, f"{k:05}_lr", seed=k, channels=12)
        rows.append(
            {
                "ecg_id": k + 1,
                "patient_id": f"{k // 2}.0",
                "report": f"sinusrhythmus nr. {k}" if k % 8 else "",
                "scp_codes": codes[k % 4],
                "strat_fold": k // 4 + 1,
                "filename_lr": f"records100/00000/{k:05}_lr",
                "filename_hr": f"records500/00000/{k:05}_hr",
            }
        )
    pl.DataFrame(rows).write_csv(root / "ptbxl_database.csv")
    statements = [
        {"": "NDT", "description": "a", "diagnostic": 1.0, "diagnostic_class": "STTC"},
        {"": "NORM", "description": "b", "diagnostic": 1.0, "diagnostic_class": "NORM"},
        {"": "IMI", "description": "c", "diagnostic": 1.0, "diagnostic_class": "MI"},
        {"": "ASMI", "description": "d", "diagnostic": 1.0, "diagnostic_class": "MI"},
        {"": "SR", "description": "e", "diagnostic": None, "diagnostic_class": None},
    ]
    pl.DataFrame(statements).write_csv(root / "scp_statements.csv")
    return root


def test_ptbxl(tmp_path: Path) -> None:
    data = load_any(f"ptbxl:{ptbxl(tmp_path / 'ptbxl')}")
    assert dict(data.columns) == {"series": "series", "text": "text"}
    assert [len(rows) for rows in data.splits.sides.values()] == [32, 4, 4]
    assert data.splits.test["held out"].tolist() == [36, 37, 38, 39]
    assert data.ids.tolist() == list(range(1, 41))
    assert data.present("text", np.arange(9)).tolist() == [False, *[True] * 7, False]
    assert data.read("text", np.array([9])) == ["sinusrhythmus nr. 9"]
    signal = wfdb.rdrecord(str(tmp_path / "ptbxl" / "records100" / "00000" / "00007_lr")).p_signal
    np.testing.assert_allclose(data.read("series", np.array([7])).measured[0], signal, atol=1e-6)
    superclass = data.labels["superclass"]
    assert superclass.names == ("MI", "NORM")
    assert superclass.values[:4].tolist() == [1, 0, -1, -1]
    assert data.labels["STTC"].values[:4].tolist() == [0, 0, 1, 0]
    assert data.labels["MI"].names == ("no", "yes")


def test_recordings_of_ptbxl_out_of_its_folder_are_never_read(tmp_path: Path) -> None:
    root = ptbxl(tmp_path / "ptbxl")
    record(tmp_path / "out", "secret", seed=1, channels=12)
    table = pl.read_csv(root / "ptbxl_database.csv")
    names = ["../out/secret", *table["filename_lr"][1:]]
    table.with_columns(pl.Series("filename_lr", names)).write_csv(root / "ptbxl_database.csv")
    data = load_any(f"ptbxl:{root},broken=0.1")
    assert data.ids.tolist() == list(range(2, 41))


def test_what_is_no_ptbxl_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"ptbxl_database\.csv: give the folder that PTB-XL is unpacked"
    ):
        load_any(f"ptbxl:{tmp_path}")
    root = ptbxl(tmp_path / "ptbxl")
    table = pl.read_csv(root / "ptbxl_database.csv")
    table.drop("report").write_csv(root / "ptbxl_database.csv")
    with pytest.raises(ValueError, match="is no table of PTB-XL: it has no column report"):
        load_any(f"ptbxl:{root}")


def test_describe_tells_the_rates_of_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k in range(6):
        edf(tmp_path / "eeg" / f"{k}.edf", (waves(k)[:, 0] / (k + 1), RATE if k else 2 * RATE))
    assert main(["data", "describe", str(tmp_path / "eeg")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "series series; 100 steps; 50 a second in 5 files, 100 a second in 1 file" in told
