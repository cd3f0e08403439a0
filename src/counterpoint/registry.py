"""Registries of things by name that import nothing before use, and errors that name the nearest name."""

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

from .extras import missing_package
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


class Registry:
    """Things of a package by name, each defined in a file of its own; listing the names imports nothing.

    A thing is named after its file. Files whose names begin with ``_`` are helpers. Users may write hyphens where the
    file has underscores.

    Args:
        kind: Word for one thing, used in messages.
        package: Name of the package.
        symbol: Name that every file gives its thing. Default: the one public class of the file.
        exclude: Files and folders of the package without ``.py`` that define no such thing.
        file: For things that are packages, the file in each that defines the thing. The package's name is the thing's.
        from_stub: Whether the package's ``__init__.pyi`` says which files define a thing, and its class.
        ending: End of the names of the classes that are such things, among those in the stub.
        hyphens: Whether listed names have hyphens in place of underscores.

    >>> Registry("loss", "counterpoint.losses", from_stub=True).reference("siglip")
    'counterpoint.losses.siglip:SigLIPLoss'
    >>> Registry("data set", "counterpoint.data.synthetic", file="world").reference("clips")
    'counterpoint.data.synthetic.clips.world:VideoClips'
    """

    def __init__(
        self,
        kind: str,
        package: str,
        symbol: str | None = None,
        exclude: Sequence[str] = (),
        file: str | None = None,
        *,
        from_stub: bool = False,
        ending: str = "",
        hyphens: bool = True,
    ) -> None:
        self.kind, self.package, self.symbol, self.file = kind, package, symbol, file
        self.exclude, self.from_stub, self.hyphens = frozenset(exclude), from_stub, hyphens
        self.ending = ending

    def _named(self, name: str) -> str:
        return name.replace("_", "-") if self.hyphens else name.replace("-", "_")

    @cached_property
    def _references(self) -> dict[str, str]:
        """Module of each name, and behind a colon the class if the stub states it."""
        folder = files(self.package)
        if self.from_stub:
            exported = _in_stub((folder / "__init__.pyi").read_text(encoding="utf-8"), self.package)
            found = iter([reference for reference in exported if reference.endswith(self.ending)])
        else:
            found = _modules(folder, self.package, self.exclude)
        references: dict[str, str] = {}
        for reference in found:
            module = reference.partition(":")[0]
            if self.file is not None:
                if not module.endswith(f".{self.file}"):
                    continue
                module = module.removesuffix(f".{self.file}")
            name = module.rpartition(".")[2]
            if module == self.package or name.startswith("_") or name in self.exclude:
                continue
            if self._named(name) in references:
                raise ValueError(
                    f"two files are named {name!r}: {references[self._named(name)]} and {reference}; rename one"
                )
            references[self._named(name)] = reference
        return references

    @cached_property
    def modules(self) -> dict[str, str]:
        """The module of every name."""
        return {name: reference.partition(":")[0] for name, reference in self._references.items()}

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.modules))

    def reference(self, name: str) -> str:
        """Return ``package.module:Symbol`` of a name, without importing it.

        Raises:
            UnknownNameError: for a name that no file has.
            ValueError: if the file has no public class, or several.
        """
        name = self._named(name)
        if name not in self._references:
            raise unknown(self.kind, name, self._references)
        module, _, symbol = self._references[name].partition(":")
        return f"{module}:{self.symbol or symbol or _public_class(module)}"

    def about(self, name: str) -> str:
        """Return the first paragraph of the docstring of a name's file, which is not imported for it.

        >>> Registry("loss", "counterpoint.losses", from_stub=True).about("siglip")
        'The pairwise sigmoid loss.'
        """
        module = self.reference(name).partition(":")[0]
        return " ".join((ast.get_docstring(ast.parse(source_of(module))) or "").partition("\n\n")[0].split())

    def stated(self, name: str, attribute: str) -> Any:
        """Return the constant that a name's class states for an attribute, without importing the class; None if none.

        >>> Registry("loss", "counterpoint.losses", from_stub=True).stated("siglip", "family")
        'sigmoid'
        """
        module, _, symbol = self.reference(name).partition(":")
        source = source_of(module)
        if not re.search(rf"^    {attribute}\b.* = ", source, re.MULTILINE):
            return None
        body = next(
            node.body
            for node in ast.parse(source).body
            if isinstance(node, ast.ClassDef) and node.name == symbol
        )
        for node in body:
            if not isinstance(node, ast.Assign | ast.AnnAssign):
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if node.value is not None and [ast.unparse(target) for target in targets] == [attribute]:
                return ast.literal_eval(node.value)
        return None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._named(name) in self.modules

    def get(self, name: str) -> Any:
        return load(self.reference(name))


def _in_stub(stub: str, package: str) -> Iterator[str]:
    """Yield ``package.module:Class`` of each class that a stub exports from a module beside it."""
    for node in ast.parse(stub).body:
        if (
            isinstance(node, ast.ImportFrom)
            and node.level == 1
            and node.module
            and node.names[0].name[0].isupper()
        ):
            yield f"{package}.{node.module}:{node.names[0].name}"


def _modules(folder: Traversable, package: str, exclude: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the modules in a folder and below it, helpers apart."""
    for entry in folder.iterdir():
        if entry.name.startswith(("_", ".")) or entry.name in exclude:
            continue
        if entry.is_dir():
            yield from _modules(entry, f"{package}.{entry.name}")
        elif entry.name.endswith(".py"):
            yield f"{package}.{entry.name.removesuffix('.py')}"


def source_of(module: str) -> str:
    """Return the text of a module's file, which is not imported for it."""
    package, _, file = module.rpartition(".")
    return (files(package) / f"{file}.py").read_text(encoding="utf-8")


def _public_class(module: str) -> str:
    classes = [
        node.name
        for node in ast.parse(source_of(module)).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    if len(classes) != 1:
        raise ValueError(
            f"{module} must define one public class; it defines {', '.join(classes) or 'none'}: "
            "begin the names of helpers with _"
        )
    return classes[0]
