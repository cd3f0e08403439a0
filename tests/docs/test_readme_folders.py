"""README's ways from a folder to a verdict and to a search page, command by command, as they stand there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import urllib.request
from pathlib import Path

import pytest

from counterpoint.data.collections.stamps import Stamps
from fixtures.commands import counterpoint

README = Path(__file__).parents[2] / "README.md"


pytestmark = [
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.skipif(not Stamps.home.exists(), reason="apt-get install tuxpaint-stamps-default"),
]


def commands(title: str) -> list[list[str]]:
    """Return the commands of a section, without those that install."""
    section = README.read_text(encoding="utf-8").partition(f"## {title}\n")[2]
    lines = re.findall(r"^\$ (counterpoint .*)$", section.partition("\n## ")[0], flags=re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def test_a_folder_gets_a_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Ten runs of three steps: those of the recipe are the demonstration's.
    places = [str(Path(__file__).parent / "short"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))
    # Photos and captions, as the section says: sounds beside them would be a third column, and a question which two.
    shutil.copytree(
        Stamps.home / "animals", tmp_path / "photos", ignore=shutil.ignore_patterns("*.ogg", "*.wav")
    )
    described, compared = commands("Your files, your machines")[:2]
    with counterpoint(tmp_path / "log", *described[1:]) as command:
        assert command.ends(120) == 0, command.output
    assert "counterpoint compare clip siglip --data photos" in command.output
    with counterpoint(tmp_path / "log", *compared[1:]) as command:
        assert command.ends(900) == 0, command.output
    assert len(list(tmp_path.rglob("report.html"))) == 1
    assert "retrieval i2t_R@1" in command.output


def test_a_folder_becomes_a_search_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number, picture in enumerate(sorted(Stamps.home.rglob("*.png"))[::25]):
        shutil.copy(picture, tmp_path / "photos" / f"{number}{picture.suffix}")
    *made, (_, *served) = commands("From a folder to a search page")
    assert [words[1] for words in made] == ["train", "embed", "index", "search"]
    for _, *words in made:
        with counterpoint(tmp_path / "log", *words) as command:
            assert command.ends(600) == 0, command.output
    assert command.output.count(".png") == 5, command.output
    # On stamps that it was not trained on: what is searched for is found.
    scores = json.loads((tmp_path / "runs" / "first" / "scores.json").read_text())
    within_ten = [score for score in scores if score["metric"] in ("i2t_R@10", "t2i_R@10")]
    assert within_ten
    assert all(score["value"] > 4 * score["chance"] for score in within_ten)
    with counterpoint(tmp_path / "served", *served, "--port", "0") as server:
        server.wait_until(lambda: "http://127.0.0.1:" in server.output, "the page")
        address = re.search(r"http://127.0.0.1:\d+", server.output)
        assert address is not None
        with urllib.request.urlopen(address[0]) as page:
            assert b"<title>" in page.read()
        asked = urllib.request.Request(
            f"{address[0]}/v1/search",
            json.dumps({"query": "a red car", "k": 3}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked) as answer:
            results = json.load(answer)["results"]
        assert len(results) == 3
        with urllib.request.urlopen(address[0] + results[0]["picture"]) as picture:
            assert picture.headers["Content-Type"].startswith("image/")
        server.press(signal.SIGINT)
        assert server.ends(60) == 0
