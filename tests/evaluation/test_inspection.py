"""The table by type and the picture of failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from counterpoint.data.items import QuestionVariants
from counterpoint.data.synthetic.clips.world import VideoClips
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.evaluation import breakdown, create, failures, inspection
from counterpoint.evaluation.statistic import mean, spearman
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.evaluation.tasks.vlb import bootstrap
from counterpoint.types import Embedder, Metric, Scores
from fixtures.hand_made import Blind, HandChoices, HandRegions, HandSquares, ItemData, SimilarityTable
from fixtures.tiny import Pixels, TinyData

SQUARES = HandSquares(
    [("a cat", "a dog"), ("red $5", "blue $6"), ("one", "two")], ["swap", "swap", "add"], [5, 6, 7]
)


def test_breakdown_has_a_row_for_each_kind_and_one_for_chance() -> None:
    data = ItemData(SQUARES)
    table = breakdown(create("winoground")(Blind(), data, np.arange(2)))
    assert table["subset"].to_list() == ["all", "add", "swap", "chance"]
    assert table["n"].to_list() == [3, 1, 2, None]
    assert table["text"].to_list() == [0, 0, 0, 0.25]


def test_what_a_subset_has_no_outcome_for_is_empty() -> None:
    data = ItemData(HandChoices([["a", "b"], ["c", "d"]], [0, 0], ["swap object", "add object"]))
    table = breakdown(create("sugarcrepe")(Blind(), data, np.arange(2)))
    assert table.filter(subset="add object")["swap"].to_list() == [None]


@pytest.mark.parametrize("task", ["winoground", "sugarcrepe", "retrieval", "zero_shot"])
def test_failures_are_drawn_for_every_sort_of_task(task: str, tmp_path: Path, tiny_data: TinyData) -> None:
    choices = HandChoices([["a", "b", "c"]] * 3, [0, 1, 2])
    data = {"winoground": ItemData(SQUARES), "sugarcrepe": ItemData(choices)}.get(task, tiny_data)
    model = Pixels()
    rows = np.arange(2) if task in ("winoground", "sugarcrepe") else tiny_data.splits.test["compositions"]
    scores = create(task)(model, data, rows)
    path = failures(scores, model, data, rows, tmp_path / f"{task}.png", most=2)
    with Image.open(path) as picture:
        assert picture.size[0] > 300
        assert len(np.unique(np.asarray(picture).reshape(-1, picture.mode.count("A") + 3), axis=0)) > 10


def test_failures_of_regions_need_no_map(tmp_path: Path) -> None:
    class Flat(Blind):
        def embed_patches(self, pictures: torch.Tensor, head: str = "default") -> torch.Tensor:
            return self.embed("image", pictures)[:, :, None, None].repeat(1, 1, 2, 2)

    masks = torch.zeros(2, 8, 12, dtype=torch.bool)
    masks[:, :3, 3:6] = True
    items = HandRegions(torch.zeros(2, 3, 8, 12, dtype=torch.uint8), masks, ["a", "b"])
    data, rows = ItemData(items), np.arange(2)
    scores = create("pointing")(Flat(), data, rows)
    for name, model in (("with.png", Flat()), ("without.png", Blind())):
        assert failures(scores, model, data, rows, tmp_path / name, most=1).stat().st_size > 5000


def test_the_worst_of_each_kind_come_in_turn_the_surest_first() -> None:
    data = ItemData(HandChoices([[f"r{k}", f"w{k}"] for k in range(5)], [0] * 5, ["x", "x", "x", "y", "y"]))
    lead = [-0.1, -0.3, 0.5, 0.2, -0.2]  # ids 10 … 14
    table = {f"r{k}": torch.eye(5)[k] * value for k, value in enumerate(lead)}
    scores = create("sugarcrepe")(SimilarityTable(table), data, np.arange(2))
    chosen = inspection._worst(scores, "right", True, 10)
    assert [c["example"] for c in chosen] == [11, 14, 10]
    assert [c["example"] for c in inspection._worst(scores, "right", True, 1)] == [11]


def test_of_score_that_goes_beyond_one_only_best_is_no_failure() -> None:
    ids = [1, 2, 3]
    examples = pl.DataFrame({"example": ids, "subset": ["all"] * 3, "cider": [1.5, 9.0, 4.0]})
    scores = Scores("explanation", examples, {"cider": Metric("cider", mean)})
    assert [c["example"] for c in inspection._worst(scores, "cider", True, 10)] == [1, 3]


def test_failures_of_variants_shown_in_variant_and_edition_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Scenes.parse("scenes:tiny,pixels=24,train=8,test=24")
    rows = world.splits.test["as trained"]
    scores = create("vlb,variants=L4,edition=1")(Pixels(), world, rows)
    drawn: list[inspection.Exhibit] = []
    monkeypatch.setattr(inspection, "_draw", lambda title, exhibits, *rest: drawn.extend(exhibits))
    failures(scores, Pixels(), world, rows, tmp_path / "failures.png")
    items = world.items(QuestionVariants, rows)
    asked = [
        {bootstrap(items, k, "L4", edition=edition)[0].question.text for k in range(len(items))}
        for edition in (0, 1)
    ]
    assert drawn
    assert all(exhibit.lines[0].endswith(", L4]") for exhibit in drawn)
    assert {exhibit.lines[1] for exhibit in drawn} <= asked[1]
    assert not {exhibit.lines[1] for exhibit in drawn} <= asked[0]


def test_failures_of_twins_are_rows_as_the_kind_calls_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = VideoClips.parse("clips:sounding,train=2,validation=2,test=12,pixels=16,frames=6")
    rows = world.splits.test["twins in order"]
    scores = create("twins")(_Still(), world, rows)
    drawn: list[inspection.Exhibit] = []
    monkeypatch.setattr(inspection, "_draw", lambda title, exhibits, *rest: drawn.extend(exhibits))
    failures(scores, _Still(), world, rows, tmp_path / "failures.png", most=3)
    assert len(drawn) == 3
    captions = {world.read("text", np.array([row]))[0] for row in rows}
    assert all(exhibit.lines[0].removeprefix("[order] ") in captions for exhibit in drawn)
    assert all(exhibit.of is not None and exhibit.of[0] == "video" for exhibit in drawn)


class _Still(Embedder):
    """A model to which all clips, and all sounds, are one."""

    heads = ("default",)
    embeds = ("video", "audio")

    def embed(self, column: str, inputs: Any, head: str = "default") -> torch.Tensor:
        return torch.ones(len(inputs), 2)

    def similarity(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a @ b.T


def test_a_model_without_failures_gets_a_picture_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ItemData(HandChoices([["r", "w"]], [0]))
    model = SimilarityTable({"r": torch.ones(1)})
    scores = create("sugarcrepe")(model, data, np.arange(2))
    titles: list[str] = []
    monkeypatch.setattr(inspection, "_draw", lambda title, *rest: titles.append(title))
    failures(scores, model, data, np.arange(2), tmp_path / "none.png")
    assert titles == ["sugarcrepe on hand-made: no failures"]


@pytest.mark.parametrize("task", ["mmcl_robustness", "fudd", "cl_simplicity_bias"])
def test_the_class_that_was_taken_for_the_true_one_is_named(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Scenes.parse("scenes:spurious,train=200,validation=1,test=40,pixels=24")
    rows = world.splits.test["opposed"]
    scores = create(task)(Pixels(), world, rows)
    drawn: list[inspection.Exhibit] = []
    monkeypatch.setattr(inspection, "_draw", lambda title, exhibits, *rest: drawn.extend(exhibits))
    failures(scores, Pixels(), world, rows, tmp_path / "failures.png", most=5)
    names, values = world.labels["concept"].names, world.labels["concept"].values
    wrong = {
        row["example"]: row["predicted"] for row in scores.examples.to_dicts() if row["predicted"] is not None
    }
    pairs = {
        (f"✓ {names[values[row]]}", f"✗ {names[int(wrong[key])]}")
        for row, key in zip(rows, world.ids[rows].tolist(), strict=True)
        if key in wrong
    }
    assert len(drawn) == 5
    assert all(
        exhibit.lines[1:] in pairs and exhibit.lines[1][2:] != exhibit.lines[2][2:] for exhibit in drawn
    )


def test_the_group_that_was_taken_for_the_true_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Scenes.parse("scenes:spurious,train=400,validation=40,test=120,pixels=24")
    rows, options = world.splits.test["opposed"], {"groups": ("background",), "more_than": 1}
    scores = create("multi_attribute_bias_amplification", **options)(Pixels(), world, rows)
    monkeypatch.setattr(
        inspection, "create", lambda name: create(name, **options)
    )  # its own groups are of people
    drawn: list[inspection.Exhibit] = []
    monkeypatch.setattr(inspection, "_draw", lambda title, exhibits, *rest: drawn.extend(exhibits))
    failures(scores, Pixels(), world, rows, tmp_path / "failures.png", most=8)
    label, row_of = world.labels["background"], {int(key): row for row, key in enumerate(world.ids)}
    told = scores.examples.drop_nulls("predicted").select("example", "predicted").rows()
    pairs = {(label.names[label.values[row_of[key]]], label.names[int(k)]) for key, k in told}
    lines = [[line[2:] for line in exhibit.lines[1:]] for exhibit in drawn if len(exhibit.lines) > 1]
    assert any(len(line) == 2 for line in lines)
    assert all((line[0], line[-1]) in pairs and (len(line) == 1) == (line[0] == line[-1]) for line in lines)


@pytest.mark.parametrize("task", ["graded_similarity", "few_shot"])
def test_failures_of_no_example_gets_wrong_by_itself_are_refused(task: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({"example": [0], "subset": ["all"], "grade": [1.0], "similarity": [0.5]})
    metric = (
        Metric(("grade", "similarity"), spearman) if task == "graded_similarity" else Metric("grade", mean)
    )
    scores = Scores(task, frame, {"shown": metric})
    with pytest.raises(NotApplicableError, match=f"failures of {task} are not drawn"):
        failures(scores, Blind(), TinyData(), np.arange(1), tmp_path / "none.png")
