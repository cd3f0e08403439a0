"""A server process under load, and clients that behave badly."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest

import counterpoint as cp
from fixtures.hostile import UPLOADS, Traps, saved
from fixtures.served import served

pytestmark = [pytest.mark.slow, pytest.mark.system]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """One connection to a server, kept open from request to request."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: Any = None
        self.writer: Any = None

    async def ask(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Answer:
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(head(method, path, len(content), kind) + content)
        await self.writer.drain()
        return await self.answer()

    async def answer(self) -> Answer:
        start, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        if (length := headers.get("content-length")) is not None:
            body = await self.reader.readexactly(int(length))
        else:
            body = await self.reader.read()  # what is no HTTP is refused below the application
        if headers.get("connection") == "close":
            self.close()
        return Answer(int(start.split()[1]), headers, body)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None


def head(method: str, path: str, length: int, kind: str = "application/json") -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Type: {kind}",
        f"Content-Length: {length}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Server:
    """A process that serves an index.

    Attributes:
        port: that it listens on.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        words = [sys.executable, "-m", "counterpoint", "serve", str(folder), "--port", "0", *options]
        environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "COUNTERPOINT_CACHE": str(folder.parent / "cache"),
        }
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        assert self.process.stdout is not None
        self.said = ""
        for line in self.process.stdout:
            self.said += line
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                break
        else:
            pytest.fail(self.said)

    def ask(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Answer:
        async def go() -> Answer:
            connection = Connection(self.port)
            try:
                return await connection.ask(method, path, body, kind)
            finally:
                connection.close()

        return anyio.run(go)

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        self.said += self.process.communicate(timeout=60)[0]
        return self.process.returncode

    # What the system says of the process

    def status(self, name: str) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
        assert found is not None
        return int(found[1])

    @property
    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def closes_all_but(self, files: int) -> bool:
        """Wait until no more files are open: the server hears a little later that a connection was closed."""
        for _ in range(100):
            if self.files <= files:
                return True
            time.sleep(0.1)
        return False

    @property
    def processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def statuses(self) -> Counter[str]:
        """Return how many requests were answered with which status."""
        lines = self.ask("GET", "/metrics").body.decode().splitlines()
        found = (re.match(r'counterpoint_requests_total\{.*status="(\w+)"\} (\S+)', line) for line in lines)
        counts: Counter[str] = Counter()
        for each in filter(None, found):
            counts[each[1]] += int(float(each[2]))
        return counts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("served")
    served(made)
    cp.serving.index(made / "vectors", made / "index")
    return made / "index"


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    made = Server(folder)
    yield made
    if made.process.poll() is None:
        made.end()


@pytest.fixture
def hasty(folder: Path) -> Iterator[Server]:
    """Return a server that waits for two seconds."""
    made = Server(folder, "--seconds", "2")
    yield made
    if made.process.poll() is None:
        made.end()


def mixed(number: int) -> tuple[str, str, Any, str]:
    """Return one of several kinds of requests; some of them are wrong."""
    picture = saved("PNG", 32 + number % 7)
    address = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    plain = "application/json"
    return [
        ("POST", "/v1/embeddings", {"input": [f"a red car {number}", "car"]}, plain),
        ("POST", "/v1/search", {"query": f"blue {number}", "k": 5}, plain),
        ("POST", "/v1/search?k=3", picture, "image/png"),
        ("POST", "/v1/search", {"image": address, "where": "split = 'train'"}, plain),
        ("POST", "/v1/search", {"id": number % 70}, plain),
        ("POST", "/v1/zero-shot", {"id": number % 70, "labels": ["a", "b"]}, plain),
        ("GET", f"/v1/items/{number % 70}", None, plain),
        ("GET", f"/v1/items/{number % 70}/picture", None, plain),
        ("GET", "/", None, plain),
        ("POST", "/v1/search", {"query": "", "k": 5}, plain),
        ("POST", "/v1/search", picture[:99], "image/png"),
        ("GET", f"/v1/items/{number + 70}", None, plain),
    ][number % 12]


EXPECTED = [200] * 9 + [400, 400, 404]


async def ask_mixed(port: int, numbers: range, at_once: int) -> Counter[tuple[int, int]]:
    """Ask many times, so many at once, and count expected and given statuses."""
    counts: Counter[tuple[int, int]] = Counter()
    left = iter(numbers)

    async def one() -> None:
        connection = Connection(port)
        for number in left:
            answer = await connection.ask(*mixed(number))
            counts[EXPECTED[number % 12], answer.status] += 1
        connection.close()

    await asyncio.gather(*(one() for _ in range(at_once)))
    return counts


def test_ten_thousand_requests_leave_nothing_behind(server: Server) -> None:
    anyio.run(ask_mixed, server.port, range(600), 16)
    files, threads, memory = server.files, server.status("Threads"), server.status("VmRSS")
    counts = anyio.run(ask_mixed, server.port, range(10_000), 16)
    assert sum(counts.values()) == 10_000
    assert all(expected == given for expected, given in counts), counts
    assert server.closes_all_but(files)
    assert server.status("Threads") <= threads
    assert server.status("VmRSS") - memory <= 30_000, "kilobytes"


def test_five_thousand_at_once(server: Server) -> None:
    body = {"input": ["a red car and a blue car on a road"] * 100}

    async def one() -> Answer:
        connection = Connection(server.port)
        try:
            return await connection.ask("POST", "/v1/embeddings", body)
        finally:
            connection.close()

    async def go() -> list[Answer]:
        return list(await asyncio.gather(*(one() for _ in range(5_000))))

    answers = anyio.run(go)
    counts = Counter(answer.status for answer in answers)
    assert counts.keys() == {200, 503}
    assert all(int(each.headers["retry-after"]) > 0 for each in answers if each.status == 503)
    assert server.ask("POST", "/v1/search", {"query": "red"}).status == 200
    assert server.statuses().keys() <= {"200", "503"}


def test_clients_that_hang_up_send_slowly_or_send_half(hasty: Server) -> None:
    assert hasty.ask("POST", "/v1/search", {"query": "red"}).status == 200
    files = hasty.files
    whole = head("POST", "/v1/search", 16) + b'{"query": "red"}'

    async def leaves(sent: bytes) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", hasty.port)
        writer.write(sent)
        await writer.drain()
        writer.close()

    async def waits(sent: bytes, slowly: bytes = b"") -> int | None:
        """Send something, and what follows byte by byte; return the status of the answer, if there is one."""
        connection = Connection(hasty.port)
        connection.reader, connection.writer = await asyncio.open_connection("127.0.0.1", hasty.port)
        connection.writer.write(sent)

        async def trickle() -> None:
            with suppress(OSError):
                for byte in slowly:
                    await asyncio.sleep(0.3)
                    connection.writer.write(bytes([byte]))
                    await connection.writer.drain()

        trickling = asyncio.create_task(trickle())
        try:
            return (await connection.answer()).status
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        finally:
            trickling.cancel()
            connection.close()

    async def go() -> list[int | None]:
        cuts = [whole[:20], whole[:-5], whole, b"", b"GET", b"\x16\x03\x01\x02\x00\x01", b"\r\n" * 50]
        await asyncio.gather(*(leaves(cut) for cut in cuts * 50))
        return list(
            await asyncio.gather(
                waits(b""),
                waits(whole[:20]),
                waits(whole[:-5]),
                waits(whole[:-5], whole[-5:] * 9),
                waits(b"", whole[:60]),
                waits(b"nonsense\r\n\r\n"),
                waits(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000),
                waits(whole),
            )
        )

    nothing, part, half, slow, slow_head, nonsense, long_head, good = anyio.run(go)
    assert (nothing, part, slow_head) == (None, None, None)
    assert slow in (200, 408), "its last bytes take about as long as the server waits"
    assert (half, nonsense, long_head, good) == (408, 400, 400, 200)
    assert hasty.ask("POST", "/v1/search", {"query": "red"}).status == 200
    assert hasty.closes_all_but(files)
    assert hasty.statuses().keys() <= {"200", "400", "408", "none"}


def test_hostile_uploads_take_little(server: Server, tmp_path: Path) -> None:
    for form in ("PNG", "JPEG", "GIF", "WEBP"):
        assert server.ask("POST", "/v1/search", saved(form, 600), "image/png").status == 200
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # the most memory is counted from here
    before, spent = server.status("VmHWM"), server.processor_seconds
    traps = Traps("http://127.0.0.1:9/", str(tmp_path / "canary"))
    for name, make in UPLOADS.items():
        assert 400 <= server.ask("POST", "/v1/search", make(traps), "image/png").status < 500, name
    assert server.status("VmHWM") - before <= 200_000, "kilobytes"
    assert server.processor_seconds - spent <= len(UPLOADS), "a second of the processor for each"


def test_requests_that_are_no_http_write_no_line(server: Server) -> None:
    upgrade = b"GET /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    upgrade += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    long_head = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 3_000 + b"\r\n"

    async def ask(sent: bytes) -> int:
        connection = Connection(server.port)
        connection.reader, connection.writer = await asyncio.open_connection("127.0.0.1", server.port)
        connection.writer.write(sent)
        try:
            return (await connection.answer()).status
        finally:
            connection.close()

    for _ in range(20):
        assert anyio.run(ask, b"nonsense\r\n\r\n") == 400
        assert anyio.run(ask, upgrade) in (200, 404, 405, 426)
        assert anyio.run(ask, long_head) == 400, "18 kB of headers"
    before = server.said
    assert server.end() == 0
    assert server.said == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_end_finishes_what_has_begun(number: int, server: Server) -> None:
    body = {"input": ["a red car and a blue car on a road"] * 256}

    async def go() -> list[Answer]:
        connections, look = [Connection(server.port) for _ in range(20)], Connection(server.port)
        for _ in range(100):  # on a busy machine the first are answered before the last are taken
            asking = [asyncio.create_task(each.ask("POST", "/v1/embeddings", body)) for each in connections]
            while not any(task.done() for task in asking):
                if b"counterpoint_requests_in_hand 20.0" in (await look.ask("GET", "/metrics")).body:
                    server.process.send_signal(number)
                    return list(await asyncio.gather(*asking))
            await asyncio.gather(*asking)
        pytest.fail("the server never had all in hand")

    assert [answer.status for answer in anyio.run(go)] == [200] * 20
    server.said += server.process.communicate(timeout=60)[0]
    assert server.process.returncode == 0, server.said
    assert "Traceback" not in server.said
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))
