"""A server downloads no model that an index names, and opens a data set of the hub that the user names."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import datasets
import huggingface_hub
import polars as pl
import pytest

import counterpoint as cp
from counterpoint import trust
from counterpoint.cli import main
from counterpoint.serving import app
from counterpoint.serving.application import server
from counterpoint.trust import UntrustedError
from fixtures.data_hub import hub
from fixtures.served import served
from fixtures.shards import picture
from fixtures.vectors_folder import write_vectors

HUB = "hf:ann/birds"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    served(tmp_path / "served")
    cp.index(tmp_path / "served" / "vectors", tmp_path / "index")
    return tmp_path / "index"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()
    file = tmp_path / "hub" / "ann" / "birds" / "data" / "train-00000-of-00001.parquet"
    file.parent.mkdir(parents=True)
    rows = [{"image": {"bytes": picture(k), "path": f"{k}.png"}, "text": f"number {k}"} for k in range(30)]
    pl.DataFrame(rows).write_parquet(file)
    with hub(tmp_path / "hub", tmp_path / "hub-cache"):
        yield HUB


@pytest.fixture
def closed_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Point the client of the hub, which is not offline, at a port that refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "models"))
        yield


@pytest.mark.parametrize(
    "reference",
    [
        "open_clip:ViT-B-32-quickgelu@openai",
        "timm:test_vit.r160_in1k@hub",
        "transformers:nobody/nothing@hub",
        "sentence-transformers:nobody/nothing@hub",
    ],
)
@pytest.mark.usefixtures("closed_hub")
def test_a_model_of_the_hub_is_not_downloaded_offline(reference: str) -> None:
    with trust.offline(), pytest.raises(UntrustedError, match="not on this machine"):
        cp.load(reference)
    assert not huggingface_hub.constants.HF_HUB_OFFLINE


@pytest.mark.usefixtures("closed_hub")
def test_an_index_names_no_model_to_download(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "index"
    write_vectors(tmp_path / "vectors", model="transformers:nobody/nothing@hub")
    cp.index(tmp_path / "vectors", folder)
    with pytest.raises(UntrustedError, match="pass trust=True"):
        app(folder)
    assert main(["serve", str(folder), "--port", "0"]) == 1
    assert "repeat the command with --trust" in capsys.readouterr().err


def test_a_data_set_of_the_hub_that_the_user_names_is_opened(index: Path, data: str) -> None:
    assert app(index, data=data).state.service.gallery._data.result(60) is not None


def test_the_command_opens_a_data_set_of_the_hub(
    index: Path, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    monkeypatch.setattr(
        server, "run", lambda made, *_: opened.append(made.state.service.gallery._data.result(60))
    )
    assert main(["serve", str(index), "--data", data, "--port", "0"]) == 0
    assert opened[0] is not None
