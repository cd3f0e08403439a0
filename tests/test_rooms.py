"""Rules that hold for every room of the package."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from collections import Counter
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

import counterpoint

SRC = Path(__file__).parents[1] / "src"
ROOMS = [
    room.name
    for room in pkgutil.iter_modules(counterpoint.__path__, "counterpoint.")
    if room.ispkg and hasattr(import_module(room.name), "__all__")
]


@pytest.mark.parametrize("room", ROOMS)
def test_exported_names_are_what_they_say(room: str) -> None:
    """A submodule named like a function or class of its room would take its place once it is imported."""
    package = import_module(room)
    submodules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    for name in package.__all__:
        first = getattr(package, name)
        assert getattr(package, name) is first, f"{room}.{name} changes when it is used"
        if name in submodules:
            assert isinstance(first, ModuleType), f"rename {room}.{name} or its submodule {name}.py"


def test_stubs_are_those_that_the_script_writes() -> None:
    script = Path(__file__).parents[1] / "scripts" / "make_stubs.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_nothing_is_named_with_its_type_only_to_be_returned() -> None:
    """Beside what RET504 of ruff finds: the same with a type."""
    found = [
        f"{path.relative_to(SRC)}:{named.lineno}"
        for path in sorted(SRC.rglob("*.py"))
        for block in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for part in ("body", "orelse", "finalbody")
        if isinstance(statements := getattr(block, part, None), list)
        for named, returned in pairwise(statements)
        if isinstance(named, ast.AnnAssign) and isinstance(returned, ast.Return) and returned.value
        if ast.unparse(named.target) == ast.unparse(returned.value)
    ]
    assert not found, "\n".join(["return the value itself:", *found])


def test_every_class_name_is_defined_once() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(SRC.rglob("*.py"))]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    counts = Counter(node.name for node in nodes if not node.name.startswith("_"))
    assert not [name for name, count in counts.items() if count > 1]


def test_exception_classes_end_in_error() -> None:
    exits = {"DryRunExit", "StopRequest", "WorkHandover"}  # they control the flow, and report no fault
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            bases = [
                ast.unparse(base) for base in getattr(node, "bases", ()) if isinstance(node, ast.ClassDef)
            ]
            if any(base.endswith(("Error", "Exception", "KeyboardInterrupt", "Warning")) for base in bases):
                named = node.name.endswith(("Error", "Warning")) or node.name in exits
                assert named or node.name.startswith("_"), f"{path}: {node.name}"
