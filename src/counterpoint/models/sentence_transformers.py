"""Models of sentence-transformers."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ..networks.towers.libraries.hugging_face import ModelFiles
from ..networks.towers.libraries.transformers_tokenizer import TransformersTokenizer
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

    def load(self, name: str) -> Pretrained:
        first = (
            (ModelFiles(name).json("modules.json") or [{"type": ""}])[0]
            if Path(name).is_dir()
            else {"type": ""}
        )
        if first["type"] == OURS:
            return Safetensors().load(str(Path(name) / first["path"]))
        source, files, command = opened(self, f"sentence-transformers:{name}")
        if files.json("modules.json") is None and source.path is not None:
            raise ValueError(f"{source.path} is no folder of sentence-transformers: it has no modules.json")
        _check(files)
        model = pretrained(source, command, files.context)
        tokenizer = model.text_tower.tokenizer
        if isinstance(tokenizer, TransformersTokenizer):
            tokenizer.check()
        return model


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
