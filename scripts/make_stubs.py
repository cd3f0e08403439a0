"""Write the stubs of rooms of files: ``python scripts/make_stubs.py`` (``--check`` only compares).

A file's exports are its public classes, or what its ``__all__`` says; files of helpers, whose names begin with ``_``,
have none, but for ``_registry.py``, whose public functions and constants are the room's own.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src" / "counterpoint"
PACKAGES = {"losses": "", "methods": "", "evaluation/tasks": "Task", "interop": ("Layout", "Loader")}
"""Packages, each with the ends of the names of bases that its exported classes have, where others are helpers."""
ROOMS = {"decoding": "methods"}
"""Packages whose stub is written by hand, but for the lines of a room in it."""


def exports(path: Path, base: str | tuple[str, ...]) -> list[str]:
    """Return the public names of a file, of its classes those with a base of such a name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    stated = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]
    ]
    if stated:
        return list(stated[0])
    names = [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and (not base or any(ast.unparse(parent).endswith(base) for parent in node.bases))
    ]
    if path.name == "_registry.py":
        names += [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        names += [
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        ]
    return [name for name in names if not name.startswith("_")]


def lines_of(package: Path, base: str | tuple[str, ...] = "", room: str = "") -> list[str]:
    """Return a package's lines in its stub: those of its files, or of the files of a room in it."""
    lines = []
    for path in sorted((package / room).rglob("*.py")):
        helper = any(part.startswith("_") for part in path.relative_to(package).parts)
        if helper and path.name != "_registry.py":
            continue
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        lines += [f"from .{module} import {name} as {name}" for name in sorted(exports(path, base))]
    return lines


def by_hand(stub: Path, room: str) -> list[str]:
    """Return the lines of a stub that are not of a room."""
    return [
        line
        for line in stub.read_text(encoding="utf-8").splitlines()
        if not line.startswith(f"from .{room}.")
    ]


def main() -> int:
    stubs = {name: lines_of(SOURCE / name, base) for name, base in PACKAGES.items()}
    for name, room in ROOMS.items():
        package = SOURCE / name
        stubs[name] = [*by_hand(package / "__init__.pyi", room), *lines_of(package, room=room)]
    stale = []
    for name, lines in stubs.items():
        path, text = SOURCE / name / "__init__.pyi", "\n".join(sorted(lines)) + "\n"
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(str(path.relative_to(SOURCE)))
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        print(f"not up to date: {', '.join(stale)}; run: python scripts/make_stubs.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
