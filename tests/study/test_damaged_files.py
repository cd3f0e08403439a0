"""A damaged file is named with what to do; it hides no other run, and compare repeats its run alone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from counterpoint.files import DamagedFileError, write_json
from counterpoint.recipes import Recipe, override
from counterpoint.study.design import Design
from counterpoint.study.results import StudyResults
from counterpoint.study.study import Study, resummarise
from counterpoint.study.summary import FinishedRun, read_results
from counterpoint.study.training.study import compare
from fixtures.run_folders import marks
from fixtures.synthetic_study import write_data, write_study

SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "half": lambda content: content[: len(content) // 2],
    "junk": lambda _: b"\xff\xfe\x00junk",
    "[]": lambda _: b"[]",
    "null": lambda _: b"null",
}
RUN_FILES = (
    "recipe.yaml",
    "environment.json",
    "run.json",
    "metrics.parquet",
    "scores.json",
    "examples.parquet",
    "diagnostics.json",
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    write_study(folder / "study", str(write_data(folder / "data")), ("clip", "slip"), (0, 1), failed=None)
    return folder / "study"


@pytest.fixture
def study(written: Path, tmp_path: Path) -> Path:
    """A finished study that a test may spoil."""
    return Path(shutil.copytree(written, tmp_path / "study"))


def _spoil(path: Path, damage: str) -> None:
    path.write_bytes(SPOILT[damage](path.read_bytes()))


@pytest.mark.parametrize("damage", SPOILT)
@pytest.mark.parametrize("name", RUN_FILES)
def test_a_damaged_run_is_named_and_the_others_are_read(name: str, damage: str, study: Path) -> None:
    _spoil(study / "runs" / "clip" / "seed-1" / name, damage)
    runs = _results(study).runs
    assert runs["clip"][1].scored is None
    assert runs["clip"][1].reason.startswith(f"damaged: {name} (")
    assert all(run.scored is not None for run in (runs["clip"][0], *runs["slip"].values()))


def test_a_damaged_run_is_a_row_and_the_others_are_shown(study: Path) -> None:
    _spoil(study / "runs" / "clip" / "seed-1" / "scores.json", "half")
    summary = resummarise(study).summary.plain()
    clip, slip = summary["arms"]
    assert [f["seed"] for f in clip["failed"]] == [1]
    assert slip["failed"] == []
    assert {seed for metric in clip["metrics"] for seed in metric["seeds"]} == {"0"}
    assert {seed for metric in slip["metrics"] for seed in metric["seeds"]} == {"0", "1"}
    assert any(
        "clip failed on 1 of 2 seeds (1): damaged: scores.json" in line for line in summary["warnings"]
    )
    assert "damaged: scores.json" in (study / "report.html").read_text()


def test_an_arm_whose_embeddings_are_nearly_one_is_named(study: Path) -> None:
    assert not any("nearly all the same" in line for line in resummarise(study).summary.plain()["warnings"])
    file = study / "runs" / "clip" / "seed-1" / "diagnostics.json"
    inside = json.loads(file.read_text())
    write_json(file, {name: numbers | {"std_image": 0.01} for name, numbers in inside.items()})
    line = "clip: the embeddings of image are nearly all the same in 1 of 2 runs: their spread per dimension is 0.01"
    assert any(each.startswith(line) for each in resummarise(study).summary.plain()["warnings"])


def _results(study: Path) -> StudyResults[FinishedRun]:
    design = Design.read(study)
    assert design is not None
    return read_results(design, study)


@pytest.mark.parametrize("name", RUN_FILES)
def test_a_missing_file_is_damage_too(name: str, study: Path) -> None:
    (study / "runs" / "slip" / "seed-0" / name).unlink()
    if name == "run.json":
        assert _results(study).unfinished == {"slip": [0]}
        return
    assert _results(study).runs["slip"][0].reason == f"damaged: {name} (it is missing)"


@pytest.mark.parametrize("damage", SPOILT)
@pytest.mark.parametrize("name", ["study.yaml", "plan.json", "summary.json"])
def test_a_damaged_file_of_the_study_is_named_with_what_to_do(name: str, damage: str, study: Path) -> None:
    _spoil(study / name, damage)
    remedy = {"study.yaml": "--out", "plan.json": "delete it", "summary.json": "counterpoint report"}[name]
    with pytest.raises(DamagedFileError, match=rf"{re.escape(name)} is damaged \(.*\): .*{remedy}"):
        Study.read(study) if name == "summary.json" else resummarise(study)


def test_every_proper_part_of_a_study_is_refused(study: Path) -> None:
    whole = (study / "study.yaml").read_bytes()
    for end in range(0, len(whole) - 1, 7):
        (study / "study.yaml").write_bytes(whole[:end])
        with pytest.raises(DamagedFileError, match=r"study\.yaml is damaged"):
            Design.read(study)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": "x"}, "format: "),
        ({"nosuch": 1}, "there is no option nosuch"),
        ({"seeds": "many"}, "seeds "),
        ({"budget": "nosuch"}, "budget must be one of"),
        ({"recipe": {"stepz": 3}}, "recipe: "),
    ],
)
def test_what_a_study_cannot_say(change: dict[str, Any], told: str, study: Path) -> None:
    import yaml

    plain = yaml.safe_load((study / "study.yaml").read_text())
    (study / "study.yaml").write_text(yaml.safe_dump({**plain, **change}))
    with pytest.raises(DamagedFileError, match=rf"study\.yaml is damaged \({told}"):
        Design.read(study)


def test_a_study_of_an_older_version_is_read(study: Path) -> None:
    text = (study / "study.yaml").read_text()
    (study / "study.yaml").write_text(text.removeprefix("---\n").removesuffix("...\n"))
    assert Design.read(study) is not None
    for place in study.glob("runs/*/*"):
        plain = json.loads((place / "run.json").read_text())
        (place / "run.json").write_text(
            json.dumps({k: v for k, v in plain.items() if k != "evaluation_seconds"})
        )
    assert all(run.scored is not None for runs in _results(study).runs.values() for run in runs.values())


def test_compare_repeats_a_damaged_run_alone(pairs: Path, recipe: Recipe, tmp_path: Path) -> None:
    def study() -> Study:
        return compare(
            "clip",
            seeds=2,
            data=str(pairs),
            recipe=override(recipe, {"steps": 3}),
            tasks=("retrieval",),
            folder=tmp_path / "study",
            jobs=1,
        )

    before = study()
    first, second = (tmp_path / "study" / "runs" / "clip" / f"seed-{seed}" for seed in (0, 1))
    kept = marks(first)
    _spoil(second / "scores.json", "half")
    with pytest.warns(
        UserWarning, match=r"scores\.json was damaged .*this run alone is repeated.*damaged-seed-1-1"
    ):
        after = study()
    assert marks(first) == kept
    assert after.summary.plain()["differences"] == before.summary.plain()["differences"]
    for old, new in zip(before.summary.plain()["arms"], after.summary.plain()["arms"], strict=True):
        assert old["metrics"] == new["metrics"]
        assert new["failed"] == []
