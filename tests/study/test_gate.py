"""Whatever can be known to be wrong is refused before a folder is taken and before an arm is timed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from inspect import unwrap
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import counterpoint as cp
from counterpoint.cli import main
from counterpoint.forms import fields_of
from counterpoint.recipes import Recipe, override
from counterpoint.study.decoding.design import DecodingDesign, DecodingOptions
from counterpoint.study.design import Design, DesignOptions
from counterpoint.study.gate import prepare
from counterpoint.study.training import cost
from counterpoint.trust import given


@pytest.fixture(autouse=True)
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No arm is timed or trained in these tests: a gate that lets a mistake through fails here."""

    def fit(*args: object, **options: object) -> None:
        raise AssertionError("the gate let it through")

    monkeypatch.setattr(cost, "fit", fit)
    monkeypatch.setattr("counterpoint.study.training.runner.fit", fit)


@pytest.fixture
def design(pairs: Path, recipe: Recipe) -> Design:
    return Design(("clip",), str(pairs), recipe=recipe, tasks=("retrieval",))


LOSS = "import torch\nclass L(torch.nn.Module):\n    def __init__(self, p): super().__init__()\n"
LOSS += "    def forward(self, x, y): return (x * y).sum()\n"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"arms": ("clip", "dcl", "slip,ssl_wieght=2")},
            "unknown option of slip 'ssl_wieght': did you mean 'ssl_wei",
        ),
        ({"arms": ("clip", "slip,ssl_weight=-1")}, "option ssl_weight of slip must be at least 0, got '-1'"),
        ({"arms": ("clip", "slip,ssl_weight=nan")}, "option ssl_weight of slip must be a"),
        (
            {"arms": ("clip", "clip,temperature=-1")},
            "option temperature of clip must be greater than 0, got '-1'",
        ),
        ({"tasks": ("retrival",)}, "did you mean 'retrieval'"),
        ({"arms": ("moco",)}, "'moco' learns from pictures alone, and retrieval needs image and text"),
        (
            {"recipe.batch_size": 1},
            "'clip' tells the examples of a batch apart, .*--batch-size must be at least 2",
        ),
        ({"data": "emojy"}, "unknown data set"),
        (
            {"arms": ("mlcd,clusters=500",), "tasks": ("probe",)},
            "clusters=500 of .* rows to train on: a cluster has a picture at least; give clusters=.* or less",
        ),
        (
            {"arms": ("moco,queue=4096",), "tasks": ("probe",)},
            "arm 'moco,queue=4096': a queue of 4,096 keys is longer than the .* rows to train on; give queue=",
        ),
    ],
)
def test_a_study_that_cannot_be(
    changes: dict[str, Any], message: str, design: Design, tmp_path: Path
) -> None:
    recipe = override(design.recipe, {k.removeprefix("recipe."): v for k, v in changes.items() if "." in k})
    other = replace(design, recipe=recipe, **{k: v for k, v in changes.items() if "." not in k})
    with pytest.raises(ValueError, match=message):
        prepare(other, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_a_users_loss_is_built_at_the_gate(design: Design, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LOSS)
    arms = ("clip", f"{tmp_path / 'mine.py'}:L")
    given(arms)
    with pytest.raises(ValueError, match=r"L in .*mine.py: missing a required argument: 'p'"):
        prepare(replace(design, arms=arms), tmp_path / "study")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("test", "retrieval needs at least 2 example.*test set 'held out' of .* has 1"),
        ("validation", "a learning curve needs at least 2 example.*validation set 'held out' of .* has 1"),
    ],
)
def test_a_split_of_one_row_is_refused_by_its_name(
    split: str, message: str, design: Design, tmp_path: Path
) -> None:
    folder = tmp_path / "pairs"
    shutil.copytree(Path(design.data).parent, folder)
    table = pl.read_csv(folder / "metadata.csv").with_row_index()
    first = table.filter(pl.col("split") == split)["index"][0]
    kept = table.filter((pl.col("split") != split) | (pl.col("index") == first)).drop("index")
    kept.write_csv(folder / "metadata.csv")
    with pytest.raises(ValueError, match=message):
        prepare(replace(design, data=str(folder)), tmp_path / "study")


@pytest.mark.parametrize(
    ("side", "message"),
    [
        ("train", "the split 'test' is empty"),
        ("validation", "the split 'test' is empty"),
        (
            "test",
            "a batch would hold one: the training split has 0 rows",
        ),  # such data is there to evaluate on
    ],
)
def test_rows_are_all_on_one_side_are_refused_before_training(
    side: str,
    message: str,
    design: Design,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "pairs"
    shutil.copytree(Path(design.data).parent, folder)
    pl.read_csv(folder / "metadata.csv").with_columns(split=pl.lit(side)).write_csv(folder / "metadata.csv")
    with pytest.raises(ValueError, match=message):
        prepare(replace(design, data=str(folder)), tmp_path / "study")
    monkeypatch.chdir(tmp_path)
    words = [
        "train",
        "clip",
        "--data",
        str(folder),
        "--recipe",
        "seconds",
        "--tasks",
        "retrieval",
        "--out",
        "run",
    ]
    assert main(words) == 1
    errors = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("counterpoint train: ")
    ]
    told = "the training split of" if side == "test" else message
    assert len(errors) == 1
    assert told in errors[0]
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "study").exists()


