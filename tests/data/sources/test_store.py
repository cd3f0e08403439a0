"""Tables and shards in an object store: a stand-in on the loopback, and a server of the web."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from counterpoint.data.sharded import cached_index
from counterpoint.data.sharded.data import ShardedData
from counterpoint.data.source import load, rooted, short_name
from counterpoint.data.sources import Ledger, read, shards
from fixtures import store
from fixtures.files import bitmap, write_shard

pytestmark = [pytest.mark.slow, pytest.mark.system]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for number in range(3):
        write_shard(folder / f"{number}.tar", range(10 * number, 10 * number + 10))
    rows = [{"image": {"bytes": bitmap(k), "path": f"{k}.bmp"}, "text": f"caption {k}"} for k in range(30)]
    pl.DataFrame(rows).write_parquet(folder / "inside.parquet", row_group_size=7)
    pl.DataFrame(
        {"file_name": [f"{k}.bmp" for k in range(30)], "text": [f"caption {k}" for k in range(30)]}
    ).write_csv(folder / "it.csv")
    for k in range(30):
        (folder / f"{k}.bmp").write_bytes(bitmap(k))
    return folder


@pytest.fixture(scope="module")
def bucket(files: Path) -> Iterator[str]:
    """A bucket with the files; the last part is free for tests."""
    with store.bucket("pairs") as client:
        for file in files.iterdir():
            client.upload_file(str(file), "pairs", f"deep/{file.name}")
        yield "s3://pairs/deep"


@pytest.fixture(scope="module")
def site(files: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=files)
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", ["", "{0..2}.tar", "?.tar", "inside.parquet", "it.csv"])
def test_what_lies_in_a_bucket_is_read_as_what_lies_here(name: str, bucket: str) -> None:
    word = f"{bucket}/{name}"
    found = read(word, Ledger())
    assert found.frame["text"].to_list() == [[f"caption {k}"] for k in range(30)]
    assert [asset.read_bytes() for asset in found.assets("image")] == [bitmap(k) for k in range(30)]
    data = load(word, 6)
    assert len(data) == 30
    assert load(word, 6) is data
    assert rooted(word) == word
    assert "/" not in short_name(word)
    assert [s.state for s in shards(word, Ledger())] == [s.state for s in shards(word, Ledger())]


@pytest.mark.parametrize("name", ["{0..2}.tar", "inside.parquet", "it.csv"])
def test_what_lies_on_the_web_is_read_as_what_lies_here(name: str, site: str) -> None:
    found = read(f"{site}/{name}", Ledger())
    assert found.frame["text"].to_list() == [[f"caption {k}"] for k in range(30)]
    assert [asset.read_bytes() for asset in found.assets("image")] == [bitmap(k) for k in range(30)]


def test_much_in_a_bucket_is_read_while_it_is_trained_on(
    bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = load(f"{bucket}/{{0..2}}.tar", 6)
    assert not isinstance(small, ShardedData)
    monkeypatch.setattr(cached_index, "MOST_FETCHED", 100)
    assert not isinstance(load(f"{bucket}/it.csv", 6), ShardedData)
    assert not isinstance(load(f"{bucket}/{{0..1}}.tar", 6), ShardedData)
    large = load(f"{bucket}/{{0..2}}.tar,held-out=5", 6)
    assert isinstance(large, ShardedData)
    assert [len(rows) for rows in large.splits.sides.values()] == [10, 5, 5]
    listed = tmp_path / "all.txt"
    listed.write_text("".join(f"{bucket}/{k}.tar\n" for k in range(3)))
    assert isinstance(load(f"@{listed}", 6), ShardedData)


def test_a_shard_that_changed_in_its_bucket_has_another_state(bucket: str, files: Path) -> None:
    import boto3

    before = shards(f"{bucket}/{{0..2}}.tar", Ledger())
    boto3.client("s3").upload_file(str(files / "0.tar"), "pairs", "deep/2.tar")
    after = shards(f"{bucket}/{{0..2}}.tar", Ledger())
    boto3.client("s3").upload_file(str(files / "2.tar"), "pairs", "deep/2.tar")
    assert [a.state == b.state for a, b in zip(before, after, strict=True)] == [True, True, False]


def test_what_cannot_be_reached_is_one_line(bucket: str, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for word, message in (
        (f"{bucket}/none.tar", "none.tar: there is no such file, or no such bucket"),
        ("s3://no-such-bucket/0.tar", "no-such-bucket/0.tar: there is no such file, or no such bucket"),
        (f"{bucket}/{{0..5}}.tar", "3 of 6 files are not there, the first .*/3.tar"),
        (f"{bucket}/x*.tar", r"x\*\.tar matches no file"),
        (f"{site}/none.tar", "none.tar: no server answers there, or it has no such file"),
    ):
        with pytest.raises(FileNotFoundError, match=message) as told:
            load(word)
        assert "\n" not in str(told.value)


def test_no_credentials_are_one_line(bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(PermissionError, match=r"0\.tar: no access .*AWS_ACCESS_KEY_ID") as told:
        load(f"{bucket}/0.tar")
    assert "\n" not in str(told.value)
    s3fs.S3FileSystem.clear_instance_cache()
