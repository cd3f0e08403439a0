"""Every Python block of README and the documentation, and the notebook, runs as a script file.

The blocks of a page are in its order. What a page's text takes for granted (a model, its inputs) is in ``given/``:
``PAGE.py`` stands before its first block, ``PAGE_3.py`` before its third. Studies are those of the page under a recipe
of three steps.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT, HERE = Path(__file__).parents[2], Path(__file__).parent
PAGES = {
    path: blocks
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if (
        blocks := re.findall(
            r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
    )
}


def run(script: str, folder: Path) -> str:
    """Run a script from a file of its own in a folder, and return what it prints."""
    file = folder / "script.py"
    file.write_text(script, encoding="utf-8")
    places = [str(HERE / "short"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places), "TQDM_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, str(file)], cwd=folder, env=environment, capture_output=True, text=True, timeout=550
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_first_example_is_a_whole_script(tmp_path: Path) -> None:
    (study,) = (block for block in PAGES[ROOT / "README.md"] if "cp.compare(" in block)
    assert " points" in run(study, tmp_path)


@pytest.mark.slow
def test_the_notebook_runs_and_ends_with_a_picture(tmp_path: Path) -> None:
    path = ROOT / "docs" / "tutorials" / "compare.ipynb"
    cells = [
        cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"
    ]
    assert not any(cell["outputs"] for cell in cells)
    *verdict, picture = run("\n".join("".join(cell["source"]) for cell in cells), tmp_path).splitlines()
    assert "No arm is shown to be ahead" in "\n".join(verdict) or " points" in "\n".join(verdict)
    assert (tmp_path / picture).exists()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    script = [_given(page.stem)]
    for number, block in enumerate(PAGES[page], start=1):
        script += [_given(f"{page.stem}_{number}"), "" if "cp.compare(" in block else block]
    run("\n".join(script), tmp_path)


def _given(name: str) -> str:
    file = HERE / "given" / f"{name}.py"
    return file.read_text(encoding="utf-8") if file.exists() else ""
