"""The card of an export: what the hub reads of it, what it says, and licences that the data rules out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, metadata_load
from PIL import Image

import counterpoint as cp
from counterpoint.data.collections import COLLECTIONS
from counterpoint.exporting._card import Origin, _results, _scores, listed
from counterpoint.exporting._licence import LICENCES, check
from counterpoint.recipes import Recipe
from counterpoint.registry import UnknownNameError
from counterpoint.study import compare
from counterpoint.study.layout import run_folder
from counterpoint.training.run import Run
from fixtures import foreign
from fixtures.synthetic_study import write_data, write_study
from fixtures.trained import made_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("work"), "siglip")


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    return cp.export(run, "safetensors", run.with_name("mine"), licence="apache-2.0").folder


def test_the_hub_reads_its_metadata(exported: Path) -> None:
    said = metadata_load(exported / "README.md")
    assert said["license"] == "apache-2.0"
    assert said["library_name"] == "counterpoint"
    assert said["pipeline_tag"] == "zero-shot-image-classification"
    assert {"counterpoint", "siglip", "image", "text"} <= set(said["tags"])
    card = ModelCard.load(exported / "README.md")
    results = {it.metric_type: it for it in card.data.eval_results}
    assert 0 <= results["i2t_R@1"].metric_value <= 1
    assert results["i2t_R@1"].dataset_name == "pairs, held out"
    assert card.data.model_name == "mine"


def test_it_says_what_the_model_is_and_no_folder_of_this_machine(run: Path, exported: Path) -> None:
    text = (exported / "README.md").read_text()
    model = cp.load(run)
    for said in (
        model.fingerprint,
        "trained as `siglip`",
        "seed 0",
        "- name: pairs",
        "- splits: train 30",
        "Sigmoid Loss for Language Image Pre-Training (2023), [arXiv:2303.15343]",
        "torch ",
        'folder = "mine"',
        "counterpoint.load(folder)",
        "say nothing of other training runs",
    ):
        assert said in text, said
    assert str(run.parent) not in text
    assert listed(exported) == {path.name for path in exported.iterdir()}


@pytest.mark.parametrize(
    "layout",
    [
        "safetensors",
        "open_clip",
        "timm",
        "sentence_transformers",
        pytest.param("onnx", marks=pytest.mark.slow),
    ],
)
def test_the_lines_that_load_it_do(
    layout: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exported = cp.export(run, layout, "mine", allow_custom_code=True)
    text = (tmp_path / "mine" / "README.md").read_text()
    found: dict[str, object] = {}
    Image.new("RGB", (40, 30), "red").save("picture.jpg")
    exec(text.split("```python\n")[1].split("```")[0], found)
    assert {"image_vectors", "features"} & found.keys()
    assert all(phrase in text for phrase in exported.left_out)


def test_the_lines_of_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cp.export(f"transformers:{foreign.clip(tmp_path / 'model')}", "transformers", "mine")
    Image.new("RGB", (40, 30), "red").save("picture.jpg")
    found: dict[str, Any] = {}
    exec((tmp_path / "mine" / "README.md").read_text().split("```python\n")[1].split("```")[0], found)
    assert type(found["model"]).__name__ == "CLIPModel"


def test_earlier_checkpoint_does_not_bear_the_scores_of_the_last(tmp_path: Path) -> None:
    run = made_run(tmp_path, "clip", "--steps", "4")
    first, last = sorted((run / "checkpoint").glob("step-*"))
    text = (cp.export(last, "safetensors", tmp_path / "last").folder / "README.md").read_text()
    assert "## Results" in text
    text = (cp.export(first, "safetensors", tmp_path / "first").folder / "README.md").read_text()
    assert "## Results" not in text
    assert "model-index" not in text
    assert f"as its checkpoint {first.name} has it, which was not evaluated" in text


@pytest.mark.slow
def test_a_run_of_a_study_has_its_intervals_and_verdicts(pairs: Path, recipe: Recipe, tmp_path: Path) -> None:
    study = compare(
        "clip",
        "siglip",
        data=str(pairs),
        seeds=2,
        folder=tmp_path / "study",
        tasks=["retrieval"],
        recipe=recipe,
        jobs=1,
    )
    exported = cp.export(study.folder / "runs" / "siglip" / "seed-1", "safetensors", tmp_path / "out").folder
    text = (exported / "README.md").read_text()
    assert "Values are of this one run" in text
    assert (
        "The mean of its arm is over the runs of its study with the seeds 0, 1; this run has seed 1." in text
    )
    assert study.sentences[0] in text
    assert study.summary.multiplicity in text
    assert "None was chosen, so nobody may use this model" in text
    stated = metadata_load(exported / "README.md")["model-index"][0]["results"][0]["metrics"][0]
    arm = next(arm for arm in study.summary.arms if arm.name == "siglip")
    own = arm.metrics[0].seeds["1"]
    assert own is not None
    assert stated["value"] == pytest.approx(own, abs=1e-4)


def test_numbers_are_those_of_exported_run_beside_mean_of_arm(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    summary = write_study(tmp_path / "study", str(data / "metadata.csv"), arms=("clip",), failed=None)
    run = run_folder(tmp_path / "study", "clip", 1)
    origin = Origin("clip", Run.read(run), run)
    scores = _scores(origin)
    of_arm = {score.key: score for score in summary.arms[0].metrics}
    assert scores
    for score in scores:
        arm = of_arm[score.key]
        assert score.mean == arm.seeds["1"]
        assert score.low is not None
        assert score.high is not None
        assert 0 <= score.low <= score.mean <= score.high <= 1
    lines = list(_results(origin, scores))
    assert "| mean of its arm, 3 seeds |" in lines[0]
    first = scores[0]
    cells = [cell.strip() for cell in lines[2].strip("| ").split("|")]
    assert cells[3] == f"{100 * first.mean:.1f}"
    assert cells[5] == f"{100 * of_arm[first.key].mean:.1f}"
    assert cells[3] != cells[5]
    assert "seeds 0, 1, 2; this run has seed 1." in "\n".join(lines)


def test_a_model_of_another_library_and_data_that_is_gone(run: Path, tmp_path: Path) -> None:
    folder = foreign.sentences(tmp_path / "model")
    text = cp.export(f"sentence-transformers:{folder}", "safetensors", tmp_path / "out").folder / "README.md"
    assert "sentence-transformers:model" in text.read_text()
    assert "## Training" not in text.read_text()
    assert yaml.safe_load(text.read_text().split("---")[1])["pipeline_tag"] == "feature-extraction"
    data = run.with_name("pairs")
    data.rename(tmp_path / "away")
    try:
        gone = cp.export(run, "safetensors", tmp_path / "gone").folder / "README.md"
    finally:
        (tmp_path / "away").rename(data)
    assert "which was not at hand when this card was written" in gone.read_text()


@pytest.mark.parametrize(
    ("licence", "attribution", "terms"),
    [
        ("apache-2.0", "Photographs: Ada, CC BY-NC 4.0", "allows no commercial use"),
        ("mit", "for non-commercial research only", "allows no commercial use"),
        ("cc-by-sa-4.0", "Ada, CC-BY-NC-SA 4.0", "allows no commercial use"),
        ("cc-by-nc-4.0", "Ada, CC-BY-NC-SA 4.0", "is to be shared alike"),
        ("apache-2.0", "OpenMoji, CC BY-SA 4.0", "is to be shared alike"),
        ("cc-by-4.0", "Ada, CC BY-ND 3.0", "allows no derivatives"),
        ("apache-2.0", COLLECTIONS.get("stamps").attribution, "is under the GPL"),
        ("cc-by-sa-4.0", COLLECTIONS.get("monuments").attribution, "is under the GPL"),
    ],
)
def test_a_licence_that_the_data_rules_out(licence: str, attribution: str, terms: str) -> None:
    with pytest.raises(ValueError, match=f"the licence {licence} contradicts the data, which {terms}"):
        check(licence, attribution)
    check("other", attribution)


@pytest.mark.parametrize(
    ("licence", "attribution"),
    [
        ("apache-2.0", ""),
        ("apache-2.0", "Twemoji, CC-BY 4.0"),
        ("cc-by-sa-4.0", "OpenMoji, CC BY-SA 4.0"),
        ("cc-by-nc-sa-4.0", "Ada, CC BY-NC-SA 4.0"),
        ("mit", "a program under the LGPL-2.1"),
        ("gpl-3.0", COLLECTIONS.get("monuments").attribution),
    ],
)
def test_a_licence_that_suits_the_data(licence: str, attribution: str) -> None:
    check(licence, attribution)


def test_licence_that_is_none_is_told_before_anything_is_written(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown licence 'apache2': did you mean 'apache-2.0'"):
        cp.export(run, "safetensors", tmp_path / "out", licence="apache2")
    assert not list(tmp_path.iterdir())
    assert len(set(LICENCES)) == len(LICENCES)
