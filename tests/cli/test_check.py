"""The command that checks a class of the user's own: a line for each property, and one for what cannot be checked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from counterpoint.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "tutorials" / "own_loss.md"
WRONG = """
import torch
from torch import nn

class Sum(nn.Module):
    def forward(self, x, y):
        return (x * y).sum(1)

class Scaled(nn.Module):
    def __init__(self, *, scale: float = 1.0):
        super().__init__()
        self.scale = scale
    def forward(self, x, y):
        return self.scale * (x - y).square().sum(1).mean()

def scaled():
    return Scaled(scale=2.0)

class Nothing: ...
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(WRONG)
    return path


def test_the_loss_of_the_page_conforms_as_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    source = next(
        block for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S) if "Squares" in block
    )
    shown = re.search(r"^\$ counterpoint check \./my_loss\.py:Squares\n(.*?)^```", text, re.M | re.S)
    assert shown
    Path("my_loss.py").write_text(source)
    assert main(["check", "./my_loss.py:Squares"]) == 0
    assert capsys.readouterr().out == shown[1]


@pytest.mark.parametrize("target", ["mine.py:Scaled", "mine.py:Scaled,scale=2", "mine.py:scaled"])
def test_right_ones_end_with_0(target: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", target]) == 0
    assert re.search(r"^All \d+ properties hold\.$", capsys.readouterr().out, re.M)


def test_wrong_ones_end_with_1_and_say_what_fails(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "mine.py:Sum"]) == 1
    out = capsys.readouterr().out
    assert "value                        fails: expected a scalar; measured a tensor of shape (7,)" in out
    assert re.search(r"^\d of \d properties fail\.$", out, re.M)


@pytest.mark.parametrize("name", ["zero-shot", "bag", "simcse"])
def test_registered_names(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", name]) == 0
    titles = {"zero-shot": ["method", "task"], "bag": ["text tower"], "simcse": ["loss", "method"]}[name]
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.endswith(f" {name}")] == [f"{t} {name}" for t in titles]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("siglop", "unknown loss, method, task or tower 'siglop': did you mean 'siglip'"),
        ("none.py:Loss", "there is no Python file none.py"),
        ("mine.py", "a class in a file is written FILE.py:NAME, got 'mine.py'"),
        ("mine.py:Scaledd", "unknown name in mine.py 'Scaledd': did you mean 'Scaled'"),
        ("mine.py:Nothing", "mine.py:Nothing is no loss, method, task or tower"),
        ("mine.py:Scaled,margin=1", "unknown option of Scaled 'margin'"),
    ],
)
def test_what_cannot_be_checked_is_one_line(
    target: str, message: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", target]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"counterpoint check: {message}")
