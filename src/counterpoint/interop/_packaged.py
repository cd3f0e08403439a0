"""Pretrained weights that come as Python packages, for machines without a model hub."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ..modalities import LIBRARIES
from ..networks.weights import TowerSource
from ..registry import MissingPackageError, unknown

PACKAGE = "package"
"""The word after the @ of a tower whose weights are in a package."""


@dataclass(frozen=True)
class PackagedModel:
    """A model in a package, which is found by its name and never imported.

    Attributes:
        library: whose model it is, as towers name it.
        module: the package's module.
        distribution: the name under which pip installs it.
        extra: of this package, which installs it, or what is needed to read it; none where nothing more is needed.
        model: the model's place in the module: a folder, or a file of weights.
        weights: the file of weights in the module.
        sha256: digest of that file.
        alone: it is installed without the packages that it asks for, which reading its file does not need.
    """

    library: str
    module: str
    distribution: str
    extra: str
    model: str
    weights: str
    sha256: str
    alone: bool = False

    @property
    def command(self) -> str:
        """The command that installs it."""
        commands = [f"pip install 'counterpoint[{self.extra}]'"] if self.extra else []
        if self.alone:
            commands.append(f"pip install --no-deps {self.distribution}")
        return " && ".join(commands)


@cache
def packages() -> dict[str, PackagedModel]:
    """Return the models of all libraries, by the name that their library has for them."""
    return {
        model: PackagedModel(LIBRARIES.stated(name, "library"), **fields)
        for name in LIBRARIES.names()
        for model, fields in (LIBRARIES.stated(name, "packages") or {}).items()
    }


def packaged(name: str) -> Path:
    """Return the place of a model in its package: a folder, or a file of weights.

    Raises:
        UnknownNameError: for a model that no known package holds; the message gives the nearest one.
        MissingPackageError: if its package is not installed; the message is the command that installs it.
        ValueError: if its weights are not those that were looked at when it was entered here.
    """
    models = packages()
    if name not in models:
        raise unknown("packaged model", name, models)
    known = models[name]
    spec = find_spec(known.module)
    if spec is None or spec.origin is None:
        raise MissingPackageError(f"{known.distribution} is not installed; run: {known.command}")
    folder = Path(spec.origin).parent
    _check(folder / known.weights, known)
    return folder / known.model


def weights_file(source: TowerSource) -> Path | None:
    """Return the file of weights of a library whose models are those of its package; None for random ones.

    Raises:
        UnknownNameError: for another model.
        MissingPackageError: if the package is not installed.
        ValueError: for weights that are no path which exists, and for those of a package that is not the known one.
    """
    known = [name for name, model in packages().items() if model.library == source.library]
    if source.name not in known:
        raise unknown(f"{source.library} model", source.name, known)
    path = packaged(source.name) if source.weights == PACKAGE else source.path
    if source.weights is not None and path is None:
        raise ValueError(f"tower {source}: the weights are neither a path that exists nor {PACKAGE!r}")
    return path


@cache
def _check(file: Path, known: PackagedModel) -> None:
    """Raise ValueError for weights with another digest: they may be damaged, or somebody else's."""
    if not file.is_file():
        raise ValueError(f"{known.distribution} lacks {known.weights}; install it again")
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != known.sha256:
        raise ValueError(
            f"{file} of {known.distribution} is not the file that is known here (sha256 {digest[:12]}… in place of "
            f"{known.sha256[:12]}…); install {known.distribution} again"
        )
