"""Public benchmarks as they are published: what is read, and what is said when something is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from counterpoint.data import load
from counterpoint.data.benchmarks import BENCHMARKS
from counterpoint.data.items import Choices, MinimalPairs, Regions
from counterpoint.data.pictured import PairedData
from counterpoint.evaluation import evaluate
from counterpoint.registry import UnknownNameError
from fixtures import layouts
from fixtures.tiny import Pixels

Layout = Callable[[Path], Path]

LAYOUTS: dict[str, tuple[Layout, str, str]] = {
    "winoground": (layouts.winoground_lines, "winoground", "group"),
    "winoground, parquet": (layouts.winoground_parquet, "winoground", "group"),
    "bivlc": (layouts.bivlc, "bivlc", "group"),
    "inpaintcoco": (layouts.inpaintcoco, "inpaintcoco", "group"),
    "mmvp": (layouts.mmvp, "mmvp", "pair_accuracy"),
    "sugarcrepe": (layouts.sugarcrepe, "sugarcrepe", "accuracy"),
    "aro": (layouts.aro, "aro", "accuracy"),
    "countbench": (layouts.countbench, "count_to_ten", "accuracy"),
}


def read(name: str, layout: Layout, root: Path) -> PairedData:
    return BENCHMARKS.get(name)(layout(root / name), 8)  # type: ignore[no-any-return]


def red(pictures: torch.Tensor) -> list[int]:
    """Return the numbers of the fixtures' pictures, from the red of the pictures."""
    return (pictures[..., 0, 4, 4].double() / 20).round().int().flatten().tolist()


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_is_evaluated_by_its_task_from_its_path_alone(name: str, tmp_path: Path) -> None:
    layout, task, metric = LAYOUTS[name]
    data = load(f"{name.partition(',')[0]}:{layout(tmp_path / 'it')}", 24)
    results = evaluate(Pixels(), data, tasks=(task, "retrieval"))
    assert 0 <= results.value(task, "all", metric) <= 1
    examples = results.examples()
    ids = {t: set(examples.filter(task=t)["example"]) for t in (task, "retrieval")}
    assert ids[task] == ids["retrieval"] == set(data.ids.tolist())
    assert data.images(data.splits.test["all"][:1]).shape == (1, 3, 32, 32)
    assert data.show(tmp_path / "sheet.png").stat().st_size > 0
    assert data.describe()["data"]["rows"] == len(data)


def test_winoground_pairs_pictures_with_captions(tmp_path: Path) -> None:
    data = read("winoground", layouts.winoground_lines, tmp_path)
    squares = data.items(MinimalPairs, np.array([0, 2]))
    assert red(squares.pictures(np.array([1, 0]))) == [4, 5, 0, 1]
    assert squares.captions[1] == ("some plants around lamp 2", "lamp 2 around some plants")
    assert (squares.kinds, squares.ids.tolist()) == (["Object", "Object"], [0, 2])
    parquet = read("winoground", layouts.winoground_parquet, tmp_path / "other").items(
        MinimalPairs, np.arange(2)
    )
    assert red(parquet.pictures(np.arange(2))) == [0, 1, 2, 3]
    assert parquet.kinds == ["Object", "Both"]


def test_bivlc_is_read_across_shards_and_blocks(tmp_path: Path) -> None:
    squares = read("bivlc", layouts.bivlc, tmp_path).items(MinimalPairs, np.arange(72))
    asked = np.array([71, 0, 69, 63, 64])
    expected = [n for k in asked for n in (k % 12, (k + 1) % 12)]
    assert red(squares.pictures(asked)) == expected
    assert squares.captions[70] == ("A cat 70.", "A dog 70.")
    assert squares.kinds[:2] == ["replace obj", "swap att"]


def test_inpaintcoco_leaves_out_what_has_no_second_caption(tmp_path: Path) -> None:
    data = read("inpaintcoco", layouts.inpaintcoco, tmp_path)
    squares = data.items(MinimalPairs, np.arange(2))
    assert squares.captions == [("a red car", "a blue car"), ("a big dog", "a small dog")]
    assert red(squares.pictures(np.arange(2))) == [0, 1, 4, 5]
    assert data.findings() == {"left out": "1 items without a caption"}


