"""The page of a study of decoding: whole, offline, with what every arm said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import counterpoint as cp
from counterpoint.study.study import resummarise
from fixtures.decoded import Parrot, write_questions
from fixtures.page import Page

_REFERENCES = {"src", "href", "srcset", "poster", "data", "action", "formaction", "background", "xlink:href"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("study")
    return cp.compare_decoding(
        "vcd",
        "code",
        model=Parrot,
        data=write_questions(tmp_path_factory.mktemp("data")),
        tasks=("answers", "pope"),
        seeds=2,
        folder=folder,
    )


@pytest.fixture(scope="module")
def source(study: Any) -> str:
    text: str = study.report.read_text(encoding="utf-8")
    return text


def test_nothing_is_loaded_from_elsewhere(source: str) -> None:
    page = Page(source)  # complains about elements that are not closed or wrongly nested
    assert source.lstrip().lower().startswith("<!doctype html>")
    for tag, attributes in page.tags:
        for name in _REFERENCES & attributes.keys():
            assert (attributes[name] or "").startswith(("data:", "#")), (tag, name, attributes[name])
        assert "url(" not in (attributes.get("style") or "")
    styles = "".join(re.findall(r"<style>(.*?)</style>", source, flags=re.DOTALL))
    assert "{" in styles
    assert "url(" not in styles
    assert page.all("script") == page.all("iframe") == []
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
    identities = [a["id"] for _, a in page.tags if "id" in a]
    assert len(identities) == len(set(identities))


def test_every_part_is_there(study: Any, source: str) -> None:
    page = Page(source)
    for line in (*study.summary.plain()["cannot_show"], study.summary.plain()["multiplicity"]):
        assert line in page.text
    for conclusion in study.summary.plain()["conclusions"][:1]:
        assert conclusion["text"] in page.text
    assert study.summary.plain()["winner"]["python"] in page.text
    for section in ("answer", "cost", "leaderboard", "kinds", "differences", "examples", "cannot", "use"):
        assert f'<section id="{section}"' in source
    for section in ("cost", "leaderboard"):
        found = re.search(rf'<section id="{section}".*?</section>', source, flags=re.DOTALL)
        assert found is not None
        for arm in study.summary.plain()["arms"]:
            assert arm["name"].split(",")[0] in found[0]
    assert "counterpoint compare-decoding vcd code --model" in page.text


def test_replies_stand_beside_their_questions_and_pictures(study: Any, source: str) -> None:
    section = re.search(r'<section id="examples".*?</section>', source, flags=re.DOTALL)
    assert section is not None
    page = Page(section[0])
    assert page.all("img")
    assert all((image["src"] or "").startswith("data:image/png;base64,") for image in page.all("img"))
    assert "Answer yes or no." in page.text
    assert "Yes." in page.text
    assert "✓ right" in page.text
    assert "✗ wrong" in page.text


def test_it_is_made_again_without_the_model(study: Any, source: str) -> None:
    before = Parrot.heard
    found = resummarise(study.folder)
    assert Parrot.heard == before
    assert found.summary == study.summary
    assert found.report.read_text(encoding="utf-8") == source


def test_without_the_data_the_rest_is_written(study: Any, tmp_path: Path, monkeypatch: Any) -> None:
    from counterpoint.study.decoding import examples
    from counterpoint.study.report.decoding import write_report

    def gone(*arguments: Any) -> Any:
        raise FileNotFoundError("no data at 'gone.csv'")

    monkeypatch.setattr(examples, "data_of", gone)
    page = Page(write_report(study.folder, study.summary).read_text(encoding="utf-8"))
    assert page.all("img") == []
    assert "The data set could not be read again: no data at 'gone.csv'" in page.text
