"""Pictures that break while a model trains are replaced, as whole examples, by the next that can be read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from counterpoint.data.cache import SIZE
from counterpoint.data.listed.decoded import UNREADABLE
from counterpoint.data.listed.pairs import Pairs
from counterpoint.networks.towers.parts.pixels import Square
from counterpoint.networks.towers.sound import Waveform
from fixtures.files import write_pairs
from fixtures.shards import picture


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pairs:
    """Pairs whose decoded pictures have no room in the cache."""
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(SIZE, "1KB")
    return Pairs(write_pairs(tmp_path / "pairs"), 24)


def test_nothing_is_replaced_while_all_can_be_read(data: Pairs) -> None:
    rows = data.splits.train[:5]
    assert not data._pictures.whole
    assert torch.equal(data.read_training("image", rows), data.images(rows))
    assert data.read_training("text", rows) == [data.captions(row) for row in rows.tolist()]
    assert not data.replaced()


@pytest.mark.parametrize("order", [("image", "text"), ("text", "image")])
@pytest.mark.parametrize("event", ["deleted", "cut", "changed"])
def test_an_example_is_replaced_as_a_whole(
    data: Pairs, tmp_path: Path, event: str, order: tuple[str, ...]
) -> None:
    train = data.splits.train
    rows = np.array([train[4], train[-1], train[7]])
    whole = data.images(np.concatenate([train, data.splits.test["held out"]]))[: len(train)]
    for row in (train[4], train[5], train[-1]):
        file = tmp_path / "pairs" / f"{row}.png"
        if event == "deleted":
            file.unlink()
        else:
            content = file.read_bytes()
            file.write_bytes(
                content[:60] if event == "cut" else (tmp_path / "pairs" / f"{train[1]}.png").read_bytes()
            )
    found = {column: data.read_training(column, rows) for column in order}
    assert torch.equal(found["image"], whole[[6, 0, 7]])
    assert found["text"] == [data.captions(int(train[k])) for k in (6, 0, 7)]
    told = data.replaced()
    assert {(one.row, one.by) for one in told} == {
        (train[4], f"{train[6]}.png"),
        (train[-1], f"{train[0]}.png"),
    }
    assert {one.reason for one in told} == {"broken picture"}
    assert not data.replaced()
    with pytest.raises((OSError, ValueError)):
        data.images(rows)


def test_sound_beside_picture_is_read_only_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(SIZE, "1KB")
    rows = []
    for n, side in enumerate(("train",) * 6 + ("validation", "test")):
        (tmp_path / f"{n}.png").write_bytes(picture(n))
        wavfile.write(tmp_path / f"{n}.wav", 16_000, np.full(400, n, np.int16))
        rows.append({"image": f"{n}.png", "audio": f"{n}.wav", "text": f"number {n}", "split": side})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = Pairs(f"{tmp_path / 'rows.jsonl'},columns=image+audio+text", 24)
    assert not any(filed.files.whole for filed in data.file_columns.values())
    (tmp_path / "2.wav").unlink()
    every = data.splits.train
    seen = data.suited({"image": Square(24)}, training=True)
    assert seen.read_training("text", every) == [(f"number {n}",) for n in range(6)]
    assert [int(one[1].float().mean()) for one in seen.read_training("image", every)] == [0, 1, 2, 3, 4, 5]
    assert not seen.replaced()
    heard = data.suited({"image": Square(24), "audio": Waveform(16_000)}, training=True)
    assert heard.read_training("text", every) == [(f"number {n}",) for n in (0, 1, 3, 3, 4, 5)]
    assert [int(one[1].float().mean()) for one in heard.read_training("image", every)] == [0, 1, 3, 3, 4, 5]
    assert [(one.row, one.reason) for one in heard.replaced()] == [(2, UNREADABLE)]
    assert data.suited({"image": Square(24)}, training=True) is seen
