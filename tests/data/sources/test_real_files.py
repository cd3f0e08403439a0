"""Real files that packages bring along: read as their own packages read them, and trained on."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from counterpoint.cli import main
from counterpoint.data.reading.series import rate_of, read_series
from counterpoint.data.source import load_any, with_columns

OF_ARCHIVES = ("BasicMotions", "JapaneseVowels", "GunPoint", "PLAID")
"""Sets of series that sktime or aeon bring along: of several channels, and some of different lengths."""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))


def by_sktime(path: Path) -> Iterator[tuple[np.ndarray, str]]:
    from sktime.datasets import load_from_tsfile_to_dataframe

    cells, classes = load_from_tsfile_to_dataframe(str(path), return_separate_X_and_y=True)
    for row, name in zip(cells.itertuples(index=False), classes, strict=True):
        yield np.stack([np.asarray(channel, float) for channel in row], 1), str(name)


def by_aeon(path: Path) -> Iterator[tuple[np.ndarray, str]]:
    from aeon.datasets import load_from_ts_file

    series, classes = load_from_ts_file(str(path))
    for one, name in zip(series, classes, strict=True):
        yield np.asarray(one, float).T, str(name)


@pytest.mark.parametrize(("package", "read"), [("sktime", by_sktime), ("aeon", by_aeon)])
def test_series_of_the_archives_are_what_the_packages_read(
    package: str, read: Callable[[Path], Iterator[tuple[np.ndarray, str]]]
) -> None:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{package} is not installed, whose wheel has .ts files: pip install {package}")
    root = Path(found.submodule_search_locations[0]) / "datasets" / "data"
    files = [path for name in OF_ARCHIVES for path in sorted((root / name).glob("*_TRAIN.ts"))]
    assert any(path.parent.name == "BasicMotions" for path in files)
    for path in files:
        data = load_any(str(path))
        classes = data.labels["class"]
        for row, (expected, name) in enumerate(read(path)):
            series = data.read("series", np.array([row]))
            measured = series.measured[0, : int(series.lengths)].numpy()
            np.testing.assert_allclose(measured, expected, rtol=1e-5, err_msg=f"{path}, series {row}")
            # aeon writes classes in small letters.
            assert classes.names[classes.values[row]].lower() == name.lower()
        assert row == len(data) - 1


def test_the_recording_inside_pyedflib_is_what_it_reads() -> None:
    pyedflib = pytest.importorskip("pyedflib", reason="pip install 'counterpoint[ecg]'")
    path = Path(pyedflib.__file__).parent / "data" / "test_generator.edf"
    with pyedflib.EdfReader(str(path)) as reader:
        rates = reader.getSampleFrequencies()
        expected = np.stack([reader.readSignal(number) for number in range(reader.signals_in_file)], 1)
    assert len(set(rates)) == 1
    assert rate_of(path.read_bytes()) == rates[0]
    series = read_series(path.read_bytes(), 0)
    np.testing.assert_allclose(series, expected, atol=1e-6 * np.abs(expected).max())


def test_a_table_of_scikit_learn_is_read_and_learned_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sklearn.datasets import load_wine

    wine = load_wine(as_frame=True).frame
    wine.to_csv(tmp_path / "wine.csv", index=False)
    names = [name for name in wine.columns if name != "target"][:4]
    data = load_any(with_columns(str(tmp_path / "wine.csv"), {"table": "+".join(names)}))
    table = data.read("table", np.arange(len(data)))
    assert (len(data), table.names) == (len(wine), tuple(names))
    np.testing.assert_allclose(table.cells.numpy(), wine[names].to_numpy(), rtol=1e-5)
    words = ["train", "late", "--data", str(tmp_path / "wine.csv"), "--labels", "target"]
    words += ["--columns", f"table={'+'.join(names)}", "--steps", "2", "--batch-size", "16"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    assert "table rows of alcohol" in capsys.readouterr().out
