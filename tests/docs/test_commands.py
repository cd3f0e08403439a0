"""Every command that README, the documentation, its generated pages and the recipes give can be typed.

A command is carried out up to its first line of output: its options are there, and its names are known. Words in
capitals stand for what a user has, and a command with … is a part of one.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from counterpoint import catalog
from counterpoint.cli import main
from counterpoint.cli.common.terminal import Terminal
from counterpoint.methods import METHODS
from counterpoint.methods.arm import Arm
from counterpoint.methods.options import required

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
WRITTEN = ("", "tutorials", "how-to", "reference", "explanation")
"""Folders of docs whose pages are not generated."""
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(page for folder in WRITTEN for page in sorted((ROOT / "docs" / folder).glob("*.md"))),
]
RECIPES = sorted((ROOT / "src" / "counterpoint" / "recipes").glob("*.yaml"))
FILES = {
    "cat.jpg": "",
    "picture.png": "",
    "my_loss.py": "from torch.nn import Module\nclass MyLoss(Module): ...\nclass Squares(Module): ...",
    "my_method.py": "class Small: ...",
}
"""Files that the pages speak of and that are read before the first line of output, with their content."""
CHECKS = ("compare", "compare_decoding", "data._source", "embed", "evaluate", "train")
"""Commands that look for their data before the first line of output."""


class Begun(BaseException):
    """A command has come to its first line of output."""


def of_page(text: str) -> Iterator[str]:
    """Yield the commands of a page: the lines of its blocks, and what stands in its sentences."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        lines = re.findall(r"^\$ (.*)$", block.replace("\\\n", " "), re.MULTILINE)
        yield from (line for line in lines if re.search(r"(^|&& |-m )counterpoint ", line))
    sentences = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"^ {4}(counterpoint .*)$", sentences, re.MULTILINE)
    for code in re.findall(r"`([^`]+)`", sentences):
        # A command by its name alone is a word of the sentence.
        if re.search(r"(^|-m )counterpoint \S+ \S", code):
            yield " ".join(code.split())


def of_recipe(text: str) -> Iterator[str]:
    yield from re.findall(r"^# {3}(.*counterpoint .*)$", text, re.MULTILINE)


def typed(command: str) -> list[str]:
    """Return the words of a command behind its name."""
    return shlex.split(command.rpartition("counterpoint ")[2], comments=True)


def begin(command: str) -> None:
    """Type a command; one that prints nothing of its own is whole."""
    try:
        status = main(typed(command))
    except Begun:
        return
    assert status == 0, command


@pytest.fixture(autouse=True)
def _stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stop commands at their first line, in a folder with the files that the pages speak of."""

    def begun(*_: object, **__: object) -> None:
        raise Begun

    monkeypatch.setattr(Terminal, "__init__", begun)
    monkeypatch.setenv("COUNTERPOINT_TRACEBACK", "1")
    monkeypatch.chdir(tmp_path)
    for command in CHECKS:
        monkeypatch.setattr(f"counterpoint.cli.{command}.check_named", lambda source: None)
    for name, content in FILES.items():
        Path(name).write_text(content, encoding="utf-8")


@pytest.mark.parametrize("page", [*PAGES, *RECIPES], ids=lambda page: page.stem)
def test_the_commands_of_a_page_can_be_typed(page: Path) -> None:
    commands = of_recipe if page.suffix == ".yaml" else of_page
    for command in commands(page.read_text(encoding="utf-8")):
        words = typed(command)
        # Folders of work that has begun are looked into at once.
        if "…" not in words and not {"NAME", "SLUG"} & {*words} and words[0] != "work":
            begin(command)


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "_ext")


def check_generated(command: str) -> None:
    """Type a command of a generated page; of one that trains read the arms, which name what they take."""
    words = typed(command)
    if words[0] not in {"compare", "train"}:
        begin(command)
    elif "--preset" not in words and "--tasks" not in words:
        for arm in map(Arm.parse, words[1 : words.index("--data")]):
            assert words[0] == "train" or arm.reads(), command
            assert not arm.learns or "--labels" in words, command
            assert {*required(METHODS.get(arm.method))} <= {*arm.options}, command


@pytest.mark.usefixtures("extension")
def test_the_commands_of_the_papers_pages_can_be_typed() -> None:
    commands = import_module("paper_page").commands
    for paper in catalog.papers():
        for command in dict.fromkeys(commands(paper) if paper.symbols else ()):
            check_generated(command)


@pytest.mark.usefixtures("extension")
def test_the_pages_of_methods_have_one_pattern() -> None:
    pages = import_module("method_page")
    order = ["Formula", "Options", "Inputs", "When to use it", "Relations", "Example", "What was measured"]
    for name in METHODS.names():
        titles = re.findall(r"^## (.*)$", pages.method_page(name), re.MULTILINE)
        assert titles == [title for title in order if title in titles], name
        assert {"Inputs", "Example"} <= {*titles}, name
        check_generated(pages.example(name))


@pytest.mark.usefixtures("extension")
def test_the_pages_say_what_the_conformance_suite_proves() -> None:
    relations = import_module("method_page").relations
    assert "Reduces to [clip](clip.md) (no weight)" in [*relations("slip")]
    assert "[swalip](swalip.md) reduces to it (no weight)" in [*relations("clip")]