def test_mmvp_pairs_rows_and_prompts_statements(tmp_path: Path) -> None:
    squares = read("mmvp", layouts.mmvp, tmp_path).items(MinimalPairs, np.arange(2))
    assert squares.captions[0] == ("a photo of a dog facing left", 'a photo of a dog facing "right", again')
    assert red(squares.pictures(np.arange(2))) == [1, 2, 3, 4]
    assert squares.kinds == ["Orientation and Direction", "Texts"]


def test_sugarcrepe_takes_its_kinds_from_file_names(tmp_path: Path) -> None:
    choices = read("sugarcrepe", layouts.sugarcrepe, tmp_path).items(Choices, np.arange(6))
    assert choices.kinds == ["add att", *["replace obj"] * 2, *["swap att"] * 3]
    assert choices.options[2] == ("A cat 1.", "A dog 1.")
    assert set(choices.answers.tolist()) == {0}
    assert red(choices.pictures(np.array([0, 2, 5]))) == [0, 1, 2]


def test_aro_shows_the_part_that_is_meant(tmp_path: Path) -> None:
    data = read("aro", layouts.aro, tmp_path)
    choices = data.items(Choices, np.arange(3))
    assert choices.kinds == ["relation: eating", "relation: to the left of", "attribution: white red"]
    assert set(data.subsets) == {"relation", "attribution"}
    pixels = choices.pictures(np.arange(3)).double().mean((0, 2, 3))
    torch.testing.assert_close(pixels, torch.tensor([250.0, 128, 3]).double(), atol=4, rtol=0)


def test_countbench_offers_nine_numbers_and_keeps_what_says_one(tmp_path: Path) -> None:
    data = read("countbench", layouts.countbench, tmp_path)
    choices = data.items(Choices, np.arange(2))
    assert choices.options[0][0] == "Two dogs in the yard"
    assert choices.options[1][8] == "a set of ten spoons"
    assert choices.answers.tolist() == [4, 8]
    assert choices.kinds == ["six", "ten"]
    assert red(choices.pictures(np.arange(2))) == [0, 1]
    assert data.findings() == {"left out": "3 of 5 rows, without picture or number"}


def test_coco_has_captions_and_a_region_for_each_category(tmp_path: Path) -> None:
    data = load(f"coco:{layouts.coco(tmp_path)}", 6)
    assert data.ids.tolist() == [9, 18]
    assert data.captions(0) == ["Two cats.", "Cats"]
    regions = data.items(Regions, np.arange(2))
    assert (regions.ids.tolist(), regions.phrases) == ([9017, 9018], ["cat", "dog"])
    assert regions.rows.tolist() == [0, 0]
    masks = regions.masks(np.arange(2))
    # The square in the middle of 12 × 8 has columns 2 … 9: cats fill 2 … 5 and 8, 9; the dog 4 and 5.
    assert masks.shape == (2, 8, 8)
    assert masks[0].all(0).tolist() == [True] * 4 + [False] * 2 + [True] * 2
    assert masks[1].all(0).tolist() == [False, False, True, True, False, False, False, False]
    assert torch.equal(masks.any(1), masks.all(1))
    assert red(regions.pictures(np.array([1]))) == [1]
    assert evaluate(Pixels(), data, tasks=("retrieval",)).value("retrieval", "all", "i2t_R@10") == 1


def test_coco_without_instances_has_no_regions(tmp_path: Path) -> None:
    root = layouts.coco(tmp_path)
    (root / "annotations" / "instances_val2017.json").unlink()
    data = load(f"coco:{root / 'annotations' / 'captions_val2017.json'}", 6)
    with pytest.raises(LookupError, match=r"has no file instances_….json"):
        data.items(Regions, np.arange(2))
    with pytest.raises(LookupError, match="has no minimal pairs"):
        load(f"coco:{root}", 6).items(MinimalPairs, np.arange(2))


def test_items_of_another_form_are_not_there(tmp_path: Path) -> None:
    data = read("sugarcrepe", layouts.sugarcrepe, tmp_path)
    with pytest.raises(LookupError, match="has no minimal pairs"):
        data.items(MinimalPairs, np.arange(1))


