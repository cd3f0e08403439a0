"""The class of a loss in a file, sought in the file's text."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterpoint.methods.head import loss_in_file
from counterpoint.registry import UnknownNameError


@pytest.mark.parametrize(
    "text",
    [
        "class A: pass\nasync def Loss(): pass",
        "class A: pass\ndef __getattr__(name): return A",
    ],
)
def test_names_that_only_the_import_can_check_are_accepted(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    assert loss_in_file(f"{file}:Loss") == (file, "Loss")


def test_a_class_that_the_file_does_not_define_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class A: pass\nasync def other(): pass")
    with pytest.raises(UnknownNameError, match="unknown class"):
        loss_in_file(f"{file}:Loss")
