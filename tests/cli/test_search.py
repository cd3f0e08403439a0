"""The commands index and search: what they print, and what they refuse in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import counterpoint as cp
from counterpoint.cli import main
from counterpoint.data.pictures.single import raw_pictures
from fixtures import foreign
from fixtures.vectors_folder import unit_vectors, write_vectors

TEXTS = ["a red car", "a [b]blue[/x] car", "a road"]
PICTURES = [np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8) for seed in range(3)]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the vectors of three pictures and their texts, and an index of them."""
    folder = tmp_path_factory.mktemp("work")
    name = f"transformers:{foreign.clip(folder / 'model')}"
    model = cp.load(name)
    shown = raw_pictures([Image.fromarray(pixels) for pixels in PICTURES], model.inputs["image"])
    made = {"image": model.embed("image", shown).numpy(), "text": model.embed("text", TEXTS).numpy()}
    write_vectors(folder / "vectors", made, model=name, fingerprint=model.fingerprint, texts=TEXTS)
    Image.fromarray(PICTURES[2]).save(folder / "picture.png")
    assert main(["index", str(folder / "vectors"), "--out", str(folder / "index"), "--map", "pca"]) == 0
    return folder


def searched(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    assert main(["search", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_index_says_what_it_made(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(work / "vectors"), "--out", str(work / "graph"), "--kind", "hnsw"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{work / 'graph'}: 6 vectors (3 of image, 3 of text), kind hnsw"
    assert second == f'search it: counterpoint search {work / "graph"} "…"'


def test_an_index_of_pictures_alone_is_searched_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_vectors(tmp_path / "vectors", {"image": unit_vectors(3, 8, 0)}, shares_space=False)
    assert main(["index", str(tmp_path / "vectors"), "--out", str(tmp_path / "index")]) == 0
    assert capsys.readouterr().out.rstrip().endswith(f"counterpoint search {tmp_path / 'index'} --image FILE")


def test_search_by_a_text_a_picture_and_a_file_of_texts(
    work: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    index = str(work / "index")
    (first, *_) = rows = searched(capsys, index, "a road", "--k", "4", "--modality", "text")
    assert len(rows) == 3
    assert first["text"] == "a road"
    assert first["score"] == pytest.approx(1, abs=1e-6)
    assert list(first) == ["score", "id", "key", "modality", "split", "text", "colour", "x", "y"]
    (first, *_) = searched(capsys, index, "--image", str(work / "picture.png"), "--modality", "image")[:1]
    assert first["id"] == 102
    (tmp_path / "queries.txt").write_text("a road\n\n  \na red car\n")
    several = searched(
        capsys, index, "--queries", str(tmp_path / "queries.txt"), "--k", "1", "--modality", "text"
    )
    assert [one["query"] for one in several] == ["a road", "a red car"]
    assert [one["results"][0]["text"] for one in several] == ["a road", "a red car"]  # type: ignore[index] # a list of rows


def test_search_prints_a_table_with_texts_as_they_are(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(work / "index"), "a red car", "--k", "6", "--modality", "all"]) == 0
    said = capsys.readouterr().out
    assert "a [b]blue[/x] car" in said
    assert "1.000" in said
    assert said.rstrip().endswith("Shapes drawn by a test.")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["index"], "give one of these: a text, --image FILE, --file FILE, or --queries FILE"),
        (["index", "a car", "--image", "picture.png"], "give one of these"),
        (["index", ""], "the query is empty"),
        (["index", "--queries", "empty.txt"], "empty.txt holds no query: write one a line"),
        (["index", "--queries", "picture.png"], "picture.png is no text in UTF-8"),
        (["index", "--queries", "gone.txt"], "there is no file gone.txt"),
        (["index", "--image", "empty.txt"], "empty.txt cannot be read as a picture"),
        (["index", "a car", "--k", "7"], "k is 7, and the index has 6 rows"),
        (["index", "a car", "--k", "0"], "--k must be at least 1, got 0"),
        (["index", "a car", "--k", "3", "--where", "splot = 'a'"], "unknown column 'splot': did you mean 'split'?"),
        (["index", "a car", "--k", "3", "--where", "split ="], "no SQL condition"),
        (["index", "a car", "--k", "3", "--modality", "txt"], "unknown modality of the index 'txt': did you mean"),
        (["gone", "a car"], "there is no index at gone: make one with counterpoint index VECTORS --out gone"),
        (["vectors", "a car"], "vectors is no index: it has no index.json"),
        (["changed", "a car", "--k", "3"], "theirs 00000000000000000000000000000000"),
    ],
)  # fmt: skip
def test_one_line_says_what_is_wrong_with_a_search(
    words: list[str],
    message: str,
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(work)
    (work / "empty.txt").write_text("\n \n")
    if words[0] == "changed" and not (work / "changed").exists():
        model = f"transformers:{work / 'model'}"
        write_vectors(work / "old", {"text": unit_vectors(9, 12, 0)}, model=model, fingerprint="0" * 32)
        assert main(["index", "old", "--out", "changed"]) == 0
    assert main(["search", *words]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("counterpoint search: ")
    assert message in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone", "--out", "new"], "gone is no folder: make some with counterpoint embed"),
        (["vectors", "--out", "new", "--kind", "hnws"], "unknown kind of index 'hnws': did you mean 'hnsw'?"),
        (["vectors", "--out", "vectors"], "vectors is no index: it has no index.json"),
        (["vectors", "--out", "index", "--kind", "ivf"], "index is an index of kind exact, not ivf"),
        (
            ["vectors", "--out", "s3://b/d", "--kind", "exact"],
            "is kept in a folder, not at s3://b/d; give --kind",
        ),
        (["vectors", "--out", "picture.png"], "picture.png is no index"),
    ],
)
def test_one_line_says_what_is_wrong_with_an_index(
    words: list[str],
    message: str,
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(work)
    assert main(["index", *words]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("counterpoint index: ")
    assert message in line
    assert not (work / "new").exists()


def test_a_mark_before_a_file_of_texts_is_no_part_of_the_first(
    work: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "lines.txt").write_text("a red car\n", encoding="utf-8-sig")
    (first,) = searched(capsys, str(work / "index"), "--queries", str(tmp_path / "lines.txt"))
    assert first["query"] == "a red car"
