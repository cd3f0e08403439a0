"""Folders are data: no code that they name runs, unless the user named the file, ran it before, or says so."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

import counterpoint as cp
from counterpoint import trust
from counterpoint.cli import main
from counterpoint.data.source import load_any
from counterpoint.execution import WorkList, work
from counterpoint.execution.children import environment
from counterpoint.execution.orders import WorkItem, given_in
from counterpoint.execution.watch import standings
from counterpoint.models import load
from counterpoint.recipes import Recipe
from counterpoint.registry import import_file
from counterpoint.registry import load as load_symbol
from counterpoint.serving import Index
from counterpoint.serving.application.gallery import Gallery
from counterpoint.study.study import resummarise
from counterpoint.trust import UntrustedError, given
from counterpoint.units import STEPS, UNITS
from fixtures.decoded import Parrot, write_questions
from fixtures.units import Counting

LOSS = """
from torch import nn
from pathlib import Path
Path({mark!r}).touch()
class Loss(nn.Module):
    def forward(self, x, y):
        return ((x - y) ** 2).mean()
DATA = Loss
"""


class Evil:
    """A Python file of somebody else that leaves a mark when it runs."""

    def __init__(self, folder: Path, name: str = "evil") -> None:
        self.mark, self.file = folder / f"{name}-ran", folder / f"{name}.py"
        self.file.write_text(LOSS.format(mark=str(self.mark)))

    def ran(self) -> bool:
        there = self.mark.exists()
        self.mark.unlink(missing_ok=True)
        return there


@pytest.fixture
def evil(tmp_path: Path) -> Evil:
    return Evil(tmp_path)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, pairs: Path, recipe: Recipe) -> Path:
    """Return a finished study of two arms."""
    folder = tmp_path_factory.mktemp("studies") / "study"
    cp.compare(
        "clip", "siglip", data=str(pairs), seeds=1, recipe=recipe, folder=folder, jobs=1, tasks=["retrieval"]
    )
    return folder


@pytest.fixture(scope="module")
def index(study: Path, pairs: Path) -> Path:
    """Return an index of vectors of the study's first run."""
    run, folder = study / "runs" / "clip" / "seed-0", study.parent
    vectors = cp.embed(str(run), str(pairs), folder / "vectors")
    cp.index(vectors, folder / "index")
    return folder / "index"


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / folder.name))


def changed(file: Path, change: Callable[[Any], Any]) -> None:
    """Change the content of a JSON or YAML file."""
    if file.suffix == ".json":
        file.write_text(json.dumps(change(json.loads(file.read_text()))))
    else:
        file.write_text(
            yaml.safe_dump(change(yaml.safe_load(file.read_text())), explicit_start=True, explicit_end=True)
        )


# The three attacks


def listing(**changes: Any) -> dict[str, Any]:
    return {
        "format": 1,
        "title": "x",
        "given_in": ".",
        "then": {"name": "", "options": {}, "more": False},
        "units": [],
    } | changes


def test_a_list_names_no_function(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"executable": "/bin/sh", "input": f"touch {tmp_path}/owned", "text": True}
    for then in (
        {"function": "subprocess:run", "options": options, "more": False},
        {"name": "subprocess:run", "options": options, "more": False},
    ):
        (tmp_path / "units.json").write_text(json.dumps(listing(then=then)))
        assert main(["work", str(tmp_path)]) == 1
        assert "units.json is damaged" in capsys.readouterr().err
    assert not (tmp_path / "owned").exists()


