"""Names to things, without importing the things: rooms of files, and errors that name the nearest name."""

from __future__ import annotations

import ast
import difflib
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from importlib import import_module
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from .trust import trusted_source


class UnknownNameError(ValueError):
    """A name that is not known; the message lists what is, nearest first."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Return the one error for a name that is not in a list.

    >>> raise unknown("method", "clpi", ["clip", "slip"])
    Traceback (most recent call last):
    ...
    counterpoint.registry.UnknownNameError: unknown method 'clpi': did you mean 'clip'? (known: clip, slip)
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=8, cutoff=0.5)
    hint = f": did you mean {near[0]!r}?" if near else "."
    listed = ", ".join(names if len(names) <= 30 else [*(near or names[:8]), f"… {len(names)} in all"])
    return UnknownNameError(f"unknown {kind} {name!r}{hint} (known: {listed or 'none'})")


class MissingPackageError(ImportError):
    """An optional package is not installed; the message is the command that installs it."""


def require(package: str, extra: str) -> Any:
    """Import an optional package, or say in one line how to install it."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise MissingPackageError(missing_package(package, extra)) from error


def missing_package(package: str, extra: str) -> str:
    """Return the line that says how to install an optional package."""
    return f"{package} is not installed; run: pip install 'counterpoint[{extra}]'"


def named_in_file(text: str) -> tuple[Path, str] | None:
    """Return the file and the name of ``FILE.py:NAME``; None for what is written otherwise.

    >>> named_in_file("pairs.csv") is None, named_in_file("waves.py:WAVES")[1]
    (True, 'WAVES')
    """
    file, _, name = text.rpartition(":")
    return (Path(file), name) if file.endswith(".py") and name.isidentifier() else None


def check_python_file(file: Path) -> None:
    """Refuse a file of Python that is not there.

    Raises:
        FileNotFoundError: naming it.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no Python file {file}")


def import_file(file: Path) -> ModuleType:
    """Import a file of Python under a name of its own, anew each time.

    Raises:
        FileNotFoundError: if there is none.
        UntrustedError: if a folder names it, and the user did not allow it (`counterpoint.trust`).
        Exception: whatever the file raises.
    """
    check_python_file(file)
    path = file.resolve()
    source = trusted_source(path)
    name = f"_file_{hashlib.blake2b(str(path).encode(), digest_size=6).hexdigest()}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # so that the classes in it can be pickled and their annotations read
    # Not by the loader, which may take other code than this from a .pyc file beside it.
    exec(compile(source, path, "exec", dont_inherit=True), vars(module))
    return module


def load(reference: str) -> Any:
    """Import ``"package.module:Symbol"``."""
    module, _, symbol = reference.partition(":")
    return getattr(import_module(module), symbol)


class Room:
    """A package as a registry: each file below it holds one thing, named after the file; listing imports nothing.

    Users may write hyphens where the file has underscores. Files and folders that begin with ``_`` are helpers.

    Args:
        kind: the word for one thing, for messages.
        package: the package's name.
        symbol: the name that every file gives its thing; the file's one public class unless given.
        without: folders of the package that hold no such things.
        file: where a thing is a package, the file in it that holds the thing; the package's name is the thing's.
        base: the end of the name of a base that the class has, where a file may have other public classes.
        hyphens: whether the names that are listed have hyphens; else they are those of the files.

    >>> claims = Registry("claim", "counterpoint_reproductions", "run", without=("lab", "benches"))
    >>> claims.reference("align-uniform")
    'counterpoint_reproductions.align_uniform:run'
    >>> Registry("loss", "counterpoint.losses").reference("siglip")
    'counterpoint.losses.siglip:SigLIPLoss'
    >>> Registry("data set", "counterpoint.data.synthetic", file="world").reference("clips")
    'counterpoint.data.synthetic.clips.world:Clips'
    """

    def __init__(
        self,
        kind: str,
        package: str,
        symbol: str | None = None,
        without: Sequence[str] = (),
        file: str | None = None,
        *,
        base: str = "",
        hyphens: bool = True,
    ) -> None:
        self.kind, self.package, self.symbol, self.file = kind, package, symbol, file
        self.without, self.base, self.hyphens = frozenset(without), base, hyphens

    def _named(self, name: str) -> str:
        return name.replace("_", "-") if self.hyphens else name.replace("-", "_")

    @cached_property
    def modules(self) -> dict[str, str]:
        """The module of every name."""
        modules: dict[str, str] = {}
        for module in _modules(files(self.package), self.package, self.without):
            where = module if self.file is None else module.removesuffix(f".{self.file}")
            if self.file is not None and where in (module, self.package):
                continue  # beside the file that counts, or not in a package of its own
            name = self._named(where.rpartition(".")[2])
            if name in modules:
                raise ValueError(f"two files are named {name!r}: {modules[name]} and {module}; rename one")
            modules[name] = module
        return modules

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.modules))

    def reference(self, name: str) -> str:
        """Return ``package.module:Symbol`` of a name, without importing it.

        Raises:
            UnknownNameError: for a name that no file has.
            ValueError: if the file has no public class, or several.
        """
        name = self._named(name)
        if name not in self.modules:
            raise unknown(self.kind, name, self.modules)
        return f"{self.modules[name]}:{self.symbol or _public_class(self.modules[name], self.base)}"

    def about(self, name: str) -> str:
        """Return the first paragraph of the docstring of a name's file, which is not imported for it.

        >>> Registry("loss", "counterpoint.losses").about("siglip")
        'The pairwise sigmoid loss.'
        """
        module = self.reference(name).partition(":")[0]
        return " ".join((ast.get_docstring(ast.parse(source_of(module))) or "").partition("\n\n")[0].split())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._named(name) in self.modules

    def get(self, name: str) -> Any:
        return load(self.reference(name))


def source_of(module: str) -> str:
    """Return the text of a module's file, which is not imported for it."""
    package, _, file = module.rpartition(".")
    return (files(package) / f"{file}.py").read_text(encoding="utf-8")


def _public_class(module: str, base: str = "") -> str:
    text = source_of(module)
    derived = rf"\([^)]*{base}\b" if base else ""
    classes = re.findall(rf"^class ([A-Z]\w*){derived}", text, re.MULTILINE)
    if len(classes) != 1:
        raise ValueError(
            f"{module} must hold one public class, named after the file; it has {', '.join(classes) or 'none'}: "
            "begin the names of helpers with _"
        )
    return classes[0]


def _modules(folder: Traversable, package: str, without: frozenset[str] = frozenset()) -> Iterator[str]:
    for entry in folder.iterdir():
        if entry.name.startswith(("_", ".")) or entry.name in without:
            continue
        if entry.is_dir():
            yield from _modules(entry, f"{package}.{entry.name}")
        elif entry.name.endswith(".py"):
            yield f"{package}.{entry.name.removesuffix('.py')}"
