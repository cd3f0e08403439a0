"""Blocks of towers that compute as compiled code (``torch.compile``)."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor, nn

from ...files import files_within
from ...networks.base import Tower
from ...networks.towers.parts.blocks import residual_blocks
from ...reasons import reason
from ..sharing.distributed import device_of

_LINKED = 10.0
"""Seconds after which a library is written, unless its compiler was killed."""
_GRAPHS = 64
"""Most forms of a block's code: of towers, of their momentum copies, with gradients and without."""


def compile_blocks(method: nn.Module) -> None:
    """Let the blocks of towers compute as compiled code: the same numbers but for rounding.

    They are compiled where they are first used, for batches of any size. Weights keep their names.

    Raises:
        ValueError: if no tower has blocks.
        RuntimeError: if nothing here can compile for the device that a run takes.
    """
    # What a frozen tower remembers it does not compute.
    towers = [m for m in method.modules() if isinstance(m, Tower) and m.memory is None]
    blocks = [block for tower in towers for block in residual_blocks(tower)]
    if not blocks:
        raise ValueError("compile: no tower has blocks; take another tower, or leave compile out")
    _remove_unfinished()
    _check_compiler(device_of("auto"))
    torch._dynamo.config.cache_size_limit = max(torch._dynamo.config.cache_size_limit, _GRAPHS)
    for block in blocks:
        # Not the block itself: what gathers it, drops its input or computes it again stays around it.
        block.forward = torch.compile(block.forward, dynamic=True)


def _remove_unfinished() -> None:
    """Remove the empty libraries that a kill left in torch's cache: it takes each for whole, and fails to load it."""
    from torch._inductor.runtime.cache_dir_utils import cache_dir  # here, as it loads the compiler

    for path in files_within(Path(cache_dir())):
        if path.suffix != ".so":
            continue
        try:
            stat = path.stat()
            if not stat.st_size and time.time() - stat.st_mtime > _LINKED:
                path.unlink()
        except OSError:  # another process removed it first, or another user's
            continue


def _check_compiler(device: torch.device) -> None:
    """Raise where torch cannot compile, which it would say in the middle of the first step otherwise."""
    try:
        torch.compile(_tried)(torch.ones(2, device=device))
    except Exception as error:
        raise RuntimeError(
            f"compile: torch cannot compile for {device.type} here ({reason(error)}): install a C++ compiler, "
            "as by apt-get install g++, or leave compile out"
        ) from error


def _tried(x: Tensor) -> Tensor:
    return x.sin() + 1