def test_a_list_names_no_class(tmp_path: Path, evil: Evil, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    unit = {"unit": "evil:Loss", "key": "a", "folder": "a", "given": {}, "needs": {}}
    (tmp_path / "units.json").write_text(json.dumps(listing(units=[unit])))
    for read in (work, lambda folder: standings(folder, 0.0)):
        with pytest.raises(ValueError, match=r"there is no unit of work 'evil:Loss'"):
            read(tmp_path)
    assert not evil.ran()


@pytest.mark.parametrize("place", ["/tmp/elsewhere", "../elsewhere", "a/../../elsewhere", "link/a", ".", ""])
def test_units_lie_below_their_folder(place: str, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "link").symlink_to(tmp_path)
    unit = WorkItem.of(Counting("a", base / "a"), base).plain() | {"unit": "test-counting", "folder": place}
    (base / "units.json").write_text(json.dumps(listing(units=[unit])))
    with pytest.raises(ValueError, match=r"of the unit 'a' is not below"):
        work(base)
    assert {path.name for path in tmp_path.iterdir()} == {"base"}


def test_a_unit_names_no_code(study: Path, tmp_path: Path, evil: Evil) -> None:
    folder = copied(study, tmp_path)

    def with_another_loss(content: dict[str, Any]) -> dict[str, Any]:
        unit = content["units"][0] | {"folder": "runs/another"}
        unit["given"]["run"]["arm"] = f"{evil.file}:Loss"
        return content | {"units": [unit]}

    changed(folder / "units.json", with_another_loss)
    with pytest.raises(UntrustedError, match="is Python code that a folder names"):
        work(folder)
    assert not evil.ran()
    with suppress(Exception):  # the report is of other runs
        work(folder, trust=True)
    assert evil.ran()


@pytest.mark.parametrize("kind", ["embedding", "counting"])
def test_units_that_write_above_folder_lie_in_folder_of_parts(kind: str, tmp_path: Path) -> None:
    unit = load_symbol(UNITS[kind])
    with pytest.raises(ValueError, match=r"lies in no \.parts"):
        unit.parse({}, tmp_path / "a", Counting("a", tmp_path).needs)


def test_every_name_of_the_table_is_there() -> None:
    assert all(hasattr(load_symbol(unit), "parse") for unit in UNITS.values())
    assert all(callable(load_symbol(step)) for step in STEPS.values())
    with pytest.raises(TypeError, match=r"has no name in counterpoint\.units"):
        WorkList.of("x", [_Nameless("a", Path("a"))], Path())


class _Nameless(Counting):
    pass


def test_an_index_names_no_code(
    index: Path, tmp_path: Path, evil: Evil, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copied(index, tmp_path)
    (folder / "evil.py").write_text(evil.file.read_text())
    source = f"{folder / 'evil.py'}:DATA"
    changed(folder / "index.json", lambda it: json.loads(json.dumps(it).replace(_data(it), source)))
    assert Index.open(folder).about.data == source
    with caplog.at_level(logging.WARNING):
        shown = cp.serving.app(folder).state.service.gallery
        assert shown._data.result(60) is None
    assert "shown without pictures" in caplog.text
    assert "repeat the command with --trust" in caplog.text
    assert not evil.ran()
    cp.serving.app(folder, trust=True).state.service.gallery._data.result(60)
    assert evil.ran()


def _data(record: dict[str, Any]) -> str:
    about = record.get("about", record)
    assert isinstance(about["data"], str)
    return about["data"]


def test_an_index_names_no_address(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.tar"
        for source in (address, f"digits + {address}", "hf:owner/name"):
            caplog.clear()
            assert Gallery(source, offline=True)._data.result(60) is None
            assert "is an address that the index names: it was not opened" in caplog.text
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_run_names_no_code(
    study: Path, tmp_path: Path, pairs: Path, evil: Evil, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(study / "runs" / "clip" / "seed-0", tmp_path)
    changed(run / "recipe.yaml", lambda it: it | {"arm": f"{evil.file}:Loss"})
    for words in (
        ["embed", str(run), str(pairs), "--out", str(tmp_path / "vectors")],
        ["evaluate", str(run)],
        ["export", str(run)],
        ["diagnose", str(run), "--out", str(tmp_path / "inside")],
    ):
        assert main(words) == 1
        assert f"{evil.file} is Python code that a folder names" in capsys.readouterr().err
        assert not evil.ran()
    with pytest.raises(UntrustedError, match=r"pass trust=True"):
        load(run)
    with suppress(Exception):  # its weights are of another model
        cp.load(run, trust=True)
    assert evil.ran()
    assert main([*words[:2], "--trust"]) in (0, 1)
    assert evil.ran()
    with pytest.raises(UntrustedError):  # to have trusted it once does not note it
        cp.load(run)
    assert not evil.ran()


def test_a_study_names_no_code(
    study: Path, tmp_path: Path, evil: Evil, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copied(study, tmp_path)
    changed(folder / "study.yaml", lambda it: it | {"data": f"{evil.file}:DATA"})
    main(["report", str(folder)])
    assert not evil.ran()
    assert "--trust" in (folder / "report.html").read_text()
    assert f"{evil.file} is Python code" in caplog.text


def test_a_study_of_decoding_names_no_code(
    tmp_path: Path, evil: Evil, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder, data = tmp_path / "decoding", write_questions(tmp_path / "data")
    quick: dict[str, Any] = {"tasks": ["answers"], "seeds": 1, "limit": 4, "max_new_tokens": 2}
    cp.compare_decoding("vcd", model=Parrot, data=data, folder=folder, **quick)
    source = f"{evil.file}:DATA"
    changed(folder / "study.yaml", lambda it: it | {"data": source})
    design = yaml.safe_load((folder / "study.yaml").read_text())
    unit = {
        "unit": "decoding",
        "key": "a",
        "folder": "runs/a",
        "given": {
            "unit": {"arm": "plain", "seed": 7, "task": "answers"},
            "session": {"design": design, "batch_size": 1},
        },
        "needs": {},
    }
    (folder / "units.json").write_text(json.dumps(listing(units=[unit])))
    assert main(["status", str(folder)]) == 0
    with pytest.raises(UntrustedError, match="is Python code that a folder names"):
        work(folder)
    for words in (["report", str(folder)], ["work", str(folder)]):
        capsys.readouterr()
        assert main(words) == 1
        assert "is Python code that a folder names" in capsys.readouterr().err + caplog.text
    assert not evil.ran()
    with suppress(Exception):  # the file defines no data
        work(folder, trust=True)
    assert evil.ran()


# What is allowed


def test_a_file_that_was_named_is_allowed_and_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    mine = Evil(tmp_path, "mine")
    with pytest.raises(UntrustedError):
        import_file(mine.file)
    given([f"clip,image=cnn,data={mine.file}:Loss,share=0.5"])
    import_file(mine.file)
    assert mine.ran()
    noted = tmp_path / "state" / "counterpoint" / "python-files.txt"
    assert stat.S_IMODE(noted.stat().st_mode) == 0o600
    monkeypatch.setattr(trust, "_given", set())  # as in another process of the same user
    (tmp_path / "copy.py").write_text(mine.file.read_text())
    import_file(tmp_path / "copy.py")
    assert mine.ran(), "the content counts, not the place"
    with mine.file.open("a") as file:
        file.write("\n")
    with pytest.raises(UntrustedError, match="as it is now"):
        import_file(mine.file)
    noted.chmod(0o666)
    with pytest.raises(UntrustedError):  # anybody may have written it
        import_file(tmp_path / "copy.py")
    assert not mine.ran()


def test_code_beside_a_trusted_file_does_not_take_its_place(tmp_path: Path) -> None:
    mine, other = Evil(tmp_path, "mine"), Evil(tmp_path, "other")
    given(f"{mine.file}:Loss")
    compiled = tmp_path / "__pycache__" / f"mine.{sys.implementation.cache_tag}.pyc"
    compiled.parent.mkdir()
    code = compile(other.file.read_text(), str(mine.file), "exec")
    import importlib._bootstrap_external as external

    status = mine.file.stat()
    compiled.write_bytes(
        external._code_to_timestamp_pyc(  # type: ignore[attr-defined] # private, so typeshed lacks it
            code, int(status.st_mtime), status.st_size
        )
    )
    import_file(mine.file)
    assert (mine.ran(), other.ran()) == (True, False)


def test_child_processes_allow_what_their_parent_does(
    tmp_path: Path, evil: Evil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(trust, "_given", set())
    mine = Evil(tmp_path, "mine")
    given(f"{mine.file}:Loss")

    def imports(file: Path, variables: dict[str, str]) -> bool:
        code = "import sys, pathlib, counterpoint.registry as it; it.import_file(pathlib.Path(sys.argv[1]))"
        words = [sys.executable, "-c", code, str(file)]
        return subprocess.run(words, env=variables, capture_output=True, check=False).returncode == 0

    child = environment(1) | {"XDG_STATE_HOME": str(tmp_path / "elsewhere")}
    assert imports(mine.file, child)
    assert not imports(evil.file, child)
    with trust.everything():
        assert imports(evil.file, environment(1))
    monkeypatch.setattr(trust, "_given", set())
    monkeypatch.setenv(trust.VARIABLE, "")
    trust.receive({trust.VARIABLE: child[trust.VARIABLE]})  # as a task of Ray does
    import_file(mine.file)


def test_an_empty_message_withdraws_what_was_received_before(
    evil: Evil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(trust.VARIABLE, "")
    trust.receive({trust.VARIABLE: trust.ALL})
    assert trust.allows_everything()
    trust.receive({})  # the next task of the same process
    with pytest.raises(UntrustedError):
        import_file(evil.file)


def test_jobs_of_slurm_allow_what_the_command_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from counterpoint.execution import WorkHandover
    from counterpoint.execution.executors.slurm import Slurm

    monkeypatch.setattr(trust, "_given", {"12ab"})
    units = [Counting("a", tmp_path / "study" / "a")]
    with pytest.raises(WorkHandover):
        Slurm().carry_out(units, listed=tmp_path / "study")
    assert f"export {trust.VARIABLE}=12ab" in (tmp_path / "study" / "slurm" / "runs.sh").read_text()


def test_users_loss_is_trained_by_child_processes_and_read_again(
    tmp_path: Path, pairs: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(trust, "_given", set())
    mine = Evil(tmp_path, "mine")
    arms = (f"{mine.file}:Loss", "clip")
    made = cp.compare(
        *arms, data=str(pairs), seeds=1, recipe=recipe, folder=tmp_path / "study", jobs=2, tasks=["retrieval"]
    )
    assert [len(arm.failed) for arm in made.summary.arms] == [0, 0]
    monkeypatch.setattr(trust, "_given", set())  # as in another command of the same user
    (run,) = (path.parent for path in (tmp_path / "study").rglob("mine*/seed-0/recipe.yaml"))
    assert cp.load(run)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of-another-user"))
    with pytest.raises(UntrustedError):
        cp.load(run)


def test_no_module_is_imported_from_the_folder_that_a_list_names(
    tmp_path: Path, evil: Evil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    with given_in(str(tmp_path)):
        with pytest.raises(ModuleNotFoundError):
            __import__("evil")
        words = [sys.executable, "-m", "evil"]
        assert subprocess.run(words, env=environment(1), capture_output=True, check=False).returncode
    assert not evil.ran()
    assert sys.path[0] == ""


# Every field of every file


def strings(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every string within some JSON."""
    if isinstance(content, str):
        yield path
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from strings(value, (*path, key))
    elif isinstance(content, list):
        for position, value in enumerate(content[:1]):
            yield from strings(value, (*path, position))


def put(content: Any, path: tuple[Any, ...], value: str) -> Any:
    first, *rest = path
    inside = put(content[first], tuple(rest), value) if rest else value
    if isinstance(content, dict):
        return {**content, first: inside}
    return [*content[:first], inside, *content[first + 1 :]]


RUN = "study/runs/clip/seed-0"
READERS: dict[str, Callable[[Path], object]] = {
    "load": lambda folder: load(folder / RUN),
    "status": lambda folder: standings(folder / "study", 0.0),
    "report": lambda folder: resummarise(folder / "study"),
    "work": lambda folder: work(folder / "study", wait=False),
    "embed": lambda folder: main(
        ["embed", str(folder / RUN), "digits", "--limit", "2", "--out", str(folder / "new")]
    ),
    "evaluate": lambda folder: cp.evaluate(str(folder / RUN), tasks=["retrieval"]),
    "export": lambda folder: main(["export", str(folder / RUN)]),
    "search": lambda folder: Index.open(folder / "index").search("red"),
    "serve": lambda folder: Gallery(Index.open(folder / "index").about.data, offline=True)._data.result(60),
    "data": lambda folder: load_any(str(folder / "data-index")),
}
FILES = {
    f"{RUN}/recipe.yaml": ("load", "evaluate", "embed", "export"),
    **dict.fromkeys(
        (f"{RUN}/{name}.json" for name in ("environment", "run", "provenance", "order")), ("load", "report")
    ),
    **dict.fromkeys(("study/study.yaml", "study/plan.json"), ("report",)),
    "study/units.json": ("status", "work"),
    "index/index.json": ("search", "serve"),
    **dict.fromkeys(("data-index/data-index.json", "data-index/shards.parquet"), ("data",)),
}
"""Files of the folders, each with what reads it."""


def fields(file: Path) -> list[tuple[Any, ...]]:
    if file.suffix == ".parquet":
        frame = pl.read_parquet(file)
        return [(name,) for name, kind in frame.schema.items() if kind == pl.String]
    read = json.loads if file.suffix == ".json" else yaml.safe_load
    return list(strings(read(file.read_text())))


def poison(file: Path, field: tuple[Any, ...], value: str) -> None:
    if file.suffix == ".parquet":
        pl.read_parquet(file).with_columns(pl.lit(value).alias(field[0])).write_parquet(file)
    else:
        changed(file, lambda it: put(it, field, value))


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_no_field_of_any_file_names_code(
    name: str, study: Path, index: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = Evil(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    whole = tmp_path / "whole"
    whole.mkdir()
    for folder in (study, index, index.parent / "vectors"):
        copied(folder, whole)
    cp.data.convert(str(pairs), tmp_path / "shards")
    cp.data.index(str(tmp_path / "shards"), whole / "data-index")
    assert (whole / name).exists()
    original = (whole / name).read_bytes()
    values = (f"{evil.file}:DATA", "evil:Loss") if name.endswith("units.json") else (f"{evil.file}:DATA",)
    for field in fields(whole / name):
        for value in values:
            poison(whole / name, field, value)
            for reader in FILES[name]:
                with suppress(Exception, SystemExit):
                    READERS[reader](whole)
                assert not evil.ran(), f"{name}: {field} ran {value}"
            (whole / name).write_bytes(original)
