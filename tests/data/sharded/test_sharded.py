"""Data over an index: every record once an epoch, whole records for broken ones, shards that are not what they were."""

from __future__ import annotations

import json
import os
import pickle
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from counterpoint.data import load
from counterpoint.data.listed import stored
from counterpoint.data.loading.order import WindowedOrder
from counterpoint.data.pictured import PairedData
from counterpoint.data.pictures.squares import DecodedPictures
from counterpoint.data.sharded import open_shards
from counterpoint.data.sharded.data import ShardedData
from counterpoint.data.sharded.index import OtherIndexError
from counterpoint.data.sharded.indexing import index
from counterpoint.data.sharded.open_shards import MissingShardError
from counterpoint.data.sharded.pictures import ShardedPairs
from counterpoint.data.source import load_any
from counterpoint.data.sources import Records
from counterpoint.networks.towers.parts.pixels import Square
from counterpoint.recipes import Recipe, override
from counterpoint.study.side_by_side import evaluate
from counterpoint.study.training.runner import run
from counterpoint.training.loop import TrainingProgress
from counterpoint.training.record.provenance import trained_on
from counterpoint.training.run import Run
from counterpoint.training.start import prepare
from fixtures.shards import number_of, write_shard, write_shards


def indexed(folder: Path, **options: int) -> Path:
    """Write shards beside an index of them, and return the index's folder."""
    index(write_shards(folder / "shards", **options), folder / "index", jobs=1)  # type: ignore[arg-type] # counts
    return folder / "index"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return indexed(tmp_path_factory.mktemp("indexed"))


def test_rows_are_records_of_shards(made: Path) -> None:
    data = load(str(made))
    assert isinstance(data, ShardedPairs)
    assert isinstance(data, PairedData)
    assert {side: len(rows) for side, rows in data.splits.sides.items()} == {
        "train": 80,
        "validation: held out": 20,
        "test: held out": 20,
    }
    assert data.split_here
    rows = np.arange(len(data))
    said = [int(data.captions(int(row))[0].rpartition(" ")[2]) for row in rows]
    assert sorted(said) == list(range(120))
    assert [number_of(pixels) for pixels in data.images(rows)] == said
    assert data.key(0).endswith(".tar/00000") or data.key(0).count("/") == 1
    assert len({data.key(int(row)) for row in rows}) == 120
    mixed = np.array([3, 90, 5, 119])
    assert [number_of(pixels) for pixels in data.images(mixed)] == [said[row] for row in mixed]


def test_nothing_is_held_per_row(made: Path) -> None:
    data = load(str(made))
    assert isinstance(data.ids, np.memmap)
    assert isinstance(data.splits.train, np.memmap)
    assert data.subsets.strides == (0,)
    assert set(data.subsets.tolist()) == {"all"}
    assert data.ids_of(np.array([4, 2])).tolist() == [4, 2]
    assert data.fingerprint.rows.is_empty()


def test_few_shards_are_open_at_a_time(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_shards, "_OPEN", 25)
    data = load(str(made))
    assert isinstance(data, ShardedData)
    for row in range(80):
        data.captions(row)
        assert len(data._open._opened) <= 2


def test_order_goes_from_shard_shard_leaves_open_those_windows(made: Path, recipe: Recipe) -> None:
    data = load(str(made))
    assert isinstance(data, ShardedData)
    _, loader = prepare(Run("clip", str(made), override(recipe, {"batch_size": 8, "steps": 30})), data)
    loader.data = data = pickle.loads(pickle.dumps(data))  # with nothing open
    sizes, met, most = data._open.sizes, set[int](), 0
    loader.order = WindowedOrder(sizes, 8, seed=0, window=16)
    for step, _ in enumerate(loader.batches(0, 30)):
        met |= data._open._opened.keys()
        most = max(most, len(loader.order.shards_of(step, 0, 1)) * sizes.max())
        assert sum(map(len, data._open._opened.values())) <= most < sizes.sum()
    at_a_worker = pickle.loads(pickle.dumps(data))._open
    for number in met:
        at_a_worker.records(number)
    assert len(at_a_worker._opened) < len(met)


class _Interrupted(OrderedDict[int, Records]):
    """Opened shards of which a thread that has found one lets another go on first."""

    def __contains__(self, number: object) -> bool:
        found = super().__contains__(number)
        time.sleep(0.001)
        return found


def test_several_threads_read_rows_of_few_open_shards(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_shards, "_OPEN", 25)
    data = load(str(made))
    assert isinstance(data, ShardedData)
    expected = {row: data.captions(row) for row in range(80)}
    data._open._opened = _Interrupted()
    rows = np.random.default_rng(0).integers(0, 80, 400).tolist()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(data.captions, rows)) == [expected[row] for row in rows]


