"""Two indexes side by side, an index without data to show, and one of a model of texts alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

import counterpoint as cp
from counterpoint.serving import Index, app, index
from fixtures import foreign
from fixtures.files import write_pairs
from fixtures.served import served
from fixtures.vectors_folder import unit_vectors, write_vectors

URL = "http://127.0.0.1"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return served(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def second(first: Index, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Return an index of the same rows by a model of texts alone."""
    folder = tmp_path_factory.mktemp("second")
    reference = f"sentence-transformers:{foreign.sentences(folder / 'model')}"
    model = cp.load(reference)
    rows = first.table.filter(modality="text")
    texts = rows["text"].to_list()
    write_vectors(
        folder / "vectors",
        {"text": model.embed("text", texts).numpy()},
        texts=texts,
        ids=rows["id"].to_numpy(),
        keys=rows["key"].to_list(),
        model=reference,
        fingerprint=model.fingerprint,
        data=first.about.data,
    )
    return index(folder / "vectors")


def test_both_are_searched_by_their_own_models(first: Index, second: Index) -> None:
    asking = TestClient(app(first, against=second), base_url=URL)
    assert [each["id"] for each in asking.get("/v1/models").json()["data"]] == ["default", "against"]
    about = asking.get("/v1/about").json()
    assert about["against"]
    assert [(each["index"], each["width"], each["embeds"]) for each in about["indexes"]] == [
        ("first", 8, ["image", "text"]),
        ("against", 16, ["text"]),
    ]
    for side, one in (("first", first), ("against", second)):
        asked = {"query": "a red car", "k": 3, "modality": "text", "index": side}
        found = asking.post("/v1/search", json=asked).json()["results"]
        expected = one.search("a red car", 3, modality="text").rows
        assert [each["id"] for each in found] == expected["id"].to_list()
    for model, width in (("default", 8), ("against", 16)):
        answer = asking.post("/v1/embeddings", json={"input": "car", "model": model}).json()
        assert answer["model"] == model
        assert len(answer["data"][0]["embedding"]) == width


def test_a_model_of_texts_alone_says_so(second: Index) -> None:
    asking = TestClient(app(second), base_url=URL)
    for path, asked in (
        ("/v1/search", {"image": "data:image/png;base64,AAAA"}),
        ("/v1/embeddings", {"input": {"image": "data:image/png;base64,AAAA"}}),
        ("/v1/zero-shot", {"id": 3, "labels": ["a"]}),
    ):
        answer = asking.post(path, json=asked)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"] == "the model embeds no pictures, only text"
    assert asking.post("/v1/search", json={"id": 3}).status_code == 200


def test_indexes_of_different_rows_are_refused(first: Index, tmp_path: Path) -> None:
    write_vectors(tmp_path, {"image": unit_vectors(10, 8, 0), "text": unit_vectors(10, 8, 1)}, data="others")
    with pytest.raises(ValueError, match=r"different rows: 70 of .*, and 10 of others; embed the same data"):
        app(first, against=index(tmp_path))


def test_a_model_that_is_not_the_one_of_the_vectors_is_refused(tmp_path: Path) -> None:
    reference = f"transformers:{foreign.clip(tmp_path / 'clip')}"
    write_vectors(tmp_path / "vectors", {"image": unit_vectors(10, 8, 0)}, model=reference)
    with pytest.raises(ValueError, match=f"{cp.load(reference).fingerprint}.*{'f' * 32}"):
        app(index(tmp_path / "vectors"))


def test_search_goes_on_where_the_data_is_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = served(tmp_path)
    shutil.rmtree(made.about.data)
    asking = TestClient(app(made), base_url=URL)
    assert asking.get("/v1/items/3/picture").status_code == 404  # waits until it is known
    assert not asking.get("/v1/about").json()["pictures"]
    found = asking.post("/v1/search", json={"query": "red", "k": 1}).json()["results"]
    assert found[0]["picture"] is None
    assert "without pictures" in caplog.text


def test_pictures_are_shown_small_whole_and_upright(tmp_path: Path) -> None:
    from PIL import Image

    made = served(tmp_path)
    turned = Image.Exif()
    turned[0x0112] = 6
    source = write_pairs(tmp_path / "pairs").parent
    noise = np.random.default_rng(0).integers(0, 256, (600, 1200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(source / "3.png", "JPEG", exif=turned)
    asking = TestClient(app(made), base_url=URL)
    (tmp_path / "shown.jpg").write_bytes(asking.get("/v1/items/3/picture").content)
    with Image.open(tmp_path / "shown.jpg") as shown:
        assert (shown.format, shown.size) == ("JPEG", (256, 512))


def test_a_map_is_given_as_columns(first: Index) -> None:
    mapped = cp.serving.index(Path(first.about.data).parent / "vectors", map="pca")
    mapped.model = first.model
    asking = TestClient(app(mapped), base_url=URL)
    told = asking.get("/v1/map").json()
    assert told["modalities"] == ["image", "text"]
    assert told["id"] == mapped.table["id"].to_list()
    assert [told["modalities"][place] for place in told["modality"]] == mapped.table["modality"].to_list()
    np.testing.assert_allclose(told["x"], mapped.table["x"].to_numpy(), atol=1e-4)
    assert asking.get("/v1/about").json()["map"]
