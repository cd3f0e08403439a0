"""Names, paths and captions are printed without markup, and their control characters as escapes."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from counterpoint.cli import main
from counterpoint.cli.common.progress import WorkProgress
from counterpoint.cli.common.terminal import Terminal, print_json
from counterpoint.reasons import CONTROL
from fixtures.files import write_pairs

HOSTILE = "a[/x] [red]<b> | :smile: \u202ebackwards \x1b[31m\x9b1m\x07"
"""A folder ``a[`` and one in it whose name closes a tag, with a colour, an element, a cell's border, an emoji's name,
a mark that turns the direction of writing, and escape sequences of terminals."""
SHOWN = r"a[/x] [red]<b> | :smile: \u202ebackwards \x1b[31m\x9b1m\x07"
"""The form in which it is printed."""
LOSS = "import torch\nclass L(torch.nn.Module):\n    def forward(self, x, y): return (x - y).square().sum(1).mean()\n"


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with data, a loss and the words of a tiny run, all under such names, as the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "600")
    write_pairs(Path(HOSTILE))
    Path("l[red]").mkdir()
    Path("l[red]/b[/b].py").parent.mkdir(parents=True)
    Path("l[red]/b[/b].py").write_text(LOSS)


SMALL = [
    "--data",
    f"{HOSTILE}/metadata.csv",
    "--steps",
    "2",
    "--batch-size",
    "16",
    "--towers.image-size",
    "24",
]
SMALL += ["--towers.vocabulary", "300", "--tasks", "retrieval"]


@pytest.mark.slow
@pytest.mark.usefixtures("hostile")
def test_every_command_prints_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    arm = "./l[red]/b[/b].py:L"
    assert main(["compare", arm, "--seeds", "1", "--out", f"{HOSTILE} study", *SMALL]) == 0
    said = capsys.readouterr().out
    assert SHOWN in said
    assert f"report: {SHOWN} study/report.html" in said
    assert "b].py:L" in said
    assert main(["report", f"{HOSTILE} study"]) == 0
    assert SHOWN in capsys.readouterr().out
    assert main(["train", arm, "--out", f"{HOSTILE} run", *SMALL]) == 0
    assert f"run: {SHOWN} run" in capsys.readouterr().out
    assert (
        main(["evaluate", f"{HOSTILE} run", "--tasks", "retrieval", "--failures", f"{HOSTILE} failures"]) == 0
    )
    assert f"wrote {SHOWN} failures" in capsys.readouterr().out
    assert main(["diagnose", f"{HOSTILE} run"]) == 0
    assert f"page: {SHOWN} run" in capsys.readouterr().out
    assert main(["data", "describe", f"{HOSTILE}/metadata.csv"]) == 0
    assert SHOWN in capsys.readouterr().out
    assert main(["data", "show", f"{HOSTILE}/metadata.csv", "--out", f"{HOSTILE}.png"]) == 0
    assert f"wrote {SHOWN}.png" in capsys.readouterr().out


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize(
    "words",
    [
        ["compare", HOSTILE],
        ["compare", "clip", "--data", f"{HOSTILE}/gone"],
        ["compare", "clip", "--recipe", HOSTILE],
        ["compare", f"{HOSTILE}.py:L"],
        ["compare-decoding", HOSTILE, "--model", "m", "--data", "scenes:tiny"],
        ["train", HOSTILE],
        ["evaluate", HOSTILE],
        ["diagnose", HOSTILE],
        ["report", HOSTILE],
        ["data", "describe", f"{HOSTILE}/gone"],
        ["generate", "--model", "m", "--image", HOSTILE, "--prompt", "p"],
        ["papers", "show", HOSTILE],
        ["reproduce", HOSTILE],
        [HOSTILE],
    ],
    ids=lambda words: words[0],
)
def test_a_refusal_names_what_was_typed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 1
    assert SHOWN in capsys.readouterr().err


def test_a_status_line_and_a_table_are_no_markup() -> None:
    console = Terminal()
    console.file, console.width = io.StringIO(), 200
    with console.status(f"loading {HOSTILE}") as status:
        status.update(f"asking {HOSTILE}")
        assert SHOWN in str(status.renderable.text)
    console.print(HOSTILE)
    assert SHOWN in console.file.getvalue()


def test_control_characters_of_texts_and_cells_are_escapes() -> None:
    console = Terminal()
    console.file, console.width = io.StringIO(), 200
    table = Table("name", title=Text(HOSTILE))
    table.add_row(HOSTILE)
    table.add_row(Text(HOSTILE, style="dim"))
    console.print(table)
    console.print(Text.assemble("seen: ", (HOSTILE, "red")), "\ttwo\nlines")
    written = console.file.getvalue()
    assert written.count(SHOWN.removesuffix(r"\x07")) == 4
    assert not CONTROL.search(written)
    assert "two\nlines" in written


def test_a_progress_bar_has_no_control_characters_of_data() -> None:
    console = Terminal()
    console.file, console.width = io.StringIO(), 200
    with WorkProgress(console) as progress:
        progress.begin(f"training {HOSTILE}", [])
        console.print(progress.bars)
    assert SHOWN in console.file.getvalue()
    assert not CONTROL.search(console.file.getvalue())


def test_json_has_control_characters_as_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"text": f"é {HOSTILE}\x7f"})
    written = capsys.readouterr().out
    assert json.loads(written) == {"text": f"é {HOSTILE}\x7f"}
    assert "é" in written
    assert not CONTROL.search(written)


def test_log_lines_and_warnings_have_no_control_characters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object) -> int:
        logging.getLogger("counterpoint").info("read %s", HOSTILE)
        sys.stderr.write(warnings.formatwarning(HOSTILE, UserWarning, "file.py", 1))
        raise ValueError(HOSTILE)

    monkeypatch.setattr("counterpoint.cli._run", run)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    assert main(["doctor"]) == 1
    written = capsys.readouterr().err
    assert written.count(SHOWN) == 3
    assert not CONTROL.search(written)
