"""Data of four kinds, whose identity was written down once: no change of how files are read may change it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from counterpoint.data.pictured import PairedData
from counterpoint.data.source import load
from fixtures.files import bitmap

SIDES = ["train"] * 24 + ["val"] * 8 + ["test"] * 8


def rows() -> list[dict[str, Any]]:
    return [
        {"text": f"caption {k}", "split": side, "id": 100 + k, "kind": ("cat", "dog", "emu")[k % 3]}
        | {"group": f"group {k // 4}"}
        for k, side in enumerate(SIDES)
    ]


def a_folder(root: Path) -> Path:
    for k, row in enumerate(rows()):
        place = root / "it" / row["kind"]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{k}.bmp").write_bytes(bitmap(k))
        (place / f"{k}.txt").write_text(f"{row['text']}\nanother {k % 7}\n")
    return root / "it"


def a_table(root: Path) -> Path:
    with (root / "it.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file_name", *rows()[0]])
        writer.writeheader()
        for k, row in enumerate(rows()):
            (root / f"{k}.bmp").write_bytes(bitmap(k))
            writer.writerows(
                {"file_name": f"{k}.bmp", **row, "text": text} for text in (row["text"], f"b {k}")
            )
    return root / "it.csv"


def a_shard(root: Path) -> Path:
    with tarfile.open(root / "it.tar", "w") as archive:
        for k, row in enumerate(rows()):
            for suffix, content in (("bmp", bitmap(k)), ("json", json.dumps(row).encode())):
                member = tarfile.TarInfo(f"{k:03d}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return root / "it.tar"


def a_parquet_file(root: Path) -> Path:
    held = [
        {"image": {"bytes": bitmap(k), "path": f"{k}.bmp"}, **row, "split": None, "id": f"n{k}"}
        for k, row in enumerate(rows())
    ]
    pl.DataFrame(held).write_parquet(root / "it.parquet")
    return root / "it.parquet"


def told(data: PairedData) -> dict[str, Any]:
    """Return what a run depends on: whole where it is short, as a digest where it is long."""
    captions = [list(data.captions(row)) for row in range(len(data))]
    labels = {name: [list(it.names), it.values.tolist()] for name, it in data.labels.items()}
    long = {"ids": data.ids.tolist(), "captions": captions, "labels": labels}
    keys = [data.key(row) for row in range(len(data))]
    long |= {"keys": keys, "splits": {side: rows.tolist() for side, rows in data.splits.sides.items()}}
    digests = {
        name: hashlib.blake2b(json.dumps(it).encode(), digest_size=8).hexdigest() for name, it in long.items()
    }
    return {**digests, "labels by name": sorted(labels), "fingerprint": dict(data.fingerprint.parts)}


GOLDEN: dict[Callable[[Path], Path], dict[str, Any]] = {
    a_folder: {
        "captions": "4a36574db624a35b",
        "fingerprint": {
            "captions": "dc5c73cff0a26b6ee304fdcdcdf19c38",
            "ids": "892d029a65eb39b3d4fe36653c0c9651",
            "labels": "e6c6a147d99df2a6618e5d2e09d6bab1",
            "pictures": "73a2b0f10002c1fb7544cc5028e0fc69",
            "splits": "c8892e54220c16f1c7357bd01e83bc46",
        },
        "ids": "1a0910e3d33795a9",
        "keys": "5cd4520074fb3382",
        "labels": "dcc95a76d0302ce1",
        "labels by name": ["folder"],
        "splits": "93bcab2ef64db470",
    },
    a_table: {
        "captions": "aad07c5710a0d47c",
        "fingerprint": {
            "captions": "3e40940c8f79045adb88bdec676cbe05",
            "ids": "cf9158772b68c727db6c6347cf56da96",
            "labels": "f5a00316af4413e685194a88483e96b2",
            "pictures": "aaa3cb449292d8944cf03d6e83cf26a4",
            "splits": "b0a166236be5b57341f4fd30c9650773",
        },
        "ids": "3c8729802b3bfa3d",
        "keys": "3464c630557e7835",
        "labels": "3090fe226b7b59d2",
        "labels by name": ["group", "kind"],
        "splits": "2854767830366323",
    },
    a_shard: {
        "captions": "3cf1ea325d0c1afd",
        "fingerprint": {
            "captions": "bf7b064c258b4cda36e61f705f02b40b",
            "ids": "cf9158772b68c727db6c6347cf56da96",
            "labels": "f5a00316af4413e685194a88483e96b2",
            "pictures": "aaa3cb449292d8944cf03d6e83cf26a4",
            "splits": "b0a166236be5b57341f4fd30c9650773",
        },
        "ids": "3c8729802b3bfa3d",
        "keys": "337495cc7489f974",
        "labels": "3090fe226b7b59d2",
        "labels by name": ["group", "kind"],
        "splits": "2854767830366323",
    },
    a_parquet_file: {
        "captions": "3cf1ea325d0c1afd",
        "fingerprint": {
            "captions": "bf7b064c258b4cda36e61f705f02b40b",
            "ids": "c3c4b12971ab895d5dd65aec8e6f00d8",
            "labels": "f5a00316af4413e685194a88483e96b2",
            "pictures": "aaa3cb449292d8944cf03d6e83cf26a4",
            "splits": "49de0a94b05a9ab188fbb7c058fd4b2b",
        },
        "ids": "8113abd897ba8fec",
        "keys": "12e8731483d32086",
        "labels": "3090fe226b7b59d2",
        "labels by name": ["group", "kind"],
        "splits": "8447eb9c91c907fb",
    },
}


@pytest.mark.parametrize("make", GOLDEN, ids=lambda make: make.__name__)
def test_identities_are_those_that_were_written_down(
    make: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    assert told(load(str(make(tmp_path)))) == GOLDEN[make]
