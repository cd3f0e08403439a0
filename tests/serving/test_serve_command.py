"""The command: what it refuses before anything is loaded."""

from __future__ import annotations

import gc
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from fastapi import FastAPI

from counterpoint.cli import main
from counterpoint.registry import MissingPackageError
from counterpoint.serving import app


def refusal(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line in which the command refuses."""
    assert main(["serve", *words]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_a_port_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal([str(tmp_path), "--port", str(port)], capsys)
    assert line == f"counterpoint serve: port {port} of 127.0.0.1 is in use; choose another one with --port"


def test_a_host_that_others_reach_needs_a_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal([str(tmp_path), "--host", "0.0.0.0", "--port", "0"], capsys)
    assert "--token-file" in line
    assert "--open" in line
    token = tmp_path / "token"
    token.write_text("word")
    token.chmod(0o644)
    words = [str(tmp_path), "--host", "0.0.0.0", "--port", "0", "--token-file", str(token)]
    assert f"chmod 600 {token}" in refusal(words, capsys)
    token.chmod(0o600)
    assert "is no index" in refusal(words, capsys)
    assert "is no index" in refusal([str(tmp_path), "--host", "0.0.0.0", "--port", "0", "--open"], capsys)


def test_a_host_of_another_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "192.0.2.1:0 cannot be listened on" in refusal(
        [str(tmp_path), "--host", "192.0.2.1", "--port", "0", "--open"], capsys
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--port", "70000"], "--port must be at most 65535, got 70000"),
        (["--queue", "0"], "--queue must be at least 1, got 0"),
        (["--seconds", "0"], "--seconds must be greater than 0, got 0.0"),
        (["--seconds", "inf"], "--seconds must be a finite number, got inf"),
        (["--formats", "jpeg", "jpeg"], "--formats must differ from each other"),
    ],
)
def test_options_out_of_range(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refusal([str(tmp_path), *words], capsys)


def test_an_answer_does_not_wait_for_its_second_part() -> None:
    from counterpoint.serving.application.server import listening

    with listening("127.0.0.1", 0) as sock, socket.create_connection(sock.getsockname()):
        taken, _ = sock.accept()
        with taken:
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_models_in_memory_not_looked_through_while_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import uvicorn

    from counterpoint.serving import Limits
    from counterpoint.serving.application.server import listening, run

    frozen: list[int] = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: frozen.append(gc.get_freeze_count()))
    model = [object() for _ in range(1000)]
    held = [[each] for each in model]
    try:
        run(FastAPI(), listening("127.0.0.1", 0), Limits())
    finally:
        gc.unfreeze()
    assert frozen[0] >= len(held)


@pytest.mark.parametrize("package", ["fastapi", "orjson", "prometheus_client"])
def test_a_missing_package_is_named_with_its_command(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingPackageError, match=rf"{package} is not installed; run: pip install 'counterpoint\[serve\]'"
    ):
        app(tmp_path)
