"""Refusals of mistyped names, which come before torch is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LOSS = """
import torch
class Hinge(torch.nn.Module):
    def forward(self, x, y):
        return (x - y).square().mean()
"""
CODE = """
import sys
from counterpoint.cli import main
for line in sys.stdin.read().splitlines():
    assert main(line.split()) == 1, line
    print(line, "torch" in sys.modules)
"""


def test_a_mistyped_name_is_refused_before_torch_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("image,title\na.png,a cat\n")
    (tmp_path / "my_loss.py").write_text(LOSS)
    commands = {
        "compare clip --data nothere.csv": "no data at 'nothere.csv'",
        "train clip --data nothere.csv": "no data at 'nothere.csv'",
        "evaluate runs/one --data nothere.csv": "no data at 'nothere.csv'",
        "compare clip --data emojj": "did you mean 'emoji'?",
        "compare clip --data nothere.py:DATA": "there is no Python file nothere.py",
        "compare clipp --data pairs.csv": "did you mean 'clippo'?",
        "compare ./nothere.py:Hinge --data pairs.csv": "there is no Python file nothere.py",
        "compare ./my_loss.py:Hinje --data pairs.csv": "did you mean 'Hinge'?",
        "train ./my_loss.py:Hinje --data pairs.csv": "did you mean 'Hinge'?",
        "compare clip --data pairs.csv --columns image=imge": "did you mean 'image'?",
        "compare clip --data pairs.csv,columns=text:titel": "did you mean 'title'?",
        "compare clip --data pairs.csv --tasks retrievl": "did you mean 'retrieval'?",
    }
    ran = subprocess.run(
        [sys.executable, "-c", CODE],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert ran.stdout.splitlines() == [f"{command} False" for command in commands]
    for line, message in zip(ran.stderr.splitlines(), commands.values(), strict=True):
        assert message in line


@pytest.mark.parametrize("command", ["compare", "train"])
def test_an_option_of_a_method_is_refused_before_data_is_read(command: str, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("image,title\nnothere.png,a cat\n")
    ran = subprocess.run(
        [sys.executable, "-m", "counterpoint", command, "clip,temperatur=3", "--data", "pairs.csv"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert ran.returncode == 1
    assert "unknown option of clip 'temperatur': did you mean 'temperature'?" in ran.stderr
