"""Pictures, a row of a tensor each, and texts, a string each, which need no class of their own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def check_pictures(pictures: object) -> Tensor:
    """Return pictures that can be embedded: uint8 ``(n, 3, H, W)``, n ≥ 1.

    Raises:
        ValueError: for anything else, with what it is and what would mend it.

    >>> check_pictures(torch.zeros(2, 20, 20, 3, dtype=torch.uint8))
    Traceback (most recent call last):
    ...
    ValueError: pictures must be (n, 3, H, W), got (2, 20, 20, 3): channels come second, pictures.permute(0, 3, 1, 2)
    """
    wanted = "pictures must be a uint8 tensor (n, 3, H, W)"
    if not isinstance(pictures, Tensor):
        raise ValueError(f"{wanted}, paths, arrays or pictures of Pillow, got {type(pictures).__name__}")
    shape = tuple(pictures.shape)
    if pictures.dtype != torch.uint8:
        raise ValueError(
            f"{wanted} of values from 0 to 255, got {pictures.dtype}: the model scales them itself"
        )
    if pictures.ndim != 4 or shape[1] != 3:
        advice = {
            (3, 0): ": of one picture, give picture[None]",
            (4, 3): ": channels come second, pictures.permute(0, 3, 1, 2)",
            (4, 1): ": repeat the grey channel, pictures.expand(-1, 3, -1, -1)",
            (4, 4): ": leave the alpha channel out, pictures[:, :3]",
        }
        case = (
            (3, 0)
            if pictures.ndim == 3
            else (4, 3 if shape[-1:] == (3,) else shape[1] if len(shape) == 4 else 0)
        )
        raise ValueError(f"pictures must be (n, 3, H, W), got {shape}{advice.get(case, '')}")
    if 0 in shape:
        raise ValueError(f"there is nothing to embed: the pictures are {shape}")
    return pictures


def check_texts(texts: object) -> list[str]:
    """Return texts that can be embedded, of one text a list of it.

    Raises:
        ValueError: for anything else, and for none.

    >>> check_texts("a cat")
    ['a cat']
    >>> check_texts(["a cat", None])
    Traceback (most recent call last):
    ...
    ValueError: text 1 must be a text, got NoneType
    """
    if isinstance(texts, Tensor | bytes) or not isinstance(texts, Sequence):
        raise ValueError(f"texts must be a list of texts, or one text, got {type(texts).__name__}")
    found = [texts] if isinstance(texts, str) else list(texts)
    if not found:
        raise ValueError("there is nothing to embed: the list of texts is empty")
    for place, text in enumerate(found):
        if not isinstance(text, str):
            raise ValueError(f"text {place} must be a text, got {type(text).__name__}")
        try:
            text.encode()
        except (
            UnicodeEncodeError
        ):  # half of a UTF-16 pair, as broken decoding leaves it, which no tokenizer takes
            raise ValueError(
                f"text {place} is no valid Unicode: {text!r}; decode it with errors='replace'"
            ) from None
    return found
