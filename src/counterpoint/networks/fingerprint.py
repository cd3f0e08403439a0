"""Digests of networks: of what must be equal for embeddings to be."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from .base import FittedInput, Input, StatedInput


def fingerprint(module: nn.Module, inputs: Mapping[str, Input]) -> str:
    """Return a digest of a module's weights and buffers, and of what makes its inputs; devices do not count.

    Args:
        module: a model.
        inputs: the way to what it takes, by column: sizes, fits, tokenizers.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted([*module.named_parameters(), *module.named_buffers()]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    for column, made in inputs.items():
        digest.update(f"{column} {type(made).__name__} {_said(made)}".encode())
    return digest.hexdigest()


def _said(made: Input) -> str:
    """Return what an input does, as a text; nothing of one that neither says it nor is kept in a file."""
    if isinstance(made, StatedInput):
        return made.stated()
    if not isinstance(made, FittedInput):
        return ""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / made.file
        made.save(file)
        return file.read_bytes().hex()
