"""Folders, local or of the hub, that transformers and sentence-transformers write, and the models in them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..modalities import PAIR
from ..networks.weights import TowerSource
from ..registry import MissingPackageError, require
from ..trust import is_offline
from ._packaged import PACKAGE, packaged

if TYPE_CHECKING:
    from ._loader import ModelLoader

HUB = "hub"
"""The word after the @ of a tower whose weights are on the hub, under the tower's name."""
_UNLIMITED = 10**9
"""A length of texts that stands for none, as tokenizers of transformers write it: larger numbers too."""


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model, in a local folder or in a repository of the hub.

    Attributes:
        root: the folder, or the repository's name.
        subfolder: the folder in it that transformers reads; empty for the root.
        gguf_file: the one file that holds all of the model, in the form of llama.cpp (GGUF); empty for none.
    """

    root: str
    subfolder: str = ""
    gguf_file: str = ""

    @classmethod
    def of(cls, source: TowerSource) -> ModelFiles | None:
        """Return the files that a tower is read from; None for a kind of model without any.

        Raises:
            UnknownNameError: for ``@package`` with a model that no known package holds.
            MissingPackageError: for one whose package is not installed.
            ValueError: for other weights that are no path which exists, nor ``hub``; for a folder that is missing.
        """
        path = packaged(source.name) if source.weights == PACKAGE else source.path
        if path is None and source.weights not in (None, HUB):
            raise ValueError(f"tower {source}: the weights are neither a folder that exists nor {HUB!r}")
        if path is None and source.weights is None and not ("/" in source.name or Path(source.name).is_dir()):
            return None
        if path is None and source.weights is None and is_missing(source.name):
            raise ValueError(f"tower {source}: there is no folder {source.name}")
        if path is not None and path.suffix == ".gguf":
            require("gguf", "language")
            return cls(str(path.parent), gguf_file=path.name)
        root = cls(source.name if path is None else str(path))
        parts = root.json("modules.json") if source.library == "sentence-transformers" else None
        return cls(root.root, str(parts[0]["path"]) if parts else "")

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of ``from_pretrained``: the folder, and that code which lies in it never runs."""
        return {
            "pretrained_model_name_or_path": self.root,
            "subfolder": self.subfolder,
            "trust_remote_code": False,
            **({"gguf_file": self.gguf_file} if self.gguf_file else {}),
        }

    def json(self, name: str) -> Any:
        """Return what a JSON file of the root holds; None where there is none, or the hub is not reached."""
        file = _file(self.root, name)
        return None if file is None else json.loads(file.read_text(encoding="utf-8"))

    def path(self, name: str) -> Path:
        """Return a file of the root.

        Raises:
            FileNotFoundError: where there is none, or the hub is not reached.
        """
        path = _file(self.root, name)
        if path is None:
            raise FileNotFoundError(f"{self.root} has no {name}")
        return path

    @property
    def context(self) -> int:
        """The most tokens of a text that its library reads."""
        stated = (self._inner_json("sentence_bert_config.json") or {}).get("max_seq_length")
        text = self.config.get("text_config", self.config)
        tokenizer_limit = (self._inner_json("tokenizer_config.json") or {}).get("model_max_length")
        limits = (stated or tokenizer_limit, text.get("max_position_embeddings"), text.get("n_positions"))
        known = [limit for limit in limits if limit and 0 < limit < _UNLIMITED]
        return int(min(known, default=512))

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the transformers model; empty where there is none."""
        return self._inner_json("config.json") or {}

    def _inner_json(self, name: str) -> Any:
        return self.json(f"{self.subfolder}/{name}".lstrip("/"))

    @property
    def is_pair(self) -> bool:
        """True where it holds a dual encoder, a tower of pictures and one of texts: CLIP, SigLIP and their kin."""
        made = next(iter(self.config.get("architectures") or ()), "")
        return {"vision_config", "text_config"} <= self.config.keys() and made.endswith("Model")


def is_missing(name: str) -> bool:
    """Return whether a name is the path of a folder that is not there, which no hub is asked for.

    >>> is_missing("owner/name"), is_missing("../name"), is_missing("/models/name"), is_missing("bert")
    (False, True, True, False)
    """
    path = Path(name).expanduser()
    # The hub has names of two words; where the first is that of a folder here, the other was to be in it.
    written_like_one = name.startswith((".", "~")) or path.is_absolute() or name.count("/") > 1
    return not path.is_dir() and (written_like_one or ("/" in name and path.parent.is_dir()))


def embeds(source: TowerSource) -> tuple[str, ...]:
    """Return the modalities that a tower's name alone means: pictures and texts for a dual encoder, else texts."""
    return tuple(PAIR) if is_pair(source) else ("text",)


def is_pair(source: TowerSource) -> bool:
    """Return whether a tower's folder is there and holds a tower of pictures and one of texts."""
    try:
        files = ModelFiles.of(source)
    except (ValueError, MissingPackageError):
        return False  # who builds it is told
    return files is not None and files.is_pair


def configuration_of(source: TowerSource) -> Path | None:
    """Return the folder on this machine that says how a tower is built; None where its name alone does.

    Raises:
        UnknownNameError, MissingPackageError, ValueError: as for `ModelFiles.of`.
    """
    files = ModelFiles.of(source)
    if files is None:
        return None
    file = _file(files.root, f"{files.subfolder}/config.json".lstrip("/"))
    if file is None:
        return None
    return Path(files.root) if Path(files.root).is_dir() else _root(file, files.subfolder)


def _root(file: Path, subfolder: str) -> Path:
    return file.parent.parent if subfolder else file.parent


def _file(root: str, name: str) -> Path | None:
    """Return a file of a local folder or of the hub; None where there is none, or the hub is not reached."""
    if Path(root).is_dir():
        file = Path(root) / name
        return file if file.is_file() else None
    return of_hub(root, name, local=is_offline())


@lru_cache(maxsize=256)
def of_hub(name: str, file: str, *, local: bool) -> Path | None:
    """Return a file of the hub; with `local` only one that is on this machine already."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache  # here, as it takes a while

    if "/" not in name:  # a name of old, none of which is a sentence encoder's or a dual encoder's
        return None
    try:
        kept = try_to_load_from_cache(name, file)
        if isinstance(kept, str):
            return Path(kept)
        return None if local else Path(hf_hub_download(name, file))
    except (OSError, ValueError):  # not reached, not there, or no name that a hub can have
        return None


def whole_model(files: ModelFiles, kind: str = "AutoModel") -> Any:
    """Return a model with all the weights that its configuration asks for; poolers may lack theirs.

    Args:
        files: of the model.
        kind: the class of transformers that reads it.

    Raises:
        ValueError: for weights that are missing.
    """
    import transformers

    # Weights on this machine are read in a moment, and a bar would stand in the way of ours.
    transformers.utils.logging.disable_progress_bar()
    of_kind = getattr(transformers, kind)
    model, report = of_kind.from_pretrained(**files.arguments, output_loading_info=True)
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if missing:
        raise ValueError(f"the weights lack {', '.join(missing[:5])} ({len(missing)} in all)")
    if files.gguf_file:
        # Its weights are float32 by now, but it counts as quantised for good: it could not be trained or written.
        config = type(model.config).from_dict(model.config.to_dict() | {"quantization_config": None})
        plain = type(model)(config)
        plain.load_state_dict(model.state_dict())
        return plain
    return model


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