def test_a_batch_that_is_larger_than_the_data_is_said(
    design: Design, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "counterpoint")
    larger = replace(design, recipe=override(design.recipe, {"batch_size": 500}))
    rows = len(prepare(larger, tmp_path / "study").data.splits.train)
    assert f"batches hold all {rows} training rows: the recipe has a batch size of 500" in caplog.text


def test_test_set_that_can_show_nothing_is_said_before_training(
    design: Design, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "counterpoint")
    small = shutil.copytree(Path(design.data).parent, tmp_path / "small") / Path(design.data).name
    head, *rows = small.read_text("utf-8").splitlines()
    tests = [row for row in rows if ",test," in row]
    small.write_text("\n".join([head, *(row for row in rows if row not in tests[5:])]), "utf-8")
    prepare(replace(design, data=str(small)), tmp_path / "study")
    assert "test set 'held out' has 5 examples: fewer than 10 show no difference" in caplog.text


def test_a_folder_that_cannot_be_the_studys(design: Design, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file is a file; choose another folder with --out"):
        prepare(design, tmp_path / "file" / "study")
    (tmp_path / "recipe.yaml").write_text("")
    with pytest.raises(ValueError, match="holds a single run"):
        prepare(design, tmp_path)


def test_tasks_are_those_of_all_arms(design: Design, tmp_path: Path) -> None:
    both = replace(design, arms=("clip", "dcl,on=image"), data="digits", tasks=())
    assert "retrieval" not in prepare(both, tmp_path / "both").design.tasks
    assert "probe" in prepare(both, tmp_path / "both").design.tasks
    alone = replace(both, arms=("clip",))
    assert "retrieval" in prepare(alone, tmp_path / "alone").design.tasks


def test_a_run_does_not_go_into_a_studys_folder(design: Design, tmp_path: Path) -> None:
    design.reserve(tmp_path)
    with pytest.raises(ValueError, match="holds a study, and a run needs a folder of its own"):
        cp.train("clip", design.data, recipe=design.recipe, folder=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": "nosuch"}, "budget must be one of 'steps', 'passes' or 'time', got 'nosuch'"),
        ({"tasks": "retrieval"}, r"tasks must be a list of names, got 'retrieval': write \['retrieval'\]"),
        ({"recipe": {"steps": 2}}, "recipe must be a recipe, its name or its file"),
        ({"recipe": "cpuu"}, "did you mean 'cpu'"),
        ({"seeds": "3"}, "seeds must be a number of seeds or a list of them, got '3'"),
        ({"seeds": [-1]}, "seeds must be at least 0, got -1"),
        ({"seeds": [1, 1]}, "seeds must differ from each other, got 1 more than once"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"seeds": []}, "at least one seed"),
        ({"tune": "3"}, "tune must be a whole number, got '3'"),
        ({"margin": "0.1"}, "margin must be a number, got '0.1'"),
        ({"margin": float("inf")}, "margin must be a finite number"),
        ({"margin": 0}, "margin must be greater than 0"),
        ({"jobs": 0}, "jobs must be at least 1, got 0"),
        ({"folder": ""}, "folder must name a folder"),
        ({"nosuch": 1}, "there is no option nosuch"),
    ],
)
def test_python_calls_that_cannot_mean_anything(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unwrap(cp.compare)("clip", **options)


def test_the_folder_has_another_name_in_python(pairs: Path) -> None:
    with pytest.raises(ValueError, match="there is no option out: name the study's folder with folder="):
        cp.compare("clip", data=pairs, out="study")  # type: ignore[call-arg]


def test_data_may_be_a_path(pairs: Path) -> None:
    from counterpoint.forms import validated

    assert validated(Design, {"arms": ("clip",), "data": pairs}) == Design(("clip",), str(pairs))


def test_what_python_may_give_are_the_fields_of_the_forms() -> None:
    assert set(DesignOptions.__annotations__) == {*fields_of(Design)} - {"arms", "added"}
    derived = {"arms", "model", "image_size", "weights"}
    assert set(DecodingOptions.__annotations__) == {*fields_of(DecodingDesign)} - derived


SMALL = [
    "--batch-size",
    "16",
    "--towers.image-size",
    "24",
    "--towers.vocabulary",
    "300",
    "--tasks",
    "retrieval",
]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("compare clip --margin 0", "--margin must be greater than 0, got 0"),
        ("compare clip --margin nan", "--margin must be a finite number"),
        ("compare clip --margin inf", "--margin must be a finite number"),
        ("compare clip --seeds 0", "--seeds must be at least 1, got 0"),
        ("compare clip --tune -1", "--tune must be at least 0, got -1"),
        ("compare clip --jobs 0", "--jobs must be at least 1, got 0"),
        ("compare clip --jobs -3", "--jobs must be at least 1, got -3"),
        ("compare clip --steps 0", "--steps must be at least 1, got 0"),
        ("compare clip --workers -1", "--workers must be at least 0, got -1"),
        ("compare clip --checkpoint-every 0", "--checkpoint-every must be at least 1, got 0"),
        ("compare clip --optimizer.lr nan", "--optimizer.lr must be a finite number, got nan"),
        ("compare clip --optimizer.beta1 1.0", "--optimizer.beta1 must be less than 1, got 1"),
        ("compare clip clip", "arms must differ from each other, got 'clip' more than once"),
        ("compare", "a study needs at least one arm, for example: counterpoint compare clip slip"),
        ("compare clip dcl slip,ssl_wieght=1", "unknown option of slip 'ssl_wieght'"),
        ("compare clip --batch-size 1", "--batch-size must be at least 2"),
        ("compare clip --batch-size 31", "that are trained on: give at most 30, or leave it out"),
        ("train clip --seed -1", "--seed must be at least 0, got -1"),
        ("train clip --steps 0", "--steps must be at least 1, got 0"),
        ("train tiny-vlm --perception.optimizer.beta2 1", "--perception.optimizer.beta2 must be less than 1"),
        ("train clip,ssl_weight=1", "unknown option of clip 'ssl_weight'"),
        ("train clip --parallel.mode fsdp", "there is one: start several with torchrun, or leave it out"),
        ("train clip --batch-size 1", "--batch-size must be at least 2"),
        ("train clip --batch-size 31", "--batch-size 31 is more than the 30 rows of"),
        (
            "compare-decoding vcd --model m --data scenes:tiny --temperature inf",
            "--temperature must be a finite number",
        ),
        (
            "compare-decoding vcd --model m --data scenes:tiny --margin nan",
            "--margin must be a finite number",
        ),
        ("compare-decoding vcd --model m --data scenes:tiny --limit 1", "--limit must be at least 2, got 1"),
        ("compare-decoding vcd --data scenes:tiny", "which model? For example"),
        ("generate --model m --image i --prompt p --temperature 0", "--temperature must be greater than 0"),
        ("diagnose m --what language --rows -1", "--rows must be at least 1, got -1"),
        ("diagnose m --what in-context --seeds 0", "--seeds must be at least 1, got 0"),
        ("diagnose m --what lens --image i --least 0", "--least must be at least 1, got 0"),
        ("report study --margin 0", "--margin must be greater than 0"),
        ("reproduce siglip --jobs 0", "--jobs must be at least 1, got 0"),
        ("reproduce siglip --quick --out .", "it is a folder; name a file"),
    ],
)
def test_command_cannot_be_is_refused_in_one_line_names_option(
    words: str,
    message: str,
    pairs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    command, *rest = words.split()
    data = (
        ["--data", str(pairs), *SMALL] if command in {"compare", "train"} and "tiny-vlm" not in rest else []
    )
    data = [
        word
        for k, word in enumerate(data)
        if not {"--batch-size", "16"} & {word} or "--batch-size" not in rest
    ]
    assert main([command, *rest, *data]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"counterpoint {command}: ")
    assert message in line
    assert not any(tmp_path.iterdir()), "nothing is written"


@pytest.mark.parametrize(
    "command",
    ["compare clip", "train clip", "diagnose m --what in-context", "diagnose m --what lens --image i"],
)
def test_an_empty_folder_is_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--out", ""]) == 1
    assert "--out must name a folder, got nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"steps: [1", "line 1 cannot be read as YAML: expected ',' or ']'"),
        (
            b"steps: !!python/object:os.system x",
            "line 1 cannot be read as YAML: could not determine a constructor",
        ),
        (b"\xff\xfe\x00s", "is no text in UTF-8"),
        (b"steps: 0", "steps must be at least 1, got 0"),
        (b"optimizer: {lr: fast}", "optimizer.lr must be a number, got 'fast'"),
        (b"stepz: 3", "unknown key in recipe 'stepz': did you mean 'steps'"),
    ],
)
def test_a_recipe_file_that_is_wrong_is_named(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    assert main(["compare", "clip", "--recipe", str(tmp_path / "mine.yaml")]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "mine.yaml" in line
    assert message in line
