"""The tasks on generated scenes: through `evaluate`, a study's runs and the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from counterpoint.cli import main
from counterpoint.data import load
from counterpoint.data.items import MinimalPairs, Regions
from counterpoint.data.pictured import PairedData
from counterpoint.evaluation import create, evaluate
from counterpoint.methods.arm import Arm
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.study.gate import check_modalities
from counterpoint.study.training.runner import train
from fixtures.tiny import Pixels

TASKS = ("winoground", "bivlc", "mmvp", "inpaintcoco", "sugarcrepe")
WORLD = "scenes:basic,train=40,validation=16,test=60"
SMALL = "scenes:basic,train=8,validation=8,test=24"


class Placed(Pixels):
    """`Pixels` with a place in each quarter of the picture."""

    def embed_patches(self, pictures: Tensor, head: str = "default") -> Tensor:
        quarters = pictures.unfold(2, 48, 48).unfold(3, 48, 48).permute(0, 2, 3, 1, 4, 5)
        embedded = self.embed("image", quarters.flatten(0, 2).contiguous())
        return embedded.view(len(pictures), 2, 2, -1).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def world() -> PairedData:
    return load(WORLD)


def test_a_bag_of_words_that_sees_no_meaning_gets_no_swap(world: PairedData) -> None:
    """Its embedding of a caption is a sum over words; that the sums differ in rounding must not help it."""
    results = evaluate(Pixels(), world, tasks=TASKS)
    (test,) = world.splits.test
    rows = {(r["task"], r["metric"], r["subset"]): r for r in results.scores()}
    swaps = [kind for kind in results.by_test[test][0].subsets() if kind.startswith("swap")]
    assert swaps
    for kind in swaps:
        assert rows["bivlc", "i2t", kind]["value"] == rows["winoground", "text", kind]["value"] == 0
    assert rows["sugarcrepe", "swap", "all"]["value"] == 0
    # To a model that knows nothing of captions, which of two pictures belongs to one is a coin's toss.
    single = rows["bivlc", "caption_0", "all"]
    assert abs(single["value"] - 0.5) < 4 * (0.25 / single["n"]) ** 0.5
    assert len(world.items(MinimalPairs, world.splits.test[test])) == single["n"]


def test_an_oracle_of_regions_finds_them(world: PairedData) -> None:
    """Masks and pictures of scenes belong together: a thing's pixels are where its picture differs."""
    rows = next(iter(world.splits.test.values()))[:8]
    regions = world.items(Regions, rows)
    scores = create("pointing")(Placed(), world, rows)
    assert scores.examples["example"].to_list() == regions.ids.tolist()
    assert 0 < scores.metrics["hit"].chance < 0.6
    for task in ("segmentation", "localisation"):
        assert 0 <= create(task)(Placed(), world, rows).value("iou") <= 1
    probed = create("segmentation_probe")(Placed(), world, rows)
    assert probed.examples["example"].to_list() == world.ids[rows].tolist()
    assert 0 < probed.value("miou") < 1


@pytest.mark.parametrize(
    ("task", "source"),
    [
        ("count_to_ten", "scenes:counts,train=10,validation=10,test=30"),
        ("concept_association_bias", "scenes:basic,objects=1-2,tinted=1,train=10,validation=10,test=40"),
    ],
)
def test_counting_and_association_have_worlds_of_their_own(task: str, source: str) -> None:
    results = evaluate(Pixels(), load(source), tasks=(task,))
    for row in results.scores():
        spread = 4 * (row["chance"] * (1 - min(row["chance"], 1)) / row["n"]) ** 0.5
        if row["metric"] in ("accuracy", "own", "other", "alone") and row["subset"] == "all":
            assert abs(row["value"] - row["chance"]) < spread + 0.1, row


def test_a_run_is_scored_on_items_and_its_failures_are_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"steps": 1, "batch_size": 8, "towers.image_size": 32, "towers.vocabulary": 300}
    tasks = ("bivlc", "pointing")
    train("clip", SMALL, recipe=override(load_recipe("cpu"), small), folder=tmp_path / "run", tasks=tasks)
    scores = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))
    examples = pl.read_parquet(tmp_path / "run" / "examples.parquet")
    world = load(SMALL)
    (rows,) = world.splits.test.values()
    for task, form in (("bivlc", MinimalPairs), ("pointing", Regions)):
        found = examples.filter(task=task)["example"].unique().sort().to_list()
        assert found == sorted(world.items(form, rows).ids.tolist())
    capsys.readouterr()
    words = ["evaluate", str(tmp_path / "run"), "--tasks", *tasks, "--failures", str(tmp_path / "failures")]
    assert main(words) == 0
    printed = capsys.readouterr().out
    kinds = {row["subset"] for row in scores if row["task"] == "bivlc"}
    assert len(kinds) > 7
    assert all(kind in printed for kind in kinds)
    assert sorted(path.name for path in (tmp_path / "failures").iterdir()) == [
        "as-trained-bivlc.html",
        "as-trained-pointing.html",
    ]


def test_arms_without_captions_refused_before_they_are_trained(world: PairedData) -> None:
    with pytest.raises(ValueError, match="bivlc needs image and text embeddings"):
        check_modalities(Arm.parse("dcl,on=images"), (create("bivlc"),), world)


def test_the_mask_of_a_thing_is_where_it_is_drawn(world: PairedData) -> None:
    rows = next(iter(world.splits.test.values()))[:4]
    regions = world.items(Regions, rows)
    positions = np.arange(len(regions))
    masks, pictures = regions.masks(positions), regions.pictures(positions)
    inside = torch.stack([p[:, m].double().std() for p, m in zip(pictures, masks, strict=True) if m.any()])
    assert inside.mean() > 10
