"""Folders of transformers and of sentence-transformers, as a user names them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..networks.towers.libraries.hugging_face import ModelFiles
from ..networks.weights import TowerSource
from ._kind import ModelLoader


def opened(kind: ModelLoader, text: str) -> tuple[TowerSource, ModelFiles, str]:
    """Return the source that a reference means, its files, and the command that fetches it.

    A folder stands for itself: ``transformers:PATH`` is the tower ``transformers:PATH@PATH``.

    Raises:
        UnknownNameError, MissingPackageError: for ``@package`` with a model that no installed package holds.
        ValueError: for what is no folder of a model, and a name whose hub is not named.
    """
    library, _, rest = text.partition(":")
    # A folder may have an @ in its name.
    source = (
        TowerSource(library, "folder", rest)
        if "@" in rest and Path(rest).is_dir()
        else TowerSource.parse(text)
    )
    if source.weights is None:
        source = replace(source, weights=source.name)
        if source.path is None:
            raise ValueError(
                f"{text}: there is no folder {source.name}; to fetch it from the hub, write {text}@hub"
            )
    files = ModelFiles.of(source)
    assert files is not None, "it has weights"
    if source.path is not None and not files.config:
        raise ValueError(
            f"{source.path} is no folder of a model that {kind.form} names: it has no config.json"
        )
    return source, files, f"hf download {source.name}"
