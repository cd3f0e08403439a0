"""Run the tests of one package, and the conformance suite of those of its files that changed since a commit.

``python scripts/check.py losses`` runs the doctests of ``src/counterpoint/losses``, the tests in ``tests/losses`` and,
for every changed file of the package, the conformance tests that carry its name. ``--since`` takes any commit.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path("src", "counterpoint")


def changed(room: str, since: str) -> list[str]:
    """Return the names of the package's files that differ from a commit, as tests write them, new files included."""
    commands = (
        ["git", "diff", "--name-only", since, "--", str(PACKAGE / room)],
        ["git", "ls-files", "--others", "--exclude-standard", "--", str(PACKAGE / room)],
    )
    paths = [
        Path(line)
        for command in commands
        for line in subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
    ]
    return sorted(
        {path.stem.replace("_", "-") for path in paths if path.suffix == ".py" and path.stem[0] != "_"}
    )


def pytest(*arguments: str) -> int:
    """Run pytest on two processes; tests that were not collected are no failure."""
    command = [sys.executable, "-m", "pytest", "--numprocesses", "2", "--dist", "loadfile", *arguments]
    code = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
    ).returncode
    return 0 if code == 5 else code


def main() -> int:
    """Run the tests, and return the first exit code that is not 0."""
    rooms = sorted(
        path.stem
        for path in (ROOT / PACKAGE).iterdir()
        if path.stem[0] not in "_." and path.suffix != ".typed"
    )
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("room", choices=rooms, help="a package or module of counterpoint")
    parser.add_argument("--since", default="HEAD", help="the commit that changes are counted from")
    arguments = parser.parse_args()
    room, tests = arguments.room, ROOT / "tests"
    candidates = (
        ROOT / PACKAGE / room,
        ROOT / PACKAGE / f"{room}.py",
        tests / room,
        tests / f"test_{room}.py",
    )
    code = pytest(*(str(path) for path in candidates if path.exists()))
    names = changed(room, arguments.since)
    if names:
        print(f"conformance of {', '.join(names)}", flush=True)
        code = code or pytest(str(tests / "conformance"), "-k", " or ".join(names))
    return code


if __name__ == "__main__":
    sys.exit(main())
