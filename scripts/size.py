"""Print the size of the package: lines, files, packages, imports, repeated class names, dependencies.

``python scripts/size.py`` reads the tree alone; it imports nothing of the package.
"""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def code_lines(source: str, tree: ast.Module) -> tuple[int, int]:
    """Return the lines of code, and those of import statements: blank lines, comments and docstrings apart."""
    skipped: set[int] = set()
    imports: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            skipped.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = source.splitlines()
    code = {
        n for n, line in enumerate(lines, 1) if line.strip() and not line.strip().startswith("#")
    } - skipped
    return len(code), len(code & imports)


def main() -> None:
    """Print the table."""
    files = sorted((ROOT / "src").rglob("*.py"))
    sources = {path: path.read_text(encoding="utf-8") for path in files}
    trees = {path: ast.parse(source) for path, source in sources.items()}
    lines = {path: len(source.splitlines()) for path, source in sources.items()}
    core, synthetic = ROOT / "src" / "counterpoint", ROOT / "src" / "counterpoint" / "data" / "synthetic"
    counts = [code_lines(sources[path], trees[path]) for path in files]
    code, imports = (sum(column) for column in zip(*counts, strict=True))
    classes = Counter(
        node.name
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rows = {
        "lines in src": sum(lines.values()),
        "lines in counterpoint without data/synthetic": sum(
            count
            for path, count in lines.items()
            if path.is_relative_to(core) and not path.is_relative_to(synthetic)
        ),
        "files": len(files),
        "packages": sum(path.name == "__init__.py" for path in files),
        "import statements, share of code": f"{imports / code:.1%}",
        "public class names defined twice or more": sum(count > 1 for count in classes.values()),
        "hard dependencies": len(project["dependencies"]),
    }
    for name, value in rows.items():
        print(f"{name:<48} {value if isinstance(value, str) else format(value, ','):>8}")


if __name__ == "__main__":
    main()
