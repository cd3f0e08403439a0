"""The command line answers at once, and says what is wrong in one line."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest

from counterpoint import __version__, methods, recipes
from counterpoint.cli import COMMANDS, main
from counterpoint.cli.common import arguments
from counterpoint.cli.common.arguments import parse
from counterpoint.cli.compare import CompareOptions
from counterpoint.cli.data import Action
from counterpoint.cli.list import Kind, known
from counterpoint.cli.papers import FORMS
from counterpoint.cli.serve import ServeOptions
from counterpoint.cli.train import TrainOptions
from counterpoint.data.collections import COLLECTIONS
from counterpoint.execution.state import State
from counterpoint.execution.unit import UnitProgress
from counterpoint.modalities import MODALITIES, Modality
from counterpoint.networks import TOWERS
from counterpoint.recipes import override
from fixtures.files import write_pairs

_WITHOUT_TORCH = """
import sys
from counterpoint.cli import main
status = main(sys.argv[1:])
heavy = {"torch", "polars", "datasets", "sklearn", "matplotlib", "transformers"} & set(sys.modules)
assert not heavy, heavy
sys.exit(status)
"""


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["list", "methods"],
        ["list", "losses"],
        ["list", "tasks"],
        ["list", "decoding"],
        ["list", "recipes"],
        ["list", "towers"],
        ["list", "modalities"],
        ["papers", "list", "--json"],
    ],
)
def test_answers_without_torch(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", _WITHOUT_TORCH, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("kind", ["losses", "methods", "tasks", "decoding", "presets", "recipes"])
def test_everything_that_is_listed_says_what_it_is(kind: Kind) -> None:
    assert [name for name, about in known(kind).items() if not about] == []


def test_a_list_for_programs_is_of_names_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "methods", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == list(methods.names())


def test_modalities_listed_with_they_read_from_and_trained_with(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    touch = Modality(
        "touch", check=len, view=len, build=len, towers=("skin",), noun="touches", endings=frozenset({".tch"})
    )
    monkeypatch.setattr(MODALITIES, "_known", {"audio": MODALITIES.get("audio"), "touch": touch})
    assert main(["list", "modalities"]) == 0
    rows = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if "│" in line]
    audio, last = ([cell.strip() for cell in row] for row in rows)
    assert audio[:2] == ["audio", "sounds"]
    assert ".wav" in audio[2].split()
    assert last == ["touch", "touches", ".tch", "skin", "weak simclr"]
    assert main(["list", "modalities", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == ["audio", "touch"]


def test_runs_as_a_module_and_fails_as_one() -> None:
    command = [sys.executable, "-m", "counterpoint"]
    good, bad = (
        subprocess.run([*command, *words], capture_output=True, text=True, check=False)
        for words in (["--version"], ["comapre"])
    )
    assert (good.returncode, good.stdout) == (0, f"counterpoint {__version__}\n")
    assert bad.returncode == 1
    assert bad.stderr.startswith("counterpoint comapre: unknown command")


@pytest.mark.parametrize(
    "command",
    sorted(
        [
            *COMMANDS,
            *(f"data {action}" for action in get_args(Action)),
            *(f"papers {action}" for action in FORMS),
        ]
    ),
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command.split(), "--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert f"usage: counterpoint {command} " in said
    assert "None" not in said, "what holds unless an option is given is said in words"


def test_short_help_is_a_part_of_the_long_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    pages = []
    for flag in ("--help", "--help-all", "-h"):
        with pytest.raises(SystemExit):
            main(["compare", flag])
        pages.append(capsys.readouterr().out)
    short, whole, shortest = pages
    assert short == shortest
    assert len(short.splitlines()) <= 80
    assert "More options: counterpoint compare --help-all" in short
    assert "--help-all" not in whole
    options = [set(re.findall(r"--[a-z][\w.-]*", page)) for page in pages]
    assert options[0] - {"--help-all"} < options[1]
    assert {"--optimizer.lr", "--broken", "--gpus-per-run"} <= options[1] - options[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["comapre"], "unknown command 'comapre': did you mean 'compare'"),
        (["compare", "clpi"], "unknown method 'clpi': did you mean 'clip'"),
        (["compare", "clip", "--recipe", "cpuu"], "unknown recipe 'cpuu': did you mean 'cpu'"),
        (["compare", "clip", "--data", "emojy"], "unknown data set 'emojy'"),
        (["compare", "./gone.py:Loss"], "there is no Python file gone.py"),
        (["train", "clip,nonsense"], "'nonsense' is no option"),
        (["evaluate", "nowhere"], "not a run folder"),
        (["report", "nowhere"], "not a study folder"),
        (["data", "describe", "nowhere.csv"], "no data at"),
        (["papers", "show", "clip-rockt"], "clip-rocket"),
    ],
)
def test_one_line_says_what_is_wrong(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error


def test_a_pattern_that_the_shell_has_replaced_is_to_be_quoted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = [tmp_path / f"{number}.tar" for number in range(3)]
    for shard in shards:
        shard.touch()
    with pytest.raises(SystemExit):
        main(["data", "describe", *map(str, shards)])
    assert (
        "quote a pattern of several files: 'shards/*.tar' (see: counterpoint data describe --help)"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["compare", "clip", "--optimizer.lrr", "1"],
            "unknown option --optimizer.lrr; did you mean --optimizer.lr?",
        ),
        (["train", "clip", "--lr", "1"], "unknown option --lr; did you mean --optimizer.lr?"),
        (["compare", "clip", "--stepz=9"], "unknown option --stepz; did you mean --steps?"),
        (["compare", "clip", "--seeds", "2", "slip"], "unexpected argument 'slip'"),
        (["train", "clip", "--json=yes"], "unexpected argument 'yes'"),
        (["generate", "--model", "m", "--prompt", "p"], "generate: --image is missing (see"),
        (["compare", "clip", "--seeds", "two"], "--seeds must be a whole number, got 'two' (see"),
        (["train", "clip", "--steps", "1e3"], "--steps must be a whole number, got '1e3' (see"),
        (["compare", "clip", "--margin", "1%"], "--margin must be a number, got '1%' (see"),
        (["embed", "runs/mine"], "embed: DATA is missing (see"),
        (["list", "nonsense"], "KIND must be one of 'losses', 'methods',"),
        (["compare", "clip", "--steps"], "compare: --steps needs a value (see"),
        (["compare", "clip", "--steps", "--seeds", "2"], "compare: --steps needs a value (see"),
        (["compare", "--steps", "--", "clip"], "compare: --steps needs a value (see"),
        (["train", "clip", "--recipe", "--json"], "train: --recipe needs a value (see"),
        (["list", "--", "--methods"], "KIND must be one of 'losses', 'methods',"),
    ],
)
def test_words_that_are_no_options_are_refused_in_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    said = capsys.readouterr()
    assert not said.out
    (line,) = said.err.splitlines()
    assert line.startswith(f"counterpoint {words[0]}: ")
    assert message in line
    assert line.endswith(f"(see: counterpoint {words[0]} --help)")


def test_words_behind_two_hyphens_are_arguments() -> None:
    words = ["--steps", "2", "--data", "emoji", "--", "clip", "-my-loss.py:Hinge"]
    parsed = arguments.parse(CompareOptions, words, "compare")
    assert parsed.study.arms == ("clip", "-my-loss.py:Hinge")
    assert parsed.study.recipe.steps == 2


@pytest.mark.parametrize(
    ("form", "command"), [(TrainOptions, "train"), (CompareOptions, "compare"), (ServeOptions, "serve")]
)
def test_the_options_that_are_checked_are_those_that_are_parsed(
    form: type, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        main([command, "--help-all"])
    shown = re.findall(r"(?m)^\W{1,3}(--[a-z][\w.-]*)(?:, (--[\w.-]+))?", capsys.readouterr().out)
    checked = {name for name, _ in arguments._flags(form) if name.startswith("--")}
    assert checked | {"--trust", "--no-trust"} == {name for names in shown for name in names if name}


def test_a_warning_is_one_line_without_a_place_in_the_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def warn(words: Sequence[str]) -> int:
        print(warnings.formatwarning("a checkpoint is damaged", UserWarning, "run.py", 219), end="")
        return 0

    monkeypatch.setattr("counterpoint.cli.doctor.main", warn)
    before = warnings.formatwarning
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out == "! a checkpoint is damaged\n"
    assert warnings.formatwarning is before


def test_tasks_cannot_asked_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = str(write_pairs(tmp_path / "pairs"))
    assert main(["train", "moco", "--data", data, "--tasks", "retrieval", "--towers.image-size", "24"]) == 1
    said = capsys.readouterr()
    assert "'moco' learns from pictures alone" in said.err
    assert "memory of a step" not in said.out + said.err
    assert not (tmp_path / "runs").exists()


def test_compare_train_evaluate_and_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = write_pairs(tmp_path / "pairs")
    common = ["--data", str(table), "--steps", "2", "--batch-size", "16", "--towers.image-size", "24"]
    common += ["--towers.vocabulary", "300", "--tasks", "retrieval", "--json"]
    assert main(["compare", "clip", "siglip", "--seeds", "1", "--jobs", "1", "--out", "study", *common]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [arm["name"] for arm in summary["arms"]] == ["clip", "siglip"]
    assert main(["report", "study", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"] == summary["differences"]
    assert main([*summary["winner"]["command"].split()[1:], "--out", "vectors"]) == 0
    assert list(Path("vectors").rglob("*.parquet"))
    capsys.readouterr()
    assert main(["train", "clip", "--out", "run", *common]) == 0
    assert json.loads(capsys.readouterr().out)["state"]["status"] == "finished"
    assert main(["train", "clip", "--out", "run", "--no-resume", *common]) == 1
    assert "holds a run already" in capsys.readouterr().err
    assert main(["evaluate", "run", "--tasks", "winoground", "retrieval", "--json"]) == 1
    said = capsys.readouterr()
    assert {row["task"] for row in json.loads(said.out)} == {"retrieval"}
    assert "winoground asks about minimal pairs" in said.err
    assert main(["data", "show", str(table), "--out", "sheet.png"]) == 0
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert main(["data", "describe", str(table), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["contents"]["examples"]["value"] == 70


def test_doctor_finds_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["broken"] == {}
    assert "torch" in found["packages"]
    assert {*found["towers of packages"]} <= {*TOWERS}
    assert {*found["collections"], *found["missing"]} >= set(COLLECTIONS.names())
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 12
    assert any(
        line.startswith("versions ") and f"torch {found['packages']['torch']}" in line for line in lines
    )
    assert not any("mypy" in line for line in lines)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("basic,train=0", "train"),
        ("basic,objects=30", "objects: must be at most 25, got '30'"),
        ("cooccurrence,strength=2", "strength: must be at most 1, got '2'"),
    ],
)
def test_making_scenes_that_cannot_be(
    given: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "convert", f"scenes:{given}", "--out", str(tmp_path / "made")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_epochs_go_before_the_length_of_the_recipe() -> None:
    def length(*words: str) -> tuple[object, ...]:
        recipe = parse(TrainOptions, ["clip", *words], "train").recipe
        return recipe.steps, recipe.epochs, recipe.most_passes

    assert length("--recipe", "seconds", "--epochs", "3") == (None, 3, None)
    assert length("--epochs=0.5") == (None, 0.5, None)
    assert length("--epochs", "3", "--most-passes", "9000") == (None, 3, 9000)
    assert length("--steps", "7") == (7, 45, None)


def test_steps_and_epochs_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["train", "clip"], ["compare", "clip", "siglip"]):
        assert main([*command, "--steps", "7", "--epochs", "2"]) == 1
        assert "--steps and --epochs both say how long to train: give one" in capsys.readouterr().err


def test_a_budget_is_one_of_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(CompareOptions, ["clip", "--budget", "looks"], "compare")
    assert "--budget must be one of 'steps', 'passes'" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", recipes.names())
def test_a_named_recipe_is_whole(recipe: str) -> None:
    """Options of single methods cannot be typed, and are the named recipe's all the same."""
    words = ["clip", "--data", "digits", "--recipe", recipe, "--optimizer.lr", "0.5"]
    meant = override(recipes.load(recipe), {"optimizer.lr": 0.5})
    assert parse(TrainOptions, words, "train").recipe == meant
    assert parse(CompareOptions, words, "compare").study.recipe == meant


def test_status_as_json_is_not_watched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(tmp_path), "--watch", "--json"]) == 1
    assert "give one of them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["status", "--watch"], "stopped by SIGTERM."),
        (["report"], "stopped by SIGTERM; the same command goes on from here."),
    ],
)
def test_only_command_that_continues_says_so_when_it_is_stopped(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    State("working", UnitProgress(1, 3), "", "here", 1, 0.0, 0.0).write(tmp_path)

    def stop(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("counterpoint.cli.status.time.sleep", stop)
    monkeypatch.setattr("counterpoint.cli.report.parse", stop)
    command, *options = words
    assert main([command, str(tmp_path), *options]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err.strip() == said


def test_the_command_that_judges_a_tiny_model_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "counterpoint.training.tiny_vlm.train.train_tiny_vlm", lambda world, folder, *_, **__: folder
    )
    folder = tmp_path / "my model"
    assert main(["train", "tiny-vlm", "--out", str(folder)]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("judge it: "))
    assert str(folder) in shlex.split(line)
