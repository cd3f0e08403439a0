"""Names, paths and captions are printed as they are: nothing in them is a style, a picture or the end of one."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from counterpoint.cli import main
from counterpoint.cli.common.terminal import Terminal
from fixtures.files import write_pairs

HOSTILE = "a[/x] [red]<b> | :smile: \u202ebackwards"
"""A folder ``a[`` and one in it whose name closes a tag, with a colour, an element, a cell's border, an emoji's name
and a mark that turns the direction of writing."""
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
    assert HOSTILE in said
    assert f"report: {HOSTILE} study/report.html" in said
    assert "b].py:L" in said
    assert main(["report", f"{HOSTILE} study"]) == 0
    assert HOSTILE in capsys.readouterr().out
    assert main(["train", arm, "--out", f"{HOSTILE} run", *SMALL]) == 0
    assert f"run: {HOSTILE} run" in capsys.readouterr().out
    assert (
        main(["evaluate", f"{HOSTILE} run", "--tasks", "retrieval", "--failures", f"{HOSTILE} failures"]) == 0
    )
    assert f"wrote {HOSTILE} failures" in capsys.readouterr().out
    assert main(["diagnose", f"{HOSTILE} run"]) == 0
    assert f"page: {HOSTILE} run" in capsys.readouterr().out
    assert main(["data", "describe", f"{HOSTILE}/metadata.csv"]) == 0
    assert HOSTILE in capsys.readouterr().out
    assert main(["data", "show", f"{HOSTILE}/metadata.csv", "--out", f"{HOSTILE}.png"]) == 0
    assert f"wrote {HOSTILE}.png" in capsys.readouterr().out


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize(
    "words",
    [
        ["compare", HOSTILE],
        ["compare", "clip", "--data", f"{HOSTILE}/gone"],
        ["compare", "clip", "--recipe", HOSTILE],
        ["compare", f"{HOSTILE}.py:L"],
        ["compare-decoding", HOSTILE, "--model", "m", "--data", "d"],
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
    assert HOSTILE in capsys.readouterr().err.replace("\\u202e", "\u202e")


def test_a_status_line_and_a_table_are_no_markup() -> None:
    console = Terminal()
    console.file, console.width = io.StringIO(), 200
    with console.status(f"loading {HOSTILE}") as status:
        status.update(f"asking {HOSTILE}")
        assert HOSTILE in str(status.renderable.text)
    console.print(HOSTILE)
    assert HOSTILE in console.file.getvalue()
