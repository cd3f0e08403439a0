"""Requests that mean harm: each gets one sentence, and nothing is fetched, opened or kept."""

from __future__ import annotations

import base64
import http.server
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from counterpoint.serving import Index, Limits, app
from fixtures.hostile import UPLOADS, Traps, png, saved
from fixtures.served import served

URL = "http://127.0.0.1"
_watched: list[tuple[str, tuple[Any, ...]]] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched is not None and event in {
        "open",
        "socket.connect",
        "subprocess.Popen",
        "os.posix_spawn",
        "os.mkdir",
    }:
        _watched.append((event, arguments))


sys.addaudithook(_watch)


class Canary:
    """A server that nobody may call, and a file that nobody may read.

    Attributes:
        calls: the addresses that were asked for.
    """

    def __init__(self, folder: Path) -> None:
        self.calls: list[str] = []
        self.path = folder / "canary.png"
        self.path.write_bytes(saved("PNG"))
        calls, picture = self.calls, self.path.read_bytes()

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                calls.append(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(picture)

            def log_message(self, *_: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/canary.png"


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canary]:
    made = Canary(tmp_path_factory.mktemp("canary"))
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Return an index whose model is one that its own library would let fetch pictures."""
    return served(tmp_path_factory.mktemp("served"), "sentence-transformers")


@pytest.fixture(scope="module")
def client(index: Index) -> Iterator[TestClient]:
    with TestClient(app(index), base_url=URL) as asking:
        assert asking.get("/v1/items/0/picture").status_code == 200  # the data is open from now on
        assert asking.post("/v1/search", json={"query": "a red car"}).status_code == 200
        assert asking.post("/v1/embeddings", json={"input": 3}).status_code == 400
        for form in ("PNG", "JPEG", "GIF", "WEBP"):  # so that no module is imported while others look on
            upload = {"content": saved(form), "headers": {"Content-Type": "image/png"}}
            assert asking.post("/v1/search", **upload).status_code == 200
        yield asking


@pytest.fixture
def opened() -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """Return what is opened, connected to or started while a test runs."""
    global _watched
    _watched = seen = []
    yield seen
    _watched = None


def is_refused(answer: Any) -> bool:
    """Check that an answer is one sentence of a refusal."""
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:500])
    told = answer.json()["error"]
    assert told.keys() == {"message", "type", "param", "code"}
    assert 0 < len(told["message"]) < 400
    assert "\n" not in told["message"]
    return True


def data_of(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


@pytest.mark.parametrize("name", UPLOADS)
def test_an_upload_is_refused(
    name: str, client: TestClient, canary: Canary, opened: list[tuple[str, tuple[Any, ...]]]
) -> None:
    content = UPLOADS[name](Traps(canary.address, str(canary.path)))
    opened.clear()
    for kind in ("image/png", "image/svg+xml"):
        assert is_refused(client.post("/v1/search", content=content, headers={"Content-Type": kind}))
    assert is_refused(client.post("/v1/embeddings", json={"input": [{"image": data_of(content)}]}))
    assert is_refused(client.post("/v1/zero-shot", json={"image": data_of(content), "labels": ["a"]}))
    assert not opened, "nothing is opened, connected to or started"
    assert not canary.calls


def test_what_looks_like_an_address_is_a_text(
    client: TestClient, index: Index, canary: Canary, opened: list[tuple[str, tuple[Any, ...]]]
) -> None:
    texts = [canary.address, str(canary.path), f"file://{canary.path}", data_of(canary.path.read_bytes())]
    expected = index.model.embed("text", texts).tolist()
    opened.clear()
    answer = client.post("/v1/embeddings", json={"input": texts}).json()
    assert [each["embedding"] for each in answer["data"]] == [pytest.approx(e, abs=1e-6) for e in expected]
    for text in texts:
        assert client.post("/v1/search", json={"query": text}).status_code == 200
        assert client.post("/v1/zero-shot", json={"id": 3, "labels": [text]}).status_code == 200
    for text in texts[:3]:
        assert is_refused(client.post("/v1/search", json={"image": text}))
        assert is_refused(client.post("/v1/zero-shot", json={"image": text, "labels": ["a"]}))
        assert is_refused(client.post("/v1/embeddings", json={"input": {"image": text}}))
        assert is_refused(client.post("/v1/embeddings", json={"input": [{"image": {"url": text}}]}))
    assert not opened
    assert not canary.calls


@pytest.mark.parametrize("text", ["\0", "a\0b", "\x01\x1b[31m\x7f", "\u2028\ufeff"])
def test_a_control_character_is_a_text_like_others(text: str, client: TestClient, index: Index) -> None:
    expected = index.model.embed("text", [text])[0].tolist()
    escaped = json.dumps({"input": text})  # as in "\\u0000"
    answer = client.post("/v1/embeddings", content=escaped, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200
    assert answer.json()["data"][0]["embedding"] == pytest.approx(expected, abs=1e-6)
    assert client.post("/v1/search", json={"query": text}).status_code == 200
    assert client.post("/v1/zero-shot", json={"id": 3, "labels": [text, "a"]}).status_code == 200
    for where in (f"text = '{text}'", f"text {text} = 'a'", text):
        assert client.post("/v1/search", json={"query": "a", "where": where}).status_code in (200, 400)


JSONS: dict[str, bytes] = {
    "nothing": b"",
    "half": b'{"query": "a',
    "no json": b"query=a",
    "not utf-8": b'{"query": "\xff\xfe"}',
    "half a surrogate": b'{"query": "\\ud800"}',
    "a list": b'["a"]',
    "a text": b'"a"',
    "null": b"null",
    "deep lists": b'{"query": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"query": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "a control character": b'{"query": "a\x00\x07"}',
    "an empty query": b'{"query": "  "}',
    "a million characters": b'{"query": "' + b"a" * 1_000_000 + b'"}',
    "query and picture": b'{"query": "a", "image": "data:image/png;base64,AAAA"}',
    "an unknown field": b'{"query": "a", "url": "http://127.0.0.1/"}',
    "a query of numbers": b'{"query": [1, 2]}',
    "an id of words": b'{"id": "../../etc/passwd"}',
    "an id of a fraction": b'{"id": 1.5}',
    "an id of many digits": b'{"id": ' + b"9" * 4_000 + b"}",
    "an id below all": b'{"id": -9223372036854775809}',
    "no results": b'{"query": "a", "k": 0}',
    "fewer than none": b'{"query": "a", "k": -5}',
    "results of a float": b'{"query": "a", "k": NaN}',
    "infinite results": b'{"query": "a", "k": Infinity}',
    "denormal results": b'{"query": "a", "k": 5e-324}',
    "more results than rows": b'{"query": "a", "k": 141}',
    "more results than are given": b'{"query": "a", "k": 1000000}',
    "no condition": b'{"query": "a", "where": "DROP TABLE rows"}',
    "a condition on what is not there": b'{"query": "a", "where": "nobody = 1"}',
    "another modality": b'{"query": "a", "modality": "audio"}',
    "another index": b'{"query": "a", "index": "against"}',
    "an index of words": b'{"query": "a", "index": "../other"}',
    "a picture of numbers": b'{"image": 3}',
    "a picture that is no base64": b'{"image": "data:image/png;base64,@@@@"}',
    "a picture of half a base64": b'{"image": "data:image/png;base64,AAA"}',
    "a picture of numbers that are none": b'{"image": "data:image/png;base64,AADAfwAAwH8BAAAA"}',
    "a text as a picture": b'{"image": "data:text/html;base64,AAAA"}',
    "a picture without base64": b'{"image": "data:image/png,AAAA"}',
}


@pytest.mark.parametrize("name", JSONS)
def test_a_body_is_refused(name: str, client: TestClient) -> None:
    assert is_refused(
        client.post("/v1/search", content=JSONS[name], headers={"Content-Type": "application/json"})
    )


@pytest.mark.parametrize("content", [b"null", b"[]", b"3"])
def test_a_body_that_is_no_object_is_refused_in_a_whole_sentence(content: bytes, client: TestClient) -> None:
    answer = client.post("/v1/embeddings", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "the body must be a JSON object: names and values in braces"


INPUTS: dict[str, Any] = {
    "nothing": {},
    "no input": {"input": None},
    "an empty text": {"input": ""},
    "an empty list": {"input": []},
    "an empty text among others": {"input": ["a", ""]},
    "token ids": {"input": [1, 2, 3]},
    "lists of token ids": {"input": [[1, 2], [3]]},
    "a number": {"input": 3},
    "a text and a number": {"input": ["a", 3]},
    "an unknown object": {"input": [{"text": "a"}]},
    "an object with more": {"input": [{"image": "data:image/png;base64,AAAA", "url": "x"}]},
    "257 texts": {"input": ["a"] * 257},
    "too many characters": {"input": ["a" * 50_000, "b" * 50_001]},
    "another model": {"input": "a", "model": "text-embedding-3-small"},
    "a model of numbers": {"input": "a", "model": 3},
    "another encoding": {"input": "a", "encoding_format": "int8"},
    "fewer dimensions": {"input": "a", "dimensions": 4},
    "no dimensions": {"input": "a", "dimensions": 0},
}


@pytest.mark.parametrize("name", INPUTS)
def test_an_input_is_refused(name: str, client: TestClient) -> None:
    assert is_refused(client.post("/v1/embeddings", json=INPUTS[name]))


@pytest.mark.parametrize(
    "asked",
    [
        {"labels": ["a"]},
        {"id": 3, "image": data_of(saved("PNG")), "labels": ["a"]},
        {"id": 3, "labels": []},
        {"id": 3, "labels": "a"},
        {"id": 3, "labels": ["a", ""]},
        {"id": 3, "labels": ["a"] * 257},
        {"id": 3, "labels": ["a"], "template": "a photo"},
        {"id": 3, "labels": ["a"], "template": "{} {}"},
        {"id": 3, "labels": ["a" * 99] * 256, "template": "{}" + "a" * 400},
        {"id": 999, "labels": ["a"]},
    ],
    ids=range(10),
)
def test_labels_are_refused(asked: dict[str, Any], client: TestClient) -> None:
    assert is_refused(client.post("/v1/zero-shot", json=asked))


IDS = (
    *(
        "..",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "1%00",
        "%00",
        "1%2f..%2f2",
        "x",
    ),
    *(
        "1.5",
        "-1",
        "+1",
        " 1",
        "1e3",
        "1_0",
        "0x10",
        "NaN",
        "9" * 19,
        "9" * 400,
        "9" * 60_000,
        "%ff",
        "٣",
        "1;2",
        "null",
    ),
)


@pytest.mark.parametrize("id", IDS, ids=lambda id: id[:20])
@pytest.mark.parametrize("tail", ["", "/picture"])
def test_an_id_is_refused(id: str, tail: str, client: TestClient) -> None:
    answer = client.get(f"/v1/items/{id}{tail}")
    assert is_refused(answer)
    assert answer.json()["error"]["message"] in {
        "an id is a whole number",
        "there is no item of this id",
        "there is no such route",
    }


def test_limits_can_be_changed(index: Index) -> None:
    limits = Limits(body=5_000, pixels=400, formats=("png",), inputs=2, characters=10, results=3)
    asking = TestClient(app(index, limits=limits), base_url=URL)

    def upload(content: bytes) -> Any:
        return asking.post("/v1/search", content=content, headers={"Content-Type": "image/png"})

    assert upload(png(20, 20)).status_code == 200
    assert is_refused(upload(png(20, 21)))
    assert is_refused(upload(saved("GIF", 8)))
    assert upload(bytes(5_001)).status_code == 413
    assert asking.post("/v1/embeddings", json={"input": ["a" * 5] * 2}).status_code == 200
    assert is_refused(asking.post("/v1/embeddings", json={"input": ["a" * 5, "a" * 6]}))
    assert is_refused(asking.post("/v1/embeddings", json={"input": ["a"] * 3}))
    assert asking.post("/v1/search", json={"query": "a", "k": 3}).status_code == 200
    assert is_refused(asking.post("/v1/search", json={"query": "a", "k": 4}))


def test_nothing_of_a_request_is_logged(
    client: TestClient, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    secret = "moonstone"
    client.post("/v1/search", json={"query": secret})
    client.post("/v1/search", json={"query": secret, "where": f"split = '{secret}"})
    client.post(f"/v1/search?where={secret}", content=b"x", headers={"Content-Type": "image/png"})
    client.get(f"/v1/items/{secret}")
    client.post("/v1/embeddings", json={"input": secret, "model": secret})
    captured = capfd.readouterr()
    metrics = client.get("/metrics").text
    written = [record.getMessage() for record in caplog.records if not record.name.startswith("httpx")]
    assert secret not in json.dumps([*written, captured.out, captured.err, metrics])
