"""A push to a stand-in for the hub: in one commit, only what is listed, nothing replaced without a word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import yaml

import counterpoint as cp
from counterpoint.exporting import _push, push
from counterpoint.exporting._card import listed
from fixtures import foreign
from fixtures.hub import TOKEN, Hub, standing


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with standing() as hub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"open_clip:tiny@{foreign.open_clip_folder(tmp_path_factory.mktemp('models') / 'model')}"


def test_all_files_of_the_card_and_no_others(hub: Hub, model: str, tmp_path: Path) -> None:
    pushed = push(model, "safetensors", "nobody/mine", licence="apache-2.0")
    files = hub.repositories["nobody/mine"]
    assert pushed.address == f"{hub.address}/nobody/mine"
    assert hub.commits == ["Export to safetensors by counterpoint"]
    assert set(files) == {*pushed.files, ".gitattributes"}
    for name, content in files.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(content)
    assert listed(tmp_path / "mine") == set(pushed.files)
    card = files["README.md"].decode()
    assert yaml.safe_load(card.split("---")[1])["license"] == "apache-2.0"
    assert 'huggingface_hub.snapshot_download("nobody/mine")' in card
    own = cp.load(model).embed("text", ["a red car"])
    assert cp.load(tmp_path / "mine").embed("text", ["a red car"]).equal(own)


def test_files_that_are_there_are_replaced_only_after_a_yes(hub: Hub, model: str) -> None:
    before = {"weights.bin": b"dear", "README.md": b"mine", ".gitattributes": b""}
    hub.repositories["nobody/mine"] = dict(before)
    with pytest.raises(
        ValueError, match=r"has 2 files .*and nothing was sent: choose another name, or say --yes"
    ):
        push(model, "safetensors", "nobody/mine", licence="mit")
    assert hub.repositories["nobody/mine"] == before
    asked: list[str] = []
    push(model, "safetensors", "nobody/mine", licence="mit", agree=lambda it: not asked.append(it))
    assert asked == ["nobody/mine has 2 files (weights.bin, README.md), which will be replaced"]
    assert "weights.bin" not in hub.repositories["nobody/mine"]
    assert len(hub.commits) == 1


@pytest.mark.parametrize("token", [None, "hf_of_somebody"])
def test_without_a_login(token: str | None, hub: Hub, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if token is None:
        monkeypatch.delenv("HF_TOKEN")
    else:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ValueError, match="run hf auth login, and push again"):
        push(model, "safetensors", "nobody/mine", licence="mit")
    assert not hub.repositories


def test_commit_that_fails_changes_nothing_and_next_one_is_whole(hub: Hub, model: str) -> None:
    hub.refuses = 403
    with pytest.raises(PermissionError, match="this login may not write to nobody/mine"):
        push(model, "safetensors", "nobody/mine", licence="mit")
    assert set(hub.repositories["nobody/mine"]) == {".gitattributes"}
    hub.refuses = None
    pushed = push(model, "safetensors", "nobody/mine", licence="mit")
    manifest = json.loads(hub.repositories["nobody/mine"]["manifest.json"])
    assert set(manifest["files"]) == set(pushed.files) - {"manifest.json"}


def test_a_file_that_the_card_does_not_list_is_not_sent(
    hub: Hub, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_push, "listed", lambda folder: listed(folder) - {"model.safetensors"})
    with pytest.raises(ValueError, match=r"nothing was sent: the card does not list model\.safetensors"):
        push(model, "safetensors", "nobody/mine", licence="mit")
    assert not hub.commits


@pytest.mark.parametrize("name", ["mine", "a/b/c", "no body/mine"])
def test_a_name_that_is_none(name: str, model: str) -> None:
    with pytest.raises(ValueError, match="is no name of a repository: write --push USER/NAME"):
        push(model, "safetensors", name, licence="mit")


def test_a_hub_that_is_not_there(hub: Hub, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ConnectionError, match="the hub is not reached"):
        push(model, "safetensors", "nobody/mine", licence="mit")
