"""The model that a study of decoding asks: loaded once, decoded by every arm."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...decoding import Decoding
from ...interop._hugging_face import is_missing
from ...networks import tiny_vlm
from ...training.record.provenance import digest_of_weights
from ...types import Assistant

Assistants = Callable[[Decoding], Assistant]
"""A function from a decoding method to the model decoded by that method."""
_SIDE = 448  # pixels, of models whose configuration names none: those take pictures as they come
_ENDS = 2**20  # bytes at either end of a weights file


def load(model: str, sampling: Mapping[str, Any], batch_size: int) -> Assistants:
    """Load the model of a path or a hub name as an assistant for every method; the weights are shared.

    Args:
        model: where it is.
        sampling: ``temperature`` (0: the likeliest token) and ``max_new_tokens``.
        batch_size: prompts that are decoded at once.

    Raises:
        ValueError: for a model that is no vision-language model, or one without a chat template.
        OSError: where there is none.
    """
    from ...decoding.assistant import VisionLanguageAssistant

    temperature = sampling["temperature"]
    options: dict[str, Any] = {
        "do_sample": temperature > 0,
        "temperature": temperature or 1.0,
        "max_new_tokens": sampling["max_new_tokens"],
        "batch_size": batch_size,
    }
    first = VisionLanguageAssistant.load(located(model), **options)
    return lambda method: VisionLanguageAssistant(first.model, first.processor, method, **options)


def located(model: str) -> str:
    """Return a model's path or hub name; ``tiny-vlm`` is the one that comes with the package.

    Raises:
        FileNotFoundError: for what can only be a path, and is none (transformers would look for it on the hub), or is
            named in a folder that there is; for a folder without a model.

    >>> located("tiny-vlm") == str(tiny_vlm.default_model_path())
    True
    """
    if model == tiny_vlm.NAME:
        return str(tiny_vlm.default_model_path())
    path = Path(model)
    if path.is_dir():
        if not (path / "config.json").exists():
            inside = path / tiny_vlm.MODEL
            if (inside / "config.json").exists():
                raise FileNotFoundError(f"{model} is a run; its model is {inside}")
            raise FileNotFoundError(
                f"{model} holds no model: it has no config.json; give what save_pretrained wrote"
            )
    elif path.exists() or is_missing(model):
        raise FileNotFoundError(f"there is no folder {model} with a model in it")
    return model


def picture_size(model: str) -> int:
    """Read the side of the pictures that a model looks at, in pixels, from its configuration.

    Raises:
        OSError: where there is no such model.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(located(model))
    size = getattr(getattr(config, "vision_config", None), "image_size", None)
    return max(size) if isinstance(size, list | tuple) else int(size or _SIDE)


def digests(model: str) -> dict[str, str]:
    """Return a digest of all files of a model's folder by the model's name; of a name on the hub, the version there."""
    path = Path(located(model))
    if path.is_dir():
        return {model: digest_of_weights(path)}
    from transformers import AutoConfig

    version = AutoConfig.from_pretrained(model)._commit_hash
    return {} if version is None else {model: str(version)}


def weights_mark(model: str | os.PathLike[str]) -> str:
    """Compute a mark by which the weights in a folder are known again; empty for a name on the hub."""
    folder = Path(located(str(model)))
    files = sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.bin"))
    digest = hashlib.blake2b(digest_size=8)
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(_ENDS))
            file.seek(max(0, size - _ENDS))
            digest.update(file.read())
    return digest.hexdigest() if files else ""
