"""The page: small, of one piece, and asking no other host."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pathspec
import pytest

import counterpoint

PAGE = Path(counterpoint.__file__).parent / "serving" / "application" / "page"
FILES = sorted(path for path in PAGE.iterdir() if path.is_file())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]


def test_is_small_and_has_no_folders() -> None:
    assert {path.suffix for path in FILES} == {".html", ".css", ".js", ".svg"}
    assert all(path.is_file() for path in PAGE.iterdir())
    assert sum(path.stat().st_size for path in FILES) < 150_000


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_names_no_other_host(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.findall(
        r"(?:https?:)?//[a-z0-9-]+\.[a-z]", re.sub(r"^\s*//.*", "", text, flags=re.MULTILINE)
    )
    assert path.suffix != ".css" or not re.findall(r"@import|url\(", text)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_text_is_never_read_as_html(path: Path) -> None:
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|srcdoc|\beval\b"
    assert not re.findall(ways, path.read_text(encoding="utf-8"))


def test_html_holds_no_script_and_no_style_of_its_own() -> None:
    """The server's policy of content refuses both."""
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text)


def test_everything_named_is_there_and_everything_there_is_named() -> None:
    named = {"index.html"}
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r'from "\./([\w.]+)"', text))
        if path.suffix == ".html":
            named |= set(re.findall(r'(?:href|src)="([\w]+\.(?:css|js|svg))"', text))
    assert named == {path.name for path in FILES}


def test_scripts_name_only_elements_that_the_html_has() -> None:
    held = re.findall(r'\sid="([\w-]+)"', (PAGE / "index.html").read_text(encoding="utf-8"))
    assert len(held) == len(set(held))
    for path in SCRIPTS:
        named = set(re.findall(r'\bby\("([\w-]+)"\)', path.read_text(encoding="utf-8")))
        assert named <= set(held), path.name


def test_wheel_holds_the_page() -> None:
    root = Path(__file__).parents[2]
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    taken = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    ignored = pathspec.GitIgnoreSpec.from_lines(
        (root / ".gitignore").read_text(encoding="utf-8").splitlines()
    )
    for path in FILES:
        name = path.relative_to(root).as_posix()
        assert any(name.startswith(f"{each}/") for each in taken)
        assert not ignored.match_file(name), name
