"""The right to ask, and its bounds: hosts, origins, tokens, bodies, times and numbers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from counterpoint.serving import Index, Limits, app
from counterpoint.serving.requests.gate import Gate
from fixtures.served import served

URL = "http://127.0.0.1"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return served(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def client(index: Index) -> Iterator[TestClient]:
    with TestClient(app(index), base_url=URL) as asking:
        yield asking


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", "/v1/nothing", "/metrics", "/openapi.json"])
def test_headers_of_safety_are_on_every_answer(path: str, client: TestClient) -> None:
    for answer in (client.get(path), client.get(path, headers={"Host": "evil.example"})):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in answer.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8000", 200),
        ("localhost:9", 200),
        ("LOCALHOST", 200),
        ("[::1]:8000", 200),
        ("evil.example", 421),
        ("evil.example:8000", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost@evil.example", 421),
        ("10.0.0.1", 421),
        ("[::2]", 421),
        ("[::1", 421),
        ("", 421),
        ("localhost\\.evil.example", 421),
    ],
)
def test_another_host_is_refused(host: str, status: int, client: TestClient) -> None:
    assert client.get("/v1/models", headers={"Host": host}).status_code == status
    assert client.get("/", headers={"Host": host}).status_code == status


def test_more_hosts_by_name_and_by_address(index: Index) -> None:
    asking = TestClient(app(index, hosts=("search.example", "0.0.0.0")), base_url=URL)
    for host, status in {
        "search.example": 200,
        "10.0.0.1:80": 200,
        "evil.example": 421,
        "[::1]": 421,
    }.items():
        assert asking.get("/health", headers={"Host": host}).status_code == status
    any_address = TestClient(app(index, hosts=("::",)), base_url=URL)
    for host, status in {"10.0.0.1": 200, "[fe80::1]:80": 200, "evil.example": 421}.items():
        assert any_address.get("/health", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://127.0.0.1.evil.example",
        "file://",
        "",
        "http://[",
        "http://[::1",
    ],
)
def test_pages_of_other_origins_may_not_ask(origin: str, client: TestClient) -> None:
    for method, path in (("POST", "/v1/search"), ("GET", "/v1/models"), ("OPTIONS", "/v1/search")):
        answer = client.request(method, path, headers={"Origin": origin})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


def test_an_origin_that_is_named_may_ask(index: Index, client: TestClient) -> None:
    assert client.get("/v1/models", headers={"Origin": URL}).status_code == 200
    made = app(index, origins=("https://friend.example",), token="word")
    asking, headers = TestClient(made, base_url=URL), {"Origin": "https://friend.example"}
    before = asking.options("/v1/search", headers={**headers, "Access-Control-Request-Method": "POST"})
    assert before.status_code == 204
    assert before.headers["access-control-allow-origin"] == "https://friend.example"
    assert "authorization" in before.headers["access-control-allow-headers"].lower()
    assert asking.get("/v1/models", headers=headers).status_code == 401
    answer = asking.get("/v1/models", headers={**headers, "Authorization": "Bearer word"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://friend.example"
    assert "Origin" in answer.headers["vary"]
    other = {"Origin": "https://enemy.example", "Authorization": "Bearer word"}
    assert asking.get("/v1/models", headers=other).status_code == 403


@pytest.mark.parametrize(
    "given",
    [None, "", "word", "Bearer", "Bearer ", "Bearer wor", "Bearer words", "Basic word", "Bearer wörd"],
)
def test_a_token_is_required_for_data_alone(given: str | None, index: Index) -> None:
    asking = TestClient(app(index, token="word"), base_url=URL)
    headers = {} if given is None else {"Authorization": given.encode()}
    messages = set()
    for path in ("/v1/models", "/v1/items/3/picture", "/v1/nothing", "/metrics", "/openapi.json"):
        answer = asking.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        messages.add(answer.json()["error"]["message"])
    assert asking.post("/v1/search", json={"query": "a"}, headers=headers).status_code == 401
    assert len(messages) == 1, "the message says nothing about the token that was given"
    for path in ("/", "/health", "/ready"):
        assert asking.get(path, headers=headers).status_code == 200
    assert asking.get("/v1/models", headers={"Authorization": "Bearer word"}).status_code == 200
    assert asking.get("/v1/models", headers={"Authorization": "bearer word"}).status_code == 200


def test_token_and_bounds_hold_below_path_that_it_is_mounted_at(index: Index) -> None:
    made = app(index, token="word", limits=Limits(body=100))
    allowed = {"Authorization": "Bearer word"}
    for asking in (
        TestClient(Starlette(routes=[Mount("/below", made)]), base_url=URL),
        TestClient(made, base_url=URL, root_path="/below"),
    ):
        for path in ("/v1/models", "/v1/items/3", "/metrics", "/openapi.json"):
            assert asking.get(f"/below{path}").status_code == 401
            assert asking.get(f"/below{path}", headers=allowed).status_code == 200
        assert asking.get("/below/health").status_code == 200
        assert asking.post("/below/v1/search", content=b"x" * 101, headers=allowed).status_code == 413


@pytest.mark.parametrize(
    "method", ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND", "OPTIONS", "HEAD"]
)
@pytest.mark.parametrize("path", ["/v1/search", "/v1/models", "/v1/items/3", "/health", "/page.js", "/"])
def test_another_method_is_refused(method: str, path: str, client: TestClient) -> None:
    answer = client.request(method, path)
    assert answer.status_code in ({200, 405} if method == "HEAD" else {405})
    assert client.get("/v1/search").status_code == client.post("/v1/models").status_code == 405


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x"]
)
def test_another_content_is_refused(kind: str | None, client: TestClient) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    for path in ("/v1/search", "/v1/embeddings", "/v1/zero-shot"):
        assert client.post(path, content=b'{"query": "a"}', headers=headers).status_code == 415


@pytest.mark.parametrize(
    ("length", "status"),
    [
        ("-1", 400),
        ("1e3", 400),
        ("+3", 400),
        ("abc", 400),
        ("٣", 400),
        ("", 400),
        ("10000001", 413),
        ("9" * 99, 413),
    ],
)
def test_a_false_content_length_is_refused(length: str, status: int, client: TestClient) -> None:
    headers = {"Content-Length": length.encode(), "Content-Type": "application/json"}
    assert client.post("/v1/search", content=b"{}", headers=headers).status_code == status


def test_paths_of_the_page_lead_nowhere_else(client: TestClient) -> None:
    inside = ("/../server.py", "/..%2fserver.py", "/%2e%2e/server.py", "/page.js%00", "/.env", "//etc/passwd")
    for path in (*inside, "/" + "a" * 9_000):
        assert client.get(path).status_code == 404


# The gate


class Asked:
    """A request to a layer, whose body comes in parts when the test says so."""

    def __init__(self, path: str = "/v1/x", headers: dict[str, str] | None = None) -> None:
        told = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        self.scope: Scope = {"type": "http", "method": "POST", "path": path, "headers": told}
        self.parts: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: list[Message] = []

    def part(self, content: bytes, *, more: bool = True) -> None:
        self.parts.put_nowait({"type": "http.request", "body": content, "more_body": more})

    def gone(self) -> None:
        self.parts.put_nowait({"type": "http.disconnect"})

    async def of(self, layer: Any) -> int | None:
        """Ask, and return the status of the answer; None where there is none."""

        async def send(message: Message) -> None:
            self.sent.append(message)

        await layer(self.scope, self.parts.get, send)
        return self.sent[0]["status"] if self.sent else None

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])


class Below:
    """An application that answers when the test says so.

    Attributes:
        bodies: what has reached it.
    """

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.answer = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.bodies.append((await receive())["body"])
        await self.answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_the_queue_is_bounded_and_empties() -> None:
    async def go() -> None:
        below, counts = Below(), []
        gate = Gate(below, Limits(queue=3), counts.append)

        def asked() -> tuple[Asked, asyncio.Task[int | None]]:
            one = Asked()
            one.part(b"", more=False)
            return one, asyncio.create_task(one.of(gate))

        waiting = [asked()[1] for _ in range(3)]
        await _settle()
        more, task = asked()
        assert await task == 503
        assert more.headers[b"retry-after"] == b"1"
        free = Asked("/health")
        free.part(b"", more=False)
        waiting.append(asyncio.create_task(free.of(gate)))  # health is told whatever is in hand
        await _settle()
        assert len(below.bodies) == 4
        below.answer.set()
        assert [await task for task in waiting] == [200] * 4
        assert await asked()[1] == 200
        assert max(counts) == 3
        assert counts[-1] == 0

    anyio.run(go)


def test_a_body_that_is_too_long_is_refused_while_it_comes() -> None:
    async def go() -> None:
        below = Below()
        gate = Gate(below, Limits(body=100), lambda _: None)
        one = Asked()
        task = asyncio.create_task(one.of(gate))
        one.part(bytes(60))
        one.part(bytes(60))
        assert await task == 413
        assert not below.bodies
        gone = Asked()
        task = asyncio.create_task(gone.of(gate))
        gone.part(bytes(60))
        gone.gone()
        assert await task is None
        assert not below.bodies

    anyio.run(go)


def test_bodies_are_bounded_together() -> None:
    async def go() -> None:
        gate = Gate(Below(), Limits(body=100), lambda _: None)
        many = [Asked() for _ in range(17)]
        tasks = [asyncio.create_task(one.of(gate)) for one in many]
        for one in many:
            one.part(bytes(100))
        await _settle()
        assert [task.done() for task in tasks] == [False] * 16 + [True]
        assert tasks[-1].result() == 503
        for one in many:
            one.gone()
        await asyncio.gather(*tasks)
        again = Asked()
        task = asyncio.create_task(again.of(gate))
        again.part(bytes(100))
        await _settle()
        assert not task.done(), "the room of those that are gone is free again"
        task.cancel()

    anyio.run(go)


def test_time_is_bounded() -> None:
    async def go() -> None:
        below = Below()
        gate = Gate(below, Limits(seconds=0.05), lambda _: None)
        slow = Asked()
        slow.part(b"{")
        assert await slow.of(gate) == 408
        waits = Asked()
        waits.part(b"{}", more=False)
        assert await waits.of(gate) == 503
        assert b"retry-after" not in waits.headers
        error = json.loads(waits.sent[1]["body"])["error"]
        assert error["code"] == "too_slow"
        assert "took longer than 0.05 seconds; send fewer" in error["message"]

    anyio.run(go)


def test_error_that_comes_again_and_again_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    async def go() -> None:
        gate = Gate(fails, Limits(), lambda _: None)
        for _ in range(100):
            assert await Asked("/health").of(gate) == 500

    anyio.run(go)
    assert len(caplog.records) == 7, "the 1st, 2nd, 4th, … 64th"
    assert caplog.records[-1].message.endswith("(64 times)")


def test_an_error_below_is_told_and_logged_without_words(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("moonstone")

    async def go() -> None:
        one = Asked()
        one.part(b"{}", more=False)
        assert await one.of(Gate(fails, Limits(), lambda _: None)) == 500
        assert b"moonstone" not in one.sent[1]["body"]

    anyio.run(go)
    assert "RuntimeError in fails" in caplog.text
    assert "moonstone" not in caplog.text


# A server's own options


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_token_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    from counterpoint.serving.application.server import token_of

    file = tmp_path / "token"
    file.write_text("word\n")
    file.chmod(mode)
    with pytest.raises(ValueError, match="chmod 600"):
        token_of(file)
    file.chmod(0o600)
    assert token_of(file) == "word"
    for content in ("", "\n", "two words", "wörd"):
        file.write_text(content)
        with pytest.raises(ValueError, match="one word"):
            token_of(file)
    with pytest.raises(FileNotFoundError, match="no token file"):
        token_of(tmp_path / "nothing")


def test_a_file_that_is_no_text_holds_no_token(tmp_path: Path) -> None:
    from counterpoint.serving.application.server import token_of

    (tmp_path / "token").write_bytes(b"\xff\xfe")
    (tmp_path / "token").chmod(0o600)
    with pytest.raises(ValueError, match=r"token must hold a token: one word of ASCII"):
        token_of(tmp_path / "token")
