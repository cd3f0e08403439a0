from __future__ import annotations

import json
from pathlib import Path

import pytest

from counterpoint.catalog.evidence import Evidence
from counterpoint.cli import main, reproduce
from counterpoint_reproductions import multiberts
from counterpoint_reproductions.lab import Lab, above, decides, effects, exact, per_seed, secondary


@pytest.fixture
def _short_claim(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(lab: Lab) -> list[object]:
        lab.notify("working")
        lab.note("A note.")
        main_result = above(exact(2.0, "a number"), 1.0, name="the main [thing]")
        return [*secondary(above(exact(0.0, "another"), name="beside")), main_result]

    for name, value in (("CLAIM", "A helps."), ("REFUTED", "it does not"), ("run", run)):
        monkeypatch.setattr(multiberts, name, value)
    monkeypatch.chdir(tmp_path)


def test_papers_are_listed_by_status_and_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["papers", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 189
    assert main(["papers", "list", "--status", "verified", "--json"]) == 0
    verified = json.loads(capsys.readouterr().out)
    assert verified
    assert {paper["status"] for paper in verified} == {"verified"}
    assert main(["papers", "list", "--text", "sigmoid pair", "--family", "pairwise"]) == 0
    assert "siglip" in capsys.readouterr().out


def test_a_paper_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["papers", "show", "clip-rocket"]) == 0
    assert "counterpoint reproduce clip-rocket" in capsys.readouterr().out
    assert main(["papers", "show", "clip-rocket", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["claim"] == "counterpoint_reproductions.clip_rocket:run"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["papers", "show", "sigllip"], "did you mean 'siglip'"),
        (["papers", "list", "--family", "pairwize"], "did you mean 'pairwise'"),
        (["reproduce", "sigllip", "--quick"], "did you mean 'siglip'"),
    ],
)
def test_a_wrong_name_is_one_clear_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.usefixtures("_short_claim")
def test_a_smoke_run_is_shown_and_written_nowhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduce, "destination", lambda slug: tmp_path / f"{slug}.json")
    assert main(["reproduce", "multiberts", "--quick"]) == 0
    shown = capsys.readouterr().out
    assert "these numbers show nothing" in shown
    assert "verdict: inconclusive" in shown
    assert shown.index("the main [thing]") < shown.index("beside")
    assert not list(tmp_path.iterdir())
    assert main(["reproduce", "multiberts", "--quick", "--json", "--out", "smoke.json"]) == 0
    assert json.loads(capsys.readouterr().out)["quick"] is True
    assert Evidence.read(tmp_path / "smoke.json").quick


@pytest.mark.usefixtures("_short_claim")
def test_a_full_run_is_written_where_the_catalog_looks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("counterpoint.catalog.entries.evidence_folder", lambda: tmp_path / "evidence")
    assert main(["reproduce", "multiberts"]) == 0
    assert "verdict: reproduced" in capsys.readouterr().out
    assert Evidence.read(tmp_path / "evidence" / "multiberts.json").verdict == "reproduced"


def test_a_plan_is_a_table_of_widths_and_writes_no_evidence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(lab: Lab) -> list[object]:
        assert lab.seeds(5) == (1000, 1001)
        gain = per_seed("gain [one]", "R@1", [0.01, 0.012])
        return list(decides(above(gain, **effects.convention("share"))))

    monkeypatch.setattr(multiberts, "run", run)
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "multiberts", "--plan"]) == 0
    shown = capsys.readouterr().out
    for part in ("gain [one]", "superiority", "0.01", "yes", "5 seeds, about 0 minutes"):
        assert part in shown
    assert not list(tmp_path.rglob("*.json"))
    assert main(["reproduce", "multiberts", "--plan", "--quick"]) == 1
    assert "--plan writes no evidence" in capsys.readouterr().err


def test_an_installed_package_writes_beside_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("counterpoint.catalog.entries.evidence_folder", lambda: tmp_path / "measured")
    assert reproduce.destination("siglip") == Path("evidence/siglip.json")
