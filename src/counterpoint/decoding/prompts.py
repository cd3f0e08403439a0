"""Prompts as chat templates read them, pictures as processors take them, and what tells prompts apart."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..types import Picture, Prompt

Message = dict[str, Any]
"""``{"role": "user" or "assistant", "content": [{"type": "image"}, {"type": "text", "text": …}]}``"""


def read_picture(path: str | Path) -> Picture:
    """Read a picture from a file: upright, as a camera's tag says, and its transparent parts on white.

    Raises:
        ValueError: for a file that cannot be decoded.
        FileNotFoundError: where there is none.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:  # below which any colours may lie
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright.convert("RGBA"))
            return tensor_of(upright)
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be decoded as a picture: {error}") from error


def message(role: str, text: str, picture: Picture | None = None) -> Message:
    shown = [] if picture is None else [{"type": "image"}]
    return {"role": role, "content": [*shown, {"type": "text", "text": text}]}


def messages_of(prompt: Prompt) -> list[Message]:
    messages: list[Message] = []
    for turn in prompt.turns:
        messages += [message("user", turn.text, turn.picture), message("assistant", turn.reply)]
    return [*messages, message("user", prompt.text, prompt.picture)]


def chat_text(processor: Any, messages: list[Message], **options: Any) -> str:
    """Return messages as a processor's chat template writes them."""
    return processor.apply_chat_template(messages, tokenize=False, **options)


def pictures_of(prompt: Prompt) -> list[Picture]:
    """Return the pictures of a prompt, in the order in which they are shown.

    Raises:
        ValueError: for a prompt with several pictures at once.
    """
    shown = [*(turn.picture for turn in prompt.turns), prompt.picture]
    if prompt.picture is not None and prompt.picture.ndim == 4:
        raise ValueError(
            f"a request shows {len(prompt.picture)} pictures, and this model reads one a turn: brote reads several"
        )
    return [picture for picture in shown if picture is not None]


def image_of(picture: Picture) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(picture.cpu().permute(1, 2, 0).numpy()))


def tensor_of(image: Image.Image) -> Picture:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()


def digest_of(*parts: Any) -> bytes:
    digest = blake2b(digest_size=8)
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(f"{tuple(part.shape)}".encode() + part.cpu().contiguous().numpy().tobytes())
        else:
            digest.update(f"\0{part!r}\0".encode())
    return digest.digest()


def key_of(prompt: Prompt, seed: int) -> int:
    """Compute 63 bits from a seed and what a prompt says and shows."""
    turns = [part for turn in prompt.turns for part in (turn.text, turn.reply, turn.picture)]
    parts = (prompt.text, prompt.neutral, prompt.picture)
    return int.from_bytes(digest_of(seed, *turns, *parts), "little") >> 1