@pytest.mark.parametrize("name", sorted(BENCHMARKS.names()))
def test_an_empty_folder_is_refused_with_what_belongs_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"^{name}: .*{tmp_path.name}"):
        load(f"{name}:{tmp_path}")


def test_path_is_not_there_and_name_without_path_are_refused() -> None:
    with pytest.raises(FileNotFoundError, match="bivlc: there is no file or folder nowhere"):
        load("bivlc:nowhere")
    with pytest.raises(UnknownNameError, match="did you mean 'winoground:PATH'"):
        load("winogroun")


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    root = layouts.sugarcrepe(tmp_path)
    (tmp_path / "val2017" / f"{1:012d}.jpg").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"1 of 3 pictures are not there, first .*0001\.jpg: put COCO's"
    ):
        load(f"sugarcrepe:{root}")


def test_a_broken_picture_is_named_when_it_is_needed(tmp_path: Path) -> None:
    root = layouts.mmvp(tmp_path / "it")
    (root / "MLLM_VLM Images" / "Texts" / "3.jpg").write_bytes(b"no picture")
    data = load(f"mmvp:{root}")
    data.images(np.array([0]))
    with pytest.raises(ValueError, match=r"Texts/3.jpg cannot be read as a picture"):
        data.images(np.array([1]))


def test_wrong_keys_and_columns_are_named_with_what_is_there(tmp_path: Path) -> None:
    root = layouts.sugarcrepe(tmp_path)
    layouts.write_json(root / "add_obj.json", {"0": {"filename": "x.jpg", "caption": "a"}})
    with pytest.raises(
        ValueError, match=r"add_obj.json, item 0: no negative_caption; expected .*found filename"
    ):
        load(f"sugarcrepe:{root}")
    layouts.write_json(root / "add_obj.json", ["a"])
    with pytest.raises(
        ValueError, match="expected an object with filename, caption, negative_caption, found str"
    ):
        load(f"sugarcrepe:{root}")
    (root / "add_obj.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"add_obj.json is not valid JSON"):
        load(f"sugarcrepe:{root}")
    (tmp_path / "p").mkdir()
    pl.DataFrame({"image": ["a"], "caption": ["b"]}).write_parquet(tmp_path / "p" / "x.parquet")
    with pytest.raises(ValueError, match=r"bivlc: .* has no column negative_caption, negative_image"):
        load(f"bivlc:{tmp_path / 'p'}")


def test_mmvps_table_must_hold_pairs(tmp_path: Path) -> None:
    root = layouts.mmvp(tmp_path / "it")
    table = root / "Questions.csv"
    table.write_text("n,t,s\n1,a,x\n2,b,y\n", encoding="utf-8")
    with pytest.raises(ValueError, match="questions 1 and 2 are a pair of different types"):
        load(f"mmvp:{root}")
    table.write_text("n,t,s\n1,a,x\n", encoding="utf-8")
    with pytest.raises(ValueError, match="expected an even number of rows"):
        load(f"mmvp:{root}")


def test_run_lengths_of_another_picture_are_refused(tmp_path: Path) -> None:
    root = layouts.coco(tmp_path)
    file = root / "annotations" / "instances_val2017.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["annotations"][2]["segmentation"]["counts"] = "543N"
    layouts.write_json(file, content)
    regions = load(f"coco:{root}").items(Regions, np.arange(2))
    with pytest.raises(ValueError, match="run lengths of 14 pixels for a picture of"):
        regions.masks(np.array([1]))


def test_a_folder_with_two_files_of_captions_asks_which(tmp_path: Path) -> None:
    root = layouts.coco(tmp_path)
    layouts.write_json(root / "annotations" / "captions_val2014.json", {})
    with pytest.raises(FileNotFoundError, match=r"coco: more than one captions_….json .*name one"):
        load(f"coco:{root}")


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    root = layouts.winoground_lines(tmp_path / "it")
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(root / "data" / "images" / "ex_0_img_0.png")
    assert (load(f"winoground:{root}").images(np.array([0])) == 255).all()
