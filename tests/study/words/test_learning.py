"""The sources that arms learn from, derived from their names, the labels and the towers."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterpoint.cli import main
from counterpoint.modalities import PAIR
from counterpoint.recipes import load as load_recipe
from counterpoint.study.schema import TrainingSummary
from counterpoint.study.words.learning import learns_from
from counterpoint.training.run import Run

RECIPE = load_recipe("cpu")
PICTURES = {"image": "image"}


@pytest.mark.parametrize(
    ("arm", "labels", "columns", "learns"),
    [
        ("clip", "", PAIR, "pictures and captions"),
        ("clip", "species,share=0.05", PAIR, "pictures and captions"),
        ("moco", "species", PICTURES, "pictures"),
        ("whitened-cse", "", PAIR, "texts"),
        ("supcon,on=images", "", PAIR, "pictures; group"),
        ("supcon,on=images", "species,share=0.05", PICTURES, "pictures; species of 5 % of the rows"),
        ("supcon,on=images,labels=colour", "species,share=0.05", PICTURES, "pictures; colour"),
        (
            "supcon,on=images",
            "species,noise=0.4,imbalance=100",
            PICTURES,
            "pictures; species, 40 % of them wrong, classes of 100 to 1",
        ),
        ("late", "", PAIR, "pictures and captions"),
        ("late", "species", PAIR, "pictures and captions; species"),
        ("clip", "", {"question": "text", "answer": "text"}, "question and answer"),
    ],
)  # fmt: skip
def test_what_an_arm_learns_from_is_derived(
    arm: str, labels: str, columns: dict[str, str], learns: str
) -> None:
    assert learns_from(Run(arm, "data", RECIPE, labels=labels, columns=columns)) == learns


@pytest.mark.parametrize(
    ("tower", "trained_on"),
    [
        ("timm:resnet18.a1_in1k@hub", "1,000 classes of pictures"),
        ("timm:vit_small_patch14_dinov2.lvd142m@hub", "other pictures"),
        ("timm:vit_base_patch16_clip_224.openai@hub", "pictures and captions"),
        ("open_clip:ViT-B-32@openai", "pictures and captions"),
    ],
)
def test_weights_of_a_library_learnt_what_the_library_says(tower: str, trained_on: str) -> None:
    told = f"{tower} (trained on {trained_on})"
    assert learns_from(Run(f"moco,image={tower}", "data", RECIPE, columns=PICTURES)) == f"pictures; {told}"
    assert learns_from(Run(f"{tower},tune=none", "data", RECIPE, labels="species")) == told


def test_a_tower_of_ones_own_learnt_what_its_run_learnt(tmp_path: Path) -> None:
    earlier = Run("supcon,on=images", "data", RECIPE, labels="species,share=0.5", columns=PICTURES)
    earlier.reserve(tmp_path / "first")
    of_earlier = "first (trained on pictures; species of 50 % of the rows)"
    for arm in (f"moco,image=cnn@{tmp_path / 'first'}", f"diht-distilled,teacher=cnn@{tmp_path / 'first'}"):
        told = learns_from(Run(arm, "data", RECIPE))
        assert told.endswith(f"; {of_earlier}")
    several = f"diht-distilled,teacher=timm:resnet18.a1_in1k@hub+cnn@{tmp_path / 'first'}"
    assert f"1,000 classes of pictures); {of_earlier}" in learns_from(Run(several, "data", RECIPE))


def test_a_study_tells_what_its_arms_learn_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "study"
    words = [
        "compare",
        "supcon,on=images",
        "moco,queue=16",
        "--data",
        "scenes:basic,train=40,validation=6,test=12",
    ]
    words += ["--labels", "colour,share=0.5", "--recipe", "seconds", "--steps", "2", "--batch-size", "8"]
    assert main([*words, "--tasks", "probe", "--seeds", "1", "--jobs", "1", "--out", str(folder)]) == 0
    said = capsys.readouterr().out
    summary = TrainingSummary.read(folder)
    assert [arm.learns for arm in summary.arms] == ["pictures; colour of 50 % of the rows", "pictures"]
    assert summary.primary.metric == "logistic_colour_top1"
    for difference in summary.differences:
        told = (
            "They learn from different things: supcon,on=images (pictures; colour of 50 % of the rows), moco"
        )
        assert (told in difference.sentence) == (difference.family == "main")
    assert "learns from" in said
    assert "pictures; colour of 50 % of the rows" in said
    assert "rows to train on show their class" in said
    for file in ("report.html", "table.md", "table.tex"):
        assert "learns from" in (folder / file).read_text(encoding="utf-8")
    assert "--labels colour,share=0.5" in (folder / "report.html").read_text(encoding="utf-8")
