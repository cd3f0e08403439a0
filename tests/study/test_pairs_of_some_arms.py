"""Arms on different columns in one study: each is asked what it has columns for, and a dash stands for the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from counterpoint.cli import main
from counterpoint.study.schema import TrainingSummary
from fixtures.stamps import spoken

ARMS = ("clip,columns=image+text", "clip,columns=image+audio", "more,hub=text")
SMALL = ["--recipe", "seconds", "--steps", "2", "--batch-size", "8", "--seeds", "1", "--jobs", "1"]


@pytest.fixture
def source(tmp_path: Path) -> str:
    return f"stamps:{spoken(tmp_path / 'stamps')},language=fr"


def test_arms_are_compared_on_pairs_of_columns_two_of_them_embed(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    words = ["compare", *ARMS, "--data", source, *SMALL, "--tasks", "retrieval", "zero_shot"]
    assert main([*words, "--out", str(out)]) == 0
    words_pictures, words_sounds, all_three = ARMS
    summary = TrainingSummary.read(out)
    assert [metric.metric for metric in summary.of_some] == ["i2t_R@1", "kind_top1", "i2a_R@1"]
    assert summary.primary.metric == "i2t_R@1"
    assert {(d.metric, d.a, d.b) for d in summary.differences} == {
        ("i2t_R@1", words_pictures, all_three),
        ("kind_top1", words_pictures, all_three),
        ("i2a_R@1", words_sounds, all_three),
    }
    assert summary.multiplicity.startswith("Holm's correction over 3 tests")
    table = (out / "table.md").read_text()
    dashes = {words_pictures: [False, False, True], words_sounds: [True, True, False], all_three: [False] * 3}
    for arm, lacking in dashes.items():
        (row,) = (line for line in table.splitlines() if line.startswith(f"| {arm} |"))
        assert [cell == "–" for cell in row.strip("| ").split(" | ")[-3:]] == lacking
    assert table.count("\n- ") == len(summary.differences)
    printed = " ".join(capsys.readouterr().out.split())
    assert f"{words_sounds} has no such number: " in printed
    assert f"nothing compares it with {words_pictures}." in printed
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "not asked" in page
    assert "i2a R@1 on validation" in page
    assert "Image to audio" in page

    assert main(["report", str(out), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert {metric["metric"] for metric in scores["of_some"]} == {"i2t_R@1", "kind_top1", "i2a_R@1"}


@pytest.mark.slow
def test_arm_is_asked_about_other_examples_is_left_out_of_probe(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stamps/animals/more/thing27_desc_fr.wav").unlink()  # of a test row
    pictures, sounds, alone = "clip,columns=image+text", "clip,columns=audio+text", "ntxent,on=images"
    out = tmp_path / "study"
    words = ["compare", pictures, sounds, alone, "--data", source, *SMALL, "--tasks", "probe"]
    assert main([*words, "--out", str(out)]) == 0
    summary = TrainingSummary.read(out)
    assert summary.primary.metric == "logistic_kind_top1"
    assert {(d.a, d.b) for d in summary.differences} == {(pictures, alone)}
    assert [arm.score(summary.primary.key) is None for arm in summary.arms] == [False, True, False]
    assert f"{sounds}: left out of probe logistic_kind_top1 (held out), where it was asked" in str(
        summary.warnings
    )
    printed = " ".join(capsys.readouterr().out.split())
    assert f"{sounds} has no such number: nothing compares it with {pictures} and {alone}." in printed


def test_test_set_whose_rows_lack_one_two_columns_refused_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One of eight rows to test on has an answer, so that there is nothing to find it among.
    table = tmp_path / "faq.csv"
    sides = ["train"] * 12 + ["validation"] * 6 + ["test"] * 8
    answers = ["" if side == "test" and row < 25 else f"answer {row}" for row, side in enumerate(sides)]
    rows = [
        f"question {row},{answer},remark {row},{side}"
        for row, (answer, side) in enumerate(zip(answers, sides, strict=True))
    ]
    table.write_text("question,answer,remark,split\n" + "\n".join(rows) + "\n")
    words = ["compare", "clip,columns=question+remark", "clip,columns=question+answer", "--data", str(table)]
    columns = ["--columns", "question", "answer", "remark"]
    assert main([*words, *SMALL, *columns, "--tasks", "retrieval", "--out", str(tmp_path / "study")]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "retrieval needs at least 2 examples with two of the columns question and answer of arm" in said
    assert "of the 8 of test set 'held out' 1 has two: choose other columns for the arm" in said
    assert not (tmp_path / "study").exists()
