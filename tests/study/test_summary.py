"""Summaries of studies whose runs are unfinished, and of arms that little is known of."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from counterpoint.recipes import load as load_recipe
from counterpoint.study import summary as summaries
from counterpoint.study.decoding.design import DecodingDesign
from counterpoint.study.design import Design
from counterpoint.study.layout import run_folder
from counterpoint.study.report.page import content
from counterpoint.study.schema import TrainingSummary
from counterpoint.study.study import resummarise
from counterpoint.study.words.learning import learns_from
from counterpoint.study.words.names import renamed, short_names, with_short_names
from counterpoint.study.words.tables import ranked, write_tables
from counterpoint.study.words.terminal import for_terminal, leaderboard
from counterpoint.training.run import Run, RunState
from fixtures.synthetic_study import write_data, write_study


@pytest.fixture
def study(tmp_path: Path) -> Path:
    data = write_data(tmp_path / "data")
    write_study(tmp_path / "study", str(data / "metadata.csv"), arms=("clip", "slip"), failed=None)
    return tmp_path / "study"


def test_an_unfinished_run_is_not_called_failed(study: Path) -> None:
    run = run_folder(study, "slip", 1)
    RunState("running", "", 10, 10, {"image": 1}, 1.0, 1, 1, 1).write(run)
    found = resummarise(study).summary
    clip, slip = found.arms
    assert (clip.failed, slip.failed) == ((), ())
    assert (clip.unfinished, slip.unfinished) == ((), (1,))
    for difference in found.differences:
        assert (difference.n_failed, difference.n_seeds) == (0, 2)
        assert "seeds [1] of clip have no partner and were left out" in difference.notes
        assert "fail" not in difference.sentence
    assert any(line.startswith("unfinished and left out: slip (seed 1)") for line in found.warnings)
    assert any(
        line.startswith("slip: 2 finished runs: the 95 % intervals are wide") for line in found.warnings
    )
    assert "failed" not in (study / "table.md").read_text()


def test_many_arms_are_compared_with_the_first_alone(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summaries, "MOST_IN_PAIRS", 2)
    two = resummarise(study)
    assert two.summary.reference == ""
    data = str(tmp_path / "data" / "metadata.csv")
    three = write_study(tmp_path / "three", data, arms=("clip", "siglip", "slip"), failed=None)
    assert three.reference == "clip"
    assert {(d.a, d.b) for d in three.differences} == {("siglip", "clip"), ("slip", "clip")}
    pairs = [d for d in two.summary.differences if d.family == "main"]
    assert len([d for d in three.differences if d.family == "main"]) == 2 * len(pairs)
    assert "each arm against clip" in three.multiplicity
    short = renamed(three, {"clip": "C", "siglip": "siglip", "slip": "slip"})
    assert (short.reference, "each arm against C" in short.multiplicity) == ("C", True)
    again = resummarise(tmp_path / "three")
    assert again.conclusion[0].endswith("no difference is shown.")
    assert "each arm against clip" in again.report.read_text(encoding="utf-8")


def test_a_loss_whose_file_is_gone_learns_from_what_clip_does() -> None:
    recipe = load_recipe("cpu")
    pictures = {"image": "image"}
    assert learns_from(Run("../gone.py:Hinge,margin=0.2", "data", recipe)) == "pictures and captions"
    assert learns_from(Run("gone.py:Hinge,on=images", "data", recipe, columns=pictures)) == "pictures"


def test_what_is_not_known_is_not_told_as_different(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def learns(run: Run) -> str:
        return "pictures and captions" if run.arm == "clip" else ""

    monkeypatch.setattr(summaries, "_learns", learns)
    again = resummarise(study)
    assert [arm.learns for arm in again.summary.arms] == ["pictures and captions", ""]
    said = " ".join([*(d.sentence for d in again.summary.differences), *again.conclusion])
    assert "learn" not in said


def test_the_winner_is_used_by_embedding_the_data(study: Path) -> None:
    summary = TrainingSummary.read(study)
    assert summary.winner.command == f"counterpoint embed {summary.winner.folder} {summary.data}"


def test_title_is_on_the_page_in_the_summary_and_in_the_command(study: Path) -> None:
    design = Design.read(study)
    assert design is not None
    assert content(study, TrainingSummary.read(study))["title"].startswith("Which is better on ")
    replace(design, title="Which loss finds a recipe?").reserve(study)
    summary = resummarise(study).summary
    assert summary.title == "Which loss finds a recipe?"
    page = content(study, summary)
    assert page["title"] == "Which loss finds a recipe?"
    assert summary.data in page["facts"]
    assert str(leaderboard(summary)[0]) == "Which loss finds a recipe?"
    assert "--title 'Which loss finds a recipe?'" in page["commands"]["compare"]
    text = (study / "report.html").read_text()
    assert "<h1>Which loss finds a recipe?</h1>" in text
    assert "<title>Which loss finds a recipe?</title>" in text
    # A command that adds seeds and states no title keeps the one that the study has.
    assert replace(design, title="", seeds=(0, 1, 2, 3)).reserve(study).title == "Which loss finds a recipe?"


def test_a_study_of_decoding_keeps_its_title(tmp_path: Path) -> None:
    design = DecodingDesign(("vcd",), "model", "scenes:basic", title="Less made up?")
    assert "title" not in replace(design, title="").plain()
    design.reserve(tmp_path)
    again = DecodingDesign.read(tmp_path)
    assert again is not None
    assert again.title == "Less made up?"


def test_one_of_something_is_told_in_the_singular(study: Path) -> None:
    resummarise(study)
    text = (study / "report.html").read_text()
    assert "The difference on other labels" in text or "All 1 " not in text
    assert not re.search(r"\b1 (?:examples|differences|pairs|trials|seeds|arms|numbers)\b", text)


def test_loss_of_file_goes_by_class_unless_two_would_read_alike() -> None:
    def short(*names: str) -> list[str]:
        return list(short_names(names).values())

    assert short("clip", "../my_loss.py:Hinge") == ["clip", "Hinge"]
    assert short("../my_loss.py:Hinge,margin=0.2", "../my_loss.py:Hinge") == ["Hinge,margin=0.2", "Hinge"]
    assert short("a.py:clip", "clip") == ["a.py:clip", "clip"]
    assert short("x/a.py:L", "y/a.py:L", "y/b.py:M") == ["x/a.py:L", "y/a.py:L", "M"]
    assert short("x/a.py:L", "y/b.py:L") == ["a.py:L", "b.py:L"]
    assert short("open_clip:ViT-B-32@/models/x.pt") == ["open_clip:ViT-B-32@/models/x.pt"]


def test_pages_tables_terminals_show_short_name_commands_full(study: Path) -> None:
    full = renamed(TrainingSummary.read(study), {"clip": "clip", "slip": "../my_loss.py:Hinge"})
    assert any("../my_loss.py:Hinge" in d.sentence for d in full.differences)
    short = with_short_names(full)
    assert [arm.name for arm in short.arms] == ["clip", "Hinge"]
    assert "my_loss" not in " ".join(d.sentence for d in short.differences)
    assert [arm.name for arm in for_terminal(full).arms] == ["clip", "Hinge"]
    page = content(study, full)
    assert [row["arm"] for row in page["boards"][0]["rows"]] == [
        arm.name for arm in ranked(short.arms, full.primary.key)
    ]
    assert page["title"].endswith(": clip or Hinge?")
    assert "Hinge: ../my_loss.py:Hinge" in page["facts"]
    assert "../my_loss.py:Hinge" in page["commands"]["compare"]
    write_tables(full, study)
    assert "| Hinge |" in (study / "table.md").read_text()
    assert "../my_loss.py:Hinge," in (study / "table.csv").read_text()
