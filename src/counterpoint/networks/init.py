"""Initial weights that depend on a module's name and the seed, and on nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from .base import Tower
from .state.momentum import MomentumCopy


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Draw from a generator keyed by ``(seed, name)`` inside; the global one is as before afterwards."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int.from_bytes(digest, "big") >> 1)
        yield


def initialise(module: nn.Module, seed: int, prefix: str = "") -> None:
    """Draw the initial weights of every submodule from a generator keyed by ``(seed, prefix + its name)``.

    The start of a module depends on its name alone: adding, removing or reordering others does not change it,
    and the global generator is not touched. Each module draws through its ``reset_parameters``. Towers whose
    weights are already set are left alone, and momentum copies follow their module.

    >>> one, two = nn.Sequential(nn.Linear(3, 3)), nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    >>> initialise(one, seed=0), initialise(two, seed=0)
    (None, None)
    >>> torch.equal(one[0].weight, two[0].weight)
    True

    Raises:
        TypeError: for a module that owns a matrix but has no ``reset_parameters``: a seed could not fix its
            start.
    """
    copies: list[MomentumCopy] = []
    _draw(module, seed, prefix, copies)
    for copy in copies:
        copy.restart()


def redraw(tower: Tower, seed: int) -> None:
    """Draw the weights of a tower anew, although they are set.

    A tower of another library draws them by a ``reset_parameters`` of its own.

    Raises:
        TypeError: for a tower that cannot draw them.
    """
    reset = getattr(tower, "reset_parameters", None)
    if callable(reset):
        with seeded(seed, tower.modality):
            reset()
        return
    tower.weights_set = False
    initialise(tower, seed, tower.modality)
    tower.weights_set = True


def _draw(module: nn.Module, seed: int, name: str, copies: list[MomentumCopy]) -> None:
    if isinstance(module, MomentumCopy):
        copies.append(module)
        return
    if isinstance(module, Tower) and module.weights_set:
        return
    reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    if callable(reset):
        with seeded(seed, name):
            reset()
    elif any(p.ndim > 1 for p in module.parameters(recurse=False)):
        raise TypeError(
            f"{type(module).__name__} ({name or 'the module itself'}) owns a matrix of weights but has no "
            "reset_parameters(); define one that draws them, so that a seed fixes the start"
        )
    for child_name, child in module.named_children():
        _draw(child, seed, f"{name}.{child_name}" if name else child_name, copies)
