"""The report: what is on the page, that it is whole, and that it opens without a network."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from counterpoint.cli.common.arguments import parse
from counterpoint.cli.compare import CompareOptions
from counterpoint.data.base import Rows
from counterpoint.data.listed.pairs import Pairs
from counterpoint.files import DamagedFileError
from counterpoint.recipes import Recipe, load, override
from counterpoint.study import label_maps, moments
from counterpoint.study.design import Design
from counterpoint.study.layout import run_folder
from counterpoint.study.report import examples as report_examples
from counterpoint.study.report import write_report
from counterpoint.study.report.page import commands
from counterpoint.study.schema import TrainingSummary
from counterpoint.types import FoundMoments, LabelMaps
from fixtures.page import Page
from fixtures.synthetic_study import ARMS, FAILED, write_data, write_study

_REFERENCES = {"src", "href", "srcset", "poster", "data", "action", "formaction", "background", "xlink:href"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERPOINT_CACHE", str(folder / "cache"))
        yield write_data(folder / "shapes")


@pytest.fixture(scope="module")
def study(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingSummary]:
    folder = tmp_path_factory.mktemp("study")
    return folder, write_study(folder, str(data))


@pytest.fixture(scope="module")
def source(study: tuple[Path, TrainingSummary]) -> str:
    path = write_report(*study)
    assert path == study[0] / "report.html"
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_structure_is_valid_html(source: str, page: Page) -> None:
    assert source.lstrip().lower().startswith("<!doctype html>")
    names = [tag for tag, _ in page.tags]
    for once in ("html", "head", "title", "body", "main", "h1"):
        assert names.count(once) == 1
    assert page.all("html")[0]["lang"] == "en"
    identities = [a["id"] for _, a in page.tags if "id" in a]
    assert len(identities) == len(set(identities))
    for _, attributes in page.tags:
        assert attributes.get("aria-labelledby", identities[0]) in identities


def test_nothing_is_loaded_from_elsewhere(source: str, page: Page) -> None:
    for tag, attributes in page.tags:
        for name in _REFERENCES & attributes.keys():
            assert (attributes[name] or "").startswith(("data:", "#")), (tag, name, attributes[name])
        assert "url(" not in (attributes.get("style") or "")
    styles = "".join(re.findall(r"<style>(.*?)</style>", source, flags=re.DOTALL))
    assert "{" in styles
    assert "url(" not in styles
    assert "@import" not in styles
    assert page.all("script") == page.all("iframe") == page.all("object") == []
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"


def test_every_arm_and_sentence_is_there(
    study: tuple[Path, TrainingSummary], source: str, page: Page
) -> None:
    summary = study[1].plain()
    primary = [d for d in summary["differences"] if all(d[k] == v for k, v in summary["primary"].items())]
    assert len(primary) == 3
    for difference in primary:
        assert difference["sentence"] in page.text
    for arm in ARMS:
        for section in ("leaderboard", "differences", "curves", "cost", "examples", "diagnostics"):
            found = re.search(rf'<section id="{section}".*?</section>', source, flags=re.DOTALL)
            assert found is not None
            assert f">{arm}</span>" in found[0]
    for line in (*summary["cannot_show"], *summary["warnings"], summary["multiplicity"]):
        assert line in page.text
    assert summary["winner"]["command"] in page.text


def test_every_main_number_is_there(study: tuple[Path, TrainingSummary], source: str) -> None:
    tables = re.findall(r"<table.*?</table>", source, flags=re.DOTALL)
    main = Page(tables[0]).text
    found = 0
    for arm in study[1].plain()["arms"]:
        for m in arm["metrics"]:
            if m["subset"] == "all" and m["metric"] in {"i2t_R@1", "group_top1"}:
                assert f"{100 * m['mean']:.1f}" in main
                assert f"{100 * m['low']:.1f} to {100 * m['high']:.1f}" in main
                found += 1
    assert found == 3 * 4
    assert "tone variants" not in main
    assert "The same on a part of the test sets: tone variants" in source


def test_what_else_a_task_measures_is_there(study: tuple[Path, TrainingSummary], source: str) -> None:
    found = re.search(r"<details><summary>What else retrieval measures.*?</details>", source, flags=re.DOTALL)
    assert found is not None
    table, checked = Page(found[0]).text, 0
    for arm in study[1].plain()["arms"]:
        for m in arm["metrics"]:
            if (m["task"], m["subset"], m["metric"]) == ("retrieval", "all", "t2i_R@1"):
                assert f"{100 * m['mean']:.1f}" in table
                checked += 1
    assert checked >= 3
    assert "i2t_R@1" not in table  # that is the main one


def test_the_failed_run_is_shown_with_its_reason(source: str) -> None:
    section = re.search(r'<section id="failed".*?</section>', source, flags=re.DOTALL)
    assert section is not None
    arm, seed, reason = FAILED
    assert re.findall(r"<tr><th.*?>([^<>]+)</span></th><td>(.*?)</td><td.*?>(.*?)</td></tr>", section[0]) == [
        (arm, str(seed), reason)
    ]


def test_a_study_without_failures_has_no_such_section(data: Path, tmp_path: Path) -> None:
    summary = write_study(tmp_path, str(data), arms=("clip",), seeds=(0,), failed=None)
    text = write_report(tmp_path, summary).read_text(encoding="utf-8")
    assert 'id="failed"' not in text


def test_tables_have_headings_and_pictures_have_words(page: Page) -> None:
    for head in page.all("th"):
        assert head.get("scope") in {"row", "col", "colgroup"}
    pictures = page.all("img")
    assert pictures
    assert all((picture["src"] or "").startswith("data:image/png;base64,") for picture in pictures)
    assert all(picture["alt"] for picture in pictures)
    plots = [a for _, a in page.tags if a.get("role") == "img"]
    assert plots
    assert all(a["aria-label"] for a in plots)


def test_values_are_escaped(study: tuple[Path, TrainingSummary], tmp_path: Path) -> None:
    evil = '<b onload="x">slip</b> & "co"'
    folder = tmp_path / "study"
    shutil.copytree(study[0], folder)
    text = json.dumps(study[1].plain())
    summary = json.loads(text)

    def rename(value: Any) -> Any:
        if isinstance(value, dict):
            return {rename(k): v if k == "slug" else rename(v) for k, v in value.items()}
        if isinstance(value, list):
            return [rename(v) for v in value]
        return re.sub(r"\bslip\b", lambda _: evil, value) if isinstance(value, str) else value

    source = write_report(folder, TrainingSummary.model_validate(rename(summary))).read_text(encoding="utf-8")
    assert "<b onload" not in source
    assert evil in html.unescape(source)
    assert evil in Page(source).text
    assert not any("onload" in attributes for _, attributes in Page(source).tags)


def test_a_summary_is_read_back_whole(study: tuple[Path, TrainingSummary], tmp_path: Path) -> None:
    assert TrainingSummary.read(study[0]) == study[1]
    plain = study[1].plain()
    (tmp_path / "summary.json").write_text(json.dumps(plain | {"arms": [{"name": "clip"}]}))
    with pytest.raises(DamagedFileError, match=r"summary\.json is damaged \(arms\.0\."):
        TrainingSummary.read(tmp_path)


@pytest.mark.parametrize(
    ("arms", "seeds"), [(("clip",), (0, 1)), (("clip", "slip"), (0,)), (("slip",), (3,))]
)
def test_small_studies(arms: tuple[str, ...], seeds: tuple[int, ...], data: Path, tmp_path: Path) -> None:
    summary = write_study(tmp_path, str(data), arms=arms, seeds=seeds, failed=None)
    page = Page(write_report(tmp_path, summary).read_text(encoding="utf-8"))
    assert ("nothing to compare" in page.text) == (len(arms) == 1)
    assert any(a.get("class") == "forest" for a in page.all("figure")) == (len(arms) > 1)
    assert page.all("img")


def test_an_arm_without_a_finished_run(data: Path, tmp_path: Path) -> None:
    summary = write_study(
        tmp_path, str(data), arms=("clip", "siglip"), seeds=(2,), failed=("siglip", 2, "the loss was NaN")
    )
    page = Page(write_report(tmp_path, summary).read_text(encoding="utf-8"))
    assert "no finished run" in page.text
    assert "the loss was NaN" in page.text


@pytest.mark.parametrize(
    ("recipe", "shipped"),
    [
        (load("cpu"), "--recipe cpu"),
        (override(load("cpu"), {"steps": 300}), "--recipe cpu --steps 300"),
        (load("seconds"), "--recipe seconds --steps 300"),
        (override(load("cpu"), {"epochs": 3.0, "optimizer.lr": 0.01}), "--recipe recipe.yaml"),
    ],
)
def test_the_command_makes_the_same_study_again(
    recipe: Recipe,
    shipped: str,
    study: tuple[Path, TrainingSummary],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = {
        "recipe": recipe.model_dump(),
        "labels": "shape",
        "tasks": ("probe", "few_shot,ways=2"),
        "tune": 4,
    }
    summary = study[1].model_copy(update=asked)
    words = commands(study[0], summary)["compare"]
    assert f"{shipped} --tasks" in words
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(summary.recipe))
    again = parse(CompareOptions, shlex.split(words)[2:], "compare").study
    assert again == Design(
        tuple(arm.name for arm in summary.arms),
        data=summary.data,
        seeds=summary.seeds,
        recipe=recipe,
        budget=summary.budget,
        tune=4,
        margin=summary.margin,
        tasks=("probe", "few_shot,ways=2"),
        labels="shape",
    )


def test_tuning_trials_are_listed(study: tuple[Path, TrainingSummary], tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(study[0], folder)
    shutil.copytree(folder / "runs" / "clip" / "seed-0", folder / "tuning" / "clip" / "trial-0")
    arm, seed, _ = FAILED
    shutil.copytree(folder / "runs" / arm / f"seed-{seed}", folder / "tuning" / arm / "trial-1")
    source = write_report(folder, study[1].model_copy(update={"tune": 2})).read_text(encoding="utf-8")
    section = re.search(r'<section id="tuning".*?</section>', source, flags=re.DOTALL)
    assert section is not None
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in section[0].split("<tr>")[2:]]
    assert [[re.sub("<.*?>", "", c) for c in row[:2]] for row in cells] == [["clip", "0"], [arm, "1"]]
    assert re.fullmatch(r"\d+\.\d", cells[0][4])
    assert cells[1][4] == "failed"
    assert 'id="tuning"' not in (study[0] / "report.html").read_text(encoding="utf-8")


def test_without_the_data_set_the_rest_is_written(
    study: tuple[Path, TrainingSummary], tmp_path: Path
) -> None:
    summary = study[1].model_copy(update={"data": str(tmp_path / "gone.csv")})
    page = Page(write_report(study[0], summary).read_text(encoding="utf-8"))
    assert page.all("img") == []
    assert "The data set could not be read again" in page.text
    assert "gone.csv" in page.text
    assert page.all("table")


def test_without_pictures_captions_stay(
    study: tuple[Path, TrainingSummary], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(self: Pairs, column: str, rows: Rows) -> Any:
        if column == "text":
            return [self.captions(int(row))[0] for row in rows]
        raise LookupError("the installed package has no pictures")

    monkeypatch.setattr(Pairs, "read", read)
    gallery = report_examples.gallery(*study)
    assert "the installed package has no pictures" in gallery.trouble
    things = [e.query for shelf in gallery.shelves for found in shelf.kinds.values() for e in found]
    assert things
    assert all(thing.caption and thing.picture is None for thing in things)


def test_without_runs_the_numbers_stay(study: tuple[Path, TrainingSummary], tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, study[1]).read_text(encoding="utf-8"))
    assert "No run has a curve" in page.text
    assert page.all("table")


def test_class_maps_of_arms_stand_side_by_side(
    study: tuple[Path, TrainingSummary], data: Path, tmp_path: Path
) -> None:
    folder, summary = study
    copy = shutil.copytree(folder, tmp_path / "study")
    first, second = summary.arms[:2]
    grid, names = np.indices((2, 4, 4)).sum(0) % 2, ("background", "a <hat>", "a cat")
    pictures = np.zeros((2, 3, 4, 4), np.uint8)
    for arm, predicted in (first, grid), (second, 2 * grid):
        run = run_folder(copy, arm.slug, summary.seeds[0])
        label_maps.write(run, {"all": LabelMaps(names, pictures, grid, predicted)})
    back = label_maps.read(run)["all"]
    assert back.names == names
    assert (back.predicted == 2 * grid).all()
    section = write_report(copy, summary).read_text().partition('id="maps"')[2].partition("</section>")[0]
    shown = [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", section)]
    for text in ("picture", "truth", "a <hat>", "a cat"):
        assert text in shown
    (run / label_maps.FILE).write_bytes(b"torn")
    assert label_maps.read(run) == {}
    write_report(copy, summary)


def test_moments_of_arms_stand_below_the_truth(study: tuple[Path, TrainingSummary], tmp_path: Path) -> None:
    folder, summary = study
    copy = shutil.copytree(folder, tmp_path / "study")
    nan = np.nan
    for number, arm in enumerate(summary.arms[:2]):
        found = FoundMoments(
            ("a red <ball>", "a cat"),
            np.array([[[0.25, 0.5], [0.75, 1.0]], [[0.0, 0.5], [nan, nan]]]),
            np.array([[0.0, 1.0, 2.0], [0.0, 1.0, nan]]),
            np.array([[[0.2, 0.5, 0.9], [0.1, 0.3, 0.1 * number], [0.0, 1.0, 0.2]]] * 2),
            np.array([[0.5, 0.5, nan], [0.1, 0.9, 0.2]]),
        )
        moments.write(run_folder(copy, arm.slug, summary.seeds[0]), {"all": found})
    back = moments.read(run_folder(copy, summary.arms[0].slug, summary.seeds[0]))["all"]
    assert back.queries == ("a red <ball>", "a cat")
    np.testing.assert_array_equal(back.saliency, found.saliency)
    page = write_report(copy, summary).read_text()
    section = page.partition('id="moments"')[2].partition("</section>")[0]
    assert "a red &lt;ball&gt;" in section
    shown = [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", section)]
    assert shown.count("truth") == 2
    assert {arm.name for arm in summary.arms[:2]} <= set(shown)
    (run_folder(copy, summary.arms[0].slug, summary.seeds[0]) / moments.FILE).write_bytes(b"torn")
    assert moments.read(run_folder(copy, summary.arms[0].slug, summary.seeds[0])) == {}
    assert 'id="moments"' not in write_report(folder, summary).read_text()


def test_examples_are_what_the_runs_returned(study: tuple[Path, TrainingSummary]) -> None:
    gallery = report_examples.gallery(*study)
    assert gallery.seed == 0
    assert {(shelf.test, shelf.direction) for shelf in gallery.shelves} == {
        (test, direction) for test in ("compositions", "concepts") for direction in ("i2t", "t2i")
    }
    for shelf in gallery.shelves:
        for kind, found in shelf.kinds.items():
            assert 1 <= len(found) <= report_examples.EACH
            for example in found:
                rights = {answer.right for answer in example.answers}
                wanted = {"All arms right": {True}, "All arms wrong": {False}, "Arms disagree": {True, False}}
                assert rights == wanted[kind]
                # In this study an arm is right exactly if it returns the example itself.
                for answer in example.answers:
                    assert (answer.thing.caption == example.query.caption) == answer.right
                assert sorted(arm for answer in example.answers for arm in answer.arms) == sorted(ARMS)
    assert report_examples.gallery(*study) == gallery


def _luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_contrast_of_text_is_enough_in_both_schemes(source: str) -> None:
    """WCAG AA: 4.5 for text, and every arm's colour is used for text."""
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", block))
        for block in re.findall(r":root \{(.*?)\}", source, re.S)
    )
    assert light.keys() == dark.keys()
    for scheme in (light, dark):
        for name in ("ink", "soft", "accent", "right", "wrong", *(f"c{k}" for k in range(8))):
            high, low = sorted((_luminance(scheme[name]), _luminance(scheme["page"])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (name, scheme[name])


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(_chromium() is None, reason="chromium is not installed: apt-get install chromium")
def test_in_a_browser_no_errors_no_requests_no_sideways_scroll(
    study: tuple[Path, TrainingSummary], tmp_path: Path
) -> None:
    page = write_report(*study)
    browser = _chromium()
    assert browser is not None
    common = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]  # fmt: skip
    quiet = subprocess.run(
        [*common, "--enable-logging=stderr", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    assert "What this study cannot show" in quiet.stdout
    assert "CONSOLE" not in quiet.stderr, quiet.stderr
    # In a frame of a phone's width, a copy with everything open and without the policy, so that it may run a
    # script, tells how wide it would like to be and what it loaded.
    source = page.read_text(encoding="utf-8").replace("<details>", "<details open>")
    source = re.sub(r'<meta http-equiv="Content-Security-Policy".*?>', "", source)
    many = "scenes:basic" + ",option=1000" * 6  # one fact, longer than a phone is wide
    source = source.replace('<p class="facts">', f'<p class="facts"><span>{many}</span>')
    told = (
        "addEventListener('load', () => { const d = document.documentElement;"
        "const loaded = performance.getEntriesByType('resource').length;"
        "parent.postMessage(`${d.scrollWidth} of ${d.clientWidth}, loaded ${loaded}`, '*') })"
    )
    inside, probe = tmp_path / "inside.html", tmp_path / "probe.html"
    inside.write_text(source.replace("</body>", f"<script>{told}</script></body>"), encoding="utf-8")
    probe.write_text(
        "<!doctype html><script>onmessage = e => { document.body.dataset.width = e.data }</script><body>"
        f'<iframe style="width:360px;height:800px;border:0" src="{inside.name}"></iframe>',
        encoding="utf-8",
    )
    wide = subprocess.run(
        [*common, "--virtual-time-budget=5000", "--dump-dom", probe.as_uri()],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    found = re.search(r'data-width="(\d+) of (\d+), loaded (\d+)"', wide.stdout)
    assert found is not None
    assert int(found[1]) <= int(found[2]) <= 360
    assert found[3] == "0"
