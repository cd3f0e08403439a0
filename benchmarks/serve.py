"""Requests for the embedding of one text: this server against a bare FastAPI handler that embeds one text.

    python benchmarks/serve.py [--rounds N] [--requests N] [--infinity PROGRAM]

Both are processes of uvicorn with the same model (all-MiniLM-L6-v2, from its package) on the same machine, and one
client, a third process, asks them by turns: at first one request at a time, then 32. Then the memory of this server
after 10,000 requests over that after 100. With ``--infinity`` the peer is Infinity, with the same weights: its program
``infinity_emb``, in an environment of its own (``pip install "infinity-emb[server,torch,optimum]"``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _timing import spread

MODEL = "transformers:all-MiniLM-L6-v2@package"
KINDS = ("dog", "car", "house", "tree", "boat", "bird", "lamp", "road", "cloud", "chair")
TEXTS = [
    f"a photo of a {a} beside a {b} in the {c}" for a in KINDS for b in KINDS for c in ("sun", "rain", "snow")
]


def bare(port: int) -> None:
    """Serve what anybody would write in ten lines."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    import counterpoint as cp

    model, app = cp.load(MODEL), FastAPI()

    class Asked(BaseModel):
        input: str

    def embeddings(asked: Asked) -> dict[str, list[float]]:
        return {"embedding": model.embed("text", asked.input)[0].tolist()}

    embeddings.__annotations__["asked"] = Asked  # a class of this function, which its annotation cannot name
    app.post("/v1/embeddings")(embeddings)
    uvicorn.run(app, port=port, log_level="warning", access_log=False)


def make_index(folder: Path) -> Path:
    """Make an index of the texts."""
    import polars as pl

    import counterpoint as cp
    from counterpoint.serving.vectors import VectorProvenance, part_paths, write_part

    model = cp.load(MODEL)
    rows = range(len(TEXTS))
    table = pl.DataFrame(
        {"id": rows, "key": map(str, rows), "modality": ["text"] * len(TEXTS), "split": None, "text": TEXTS},
        schema_overrides={"split": pl.String},
    )
    about = VectorProvenance(
        model=MODEL,
        fingerprint=model.fingerprint,
        data="texts",
        data_fingerprint="",
        modalities=("text",),
        width=model.width,
    )
    (path,) = part_paths(folder / "vectors", "text", 1)
    write_part(path, about, model.embed("text", TEXTS).numpy(), table)
    cp.serving.index(folder / "vectors", folder / "index")
    return folder / "index"


class Server:
    """A server's process, and what it says of itself."""

    def __init__(self, port: int, *words: str) -> None:
        self.port = port
        self.process = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, env={**os.environ, "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
        )
        asyncio.run(self._up())

    async def _up(self) -> None:
        for _ in range(600):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return
        raise SystemExit("a server does not come up")

    @property
    def memory(self) -> int:
        """Kilobytes that it has."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", text)
        assert found is not None
        return int(found[1])

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


async def ask(port: int, count: int, at_once: int) -> list[float]:
    """Ask for embeddings, so many at once, and return the seconds of each request."""
    seconds: list[float] = []
    left = iter(range(count))

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in left:
            body = json.dumps({"model": "default", "input": TEXTS[number % len(TEXTS)]}).encode()
            began = time.perf_counter()
            writer.write(
                b"POST /v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body) + body
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None
            await reader.readexactly(int(length[1]))
            seconds.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(one() for _ in range(at_once)))
    return seconds


def rate(server: Server, count: int, at_once: int) -> tuple[float, float]:
    """Return requests a second, and the 99th percentile of the seconds of one."""
    began = time.perf_counter()
    seconds = asyncio.run(ask(server.port, count, at_once))
    return count / (time.perf_counter() - began), float(np.percentile(seconds, 99))


def started(port: int, index: Path) -> Server:
    return Server(port, sys.executable, "-m", "counterpoint", "serve", str(index), "--port", str(port))


def peer(port: int, infinity: str | None) -> Server:
    """Start the bare handler, or Infinity."""
    if infinity is None:
        return Server(port, sys.executable, __file__, "--bare", str(port))
    from counterpoint.interop._packaged import packaged

    place = ("--model-id", str(packaged("all-MiniLM-L6-v2")), "--url-prefix", "/v1")
    plain = ("--device", "cpu", "--engine", "torch", "--no-bettertransformer", "--no-model-warmup")
    # No log of every request, which ours writes none of either.
    return Server(port, infinity, "v2", *place, *plain, "--log-level", "warning", "--port", str(port))


def main(rounds: int, requests: int, infinity: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        index = make_index(Path(folder))
        ours, theirs = started(8741, index), peer(8742, infinity)
        name = "the bare handler" if infinity is None else "Infinity"
        try:
            for server in (ours, theirs):
                rate(server, 200, 8)
            for at_once in (1, 32):
                some = requests if at_once > 1 else max(requests // 5, 1)
                pairs = [(rate(ours, some, at_once), rate(theirs, some, at_once)) for _ in range(rounds)]
                rates = spread([mine[0] / other[0] for mine, other in pairs])
                late = spread([mine[1] / other[1] for mine, other in pairs])
                mine, other = (float(np.median([pair[side][0] for pair in pairs])) for side in (0, 1))
                print(
                    f"{at_once} at a time: {mine:.0f} requests/s, {name} {other:.0f}; ratio {rates}; "
                    f"99th percentile, ratio {late}"
                )
        finally:
            ours.end()
            theirs.end()
        fresh = started(8741, index)
        try:
            rate(fresh, 100, 16)
            before = fresh.memory
            rate(fresh, 9_900, 16)
            print(
                f"memory after 10,000 requests over that after 100: {(fresh.memory - before) / 1024:.1f} MiB"
            )
        finally:
            fresh.end()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1_500)
    parser.add_argument("--infinity")
    parser.add_argument(
        "--bare", type=int, help=argparse.SUPPRESS
    )  # the port: this file is the bare handler too
    options = parser.parse_args()
    if options.bare is None:
        main(options.rounds, options.requests, options.infinity)
    else:
        bare(options.bare)
