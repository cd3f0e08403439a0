"""Shards in an object store, a stand-in on the loopback: indexed, trained on through copies of bounded size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from counterpoint.data import load
from counterpoint.data.cache import SIZE
from counterpoint.data.sharded.copies import Copies
from counterpoint.data.sharded.data import ShardedData
from counterpoint.data.sharded.index import ShardIndex
from counterpoint.data.sharded.indexing import index
from counterpoint.recipes import Recipe, override
from counterpoint.training.run import Run
from counterpoint.training.start import prepare
from fixtures import store
from fixtures.shards import write_shard, write_shards

pytestmark = [pytest.mark.slow, pytest.mark.system]
SHARDS = 12


class Bucket:
    """A bucket with shards; ``client`` is of the store."""

    def __init__(self, client: object, folder: Path) -> None:
        self.client, self.folder, self.name = client, folder, "pairs"
        self.pattern = f"s3://pairs/laion/{{00000..{SHARDS - 1:05}}}.tar"

    def put(self, name: str) -> None:
        self.client.upload_file(str(self.folder / name), "pairs", f"laion/{name}")  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with store.bucket("pairs") as client:
        made = Bucket(client, write_shards(tmp_path_factory.mktemp("here") / "shards", SHARDS))
        for number in range(SHARDS):
            made.put(f"{number:05}.tar")
        yield made


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))


def test_batches_are_those_of_the_same_shards_here(
    bucket: Bucket, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 3 * (bucket.folder / "00000.tar").stat().st_size
    monkeypatch.setenv(SIZE, str(most))
    index(bucket.pattern, tmp_path / "there", jobs=1)
    index(bucket.folder, tmp_path / "here", jobs=1)
    short = override(recipe, {"batch_size": 16, "steps": 12})
    loaders = [
        prepare(Run("clip", str(tmp_path / name), short), load(str(tmp_path / name)))[1]
        for name in ("there", "here")
    ]
    for (there, _), (here, _) in zip(*(loader.batches(0, 12) for loader in loaders), strict=True):
        assert torch.equal(there.ids, here.ids)
        assert torch.equal(there["image"], here["image"])
        assert torch.equal(there["text"], here["text"])
        held = [path.stat().st_size for path in Copies.usual().folder.glob("[!.]*/[!.]*")]
        assert 0 < sum(held) <= most


def test_a_copy_that_went_meanwhile_is_fetched_again(bucket: Bucket, tmp_path: Path) -> None:
    index(bucket.pattern, tmp_path / "index", jobs=1)
    data = load(str(tmp_path / "index"))
    assert isinstance(data, ShardedData)
    before = data.images(np.arange(4))
    for path in Copies.usual().folder.glob("[!.]*/[!.]*"):
        path.unlink()
    data._stand_ins._last = None
    assert torch.equal(data.images(np.arange(4)), before)


def test_a_shard_that_changed_in_the_store_is_told(bucket: Bucket, tmp_path: Path) -> None:
    index(bucket.pattern, tmp_path / "index", jobs=1)
    write_shard(bucket.folder / "00002.tar", range(500, 517))
    bucket.put("00002.tar")
    (why,) = ShardIndex.open(tmp_path / "index").lost.values()
    assert re.search(r"/00002\.tar has changed since it was indexed: run counterpoint data index", why)
    made = index(bucket.pattern, tmp_path / "index", jobs=1)
    assert 17 in made.training.tolist() or made.table["held_out"].to_list()[2]
