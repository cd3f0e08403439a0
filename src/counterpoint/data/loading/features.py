"""Features that a frozen tower has computed before, in the cache folder, and views that need not be drawn for them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...networks.base import TextTower, Tower
from ...networks.fingerprint import fingerprint
from ...raw import ends
from ..cache import cache_folder, writing

_DIGEST = 16


class InputDigests(Tensor):
    """Digests ``(B, 16)`` of inputs whose features a memory holds, in place of the inputs themselves."""


@final
class Memory:
    """The features of a frozen tower by its inputs, each computed once, whichever run or process asks for it.

    A part of the memory is two files: the digests of inputs, and their features. Parts are whole or not there, and two
    processes that compute the same write the same. As a batch has the inputs alone that are new, features may differ
    in their last digit from those of another batch.

    Each tower has a folder of its own, named after the versions of this package and of torch and its fingerprint.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._index: dict[bytes, tuple[int, int]] = {}
        self._parts: list[np.ndarray] = []

    def __call__(self, tower: Tower, inputs: Tensor) -> Float[Tensor, "B width"]:
        """Return the features of inputs, of which the tower sees those that are new.

        Raises:
            ValueError: for a tower that is not frozen.
        """
        known = inputs if isinstance(inputs, InputDigests) else self.keep(tower, inputs)
        places = (self._index[key.tobytes()] for key in known.cpu().numpy())
        return torch.from_numpy(np.stack([self._parts[part][row] for part, row in places])).to(inputs.device)

    def keep(self, tower: Tower, inputs: Tensor) -> InputDigests:
        """Return the digests of inputs, once their features are here.

        Raises:
            ValueError: for a tower that is not frozen.
            CacheError: if features cannot be written.
        """
        folder = self._opened(tower)
        keys = digests(tower, inputs)
        new = {key: position for position, key in enumerate(keys) if key not in self._index}
        if new:
            part = inputs[list(new.values())].to(next(tower.parameters()).device)
            # At full precision whatever the run's, as other runs read it too.
            with torch.no_grad(), torch.autocast(part.device.type, enabled=False):
                made = tower.compute(part).float().cpu().numpy()
            self._write(folder, list(new), made)
        return (
            torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8)
            .view(-1, _DIGEST)
            .as_subclass(InputDigests)
        )

    def _opened(self, tower: Tower) -> Path:
        """Return the folder of a tower's memory, whose parts are entered at the first call."""
        if self._folder is None:  # not before, as a method may change the pooling of a tower that is built
            if not tower.frozen:
                raise ValueError(f"tower {tower.name}: features are kept of frozen towers alone; freeze it")
            made_by = f"counterpoint-{version('counterpoint')}-torch-{torch.__version__}"
            self._folder = cache_folder() / "features" / made_by / fingerprint(tower, {})
            for path in sorted(self._folder.glob("*.keys.npy")):
                self._add(path)
        return self._folder

    def _write(self, folder: Path, keys: list[bytes], features: np.ndarray) -> None:
        name = hashlib.blake2b(b"".join(keys), digest_size=_DIGEST).hexdigest()
        for path, array in (
            (folder / f"{name}.npy", features),
            (folder / f"{name}.keys.npy", np.frombuffer(b"".join(keys), np.uint8).reshape(-1, _DIGEST)),
        ):
            with writing(path) as part, part.open("wb") as file:
                np.save(file, array)
        self._add(folder / f"{name}.keys.npy")

    def _add(self, path: Path) -> None:
        """Enter a part; one whose features are not there, or are of other inputs, is as good as none."""
        try:
            keys = np.load(path)
            features = np.load(path.with_name(path.name.replace(".keys", "")), mmap_mode="r")
        except (OSError, ValueError):
            return
        if len(keys) == len(features):
            self._index |= {key.tobytes(): (len(self._parts), row) for row, key in enumerate(keys)}
            self._parts.append(features)


def digests(tower: Tower, inputs: Tensor) -> list[bytes]:
    """Return a digest of every example; a caption's, or another sequence's, ends where it ends, whatever follows."""
    rows = list(inputs.detach().cpu().contiguous().numpy())
    if inputs.is_floating_point():
        rows = [row[:end] for row, end in zip(rows, ends(inputs).tolist(), strict=True)]
    if isinstance(tower, TextTower):
        rows = [_caption(row, tower.tokenizer.end) for row in rows]
    return [hashlib.blake2b(row.tobytes(), digest_size=_DIGEST).digest() for row in rows]


def _caption(tokens: np.ndarray, end: int) -> np.ndarray:
    """Return a caption's tokens up to its end token; one at the very beginning is no end."""
    ends = np.flatnonzero(tokens[1:] == end)
    return tokens[: ends[0] + 2] if len(ends) else tokens


@final
class DeterministicView:
    """A view that shows the same of a row every time: drawn once, and from then on known by its digest.

    Args:
        tower: that it is for, with a memory.
    """

    def __init__(self, tower: Tower) -> None:
        assert isinstance(tower.memory, Memory)
        self._tower, self._memory = tower, tower.memory
        self._known: dict[int, Tensor] = {}

    def __call__(self, rows: Sequence[int], draw: Callable[[list[int]], Tensor]) -> InputDigests:
        """Return what the tower takes in place of the rows' inputs.

        Args:
            rows: of the data.
            draw: gives the inputs of those that were never drawn.
        """
        new = [row for row in rows if row not in self._known]
        if new:
            self._known |= zip(new, self._memory.keep(self._tower, draw(new)), strict=True)
        return torch.stack([self._known[row] for row in rows]).as_subclass(InputDigests)
