"""Worlds in files: whole shards or none, and the same rows when they are read."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from counterpoint.cli import main
from counterpoint.data.listed.pairs import Pairs
from counterpoint.data.source import load
from counterpoint.data.synthetic.scenes import shards
from counterpoint.data.synthetic.scenes.annotations import run_lengths, scene_of
from counterpoint.data.synthetic.scenes.shards import write
from counterpoint.data.synthetic.scenes.world import Scenes

SOURCE = "scenes:noisy,train=25,validation=5,test=7,pixels=32"


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "ROWS", 10)


@pytest.fixture
def world() -> Scenes:
    return Scenes.parse(SOURCE)


FORMATS = ("webdataset", "parquet")


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_read_is_what_was_written(world: Scenes, tmp_path: Path, form: shards.Form) -> None:
    assert list(write(world, tmp_path, form)) == [0, 10, 20, 25, 30, 37]
    again = load(str(tmp_path))
    assert isinstance(again, Scenes)
    rows = np.random.default_rng(0).permutation(len(world))
    assert torch.equal(again.images(rows), world.images(rows))
    assert (again.ids == world.ids).all()
    assert [again.captions(r) for r in range(37)] == [world.captions(r) for r in range(37)]
    for side in ("validation", "test"):
        before, after = getattr(world.splits, side), getattr(again.splits, side)
        assert {name: r.tolist() for name, r in before.items()} == {
            name: r.tolist() for name, r in after.items()
        }
    assert again.attribution == world.attribution
    assert again.name == str(tmp_path)
    assert "Twemoji" in (tmp_path / "README.md").read_text()


def test_pictures_come_from_the_files(world: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list(write(world, tmp_path))
    expected = world.images(np.arange(37))

    def no(*given: object) -> None:
        raise AssertionError("drawn again")

    again = load(str(tmp_path))
    monkeypatch.setattr("counterpoint.data.synthetic.scenes.world.draw", no)
    assert torch.equal(again.images(np.arange(37)), expected)


def test_a_record_says_everything(world: Scenes, tmp_path: Path) -> None:
    list(write(world, tmp_path))
    with tarfile.open(tmp_path / "train-000001.tar") as archive:
        names = archive.getnames()
        values = json.load(archive.extractfile("000000000013.json"))  # type: ignore[arg-type] # it is a file
        said = archive.extractfile("000000000013.txt").read().decode()  # type: ignore[union-attr]
    assert names[:3] == ["000000000010.png", "000000000010.txt", "000000000010.json"]
    scene, drawing = world.scene(13), world.draw(np.array([13]))
    assert scene_of(values["scene"]) == scene
    assert scene_of(values.get("told", values["scene"])) == world.captioned(13)
    assert said == values["captions"][0] == world.captions(13)[0]
    assert values["boxes"] == drawing.boxes[0].tolist()
    assert values["split"] == "train"
    for lengths, mask in zip(values["masks"], drawing.masks[0], strict=True):
        assert sum(lengths) == mask.size
        ends = np.cumsum(lengths)
        filled = np.zeros(mask.size, bool)
        for start, end in zip(ends[::2], ends[1::2], strict=False):
            filled[start:end] = True
        assert np.array_equal(filled.reshape(mask.shape[::-1]).T, mask)


def test_run_lengths_of_nothing_and_of_everything() -> None:
    assert run_lengths(np.zeros((2, 3), bool)) == [6]
    assert run_lengths(np.ones((2, 3), bool)) == [0, 6]


@pytest.mark.parametrize("form", FORMATS)
def test_it_goes_on_where_it_was_stopped(
    world: Scenes, tmp_path: Path, form: shards.Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    list(write(world, whole, form))
    genuine, seen = shards.record, []

    def interrupted(world: Scenes, row: int, *rest: object) -> object:
        seen.append(row)
        if row == 14 and len(seen) < 20:
            raise KeyboardInterrupt
        return genuine(world, row, *rest)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr(shards, "record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(write(world, stopped, form))
    suffix = {"webdataset": "tar", "parquet": "parquet"}[form]
    assert [file.name for file in stopped.glob("*0*")] == [f"train-000000.{suffix}"]
    with pytest.raises(ValueError, match="4 of 5 shards are not there"):
        load(str(stopped))
    first = (stopped / f"train-000000.{suffix}").stat().st_mtime_ns
    assert list(write(world, stopped, form)) == [10, 20, 25, 30, 37]
    assert (stopped / f"train-000000.{suffix}").stat().st_mtime_ns == first
    assert not list(stopped.glob(".*.part"))
    for file in whole.iterdir():
        assert (stopped / file.name).read_bytes() == file.read_bytes()


def test_what_is_wrong_with_a_folder(world: Scenes, tmp_path: Path) -> None:
    list(write(world, tmp_path))
    with pytest.raises(ValueError, match="holds other scenes"):
        list(write(Scenes.parse(f"{SOURCE},seed=1"), tmp_path))
    with pytest.raises(ValueError, match="holds other scenes"):
        list(write(world, tmp_path, "parquet"))
    (tmp_path / "train-000001.tar").write_bytes(b"no tar")
    with pytest.raises(ValueError, match=r"train-000001\.tar is damaged .* make the scenes again"):
        shards.read(tmp_path).images(np.array([12]))
    manifest = json.loads((tmp_path / "scenes.json").read_text())
    manifest["version"] = 99
    (tmp_path / "scenes.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="was made by another version"):
        shards.read(tmp_path)
    manifest["version"] = 1
    manifest["shards"][0]["check"] = "0"
    (tmp_path / "scenes.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="was made by another version"):
        shards.read(tmp_path)
    (tmp_path / "scenes.json").write_text("{")
    with pytest.raises(ValueError, match=r"scenes\.json is damaged"):
        shards.read(tmp_path)


def test_other_readers_see_pairs(world: Scenes, tmp_path: Path) -> None:
    list(write(world, tmp_path / "tar"))
    (tmp_path / "tar" / "scenes.json").unlink()
    pairs = Pairs(tmp_path / "tar", 32)
    assert sorted(pairs.ids.tolist()) == world.ids.tolist()
    row = int(np.flatnonzero(pairs.ids == world.ids[30])[0])
    assert torch.equal(pairs.images(np.array([row])), world.images(np.array([30])))
    assert {side: len(rows) for side, rows in pairs.splits.test.items()} == {"held out": 7}
    list(write(world, tmp_path / "parquet", "parquet"))
    frame = pl.read_parquet(tmp_path / "parquet" / "train-000000.parquet")
    assert frame.columns == ["image", "id", "split", "text", "annotation", "captions"]
    assert frame["text"].to_list() == [world.captions(row)[0] for row in range(10)]


def test_a_world_that_no_name_says_is_refused(world: Scenes, tmp_path: Path) -> None:
    unnamed = Scenes(world.preset)
    with pytest.raises(ValueError, match="does not say what this world is"):
        list(write(unnamed, tmp_path))


def test_the_command_makes_shows_and_describes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make = ["data", "convert", "scenes:counts,validation=3,test=4,pixels=32,train=12", "--out", "made"]
    assert main(make) == 0
    told = capsys.readouterr().out
    assert "23 rows of scenes:counts" in told
    assert "12 of train, 3 of validation, 8 of test" in told
    assert main(make) == 0
    capsys.readouterr()
    assert main(["data", "describe", "made", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["contents"]["splits"]["value"]["train"] == 12
    assert main(["data", "show", "made", "--out", "sheet.png"]) == 0
    assert (tmp_path / "sheet.png").exists()
    assert main(["data", "convert", "scenes:basic"]) == 1
    assert "where to?" in capsys.readouterr().err
    assert main(["data", "convert", "scenes:basic,train=5,pixels=64", "--size", "32", "--out", "small"]) == 1
    assert "pixels=32" in capsys.readouterr().err
    assert main(["data", "convert", "scenes:tiny,train=5", "--out", "."]) == 1
    assert ". is not empty, and holds no scenes" in capsys.readouterr().err
