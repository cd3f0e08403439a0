"""The file is the registration: a package of files is a registry, and listing it imports none of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from counterpoint.registry import Registry, UnknownNameError, unknown

Write = Callable[[str, str], str]
_NUMBERS = count()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Return a function that writes a file of a new package, and gives the package's name."""
    name = f"things_{next(_NUMBERS)}"
    monkeypatch.syspath_prepend(str(tmp_path))

    def file(path: str, text: str) -> str:
        whole = tmp_path / name / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        for folder in (whole.parent, tmp_path / name):
            (folder / "__init__.py").touch()
        whole.write_text(text, encoding="utf-8")
        return name

    yield file
    for module in [known for known in sys.modules if known.partition(".")[0] == name]:
        del sys.modules[module]


def test_where_there_is_no_name_at_all_it_is_said() -> None:
    assert str(unknown("label", "kind", [])) == "unknown label 'kind'. (known: none)"


def test_file_is_listed_without_being_imported_and_got_by_name(write: Write) -> None:
    write("wide/two_words.py", "class _Helper: ...\nclass TwoWordsLoss:\n    number = 2\n")
    write("wide/_helpers.py", "class Helper: ...\n")
    write("_hidden/three.py", "class Three: ...\n")
    package = write("one.py", "class One: ...\nraise RuntimeError('imported')\n")
    room = Registry("thing", package)
    assert room.names() == ("one", "two-words")
    assert room.reference("one") == f"{package}.one:One"
    assert not [module for module in sys.modules if module.startswith(f"{package}.")]
    assert room.get("two_words").number == room.get("two-words").number == 2
    assert "two_words" in room
    assert "helpers" not in room
    assert Registry("thing", package, hyphens=False).names() == ("one", "two_words")
    assert Registry("thing", package, exclude=("wide",)).names() == ("one",)
    with pytest.raises(UnknownNameError, match=r"unknown thing 'tow-words': did you mean 'two-words'\?"):
        room.get("tow-words")


def test_a_new_file_needs_no_entry_anywhere(write: Write) -> None:
    package = write("first.py", "class First: ...\n")
    assert Registry("thing", package).names() == ("first",)
    write("later/second.py", "class Second: ...\n")
    assert Registry("thing", package).names() == ("first", "second")
    assert Registry("thing", package).get("second").__name__ == "Second"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "class A: ...\nclass B: ...\n",
            r"mixed must define one public class; it defines A, B",
        ),
        ("number = 1\n", r"mixed must define one public class; it defines none"),
    ],
)
def test_a_file_with_several_things_or_none_is_refused(write: Write, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Registry("thing", write("mixed.py", text)).reference("mixed")


def test_a_stub_names_the_files_and_their_classes(write: Write) -> None:
    write("__init__.pyi", "from ._registry import create as create\nfrom .mixed import Ask as Ask\n")
    package = write("mixed.py", "class Answer: ...\nclass Ask:\n    family = 'asking'\n")
    write("other.py", "class Other: ...\n")
    registry = Registry("task", package, from_stub=True)
    assert registry.names() == ("mixed",)
    assert registry.reference("mixed") == f"{package}.mixed:Ask"
    assert (registry.stated("mixed", "family"), registry.stated("mixed", "is_method")) == ("asking", None)
    assert Registry("task", package, exclude=("mixed",), from_stub=True).names() == ()


def test_a_file_may_hold_things_of_several_registries(write: Write) -> None:
    write(
        "__init__.pyi", "from .one import OneReader as OneReader\nfrom .one import OneWriter as OneWriter\n"
    )
    package = write("one.py", "class OneReader: ...\nclass OneWriter:\n    sizes: tuple[int, ...] = (1, 2)\n")
    writers = Registry("writer", package, from_stub=True, ending="Writer")
    assert writers.reference("one") == f"{package}.one:OneWriter"
    assert writers.stated("one", "sizes") == (1, 2)
    assert Registry("reader", package, from_stub=True, ending="Reader").stated("one", "sizes") is None
    assert Registry("printer", package, from_stub=True, ending="Printer").names() == ()


def test_two_files_of_one_name_are_refused(write: Write) -> None:
    write("a/same.py", "class One: ...\n")
    with pytest.raises(ValueError, match=r"two files are named 'same': .*; rename one"):
        Registry("thing", write("b/same.py", "class Two: ...\n")).names()


def test_a_thing_may_be_a_package_or_go_by_one_symbol(write: Write) -> None:
    write("worlds/emoji/world.py", "class Emoji: ...\n")
    write("worlds/emoji/other.py", "class Other: ...\n")
    package = write("worlds/beside.py", "class Beside: ...\n")
    assert Registry("world", f"{package}.worlds", file="world").names() == ("emoji",)
    write("claims/some/dcl.py", "def run(): ...\n")
    assert Registry("claim", f"{package}.claims", "run").reference("dcl") == f"{package}.claims.some.dcl:run"
