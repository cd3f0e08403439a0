"""Diagnosis of a run: every section on one page that opens without a network, and the same numbers as JSON."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from counterpoint.cli import main
from counterpoint.diagnostics.report import embeddings, network, patches
from counterpoint.diagnostics.report.sections import OF_WORDS, SECTIONS, SLOW
from counterpoint.recipes import Recipe, override
from counterpoint.study.report import write_report
from counterpoint.study.report.diagnosis import FILE, PAGE, conclusion, diagnose_model, not_measured
from counterpoint.study.training.runner import run
from counterpoint.training.run import Run
from fixtures import foreign
from fixtures.page import Page
from fixtures.slow import slow
from fixtures.synthetic_study import write_data, write_study


@pytest.fixture(scope="module")
def cheap() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embeddings, "STEPS", {"image": 2, "text": 2})
        patch.setattr(embeddings, "INVERTED", {"image": 6, "text": 6})
        patch.setattr(embeddings, "VIEWS", 4)
        patch.setattr(network, "BATCHES", 1)
        patch.setattr(network, "PRODUCTS", 5)
        patch.setattr(network, "GRID_POINTS", 3)
        patch.setattr(network, "CLASSIFIED", 40)
        patch.setattr(patches, "ITEMS", 24)
        yield


@pytest.fixture(scope="module", params=["vit", *slow("cnn")])
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pairs: Path, recipe: Recipe
) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    small = override(recipe, {"towers.image": request.param, "steps": 2, "towers.image_size": 32})
    small = override(small, {"augmentation.paired": "crop+blur"})
    run(Run("clip", str(pairs), small, 0), folder, tasks=["retrieval"])
    return folder


def test_patches_alone_have_a_page(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(trained), "--what", "places", "--out", str(tmp_path), "--json"]) == 0
    sections = json.loads(capsys.readouterr().out)["sections"]
    numbers = {"variance of three components", "cosine within a picture", "cosine of any two"}
    assert {name for name, section in sections.items() if section["numbers"]} == {"places"}
    assert set(sections["places"]["numbers"]) == numbers
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "What patches say" in page
    assert "--what places" in page


def test_words_alone_have_a_page(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], pairs: Path, recipe: Recipe
) -> None:
    assert main(["diagnose", str(trained), "--what", "words", "--out", str(tmp_path), "--json"]) == 0
    sections = json.loads(capsys.readouterr().out)["sections"]
    assert list(sections) == list(OF_WORDS)
    assert {name for name, section in sections.items() if section["numbers"]} == {"words"}
    page = Page((tmp_path / PAGE).read_text(encoding="utf-8"))
    assert len([it for it in page.all("article") if "sample" in it["class"]]) == 12
    assert "--what words" in page.text
    run(Run("ntxent,on=images", str(pairs), override(recipe, {"steps": 1})), tmp_path / "blind", test=False)
    assert main(["diagnose", str(tmp_path / "blind"), "--what", "words"]) == 1
    message = " ".join(capsys.readouterr().err.split())
    assert "take one with a joint encoder" in message
    assert not (tmp_path / "blind" / PAGE).exists()


def test_it_leads_with_three_lines_and_groups_was_not_measured() -> None:
    def section(title: str, sentence: str, **numbers: float) -> dict[str, object]:
        return {"title": title, "sentence": sentence, "numbers": numbers}

    gap = {"separability": 1.0, "separability, means removed": 0.55}
    sections = {
        "spread": section("Spread", "s", **{"own text closer than another's by": 0.25}),
        "rank": section(
            "Directions", "Of 32 directions pictures use about 4; nothing has collapsed.", used=4.0
        ),
        "gap": section("Gap", "g", **gap),
        "looks": section("Looks", "Not measured: no attention."),
        "saliency": section("Objects", "Not measured: no attention."),
        "points": section("Points", "Not measured: no points."),
    }
    assert conclusion(sections) == [
        "Of 32 directions pictures use about 4; nothing has collapsed.",
        "Pictures and texts lie apart: a line tells 100 % of them apart (55 % once their means are removed).",
        "A picture is closer to its own text than to another's by a cosine of 0.25.",
    ]
    assert not_measured(sections) == "Not measured: Looks, Objects (no attention); Points (no points)."
    alone = {
        **sections,
        "gap": section("Gap", "Not measured: one modality."),
        "spread": section("Spread", "s", u=1.0),
    }
    assert len(conclusion(alone)) == 1


def test_every_section_is_on_one_offline_page(trained: Path, cheap: None) -> None:
    shares: list[float] = []
    found = diagnose_model(trained, notify=lambda title, share: shares.append(share), slow=True)
    assert len(shares) == len(SECTIONS)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert list(found["sections"]) == list(SECTIONS)
    assert json.loads((trained / FILE).read_text(encoding="utf-8")) == found
    looked = found["sections"]["augmentation"]
    assert not looked["numbers"] or "Under the view “crop+blur”" in looked["sentence"]
    page = Page((trained / PAGE).read_text(encoding="utf-8"))
    for name, section in found["sections"].items():
        reason = section["sentence"].replace("  ", " ").removeprefix("Not measured: ")
        assert reason[:60] in page.text
        for value in section["numbers"].values():
            assert value is None or math.isfinite(value)
        # What is said to be not measured has neither numbers nor a plot; all else has both.
        assert bool(section["numbers"]) != section["sentence"].startswith("Not measured"), name
    missing = {name for name, s in found["sections"].items() if not s["numbers"]}
    convolutions = {"attention", "offsets", "looks", "skips"} if "cnn" in trained.name else set()
    assert {*convolutions, "saliency", "objects", "points"} <= missing  # plain pairs have no regions
    always = {
        "spread",
        "rank",
        "gap",
        "hardness",
        "dense",
        "cka",
        "ablations",
        "hessian",
        "landscape",
        "neighbours",
    }
    assert not missing & always


def test_slow_sections_are_left_out_unless_requested(trained: Path, tmp_path: Path) -> None:
    sections = diagnose_model(trained, out=tmp_path)["sections"]
    assert list(sections) == list(SECTIONS)
    for name in SLOW:
        assert not sections[name]["numbers"]
        assert "--what all" in sections[name]["sentence"]
    assert sections["spread"]["numbers"]


@pytest.mark.slow
@pytest.mark.parametrize("tower", ["vit", "cnn"])
def test_scenes_have_sections_about_places(tower: str, recipe: Recipe, cheap: None, tmp_path: Path) -> None:
    small = override(recipe, {"towers.image": tower, "steps": 2, "towers.image_size": 32})
    world = "scenes:tiny,train=40,validation=8,test=40,pixels=48"
    run(Run("clip", world, small, 0), tmp_path, tasks=["retrieval"])
    sections = diagnose_model(tmp_path)["sections"]
    for name in ("objects", "points", *(["saliency"] if tower == "vit" else [])):
        numbers = sections[name]["numbers"]
        assert numbers, sections[name]["sentence"]
        assert all(value is None or -1 <= value <= 1 for value in numbers.values())
    # The last maps of the small convolutional tower are too small to have frequencies; the others are told.
    assert any(name.startswith("Δ log amplitude after") for name in sections["fourier"]["numbers"])
    if tower == "vit":
        assert "data:image/png" in (tmp_path / PAGE).read_text(encoding="utf-8")


def test_it_goes_where_it_is_told_and_answers_in_json(
    trained: Path, cheap: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "cnn" in trained.name:
        pytest.skip("once is enough")
    assert main(["diagnose", str(trained), "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    assert (tmp_path / PAGE).exists()


def test_other_data_does_where_those_of_the_run_are_gone(
    pairs: Path, recipe: Recipe, cheap: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved, folder = tmp_path / "moved", tmp_path / "run"
    shutil.copytree(pairs.parent if pairs.is_file() else pairs, moved)
    small = override(recipe, {"towers.image": "vit", "steps": 1, "towers.image_size": 32})
    run(
        Run("clip", str(moved / pairs.name if pairs.is_file() else moved), small, 0),
        folder,
        tasks=["retrieval"],
    )
    shutil.rmtree(moved)
    sections = diagnose_model(folder, str(pairs), slow=True)["sections"]
    assert sections["spread"]["numbers"]
    assert sections["cka"]["numbers"], "its start is known without its data"
    assert "not known" in sections["landscape"]["sentence"]
    assert main(["diagnose", str(folder)]) == 1
    assert "say where it is with --data" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(tmp_path)]) == 1
    assert "is not a run folder" in capsys.readouterr().err


def test_a_study_s_report_links_the_runs_that_were_looked_into(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    summary = write_study(tmp_path / "study", str(data), arms=("clip",), seeds=(0, 1), failed=None)
    (tmp_path / "study" / "runs" / "clip" / "seed-1" / PAGE).write_text("", encoding="utf-8")
    page = Page(write_report(tmp_path / "study", summary).read_text(encoding="utf-8"))
    assert [a["href"] for a in page.all("a")] == [f"runs/clip/seed-1/{PAGE}"]
    assert "clip, seed 1" in page.text


def test_another_library_s_model_is_looked_into_without_training(
    pairs: Path, cheap: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = f"open_clip:tiny@{foreign.open_clip_folder(tmp_path / 'tiny')}"
    words = ["diagnose", reference, "--data", str(pairs), "--out", str(tmp_path / "page")]
    assert main([*words, "--what", "all", "--json"]) == 0
    sections = json.loads(capsys.readouterr().out)["sections"]
    measured = {name for name, section in sections.items() if section["numbers"]}
    assert measured >= {"spread", "rank", "gap", "hardness", "inversion", "attention"}
    for name in ("cka", "neighbours", "hessian", "landscape"):
        assert "not known" in sections[name]["sentence"]
    assert (
        "seed"
        not in (tmp_path / "page" / PAGE).read_text(encoding="utf-8").split("</header>")[0].split("<h1>")[1]
    )
    for missing, message in (
        (words[:4], "give one with --out"),
        ([*words[:2], *words[4:]], "say which with --data"),
    ):
        assert main(missing) == 1
        assert message in capsys.readouterr().err
