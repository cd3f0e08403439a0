from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from counterpoint import catalog
from counterpoint.catalog import entries, render
from counterpoint.catalog.evidence import Evidence, Machine, Result


def shown(renderable: RenderableType, width: int = 160) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115 # rich writes while it records
    console.print(renderable)
    return console.export_text()


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> catalog.Paper:
    monkeypatch.setattr(entries, "evidence_folder", lambda: tmp_path)
    found = Result(
        name="sigmoid minus softmax [B=8]",
        metric="R@1",
        expected="above",
        estimate=0.031,
        low=0.012,
        high=0.05,
        n_seeds=5,
    )
    Evidence(
        slug="siglip",
        claim="The sigmoid loss wins in small batches.",
        command="counterpoint reproduce siglip",
        date=datetime.date(2025, 1, 2),
        machine=Machine(cores=2),
        seconds=61.0,
        results=(found,),
    ).write(tmp_path / "siglip.json")
    return replace(
        catalog.paper("siglip"),
        symbols=("json:JSONEncoder",),
        recipe="cpu",
        claim="counterpoint_reproductions.siglip:claim",
    )


def test_table_has_a_row_per_paper_and_counts(measured: catalog.Paper) -> None:
    text = shown(render.table([measured, replace(catalog.paper("vcd"), symbols=())]))
    assert "siglip" in text
    assert "vcd" in text
    assert "2 papers: 1 planned, 1 verified" in text
    assert "no paper fits" in shown(render.table([]))


def test_page_of_a_planned_paper_promises_nothing() -> None:
    text = shown(render.page(replace(catalog.paper("albef"), symbols=(), recipe=None, claim=None)))
    assert "arxiv.org/abs/2107.07651" in text
    assert "planned" in text
    assert "reproduce" not in text


def test_page_of_a_measured_paper_shows_the_numbers(measured: catalog.Paper) -> None:
    text = shown(render.page(measured))
    for part in ("verified", "json:JSONEncoder", "counterpoint reproduce siglip", "Verdict: reproduced"):
        assert part in text
    assert "sigmoid minus softmax [B=8]" in text  # brackets are text, not markup
    for part in ("> 0", "0.031", "0.012 … 0.05", "61 s on 2 cores"):
        assert part in text


def test_words_stay_whole_at_eighty_columns(measured: catalog.Paper) -> None:
    """In a table of seven columns a verdict was broken within a word."""
    text = shown(render.page(measured), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "reproduced: sigmoid minus softmax [B=8]" in text
    assert "expected > 0, measured 0.031 (95 % interval 0.012 … 0.05, 5 seeds)" in text


def test_results_do_not_decide_are_in_brackets_are_explained(measured: catalog.Paper) -> None:
    text = shown(render.page(measured))
    assert "in brackets" not in text
    assert measured.evidence is not None
    evidence = Evidence.read(measured.evidence)
    aside = evidence.results[0].model_copy(
        update={"name": "loss", "decides": False, "low": 0.031, "high": 0.031}
    )
    evidence.model_copy(update={"results": (*evidence.results, aside)}).write(measured.evidence)
    text = shown(render.page(measured))
    assert "(loss)" in text
    assert "expected > 0, measured 0.031 (5 seeds)" in text
    assert "Results in brackets are reported beside the others" in text


def test_plain_data_is_json(measured: catalog.Paper) -> None:
    plain = json.loads(json.dumps(render.as_dict(measured)))
    assert plain["status"] == "verified"
    assert plain["url"] == measured.url
    assert plain["evidence"]["results"][0]["verdict"] == "reproduced"
    assert plain["modalities"] == ["image", "text"]
    assert json.loads(json.dumps(render.as_dict(catalog.paper("multibooth"))))["evidence"] is None


def test_every_page_renders() -> None:
    for paper in catalog.papers():
        assert paper.title.split()[0] in shown(render.page(paper), width=80)
