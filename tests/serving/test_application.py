"""The routes of the application, asked as a client asks them."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openai
import pytest
import torch
from starlette.testclient import TestClient

from counterpoint.data.pictures.single import raw_pictures
from counterpoint.models import Pretrained
from counterpoint.networks.towers.build import build_towers
from counterpoint.recipes.schema import Towers
from counterpoint.serving import Index, app
from counterpoint.serving import index as make_index
from counterpoint.serving.application.gallery import Gallery
from counterpoint.serving.requests.refusals import RequestError
from fixtures.served import served
from fixtures.vectors_folder import write_vectors

URL = "http://127.0.0.1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def index(folder: Path) -> Index:
    return served(folder)


@pytest.fixture(scope="module")
def client(index: Index) -> Iterator[TestClient]:
    with TestClient(app(index), base_url=URL) as asking:
        yield asking


@pytest.fixture(scope="module")
def png(folder: Path, index: Index) -> bytes:
    return (folder / "pairs" / "12.png").read_bytes()


def data_of(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


def test_embeddings_are_the_model_s(client: TestClient, index: Index, png: bytes) -> None:
    sent = ["a red car", {"image": data_of(png)}, "car"]
    answer = client.post("/v1/embeddings", json={"model": "default", "input": sent})
    assert answer.status_code == 200
    told = answer.json()
    texts = index.model.embed("text", ["a red car", "car"])
    picture = index.model.embed("image", raw_pictures([png], index.model.inputs["image"]))
    expected = torch.stack([texts[0], picture[0], texts[1]])
    given = torch.tensor([each["embedding"] for each in told["data"]])
    torch.testing.assert_close(given, expected, atol=1e-6, rtol=0)
    assert [each["index"] for each in told["data"]] == [0, 1, 2]
    # Byte pairs that were learned from three captions: "a", " red", " car" and the end; "car" and the end.
    tokens = int((index.model.text_tower.tokenizer(["a red car", "car"]) != 1).sum())
    assert told["usage"]["prompt_tokens"] == told["usage"]["total_tokens"]
    assert 0 < told["usage"]["total_tokens"] <= tokens


def test_the_client_of_openai(client: TestClient, index: Index) -> None:
    asking = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", http_client=client, max_retries=0)
    assert [model.id for model in asking.models.list()] == ["default"]
    expected = index.model.embed("text", ["a red car"])[0].numpy()
    for form in ("float", "base64"):
        answer = asking.embeddings.create(model="default", input="a red car", encoding_format=form)
        given = answer.data[0].embedding
        if form == "base64":
            assert isinstance(given, str)
            given = np.frombuffer(base64.b64decode(given), "<f4")
        np.testing.assert_allclose(given, expected, atol=1e-6)
    np.testing.assert_allclose(
        asking.embeddings.create(model="default", input=["a red car"]).data[0].embedding, expected, atol=1e-6
    )
    with pytest.raises(openai.BadRequestError, match="token ids are not taken"):
        asking.embeddings.create(model="default", input=[[1, 2, 3]])
    with pytest.raises(openai.BadRequestError, match="dimensions can only be 8"):
        asking.embeddings.create(model="default", input="a", dimensions=4)
    with pytest.raises(openai.NotFoundError, match="only default"):
        asking.embeddings.create(model="gpt", input="a")


def test_search_by_text_picture_and_item(client: TestClient, index: Index, png: bytes) -> None:
    vector = index.model.embed("text", ["red"]).numpy()
    expected = index.nearest(vector, 5, modality="image")[0].rows
    found = client.post("/v1/search", json={"query": "red", "k": 5, "modality": "image"}).json()["results"]
    assert [each["id"] for each in found] == expected["id"].to_list()
    assert found[0]["score"] == pytest.approx(expected["score"][0], abs=1e-6)
    assert found[0]["picture"] == f"/v1/items/{found[0]['id']}/picture?column=image"
    assert found[0]["labels"] == {"colour": expected["colour"][0]}
    for answer in (
        client.post("/v1/search", json={"image": data_of(png), "k": 3, "modality": "image"}),
        client.post("/v1/search?k=3&modality=image", content=png, headers={"Content-Type": "image/png"}),
    ):
        first = answer.json()["results"][0]
        assert (first["id"], first["modality"]) == (12, "image")
        assert first["score"] == pytest.approx(1, abs=1e-5)
    like = client.post("/v1/search", json={"id": 12, "k": 69, "modality": "image"}).json()["results"]
    assert 12 not in [each["id"] for each in like]
    assert len(like) == 69


def test_columns_of_one_modality_are_searched_by_texts(tmp_path: Path) -> None:
    columns = {"question": "text", "answer": "text"}
    written = {column: [f"{column} {row}" for row in range(6)] for column in columns}
    model = Pretrained(build_towers(Towers(vocabulary=300, context=8), written, 0, columns=columns)).eval()
    vectors = {column: model.embed(column, texts).numpy() for column, texts in written.items()}
    write_vectors(tmp_path / "faq", vectors, model="", fingerprint=model.fingerprint, shares_space=False)
    made = make_index(tmp_path / "faq")
    made.model = model
    with TestClient(app(made), base_url=URL) as asking:
        assert asking.get("/v1/about").json()["indexes"][0]["takes"] == ["text"]
        for modality in columns:
            asked = {"query": "question 3", "modality": modality, "k": 6}
            found = asking.post("/v1/search", json=asked).json()["results"]
            expected = made.search("question 3", 6, modality=modality).rows
            assert [each["id"] for each in found] == expected["id"].to_list()
        answer = asking.post("/v1/embeddings", json={"input": "question 3"}).json()["data"][0]["embedding"]
        assert answer == pytest.approx(vectors["question"][3].tolist(), abs=1e-5)


def test_spaces_that_are_apart_are_not_compared(index: Index, png: bytes, tmp_path: Path) -> None:
    vectors = {modality: np.eye(8, dtype=np.float32)[:4] for modality in ("image", "text")}
    told = {"model": index.about.model, "fingerprint": index.about.fingerprint, "shares_space": False}
    write_vectors(tmp_path / "apart", vectors, **told)
    with TestClient(app(make_index(tmp_path / "apart")), base_url=URL) as asking:
        for asked in ({"id": 100, "modality": "all"}, {"query": "a", "modality": "image"}):
            answer = asking.post("/v1/search", json=asked)
            assert answer.status_code == 400
            assert "the model's spaces are apart" in answer.json()["error"]["message"]
        assert asking.post("/v1/search", json={"id": 100, "modality": "text"}).status_code == 200
        answer = asking.post("/v1/zero-shot", json={"image": data_of(png), "labels": ["a", "b"]})
        assert answer.json()["error"]["param"] == "labels"


def test_a_label_may_be_called_like_anything(index: Index, tmp_path: Path) -> None:
    told = {"model": index.about.model, "fingerprint": index.about.fingerprint}
    vectors = {"image": np.eye(8, dtype=np.float32)[:4]}
    write_vectors(tmp_path / "vectors", vectors, label="position", **told)
    with TestClient(app(make_index(tmp_path / "vectors")), base_url=URL) as asking:
        assert asking.get("/v1/items/101").json()["labels"] == {"position": "blue"}


def test_a_condition_holds_before_the_search(client: TestClient) -> None:
    asked = {"query": "red", "k": 6, "where": "split = 'test'", "modality": "text"}
    found = client.post("/v1/search", json=asked).json()["results"]
    assert len(found) == 6
    assert {(each["split"], each["modality"]) for each in found} == {("test", "text")}


def test_zero_shot(client: TestClient, index: Index, png: bytes) -> None:
    labels = ["circle", "square", "ring"]
    texts = index.model.embed("text", [f"a {label} shape" for label in labels])
    picture = index.model.embed("image", raw_pictures([png], index.model.inputs["image"]))
    expected = dict(zip(labels, (picture @ texts.T)[0].tolist(), strict=True))
    template = "a {} shape"
    for answer in (
        client.post("/v1/zero-shot", json={"image": data_of(png), "labels": labels, "template": template}),
        client.post("/v1/zero-shot", json={"id": 12, "labels": labels, "template": template}),
        client.post(
            "/v1/zero-shot",
            params={"labels": labels, "template": template},
            content=png,
            headers={"Content-Type": "image/png"},
        ),
    ):
        told = answer.json()["labels"]
        assert {each["label"]: each["score"] for each in told} == pytest.approx(expected, abs=1e-5)
        scores = [each["score"] for each in told]
        assert scores == sorted(scores, reverse=True)


def test_items_and_their_pictures(client: TestClient) -> None:
    item = client.get("/v1/items/12").json()
    assert (item["id"], item["modalities"], item["picture"]) == (
        12,
        ["image", "text"],
        "/v1/items/12/picture?column=image",
    )
    picture = client.get("/v1/items/12/picture")
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.content.startswith(b"\xff\xd8\xff")
    assert client.get("/v1/items/999").status_code == 404


def test_a_row_that_has_the_id_by_now_is_not_shown_for_another(
    tmp_path: Path, folder: Path, index: Index, caplog: pytest.LogCaptureFixture
) -> None:
    """The ids of a folder's files are counted: with one more file they are other files'."""
    names = [f"{number:02}.png" for number in range(1, 13)]

    def put(number: int) -> None:
        shutil.copy(folder / "pairs" / f"{number}.png", tmp_path / f"{number:02}.png")

    def shown(id: int) -> bytes | str:
        gallery = Gallery(str(tmp_path))
        try:
            return gallery.picture(asyncio.run(gallery.opened()), id, names[id], None)[1]
        except RequestError as refusal:
            return refusal.message

    for number in range(1, 13):
        put(number)
    before = shown(3)
    assert isinstance(before, bytes)
    put(13)
    assert shown(3) == before
    assert "is not what was embedded" not in caplog.text
    put(0)
    assert shown(3) == "there is no picture of this item"
    assert "is not what was embedded: embed it again" in caplog.text


def test_it_says_what_it_is(client: TestClient, folder: Path) -> None:
    about = client.get("/v1/about")
    assert str(folder) not in about.text
    told = about.json()
    assert told["modalities"] == {"image": 70, "text": 70}
    assert told["attribution"] == "Shapes drawn by a test."
    assert (told["map"], told["against"], told["pictures"]) == (False, False, True)
    assert told["indexes"][0]["model"] == "transformers:clip"
    assert client.get("/v1/map").status_code == 404
    assert client.get("/health").json() == {"status": "alive"}
    assert client.get("/ready").json() == {"status": "ready"}
    metrics = client.get("/metrics").text
    assert 'counterpoint_requests_total{method="GET",route="/v1/about",status="200"}' in metrics
    assert "/v1/items/{id}/picture" in client.get("/openapi.json").json()["paths"]


def test_what_is_served_names_no_folder_of_mixed_data(tmp_path: Path) -> None:
    made = served(tmp_path)
    data = f"emoji + {tmp_path / 'pairs'},share=0.5 + /home/me/others"
    told = {"model": made.about.model, "fingerprint": made.about.fingerprint, "data": data}
    write_vectors(tmp_path / "mixed", {"image": made.vectors(np.arange(9))}, **told)
    mixed = make_index(tmp_path / "mixed")
    mixed.model = made.model
    about = TestClient(app(mixed), base_url=URL).get("/v1/about").json()
    assert about["data"] == "emoji + pairs,share=0.5 + others"


@pytest.mark.parametrize("origin", ["example.org", "https://example.org/", "https://", "*"])
def test_an_origin_that_no_browser_names_so_is_refused(origin: str, index: Index) -> None:
    with pytest.raises(ValueError, match="write scheme and host"):
        app(index, origins=(origin,))
