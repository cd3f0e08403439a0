"""Digests of networks: of what must be equal for embeddings to be."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from .base import FittedInput, Input, StatedInput

_FACTS = ("eps", "num_heads", "pooling", "masked", "global_pool")
"""Numbers and words of a part that its result depends on, and its weights do not show."""


def fingerprint(module: nn.Module, inputs: Mapping[str, Input]) -> str:
    """Return a digest of a module's weights, of what it computes with them, and of what makes its inputs.

    These parts of the computation count: the kinds of the innermost parts (an activation is one) and `_FACTS` of all;
    devices and the numbers' place in memory do not.

    Args:
        module: a model.
        inputs: the way to what it takes, by column: sizes, fits, tokenizers.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted([*module.named_parameters(), *module.named_buffers()]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    for name, part in module.named_modules():
        kind = "" if next(part.children(), None) is not None else type(part).__name__
        facts = [f"{fact}={getattr(part, fact)}" for fact in _FACTS if hasattr(part, fact)]
        digest.update(f"{name} {kind} {facts}".encode())
    for column, made in inputs.items():
        digest.update(f"{column} {type(made).__name__} {_statement(made)}".encode())
    return digest.hexdigest()


def _statement(made: Input) -> str:
    """Return what an input does, as a text; nothing of one that neither says it nor is kept in a file."""
    if isinstance(made, StatedInput):
        return made.stated()
    if not isinstance(made, FittedInput):
        return ""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / made.file
        made.save(file)
        return file.read_bytes().hex()
