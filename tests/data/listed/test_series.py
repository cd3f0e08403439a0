"""Series from a user's own files: a folder of arrays by class, and the .ts files of the archives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from counterpoint.cli import main
from counterpoint.data.listed.stored_rows import StoredRows
from counterpoint.data.reading.series import read_series
from counterpoint.data.source import load_any

KINDS = ("still", "walking", "running")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))


def motion(k: int, steps: int = 40) -> np.ndarray:
    """Return a motion of two channels, of its kind."""
    rng, time = np.random.default_rng(k), np.arange(steps) / steps
    phase = 2 * np.pi * ((0, 2, 6)[k % 3] * time + rng.uniform())
    return np.stack([np.sin(phase), np.cos(phase)], 1) + rng.normal(0, 0.1, (steps, 2))


def written(values: np.ndarray) -> str:
    return ":".join(",".join("?" if np.isnan(v) else f"{v:.6f}" for v in channel) for channel in values.T)


def archive(root: Path) -> Path:
    """Write a training and a test file, with series of different lengths and a gap."""
    root.mkdir()
    for side, count in (("TRAIN", 60), ("TEST", 30)):
        lines = [
            f"# motions\n@problemName Motions\n@timeStamps false\n@missing true\n@univariate false\n@dimensions 2\n"
            f"@equalLength false\n@classLabel true {' '.join(KINDS)}\n@data"
        ]
        for k in range(count):
            series = motion(k, 30 + k % 7)
            series[3, 1] = np.nan
            lines.append(f"{written(series)}:{KINDS[k % 3]}")
        (root / f"Motions_{side}.ts").write_text("\n".join(lines) + "\n")
    return root


def test_an_archive_has_its_splits_classes_gaps_and_lengths(tmp_path: Path) -> None:
    data = load_any(str(archive(tmp_path / "Motions")))
    assert isinstance(data, StoredRows)
    assert dict(data.columns) == {"series": "series"}
    assert data.labels["class"].names == tuple(sorted(KINDS))
    assert len(data.splits.test["held out"]) == 30
    row = int(data.splits.test["held out"][5])
    assert data.key(row) == "Motions_TEST:6"
    series = data.read("series", np.array([row]))
    expected = motion(5, 35)
    expected[3, 1] = np.nan
    np.testing.assert_allclose(series.measured[0].numpy(), expected, atol=1e-6)
    assert data.labels["class"].names[data.labels["class"].values[row]] == KINDS[2]


def test_the_number_behind_a_series_is_a_label_and_no_channel(tmp_path: Path) -> None:
    lines = [f"{written(motion(k))}:{k / 7}" for k in range(60)]
    (tmp_path / "x.ts").write_text("@targetLabel true\n@data\n" + "\n".join(lines))
    data = load_any(str(tmp_path / "x.ts"))
    assert data.read("series", np.arange(60)).measured.shape == (60, 40, 2)
    assert data.labels["target"].kind == "numbers"
    np.testing.assert_allclose(data.labels["target"].values, np.arange(60) / 7)


def test_series_of_which_many_are_same_are_divided_row_by_row(tmp_path: Path) -> None:
    (tmp_path / "beats").mkdir()
    for k in range(60):
        np.save(tmp_path / "beats" / f"{k}.npy", motion(k % 3))
    data = load_any(str(tmp_path / "beats"))
    sizes = {side: len(rows) for side, rows in data.splits.sides.items()}
    assert sizes["train"] > 30
    assert min(sizes.values()) >= 2
    assert "those of one series" in data.findings()["rows not kept together"]


def test_a_folder_of_arrays_by_class(tmp_path: Path) -> None:
    for k in range(60):
        (tmp_path / "motions" / KINDS[k % 3]).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "motions" / KINDS[k % 3] / f"{k}.npy", motion(k, 30 + k % 7))
    data = load_any(str(tmp_path / "motions"))
    assert dict(data.columns) == {"series": "series"}
    assert data.labels["folder"].names == tuple(sorted(KINDS))
    row = next(row for row in range(60) if data.key(row) == "walking/7.npy")
    np.testing.assert_allclose(data.read("series", np.array([row])).measured[0], motion(7, 30), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("@problemName x\n1,2,3:a\n", "has no line @data"),
        ("@timeStamps true\n@data\n(0,1),(1,2):a\n", "say the time of each value"),
        ("@timeStamps\ttrue\n@data\n(0,1),(1,2):a\n", "say the time of each value"),
    ],
)
def test_what_is_no_series_file_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.ts").write_text(text)
    with pytest.raises(ValueError, match=said):
        load_any(str(tmp_path / "x.ts"))


def test_a_damaged_line_is_left_out(tmp_path: Path) -> None:
    lines = [f"{written(motion(k))}:{KINDS[k % 3]}" for k in range(150)]
    lines[7] = "1,2,x:3,4,5:still"
    (tmp_path / "x.ts").write_text("@classLabel true still walking running\n@data\n" + "\n".join(lines))
    data = load_any(str(tmp_path / "x.ts"))
    assert len(data) == 149
    assert any("x.ts:8" in told for told in data.findings().values())


def test_series_of_other_channels_are_left_out(tmp_path: Path) -> None:
    for k in range(150):
        (tmp_path / "motions").mkdir(exist_ok=True)
        np.save(tmp_path / "motions" / f"{k:03}.npy", motion(k)[:, : 1 if k == 7 else 2])
    for _ in range(2):  # read, and from the cache
        data = StoredRows(str(tmp_path / "motions"))
        assert len(data) == 149
        assert any("other channels" in title for title in data.findings())


@pytest.mark.parametrize("data", [b"1,2,3:4,5", b"?,?", b"1e400"])
def test_lines(data: bytes) -> None:
    if data == b"1,2,3:4,5":
        np.testing.assert_array_equal(read_series(data, 0), [[1, 4], [2, 5], [3, np.nan]])
    else:
        with pytest.raises(ValueError, match=r"nothing is measured|infinite"):
            read_series(data, 0)


@pytest.mark.slow
def test_methods_of_one_column_are_compared_by_the_probe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = archive(tmp_path / "Motions")
    asked = [
        "--data",
        str(root),
        "--tasks",
        "probe",
        "--steps",
        "8",
        "--batch-size",
        "16",
        "--seeds",
        "2",
        "--jobs",
        "1",
    ]
    arms = ["ntxent,on=series", "supcon,on=series,labels=class"]
    assert main(["compare", *arms, *asked, "--out", str(tmp_path / "study")]) == 0
    assert "logistic_class_top1" in "".join(capsys.readouterr().out.split())
