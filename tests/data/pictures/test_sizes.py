"""Pictures come at the size that an arm's tower asks for, and all else stays the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from counterpoint.data import load
from counterpoint.data.listed.pairs import Pairs
from counterpoint.data.loading.loader import Loader
from counterpoint.data.loading.order import ShuffledOrder
from counterpoint.data.pictures.decode import decode
from counterpoint.recipes import Recipe, override
from counterpoint.study.training import runner
from counterpoint.training.run import Run
from counterpoint.training.start import prepare
from fixtures.files import write_pairs
from fixtures.open_clip import small_open_clip

ROWS = np.arange(6)


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny pairs, their pictures noise of 90 pixels: what is decoded small and blown up is known as such."""
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    table = write_pairs(tmp_path / "pairs")
    rng = np.random.default_rng(0)
    for name in pl.read_csv(table)["file_name"]:
        Image.fromarray(rng.integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(table.parent / name)
    return table


@pytest.fixture
def pretrained(tmp_path: Path) -> str:
    folder = tmp_path / "tiny"
    folder.mkdir()
    small_open_clip(folder)
    return f"open_clip:tiny@{folder}"


def native(table: Path, size: int) -> np.ndarray:
    names = pl.read_csv(table)["file_name"].to_list()
    return np.stack([decode((table.parent / names[row]).read_bytes(), size) for row in ROWS])


def test_each_arm_trains_on_pictures_of_its_own_size(large: Path, pretrained: str, recipe: Recipe) -> None:
    small = override(recipe, {"batch_size": 6})
    data = load(str(large), 24)
    method, loader = prepare(Run(pretrained, str(large), small), data)
    assert method.image_tower.size == 32
    assert (loader.data.images(ROWS).numpy() == native(large, 43)).all()
    direct = Loader(
        Pairs(large, 43),
        ShuffledOrder(data.splits.train, 6, 0),
        method.views,
        augmentation=small.augmentation,
        inputs=method.inputs,
    )
    batch, expected = loader.batch(0), direct.batch(0)
    views = [name for name, view in method.views.items() if view.modality == "image"]
    assert all((batch[name] == expected[name]).all() for name in views)

    _, plain = prepare(Run("clip", str(large), small), data)
    assert plain.data is data
    assert (plain.data.images(ROWS).numpy() == native(large, 32)).all()
    for shared in ("ids", "splits", "labels", "subsets"):
        assert getattr(loader.data, shared) is getattr(data, shared)
    assert loader.data.fingerprint.parts == data.fingerprint.parts


def test_a_run_is_validated_and_scored_on_them_too(
    large: Path, pretrained: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(runner, "validation_numbers", lambda method, data: seen.append(data) or {})
    monkeypatch.setattr(runner, "score", lambda method, data, folder, tasks: seen.append(data))
    few = override(recipe, {"batch_size": 6, "steps": 1})
    runner.run(Run(pretrained, str(large), few), tmp_path / "run")
    assert len(seen) == 2
    assert all((data.images(ROWS).numpy() == native(large, 32)).all() for data in seen)


def test_scenes_are_drawn_at_the_size_that_is_asked_for() -> None:
    small, direct = load("scenes:basic,train=20"), load("scenes:basic,train=20", 96)
    assert small.images(ROWS[:2]).shape[-1] == 96
    assert direct.images(ROWS[:2]).shape[-1] == 128
    assert direct.sized(48).images(ROWS[:2]).equal(small.images(ROWS[:2]))
    assert direct.fingerprint.parts == small.fingerprint.parts
    assert [direct.captions(row) for row in range(9)] == [small.captions(row) for row in range(9)]
    given = load("scenes:basic,train=20,pixels=64")
    assert given.sized(96) is given


def test_emoji_keep_their_pictures_for_small_towers() -> None:
    emoji = load("emoji")
    assert load("emoji", 72) is emoji
    assert load("emoji", 96).side == 128  # type: ignore[attr-defined]
    assert load("emoji", 96).splits is emoji.splits
