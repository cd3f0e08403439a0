"""Models of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ..networks.towers.libraries.hugging_face import ModelFiles
from ._folder import opened
from ._kind import ModelLoader
from ._pretrained import Pretrained, pretrained

OTHERS = ("modules.json", "open_clip_config.json")
"""Files of the folders of other libraries, which hold a model of transformers among others."""


class TransformersLoader(ModelLoader):
    """A dual encoder of transformers, or one of texts, whose token states are pooled as its kind is."""

    form: ClassVar[str] = "transformers:PATH or transformers:NAME@hub"

    def holds(self, folder: Path) -> bool:
        if not folder.is_dir():  # `ModelFiles` would ask the hub for a repository of that name
            return False
        files = ModelFiles(str(folder))
        return "model_type" in files.config and not any((folder / file).exists() for file in OTHERS)

    def towers(self, name: str) -> str:
        return str(opened(self, f"transformers:{name}")[0])

    def load(self, name: str) -> Pretrained:
        source, files, command = opened(self, f"transformers:{name}")
        return pretrained(source, command, files.context)
