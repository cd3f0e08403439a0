"""Models of sentence-transformers."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ..networks.towers.libraries.hugging_face import ModelFiles
from ..networks.towers.libraries.transformers_tokenizer import TransformersTokenizer
from ..networks.weights import Source
from ._folder import opened
from ._kind import Kind
from ._pretrained import Pretrained, pretrained
from .safetensors import Safetensors

OURS = "counterpoint.exporting.Encoder"
"""The module of an export, a folder of safetensors, that none of sentence-transformers' own could hold."""


class SentenceTransformers(Kind):
    """A sentence encoder, or a dual encoder that sentence-transformers saved; embeddings are those of ``encode``."""

    form: ClassVar[str] = "sentence-transformers:PATH or sentence-transformers:NAME@hub"

    def holds(self, folder: Path) -> bool:
        return (folder / "modules.json").is_file()

    def towers(self, name: str) -> str:
        if (ours := _ours(Path(name))) is not None:
            return Safetensors().towers(str(ours))
        return str(self._opened(name)[0])

    def load(self, name: str) -> Pretrained:
        if (ours := _ours(Path(name))) is not None:
            return Safetensors().load(str(ours))
        source, files, command = self._opened(name)
        model = pretrained(source, command, files.context)
        tokenizer = model.text_tower.tokenizer
        if isinstance(tokenizer, TransformersTokenizer):
            tokenizer.check()
        return model

    def _opened(self, name: str) -> tuple[Source, ModelFiles, str]:
        source, files, command = opened(self, f"sentence-transformers:{name}")
        if files.json("modules.json") is None and source.path is not None:
            raise ValueError(f"{source.path} is no folder of sentence-transformers: it has no modules.json")
        _check(files)
        return source, files, command


def _ours(folder: Path) -> Path | None:
    """Return the folder of safetensors in an export of which no module of sentence-transformers' own could hold all."""
    parts = ModelFiles(str(folder)).json("modules.json") if folder.is_dir() else None
    return folder / parts[0]["path"] if parts and parts[0]["type"] == OURS else None


def _check(files: ModelFiles) -> None:
    """Refuse what would change texts before they are read.

    Raises:
        ValueError: for a prompt that is put before every text, and for small letters.
    """
    prompt = (files.json("config_sentence_transformers.json") or {}).get("default_prompt_name")
    if prompt is not None:
        raise ValueError(
            f"{files.root} puts the prompt {prompt!r} before every text, which is not known here: set "
            "default_prompt_name to null in config_sentence_transformers.json, and write the prompt into the texts"
        )
    if (files.json(f"{files.subfolder}/sentence_bert_config.json".lstrip("/")) or {}).get("do_lower_case"):
        raise ValueError(
            f"{files.root} reads texts in small letters (do_lower_case), which is not known here"
        )
