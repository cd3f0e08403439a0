"""A verdict is never about answers to other questions or of another model, and a damaged unit hides no other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import counterpoint as cp
from counterpoint.study.decoding.model import digests
from counterpoint.study.design import OtherStudyError
from counterpoint.study.study import resummarise
from counterpoint.training.run import OtherRunError
from fixtures.decoded import Parrot, stopping, write_questions
from fixtures.run_folders import marks
from fixtures.slow import slow

TASKS = ("answers", "pope")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    data = write_questions(tmp_path_factory.mktemp("data"))
    return {"model": Parrot, "data": data, "tasks": TASKS, "limit": 10, "max_new_tokens": 4}


@pytest.fixture(autouse=True)
def unheard() -> None:
    Parrot.heard = 0


@pytest.fixture(scope="module")
def finished(quick: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    cp.compare_decoding("vcd", seeds=2, folder=folder, **quick)
    return folder


def _spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    "name", ["replies.json", *slow("scores.json", "examples.parquet", "provenance.json")]
)
def test_a_damaged_unit_is_a_row_and_is_asked_again_alone(
    name: str, quick: dict[str, Any], finished: Path, tmp_path: Path
) -> None:
    place = Path(shutil.copytree(finished, tmp_path / "study"))
    before = json.loads((place / "summary.json").read_text())
    _spoil(place / "runs" / "vcd" / "seed-1" / "pope" / name)
    summary = resummarise(place).summary.plain()
    plain, rule, vcd = summary["arms"]
    assert plain["failed"] == rule["failed"] == []
    assert [run["seed"] for run in vcd["failed"]] == [1]
    reason = f"damaged: pope/{name} ("
    assert vcd["failed"][0]["reason"].startswith(reason)
    assert {seed for metric in vcd["metrics"] for seed in metric["seeds"]} == {"0"}
    assert any(f"vcd failed on 1 of 2 seeds (1): {reason}" in line for line in summary["warnings"])
    assert reason in (place / "report.html").read_text()
    kept = marks(place / "runs" / "vcd" / "seed-1" / "answers")
    with pytest.warns(UserWarning, match=rf"{name} was damaged .*this run alone is repeated.*damaged-pope-1"):
        after = cp.compare_decoding("vcd", seeds=2, folder=place, **quick).summary.plain()
    assert marks(place / "runs" / "vcd" / "seed-1" / "answers") == kept
    assert after["differences"] == before["differences"]
    assert after["warnings"] == before["warnings"]
    assert len(after["warnings"]) == 1
    assert after["warnings"][0].startswith("2 seeds: the 95 % intervals are wide")


def test_an_unfinished_unit_is_left_out_and_said(finished: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(finished, tmp_path / "study"))
    (place / "runs" / "vcd" / "seed-0" / "pope" / "scores.json").unlink()
    summary = resummarise(place).summary.plain()
    assert [arm["unfinished"] for arm in summary["arms"]] == [[], [], [0]]
    assert any(line.startswith("unfinished and left out: vcd (seed 0)") for line in summary["warnings"])
    assert {c["arm"] for c in summary["conclusions"]} == {"vcd"}
    for unit in place.glob("runs/plain/*/*/scores.json"):
        unit.unlink()
    with pytest.raises(
        ValueError, match=r"no finished run of plain sampling.*compare-decoding command again"
    ):
        resummarise(place)


def _edited(text: str) -> str:
    rows = json.loads(text)
    rows[0]["question"] += " Look again."
    rows[4]["options"] = ["yes", "no", "perhaps"]
    return json.dumps(rows)


def test_other_questions_are_refused_and_counted(tmp_path: Path) -> None:
    data = write_questions(tmp_path / "data")
    options = {"model": Parrot, "data": data, "tasks": TASKS, "folder": tmp_path / "study", "seeds": 1}
    cp.compare_decoding("vcd", **options)
    file = tmp_path / "data" / "questions.json"
    file.write_text(_edited(file.read_text()))
    heard, before = Parrot.heard, marks(tmp_path / "study")
    with pytest.raises(
        OtherStudyError,
        match=r"json changed \(1 of 12 test captions differ, 2 of 12 test questions differ\) since the study",
    ) as refused:
        cp.compare_decoding("ritual", **options)
    assert "runs/vcd/seed-0/pope" in str(refused.value)
    assert (Parrot.heard, marks(tmp_path / "study")) == (heard, before), "what is refused leaves no trace"
    # The folders of one arm are taken away, and asked again about what the file says now.
    cp.compare_decoding("vcd", **options | {"folder": tmp_path / "other"})
    shutil.rmtree(tmp_path / "study" / "runs" / "vcd")
    shutil.move(tmp_path / "other" / "runs" / "vcd", tmp_path / "study" / "runs" / "vcd")
    with pytest.raises(
        OtherRunError, match=r"cannot be compared: their data differ \(.*2 of 12 test questions differ\)"
    ):
        resummarise(tmp_path / "study")


def test_unit_was_stopped_does_not_go_on_with_other_questions(tmp_path: Path) -> None:
    data = write_questions(tmp_path / "data")
    options = {"data": data, "tasks": TASKS, "folder": tmp_path / "study", "seeds": 1}
    with pytest.raises(KeyboardInterrupt):
        cp.compare_decoding("vcd", model=stopping(80), **options)
    file = tmp_path / "data" / "questions.json"
    file.write_text(_edited(file.read_text()))
    with pytest.raises(OtherStudyError, match=r"2 of 12 test questions differ"):
        cp.compare_decoding("vcd", model=Parrot, **options)


def test_a_method_with_other_options_is_another(
    finished: Path, tmp_path: Path, quick: dict[str, Any]
) -> None:
    place = Path(shutil.copytree(finished, tmp_path / "study"))
    for file in place.glob("runs/vcd/seed-0/*/provenance.json"):
        plain = json.loads(file.read_text())
        assert plain["method"]["vcd"].startswith("VisualContrastive(alpha=")
        file.write_text(json.dumps(plain | {"method": {"vcd": "VisualContrastive(alpha=0.25)"}}))
    with pytest.raises(
        OtherStudyError, match=r"^vcd changed since .*: runs/vcd/seed-0/answers, runs/vcd/seed-0/pope$"
    ):
        cp.compare_decoding("vcd", seeds=2, folder=place, **quick)
    with pytest.raises(OtherRunError, match="vcd changed between them"):
        resummarise(place)


def test_a_model_whose_files_were_replaced_is_another(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).write_bytes(b"{}")
    before = digests(str(folder))
    assert before == digests(str(folder))
    (folder / "tokenizer.json").write_bytes(b"{} ")
    assert before.keys() == digests(str(folder)).keys() == {str(folder)}
    assert before != digests(str(folder))