def test_pictures_are_of_the_size_that_is_asked_for(made: Path) -> None:
    data = load_any(str(made), image_size=48)
    assert data.suited({"image": Square(24)}, training=True).images(np.arange(2)).shape == (2, 3, 32, 32)
    assert data.suited({"image": Square(24)}).images(np.arange(2)).shape == (2, 3, 24, 24)
    assert data.suited({"image": Square(24)}).images(np.array([0, 100])).shape == (2, 3, 24, 24)
    assert data.images(np.arange(2)).shape == (2, 3, 64, 64)


def test_run_sees_record_once_epoch_whatever_number_of_ranks(made: Path, recipe: Recipe) -> None:
    what = Run("clip", str(made), override(recipe, {"batch_size": 16, "steps": 5}))
    _, loader = prepare(what, load(str(made)))
    assert loader.order.settings()["order"] == "windowed"
    batches = [batch for batch, _ in loader.batches(0, 5)]
    assert len(set(torch.cat([batch.ids for batch in batches]).tolist())) == 80
    loader.rank, loader.world = 1, 2
    assert loader.batch(0).ids.tolist() == batches[0].ids[8:].tolist()
    assert torch.equal(loader.batch(0)["image"], batches[0]["image"][8:])


def test_broken_record_is_replaced_as_whole_by_same_one_of_shard(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "shards", broken=(0, 1, 9, 10, 21))
    index(folder, tmp_path / "index", jobs=1)
    data = load(str(tmp_path / "index"))
    for order in (("text", "image"), ("image", "text")):
        fresh = pickle.loads(pickle.dumps(data))
        read = {column: fresh.read_training(column, fresh.splits.train) for column in order}
        said = [int(texts[0].rpartition(" ")[2]) for texts in read["text"]]
        assert [number_of(pixels) for pixels in read["image"]] == said
        assert not {0, 1, 9, 10, 21} & set(said)
        assert all(number // 10 in {row // 10 for row in said} for number in said)
    keys = [data.key(int(row)) for row in data.splits.train]
    if "00000.tar/00000" in keys:
        assert data.captions(keys.index("00000.tar/00000"))[0] == "a picture of number 2"
        assert data.captions(keys.index("00000.tar/00009"))[0] == "a picture of number 2"


def first_shard(data: ShardedData) -> Path:
    """Return the first shard that is trained on."""
    return Path(data.index.shards[int(np.flatnonzero(data.shards)[0])].location)


@pytest.mark.parametrize("event", ["missing", "missing once it was read", "changed", "emptied"])
def test_shard_is_not_what_was_indexed_is_named_with_command(event: str, tmp_path: Path) -> None:
    data = load(str(indexed(tmp_path)))
    assert isinstance(data, ShardedData)
    shard = first_shard(data)
    stat = shard.stat()
    if event.startswith("missing"):
        if event != "missing":
            data.captions(0)
        data._stand_ins._last = None
        shard.unlink()
        words = "is not there any more: bring it back, or run counterpoint data index"
    elif event == "changed":
        write_shard(shard, range(5))
        words = "has changed since it was indexed: run counterpoint data index"
    else:
        shard.write_bytes(bytes(stat.st_size))
        os.utime(shard, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        words = "holds no record that can be read any more: run counterpoint data index"
    seen = [number_of(pixels) for pixels in data.images(np.arange(3))]
    assert seen == [int(data.captions(row)[0].rpartition(" ")[2]) for row in range(3)]  # of one record each
    replaced = data.replaced()
    assert [one.row for one in replaced] == [0, 1, 2]
    assert all(str(shard) in one.reason and words in one.reason for one in replaced)
    assert {one.where for one in replaced} == {str(shard)}


@pytest.mark.parametrize("written", ["folder", "pattern"])
@pytest.mark.parametrize("event", ["missing", "changed"])
def test_shard_is_lost_when_run_starts_is_replaced_within_budget(
    event: str, written: str, tmp_path: Path
) -> None:
    folder = write_shards(tmp_path / "shards", shards=12)
    index(folder if written == "folder" else f"{folder}/{{00000..00011}}.tar", tmp_path / "index", jobs=1)
    before = load(str(tmp_path / "index"))
    assert isinstance(before, ShardedData)
    kept = {row: before.captions(row) for row in range(10, 20)}
    shard = first_shard(before)
    if event == "missing":
        shard.unlink()
        words = f"{shard} is not there any more: bring it back, or run counterpoint data index"
    else:
        write_shard(shard, range(300, 307))
        words = f"{shard} has changed since it was indexed: run counterpoint data index"
    with pytest.raises(OtherIndexError, match=f"10 of 80 records to train on lie in 1 shard that .* {words}"):
        load(str(tmp_path / "index"))
    data = load(f"{tmp_path / 'index'},broken=0.2")
    assert isinstance(data, ShardedData)
    assert words in data.findings()["shards"]
    assert len(data) == len(before)
    seen = [number_of(pixels) for pixels in data.images(np.arange(3))]
    assert seen == [int(kept[10 + row][0].rpartition(" ")[2]) for row in range(3)]  # of the next shard
    assert {one.reason for one in data.replaced()} == set(data.index.lost.values())
    assert {row: data.captions(row) for row in kept} == kept
    assert len(data.examples()["text"]) == 80


def test_where_no_shard_can_be_read_the_first_is_named(tmp_path: Path) -> None:
    data = load(str(indexed(tmp_path)))
    assert isinstance(data, ShardedData)
    for shard in data.index.shards:
        Path(shard.location).unlink()
    with pytest.raises(
        MissingShardError, match=f"{first_shard(data)} is not there any more: bring it back, or run"
    ):
        data.images(np.arange(3))


def test_of_a_shard_that_was_cut_short_the_readable_part_is_used(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "shards")
    for number in range(12):  # as a list of sizes that was written before the shards were cut says
        (folder / f"{number:05}_stats.json").write_text('{"successes": 14}')
    index(folder, tmp_path / "index", jobs=1)
    data = load(str(tmp_path / "index"))
    said = [data.captions(row)[0] for row in range(14)]
    assert said[10:] == said[:4]


def test_more_than_is_held_one_by_one_gets_an_index_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    folder = write_shards(tmp_path / "shards", shards=3)
    monkeypatch.setattr(stored, "MOST", 29)
    data = load(f"{folder},held-out=4,broken=0.2")
    assert isinstance(data, ShardedData)
    assert (data.broken, len(data.splits.train), len(data)) == (0.2, 10, 18)
    monkeypatch.chdir(tmp_path)
    assert load("shards,held-out=4").fingerprint.parts == data.fingerprint.parts
    assert len(list((tmp_path / "cache" / "indices").iterdir())) == 1
    with pytest.raises(ValueError, match="divide them into more shards"):
        load(str(write_shard(tmp_path / "one" / "0.tar", range(30))))


def test_a_tokenizer_learns_its_words_without_decoding_pictures(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load(str(made))
    monkeypatch.setattr(DecodedPictures, "decode", lambda *_: pytest.fail("no picture is asked for"))
    texts = data.examples()["text"]
    assert len(texts) == 80
    assert [*map(len, texts)] == [1] * 80


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(
    made: Path, recipe: Recipe, tmp_path: Path
) -> None:
    short = override(recipe, {"steps": 6, "checkpoint_every": 2, "validate_every": 6})
    what = Run("clip", str(made), short)

    def stop(now: TrainingProgress) -> None:
        if now.step == 5:
            raise KeyboardInterrupt

    run(what, tmp_path / "whole", tasks=("retrieval",))
    with pytest.raises(KeyboardInterrupt):
        run(what, tmp_path / "stopped", tasks=("retrieval",), on_step=stop)
    run(what, tmp_path / "stopped", tasks=("retrieval",))
    for name in ("scores.json", "order.json", "checkpoint/step-0000006/model.safetensors"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert json.loads((tmp_path / "whole" / "order.json").read_text())["order"] == "windowed"


def test_run_on_index_is_evaluated_on_its_own_data_and_on_others(
    made: Path, recipe: Recipe, pairs: Path, tmp_path: Path
) -> None:
    short = override(recipe, {"steps": 2, "checkpoint_every": 2, "validate_every": 2})
    run(Run("clip", str(made), short), tmp_path / "indexed", tasks=("retrieval",))
    run(Run("clip", str(pairs), short), tmp_path / "pairs", tasks=("retrieval",))
    data = load(str(made))
    assert data.digests() == {}
    assert trained_on(tmp_path / "pairs", data).size == 0
    for name, source, split, count in (
        ("indexed", None, None, 20),
        ("indexed", made, "all", 120),
        ("indexed", pairs, "test", len(load(str(pairs)).splits.test["held out"])),
        ("pairs", made, "test", 20),
        ("pairs", made, None, 20),  # not all of it, though the held-out shards were chosen here
    ):
        scored = evaluate(
            tmp_path / name, data=source and str(source), tasks=("retrieval",), split=split
        ).scores()
        assert {row["n"] for row in scored if row["subset"] == "all"} == {count}, (name, source, split)


def test_a_shard_is_read_through_once(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = open_shards.open_local
    monkeypatch.setattr(open_shards, "open_local", lambda shard: read.append(shard.name) or real(shard))
    first, second = load(str(made)), pickle.loads(pickle.dumps(load(str(made))))
    said = [[data.captions(row) for row in range(80)] for data in (first, second)]
    assert said[0] == said[1]
    assert len(read) == len(set(read))


@pytest.mark.slow
def test_other_processes_prepare_the_same_batches(made: Path, recipe: Recipe) -> None:
    what = Run("clip", str(made), override(recipe, {"batch_size": 16, "steps": 6}))
    _, alone = prepare(what, load(str(made)))
    _, helped = prepare(replace(what, recipe=override(what.recipe, {"workers": 2})), load(str(made)))
    for (a, _), (b, _) in zip(alone.batches(0, 6), helped.batches(0, 6), strict=True):
        assert torch.equal(a.ids, b.ids)
        assert all(torch.equal(a[view], b[view]) for view in a.views)
